"""The metrics that hold what is logged: one per term, and a total that is their sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step import names, running
from keras_trainsteps.step.terms import StepTerm, as_loss, ratio
from keras_trainsteps.step.total import Losses


class TermTracker(keras.metrics.Mean):
    """The value of one term over an epoch: the sum of its totals over that of its counts.

    Sums are kept in float64, where 2**53 pairs can be counted.

    Args:
        name: What it is logged as.
        is_own: Whether the term has a denominator of its own, and not the rows.
        varies: Whether its loss weight may change between batches.
    """

    def __init__(self, name: str, *, is_own: bool, varies: bool) -> None:
        super().__init__(name=name, dtype="float64")
        compat.set_direction(self, "down")
        self.is_own, self.varies = is_own, varies
        self.weight: Any = None  # one that does not vary; `None` for 1
        self.weighted = self.query_sizes = None
        if is_own or varies:
            self.weighted = self.add_variable((), "zeros", "float64", name="weighted")
        if is_own:
            self.query_sizes = self.add_variable((2,), "zeros", "float64", name="query_sizes")

    def track(self, total: Any, count: Any, weight: Any = None) -> None:
        """Adds a batch's total and count; `weight` is the term's loss weight."""
        total, count = tf.cast(total, tf.float64), tf.cast(count, tf.float64)
        self.total.assign_add(total)
        self.count.assign_add(count)
        if self.weighted is not None:
            if weight is not None:
                total = total * keras.ops.convert_to_tensor(weight, dtype="float64")
            self.weighted.assign_add(total)

    def track_query_sizes(self, sizes: tf.Tensor | None) -> None:
        """Adds how many queries of a batch have one row, and how many more."""
        if sizes is not None and self.query_sizes is not None:
            self.query_sizes.assign_add(sizes)

    @property
    def has_lone_rows_only(self) -> bool:
        """Whether there were queries, all of one row, of a loss that compares rows."""
        if self.query_sizes is None:
            return False
        lone, more = self.query_sizes.numpy()
        return bool(lone > 0 and more == 0)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError(
            f"The tracker of the loss term {self.name!r} must be left to the model. Received: "
            "a call of `update_state`, as of a loop over `self.metrics`. Call "
            "`self.compute_metrics(x, y, y_pred, sample_weight)` for the metrics alone."
        )

    def result(self) -> tf.Tensor:
        return ratio(tf.convert_to_tensor(self.total), tf.convert_to_tensor(self.count))

    def weighted_result(self) -> tf.Tensor:
        """The term's part of the loss, with the weights that were in force."""
        if self.weighted is None:
            value = self.result()
            return value if self.weight is None else value * self.weight
        return ratio(tf.convert_to_tensor(self.weighted), tf.convert_to_tensor(self.count))

    def reset_state(self) -> None:
        for variable in self.variables:
            variable.assign(tf.zeros(variable.shape, variable.dtype))


class TotalLoss(keras.metrics.Mean):
    """The logged `loss`: the weighted sum of the logged terms and the regularization.

    What is averaged by rows is one running mean, as in `keras.Model`. Terms with a
    denominator of their own add their weighted values. That of an objective, which Keras
    does not log, is the sum of its terms alone, and needs no mean.

    Args:
        owner: The log that it belongs to.
        name: What it is logged as: `loss`, or the name of an objective.
        of_terms: Whether it is the sum of its terms alone.

    Attributes:
        own_terms: The trackers of the terms that it adds, as far as they are there.
    """

    own_terms: list[TermTracker]

    def __init__(self, owner: Any, name: str = "loss", *, of_terms: bool = False) -> None:
        super().__init__(name=name, dtype=as_loss(0.0).dtype.name)
        compat.set_direction(self, "down")
        # Past `__setattr__`: the terms are not state of this metric.
        self.__dict__.update(own_terms=[], owner=owner, of_terms=of_terms)

    def track(self, loss: Any, rows: Any) -> None:
        """Adds a batch's loss, of what is averaged by rows."""
        super().update_state(loss, sample_weight=rows)

    def note(self, rows: Any) -> None:
        """Notes that an objective was pursued, with a batch of so many rows."""
        self.count.assign_add(tf.cast(rows, self.count.dtype))

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Adds the loss of a batch in a step written by hand; it weighs as its rows."""
        values = tf.convert_to_tensor(values)
        weights = None if sample_weight is None else tf.convert_to_tensor(sample_weight)
        if weights is not None and weights.shape.rank != 0:
            raise TypeError(
                "The tracker of `loss` takes the loss of a batch. Received: values of shape "
                f"{tuple(values.shape)} with `sample_weight` of shape {tuple(weights.shape)}, "
                "as of `metric.update_state(y, y_pred)` in a loop over `self.metrics`. Call "
                "`update_state(loss)`, and `self.compute_metrics(x, y, y_pred, sample_weight)` "
                "for the metrics."
            )
        step = running.current(self.owner)
        if step is not None and step.counted:
            raise TypeError(
                "The loss of a batch cannot be averaged over an epoch by rows where terms "
                f"have counts of their own. Received: terms {step.counted}. Call "
                "`super().train_step(data)`, which adds up totals and counts."
            )
        super().update_state(values, sample_weight=_rows_for(values, weights, step))

    def result(self) -> tf.Tensor:
        own = [tracker.weighted_result() for tracker in self.own_terms]
        if self.of_terms:
            return tf.add_n(own) if own else tf.zeros((), tf.float64)
        loss = super().result()
        return tf.add_n([tf.cast(loss, tf.float64), *own]) if own else loss


class MeanByRows(keras.metrics.Mean):
    """A user's `Mean` on a model: a number that it is given in a step weighs as its rows.

    Its mean over an epoch is then that of the rows, also with a short last batch.
    """

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Adds values; a number without a weight counts once per row of the batch."""
        values = tf.convert_to_tensor(values)
        super().update_state(
            values, sample_weight=_rows_for(values, sample_weight, running.current())
        )


# It is shown and saved as what the user made.
MeanByRows.__module__, MeanByRows.__name__ = "keras.metrics", "Mean"


def weigh_by_rows(metrics: list[keras.metrics.Metric]) -> None:
    """Turns each plain `Mean` among these metrics of a model into a `MeanByRows`."""
    for metric in metrics:
        if type(metric) is keras.metrics.Mean:
            metric.__class__ = MeanByRows


def new_trackers(terms: Mapping[str, StepTerm | None]) -> dict[str, TermTracker]:
    """Trackers of terms, and of what has no term: regularization, added metrics."""
    kinds = {
        name: {
            "is_own": term is not None and not term.by_rows,
            "varies": tf.is_tensor(weight := None if term is None else term.weight)
            or isinstance(weight, keras.Variable | tf.Variable),
        }
        for name, term in terms.items()
    }
    return compat.created_outside(
        lambda: {name: TermTracker(name, **kind) for name, kind in kinds.items()}
    )


def track(losses: Losses, loss: TotalLoss, trackers: Mapping[str, TermTracker]) -> None:
    """Enters the losses of a batch into their trackers.

    What is averaged by rows is one running mean, updated as Keras updates its own.
    """
    if not loss.of_terms:
        loss.track(losses.by_rows, losses.rows)
    for term in losses.tracked:
        tracker = trackers[term.name]
        tracker.track(*term.of_epoch(losses.rows), term.weight)
        tracker.track_query_sizes(getattr(term.term, "query_sizes", None))
    if losses.regularization:
        value = tf.add_n(losses.regularization)
        rows = tf.cast(losses.rows, value.dtype)
        trackers[names.regularization_of(losses.name)].track(value * rows, rows)
    for name, metric in losses.metrics.items():
        trackers[name].track(*metric)


def _rows_for(values: tf.Tensor, weight: Any, step: running.Running | None) -> Any:
    """The weight of `values`: as given, or the rows of the running batch for a number."""
    is_number = weight is None and values.shape.rank == 0
    if not is_number or step is None or step.rows is None:
        return weight
    return step.rows(step.y_pred)
