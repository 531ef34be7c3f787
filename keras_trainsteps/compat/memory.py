"""What callbacks, metrics and optimizers remember."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import keras

# Not all of `vars`: `ReduceLROnPlateau` negates its `min_delta` in place on first use
# (seen in 3.15.1), and to restore it would negate it twice.
_REMEMBERED: dict[type[keras.callbacks.Callback], tuple[str, ...]] = {
    keras.callbacks.EarlyStopping: ("best", "wait", "best_epoch", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: (
        "best",
        "_batches_seen_since_last_saving",
        "_current_epoch",
        "_last_batch_seen",
    ),
    keras.callbacks.TensorBoard: ("_global_train_batch", "_global_test_batch"),
}


def remembered_by(callback: keras.callbacks.Callback) -> tuple[str, ...] | None:
    """The attributes in which a callback of Keras keeps what it learned while training.

    `None` for a class that is not known here. Keras offers no way to save a callback's
    state (seen in 3.15.1).
    """
    for kind, names in _REMEMBERED.items():
        if isinstance(callback, kind):
            return names
    return None


def set_direction(metric: keras.metrics.Metric, direction: Literal["up", "down"]) -> None:
    """Says which values of a metric callbacks take for better in their mode `"auto"`.

    Keras reads it from a private attribute, and has no public way to say it (seen in
    3.15.1).
    """
    metric._direction = direction


def compile_options(model: keras.Model) -> dict[str, Any]:
    """What a model was compiled with, as it was given.

    Keras gives it as a config alone, which has no code of functions (seen in 3.15.1).
    """
    return dict(model._compile_config.config)


# Lists of what other attributes hold (seen in 3.15.1).
_OPTIMIZER_LISTS = ("_variables", "_trainable_variables", "_tracker")


def optimizer_attributes(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """What the attributes of an optimizer hold, by name, each once.

    Keras lists an optimizer's variables under names that are not unique; only attributes
    tell which weight each belongs to (seen in 3.15.1).
    """
    found = vars(optimizer)
    return {name.lstrip("_"): found[name] for name in found if name not in _OPTIMIZER_LISTS}


def optimized_weights(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The weights that an optimizer was built with, which Keras does not say (3.15.1)."""
    own = list(getattr(optimizer, "_trainable_variables", ()))
    inner = getattr(optimizer, "inner_optimizer", None)
    return own if own or inner is None else optimized_weights(inner)


@contextlib.contextmanager
def averages_of_what_is_trained(optimizer: keras.optimizers.Optimizer | None) -> Iterator[None]:
    """Ends a `fit` with the averages (`use_ema`) of the weights that the optimizer trains.

    Keras gives them in order to all trainable weights of the model: where an optimizer trains
    some of these, others get their values, and `MultiOptimizer` raises (seen in 3.15.1).
    """
    if optimizer is None or "finalize_variable_values" in vars(optimizer):
        yield  # the `fit` around this one does
        return
    own = functools.partial(_finalize, optimizer, optimizer.finalize_variable_values)
    optimizer.__dict__["finalize_variable_values"] = own
    try:
        yield
    finally:
        del optimizer.__dict__["finalize_variable_values"]


def _finalize(
    optimizer: keras.optimizers.Optimizer,
    finalize: Callable[[Sequence[Any]], None],
    weights: Sequence[Any],
) -> None:
    finalize(optimized_weights(optimizer) or weights)


def unbuilt_copy(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """An optimizer of the same config, without state."""
    copy = type(optimizer).from_config(optimizer.get_config())
    for name in _OF_OBJECTIVES:
        if name in vars(optimizer):
            vars(copy)[name] = vars(optimizer)[name]
    return copy


# What `Optimizers` of several objectives know of their model.
_OF_OBJECTIVES = ("_weights_of",)


def each_optimizer(
    optimizer: keras.optimizers.Optimizer,
) -> dict[str, keras.optimizers.Optimizer]:
    """The optimizers in that of several objectives, by how their state begins; or it alone."""
    names = getattr(optimizer, "names", None)
    return {"": optimizer} if names is None else {f"of_{n}/": optimizer[n] for n in names}


def learning_rate_schedule(
    optimizer: keras.optimizers.Optimizer,
) -> keras.optimizers.schedules.LearningRateSchedule | None:
    """The schedule of an optimizer's learning rate, or `None` for a constant one.

    `optimizer.learning_rate` is the value at the present step (seen in 3.15.1).
    """
    if hasattr(optimizer, "names"):  # each of several objectives has its own
        return None
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    rate = getattr(optimizer, "_learning_rate", None)
    return None if isinstance(rate, keras.Variable) else rate
