"""A `train_step` or `test_step` that a subclass wrote itself: what it logs is right or refused.

Keras logs, for an epoch, the results of `model.metrics` where the keys match, and else what
the last batch returned. A step that returns `{"loss": loss}` is so logged as 0, or as its
last batch. Here the metric of a returned name must have been updated by the step, and what
has no metric must not be a value of the batch alone.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from keras_trainsteps import compat
from keras_trainsteps.keras2.state import StateBefore, is_of_batch_alone
from keras_trainsteps.step import checks, running
from keras_trainsteps.step.batch import Batch
from keras_trainsteps.step.log import Log
from keras_trainsteps.step.plan import Plan
from keras_trainsteps.step.running import Running

REPLACEMENT = """Delete `{step}` and return the loss from the hook, which is trained on, logged and evaluated:

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {{"my_loss": ...}}

With several optimizers, or several updates a batch, return an `Objective` for each from `objectives`.
"""  # noqa: E501

OF_KERAS_2 = {
    "minimize": "`optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))`",
    "get_updates": "`optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))`",
    "get_gradients": "`tape.gradient(loss, weights)` of a `tf.GradientTape`",
    "get_scaled_loss": "`optimizer.scale_loss(loss)`",
    "get_unscaled_gradients": "nothing: `optimizer.apply_gradients` does so itself",
    "reset_states": "`reset_state()`",
}


@contextlib.contextmanager
def guarded(model: Any, name: str, of_library: Any) -> Iterator[None]:
    """While Keras takes the step `name` of `model`: one that a subclass wrote is guarded."""
    step = getattr(model, name)
    if getattr(step, "__func__", None) is of_library:
        log = model._plan.log
        checks.require_listed(model.metrics, None if log.loss_is_users else log.loss)
        checks.require_listed(model.metrics, compat.compile_metrics(model))
        yield
        return
    with _replaced(model, name, _guarded_step(model, name, step)):
        yield


def _guarded_step(model: Any, name: str, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`step`, a subclass's own, with its batch guarded and what it logs checked."""
    training = name == "train_step"

    def run(data: Any) -> Any:
        plan: Plan = model._plan
        parts = data if isinstance(data, tuple) else (data,)
        while len(parts) > 1 and parts[-1] is None:  # of `train_on_batch`
            parts = parts[:-1]
        batch = Batch.of(parts) if len(parts) <= 3 else Batch(parts, None, None)
        before = StateBefore(model.metrics)
        with (
            plan.running(batch, training=training, by_hand=True) as own,
            # Replicas share the model; what they may call is the library's own step.
            _calls_noted(model, own.called)
            if own.num_replicas == 1
            else contextlib.nullcontext(),
            _explained(name),
        ):
            returned = step(parts if isinstance(data, tuple) else data)
        if own.row_mask is not None and "step" not in own.called:
            raise ValueError(
                f"A `{name}` that is written by hand must see whole batches of rows that count. "
                "Received: batches of `pad=True`, of which `super()` knows the rows that do not. "
                f"Call `super().{name}(data)`, or fit without `pad=True`."
            )
        if training:
            _require_scaled(model.optimizer, own.called)
            if "step" not in own.called:
                _require_each_step_updates(model)
                _require_whole_batches(model)
            plan.log.trains_own_loss = not own.called & {"step", "loss"}
        if "step" in own.called:
            checks.require_listed(model.metrics, plan.log.loss)
        _require_one_replica(name, own)
        return _require_kept(name, returned, model, before, batch, own)

    return run


def _require_kept(
    step: str, returned: Any, model: Any, before: StateBefore, batch: Batch, own: Running
) -> dict[str, Any]:
    """What the step returned, flat, without what it does not log.

    Raises:
        TypeError: For values that are kept in no metric over an epoch.
    """
    if not isinstance(returned, Mapping):
        raise TypeError(
            f"`{step}` must return a dict of results of metrics. Received: "
            f"{type(returned).__name__}. {REPLACEMENT.format(step=step)}"
        )
    log: Log = own.owner
    flat: dict[str, Any] = {}
    for name, value in returned.items():
        flat.update(value if isinstance(value, Mapping) else {name: value})
    flat = {name: value for name, value in flat.items() if name not in log.unlogged}
    if own.num_replicas > 1:  # only a step that calls that of the library is allowed
        return flat
    known = log.updated_by_hand.setdefault(step, set())
    known |= {metric.name for metric in model.metrics} - before.untouched(model.metrics)
    untouched = {metric.name for metric in model.metrics} - known
    for name, value in list(flat.items()):
        if is_of_batch_alone(value, batch, any_updated=bool(known)):
            raise TypeError(
                f"`{step}` must return results of the metrics in `metrics`, which are kept "
                f"over an epoch. Received: under {name!r} a value of one batch, for which "
                "Keras would log 0 or the last batch. "
                f"{REPLACEMENT.format(step=step)}\n"
                "Or update a metric in `metrics` and return its `result()`."
            )
        if name in untouched and name not in log.totals:
            del flat[name]  # of the other kind of step
        elif name in untouched:
            raise TypeError(
                f"`{step}` must update every metric whose result it returns. Received: "
                f"{name!r}, not updated, which would be logged as 0. "
                f"{REPLACEMENT.format(step=step)}\n"
                f"Or call `update_state`, or leave {name!r} out of what `{step}` returns."
            )
    return flat


def require_loss_of_training(log: Log) -> None:
    """Refuses to evaluate another loss than that of a `train_step` written by hand."""
    step = running.current(log)
    if log.trains_own_loss and (step is None or not step.by_hand):
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


def _require_scaled(optimizer: Any, called: set[str]) -> None:
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    scales = scales or getattr(optimizer, "loss_scale_factor", None) is not None
    if scales and "apply" in called and "scale_loss" not in called:
        raise ValueError(
            "`train_step` must scale the loss: the optimizer divides gradients by that scale, "
            "for a float16 policy or by `loss_scale_factor`. Received: no call of "
            "`scale_loss`. Put "
            "`loss = self.optimizer.scale_loss(loss)` before `tape.gradient`, or: "
            f"{REPLACEMENT.format(step='train_step')}"
        )


def _require_each_step_updates(model: Any) -> None:
    accumulation = model._training.accumulation
    if accumulation is not None:
        raise ValueError(
            "`train_step` must call `super().train_step(data)` where gradients of several steps "
            f"are accumulated, and leave the update to it. Received: `accumulate_steps="
            f"{accumulation.steps}` with a step that updates by itself. Compile with "
            f"`accumulate_steps=1`, or: {REPLACEMENT.format(step='train_step')}"
        )


def _require_whole_batches(model: Any) -> None:
    micro_batches = model._training.micro_batches
    if micro_batches is not None:
        raise ValueError(
            "`train_step` must call `super().train_step(data)` where the network sees "
            f"micro-batches. Received: `micro_batch_size={micro_batches.size}` with a step "
            "that calls the network by itself. Compile without it, or: "
            f"{REPLACEMENT.format(step='train_step')}"
        )


def _require_one_replica(step: str, own: Running) -> None:
    if own.num_replicas > 1 and "step" not in own.called:
        raise ValueError(
            f"`{step}` must call `super().{step}(data)` on several replicas, whose gradients "
            f"and logs are those of one device. Received: {own.num_replicas} "
            f"replicas. {REPLACEMENT.format(step=step)}"
        )


@contextlib.contextmanager
def _calls_noted(model: Any, called: set[str]) -> Iterator[None]:
    """Notes whether the step computes the model's loss, scales it and applies gradients."""
    noted = [
        (model, "compute_loss", "loss"),
        (model.optimizer, "scale_loss", "scale_loss"),
        (model.optimizer, "apply", "apply"),
    ]
    with contextlib.ExitStack() as stack:
        for owner, name, what in noted:
            method = getattr(owner, name, None)
            if method is not None:
                follow = functools.partial(_noted, model, method, what, called)
                stack.enter_context(_replaced(owner, name, follow))
        yield


def _noted(
    model: Any,
    method: Callable[..., Any],
    what: str,
    called: set[str],
    *args: Any,
    **kwargs: Any,
) -> Any:
    called.add(what)
    step = running.current()
    if what == "apply" and step is not None and step.by_hand:
        _require_each_step_updates(model)
        _require_whole_batches(model)
    return method(*args, **kwargs)


@contextlib.contextmanager
def _replaced(owner: Any, name: str, function: Any) -> Iterator[None]:
    """Puts `function` in the place of a method of this one object."""
    before = owner.__dict__.get(name)
    owner.__dict__[name] = function
    try:
        yield
    finally:
        del owner.__dict__[name]
        if before is not None:
            owner.__dict__[name] = before
