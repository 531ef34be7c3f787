"""A `train_step` or `test_step` that a subclass wrote itself: what it logs is right or refused.

Keras logs, for an epoch, the results of `model.metrics` where the keys match, and else what
the last batch returned. A step that returns `{"loss": loss}` is so logged as 0, or as its
last batch. Here every returned value must be the result of a metric that the step updated.
A number given to a `Mean` of the model weighs as the rows of its batch, as Keras weighs its own
loss: a mean over batches would count the rows of a short last batch too much.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_trainsteps import replicas
from keras_trainsteps.keras2.record import REPLACEMENT, StepRecord, as_running, replaced, running
from keras_trainsteps.step import side_inputs
from keras_trainsteps.step.batch import Batch

OF_KERAS_2 = {
    "minimize": "`optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))`",
    "get_updates": "`optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))`",
    "get_gradients": "`tape.gradient(loss, weights)` of a `tf.GradientTape`",
    "get_scaled_loss": "`optimizer.scale_loss(loss)`",
    "get_unscaled_gradients": "nothing: `optimizer.apply_gradients` does so itself",
    "reset_states": "`reset_state()`",
}


@contextlib.contextmanager
def in_place(model: Any, name: str, of_library: Any) -> Iterator[None]:
    """While Keras takes the step `name` of `model`: checked, where a subclass overrides it."""
    step = getattr(model, name)
    if getattr(step, "__func__", None) is of_library:
        yield
        return
    with replaced(model, name, checked(model, name, step)):
        yield


def checked(model: Any, name: str, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`step`, a subclass's own, with its batch guarded and what it logs checked."""
    training = name == "train_step"

    def run(data: Any) -> dict[str, Any]:
        parts = data if isinstance(data, tuple) else (data,)
        while len(parts) > 1 and parts[-1] is None:  # of `train_on_batch`
            parts = parts[:-1]
        batch = Batch.of(parts) if len(parts) <= 3 else Batch(parts, None, None)
        with model._step(batch, training=training), side_inputs.visible(batch.x):
            own = StepRecord(model, batch.rows(None))
            with as_running(own), own.recorded(), _explained(name):
                returned = step(parts if isinstance(data, tuple) else data)
            if training:
                _require_scaled(model.optimizer, own.used)
                own.log.trains_own_loss = not own.used & {"step", "loss"}
            _require_one_replica(name, own.used)
            return own.require_results(name, returned)

    return run


def require_listed(model: Any, metric: keras.metrics.Metric) -> None:
    """Refuses `metrics` of a subclass without one that is updated: it is never reset."""
    if all(metric is not listed for listed in model.metrics):
        raise ValueError(
            "`metrics` must hold those of the model: what is not listed is not reset, and "
            f"logged as 0 or over all epochs. Received: {[m.name for m in model.metrics]}, "
            f"without {metric.name!r}. Return `[*super().metrics, ...]`, or delete it: "
            "metrics that are attributes are found."
        )


def require_loss_of_training(model: Any) -> None:
    """Refuses to evaluate another loss than that of a `train_step` written by hand."""
    log = model._term_log
    if log.trains_own_loss and running(log) is None:
        raise ValueError(
            "`test_step` must be overridden together with `train_step`. Received: a "
            "`train_step` with a loss of its own, beside which `val_loss` would be another "
            f"one. {REPLACEMENT.format(step='train_step')}"
        )


@contextlib.contextmanager
def _explained(step: str) -> Iterator[None]:
    """Adds the replacement to the errors that methods of Keras 2 end in."""
    try:
        yield
    except AttributeError as error:
        if error.name not in OF_KERAS_2:
            raise
        raise AttributeError(
            f"`{error.name}` is of Keras 2. Received: {error}. "
            f"Replace it by {OF_KERAS_2[error.name]}, or: {REPLACEMENT.format(step=step)}"
        ) from error
    except ValueError as error:
        if "values to unpack" not in str(error):
            raise
        raise ValueError(
            f"`{step}` must take batches with and without weights. Received: {error}. "
            "Unpack `x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)`, or: "
            f"{REPLACEMENT.format(step=step)}"
        ) from error


def _require_scaled(optimizer: Any, used: set[str]) -> None:
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if scales and "apply" in used and "scale_loss" not in used:
        raise ValueError(
            "`train_step` must scale the loss for a float16 policy: the optimizer divides "
            "gradients by that scale. Received: no call of `scale_loss`. Put "
            "`loss = self.optimizer.scale_loss(loss)` before `tape.gradient`, or: "
            f"{REPLACEMENT.format(step='train_step')}"
        )


def _require_one_replica(step: str, used: set[str]) -> None:
    if replicas.num_replicas() > 1 and "step" not in used:
        raise ValueError(
            f"`{step}` must call `super().{step}(data)` on several replicas, whose gradients "
            f"and logs are those of one device. Received: {replicas.num_replicas()} "
            f"replicas. {REPLACEMENT.format(step=step)}"
        )
