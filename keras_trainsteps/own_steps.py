"""A `train_step` or `test_step` that a subclass wrote itself: what it logs is right or refused.

Keras logs, for an epoch, the results of `model.metrics` where the keys match, and else what
the last batch returned. A step that returns `{"loss": loss}` is so logged as 0, or as its
last batch. Here every returned value must be the result of a metric that the step updated.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import replicas, side_inputs
from keras_trainsteps.batches import Batch

REPLACEMENT = """Delete `{step}` and return the loss from the hook, which is trained on, logged and evaluated:

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {{"my_loss": ...}}
"""  # noqa: E501

OF_KERAS_2 = {
    "minimize": "`optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))`",
    "get_updates": "`optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))`",
    "get_gradients": "`tape.gradient(loss, weights)` of a `tf.GradientTape`",
    "get_scaled_loss": "`optimizer.scale_loss(loss)`",
    "get_unscaled_gradients": "nothing: `optimizer.apply_gradients` does so itself",
    "reset_states": "`reset_state()`",
}


_thread = threading.local()  # replicas run in threads of their own


class OwnStep:
    """What a step of a subclass has done so far.

    Attributes:
        rows: The rows of its batch.
        used: What of the library it called: "step", "loss", "scale_loss", "apply".
        log: The log of the model whose step it is.
        counted: Names of terms in its loss that epochs do not average by rows.
    """

    def __init__(self, model: Any, rows: tf.Tensor) -> None:
        self.rows = rows
        self.used: set[str] = set()
        self.counted: list[str] = []
        self.log = model._term_log
        self._model = model
        self._known = list(model.metrics)
        self._updated: set[int] = set()
        self._results: dict[int, tuple[Any, keras.metrics.Metric]] = {}

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Notes which metrics are updated and what their results are."""
        if replicas.num_replicas() > 1:  # only a step that calls that of the library is allowed
            yield
            return
        with contextlib.ExitStack() as stack:
            for metric in self._known:
                for name in ("update_state", "track"):
                    stack.enter_context(_followed(metric, name, self._update_of(metric)))
                stack.enter_context(_followed(metric, "result", self._result_of(metric)))
            stack.enter_context(_followed(self._model, "compute_loss", self._use_of("loss")))
            for name in ("scale_loss", "apply"):
                stack.enter_context(_followed(self._model.optimizer, name, self._use_of(name)))
            yield

    def use(self, what: str) -> None:
        """Notes what of the library was called."""
        self.used.add(what)

    def logs(self, step: str, returned: Any) -> dict[str, Any]:
        """What the step returned, flat, without what it does not log.

        Raises:
            TypeError: For values that are no results of metrics which the step updated.
        """
        if not isinstance(returned, Mapping):
            raise TypeError(
                f"`{step}` must return a dict of results of metrics. Received: "
                f"{type(returned).__name__}. {REPLACEMENT.format(step=step)}"
            )
        flat: dict[str, Any] = {}
        for name, value in returned.items():
            flat.update(value if isinstance(value, Mapping) else {name: value})
        flat = {name: value for name, value in flat.items() if name not in self.log.unlogged}
        for name, value in flat.items():
            self._require_result(step, name, value)
        return flat

    def _require_result(self, step: str, name: str, value: Any) -> None:
        if replicas.num_replicas() > 1 or isinstance(value, keras.Variable | tf.Variable):
            return
        created = [metric for metric in self._model.metrics if metric not in self._known]
        if name in {metric.name for metric in created}:
            return
        _, metric = self._results.get(id(value), (None, None))
        if metric is None:
            raise TypeError(
                f"`{step}` must return results of the metrics in `metrics`, which are kept "
                f"over an epoch. Received: under {name!r} a value of one batch, for which "
                "Keras would log 0 or the last batch. "
                f"{REPLACEMENT.format(step=step)}\n"
                "Or update a metric in `metrics` and return its `result()`."
            )
        if id(metric) not in self._updated:
            raise TypeError(
                f"`{step}` must update every metric whose result it returns. Received: "
                f"{name!r}, not updated, which would be logged as 0. "
                f"{REPLACEMENT.format(step=step)}\n"
                f"Or call `update_state`, or leave {name!r} out of what `{step}` returns."
            )

    def _use_of(self, what: str) -> Callable[[Any], None]:
        return lambda _: self.use(what)

    def _update_of(self, metric: keras.metrics.Metric) -> Callable[[Any], None]:
        return lambda _: self._updated.add(id(metric))

    def _result_of(self, metric: keras.metrics.Metric) -> Callable[[Any], None]:
        def note(result: Any) -> None:
            for leaf in keras.tree.flatten(result):
                self._results[id(leaf)] = (leaf, metric)  # kept alive, so that ids stay unique

        return note


def checked(model: Any, name: str, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`step`, a subclass's own, with its batch guarded and what it logs checked."""
    training = name == "train_step"

    def run(data: Any) -> dict[str, Any]:
        parts = data if isinstance(data, tuple) else (data,)
        while len(parts) > 1 and parts[-1] is None:  # of `train_on_batch`
            parts = parts[:-1]
        batch = Batch.of(parts) if len(parts) <= 3 else Batch(parts, None, None)
        with model._step(batch, training=training), side_inputs.visible(batch.x):
            own = OwnStep(model, batch.rows(None))
            with _as_running(own), own.recorded(), _explained(name):
                returned = step(parts if isinstance(data, tuple) else data)
            if training:
                _require_scaled(model.optimizer, own.used)
                own.log.trains_own_loss = not own.used & {"step", "loss"}
            _require_one_replica(name, own.used)
            return own.logs(name, returned)

    return run


@contextlib.contextmanager
def in_place(model: Any, name: str, of_library: Any) -> Iterator[None]:
    """While Keras takes the step `name` of `model`: checked, where a subclass overrides it."""
    step = getattr(model, name)
    if getattr(step, "__func__", None) is of_library:
        yield
        return
    before = model.__dict__.get(name)
    model.__dict__[name] = checked(model, name, step)
    try:
        yield
    finally:
        del model.__dict__[name]
        if before is not None:
            model.__dict__[name] = before


def running(log: Any) -> OwnStep | None:
    """The step that a subclass wrote and that runs now, of the model of this log."""
    step: OwnStep | None = getattr(_thread, "step", None)
    return step if step is not None and step.log is log else None


def note_use(model: Any, what: str, counted: Sequence[str] = ()) -> None:
    """Tells a running step of a subclass what of the library it has called."""
    step = running(model._term_log)
    if step is not None:
        step.use(what)
        step.counted += counted


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
def _as_running(step: OwnStep) -> Iterator[None]:
    before = getattr(_thread, "step", None)
    _thread.step = step
    try:
        yield
    finally:
        _thread.step = before


@contextlib.contextmanager
def _followed(owner: Any, name: str, note: Callable[[Any], None]) -> Iterator[None]:
    """Calls `note` with what the method `name` of `owner` returns, whenever it is called."""
    method = getattr(owner, name, None)
    if method is None:
        yield
        return

    @functools.wraps(method)
    def follow(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        note(result)
        return result

    owner.__dict__[name] = follow
    try:
        yield
    finally:
        del owner.__dict__[name]


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
