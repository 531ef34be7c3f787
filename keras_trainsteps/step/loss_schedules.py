"""Loss weights that move: with the step, as values of `loss_weights`; by epoch, by a callback."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

Schedule = keras.optimizers.schedules.LearningRateSchedule


def is_schedule(weight: Any) -> bool:
    """Whether a weight is a function of the step."""
    variables = (keras.Variable, tf.Variable)
    return isinstance(weight, Schedule) or (
        callable(weight) and not isinstance(weight, variables)
    )


def require_untrained(name: str, weight: Any) -> None:
    """Refuses a variable that asks to be trained, which no step does."""
    if isinstance(weight, (keras.Variable, tf.Variable)) and weight.trainable:
        raise ValueError(
            "`loss_weights` must hold variables that are not trained: `keras.Variable(0.5, "
            f"trainable=False)`. Received: a trainable one for {name!r}. To train a weight, "
            "`add_loss` a `penalties.UncertaintyWeighting`."
        )


def scheduled_variable(name: str, schedule: Callable[[Any], Any]) -> keras.Variable:
    """A variable for the value of a schedule, which is that of step 0."""
    value = np.asarray(keras.ops.convert_to_numpy(schedule(tf.zeros((), tf.int64))))
    if value.shape != () or not np.isfinite(value):
        raise ValueError(
            "`loss_weights` must hold schedules that give a finite number. Received: one for "
            f"{name!r} that gives {value} at step 0."
        )
    return keras.Variable(
        float(value),
        dtype="float32",
        trainable=False,
        aggregation="only_first_replica",
        name=f"{name.replace('/', '_')}_weight",
    )


def follow(scheduled: Iterable[tuple[keras.Variable, Callable[[Any], Any]]], steps: Any) -> None:
    """Gives each weight the value of its schedule after so many steps."""
    for variable, schedule in scheduled:
        variable.assign(tf.cast(schedule(tf.convert_to_tensor(steps)), tf.float32))


class LossWeightScheduler(keras.callbacks.Callback):
    """Sets a loss weight at the beginning of each epoch.

    As `keras.callbacks.LearningRateScheduler`, for a weight that `compile(loss_weights=...)`
    was given as a variable. The weight of an epoch is logged as `<term>_weight`. For a weight
    that moves by the step, no callback is needed: give `loss_weights` a schedule of
    `keras.optimizers.schedules`, or a function of the number of steps.

    Args:
        term: The name of the term, as in `loss_weights`.
        schedule: A function of the epoch, from 0, and, if it takes two arguments, of the weight
            so far; it returns the new weight.

    Raises:
        TypeError: For a schedule that is no function.
        ValueError: When training begins: for a term whose weight is no variable; in an epoch:
            for what is no finite number.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> class TwoTerms(LossAwareModel):
    ...     def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
    ...         return {"close": keras.ops.square(y_pred - y), "small": keras.ops.square(y_pred)}
    >>> inputs = keras.Input((2,))
    >>> model = TwoTerms(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("sgd", loss_weights={"small": keras.Variable(0.0, trainable=False)})
    >>> warm_up = LossWeightScheduler("small", lambda epoch: min(1.0, epoch / 2))
    >>> data = np.ones((4, 2)), np.ones((4, 1))
    >>> history = model.fit(*data, epochs=4, verbose=0, callbacks=[warm_up])
    >>> history.history["small_weight"]
    [0.0, 0.5, 1.0, 1.0]
    """

    def __init__(self, term: str, schedule: Callable[..., float]) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(
                "`schedule` must be a function of the epoch that returns a weight. "
                f"Received: {schedule!r}."
            )
        self.term, self.schedule = term, schedule

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        variables = getattr(self.model, "loss_weight_variables", {})
        if self.term not in variables:
            raise ValueError(
                "`term` must be one whose weight `compile` was given as a variable, as "
                f"`loss_weights={{{self.term!r}: keras.Variable(0.0, trainable=False)}}`. "
                f"Received: {self.term!r}, where variables are {sorted(variables)}."
            )

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        variable = self._variable
        takes = len(inspect.signature(self.schedule).parameters)
        before = (float(np.asarray(variable)),) if takes > 1 else ()
        value = float(self.schedule(epoch, *before))
        if not np.isfinite(value):
            raise ValueError(
                f"`schedule` must return a finite number. Received: {value} for {epoch}."
            )
        variable.assign(value)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs[f"{self.term}_weight"] = float(np.asarray(self._variable))

    def get_state(self) -> dict[str, Any]:
        """Nothing: the weight is kept with the model."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Has nothing to set."""

    @property
    def _variable(self) -> keras.Variable:
        found: keras.Variable = self.model.loss_weight_variables[self.term]
        return found
