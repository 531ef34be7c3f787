"""What callbacks, metrics and optimizers remember."""

from __future__ import annotations

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


def learning_rate_schedule(
    optimizer: keras.optimizers.Optimizer,
) -> keras.optimizers.schedules.LearningRateSchedule | None:
    """The schedule of an optimizer's learning rate, or `None` for a constant one.

    `optimizer.learning_rate` is the value at the present step (seen in 3.15.1).
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    rate = getattr(optimizer, "_learning_rate", None)
    return None if isinstance(rate, keras.Variable) else rate
