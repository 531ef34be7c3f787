"""What is logged: one tracker a term, and a total that is their weighted sum."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps.keras2 import record as step_record


class TermTracker(keras.metrics.Mean):
    """The value of one term over an epoch: the sum of its totals over that of its counts.

    Sums are kept in float64, where 2**53 pairs can be counted.
    """

    def __init__(self, name: str, *, own: bool) -> None:
        super().__init__(name=name, dtype="float64")
        self._direction = "down"  # what callbacks that monitor it take for better
        self.weighted = None
        if own:  # a denominator of its own: `TotalLoss` asks for the weighted value
            self.weighted = self.add_variable((), "zeros", "float64", name="weighted")
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

    def track_queries(self, sizes: tf.Tensor | None) -> None:
        """Adds how many queries of a batch have one row, and how many more."""
        if sizes is not None and self.weighted is not None:
            self.query_sizes.assign_add(sizes)

    @property
    def has_lone_rows_only(self) -> bool:
        """Whether there were queries, all of one row, of a loss that compares rows."""
        if self.weighted is None:
            return False
        lone, more = self.query_sizes.numpy()
        return bool(lone > 0 and more == 0)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError(
            f"The tracker of the loss term {self.name!r} must be left to the model. Received: "
            "a call of `update_state`, as of a loop over `self.metrics`. Call "
            "`self.compute_metrics(x, y, y_pred, sample_weight)` for the metrics alone."
        )

    def weighted_result(self) -> tf.Tensor:
        """The term's part of the loss, with the weights that were in force."""
        return tf.math.divide_no_nan(
            tf.convert_to_tensor(self.weighted), tf.convert_to_tensor(self.count)
        )

    def reset_state(self) -> None:
        super().reset_state()
        if self.weighted is not None:
            self.weighted.assign(0)
            self.query_sizes.assign([0, 0])


class TotalLoss(keras.metrics.Mean):
    """The logged `loss`: the weighted sum of the logged terms and the regularization.

    What is averaged by rows is one running mean, as in `keras.Model`. Terms with a
    denominator of their own add their weighted values.
    """

    def __init__(self, log: TermLog) -> None:
        super().__init__(name="loss")
        self._direction = "down"
        # Functions: the terms and the step are not state of this metric.
        self._own_terms: Callable[[], list[TermTracker]] = lambda: log.own
        self._own_step: Callable[[], step_record.StepRecord | None] = lambda: step_record.running(
            log
        )

    def track(self, loss: Any, rows: Any) -> None:
        """Adds a batch's loss, of what is averaged by rows."""
        super().update_state(loss, sample_weight=rows)

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
        step = self._own_step()
        if step is not None and step.counted:
            raise TypeError(
                "The loss of a batch cannot be averaged over an epoch by rows where terms "
                f"have counts of their own. Received: terms {step.counted}. Call "
                "`super().train_step(data)`, which adds up totals and counts."
            )
        if step is not None and weights is None and values.shape.rank == 0:
            weights = step.rows
        super().update_state(values, sample_weight=weights)

    def result(self) -> tf.Tensor:
        loss = super().result()
        own = [tracker.weighted_result() for tracker in self._own_terms()]
        return tf.add_n([tf.cast(loss, tf.float64), *own]) if own else loss


class TermLog:
    """The trackers of one `compile`, and which names each kind of step logs.

    A plain object: Keras neither saves it nor takes its trackers for model state.
    """

    def __init__(self) -> None:
        self.trackers: dict[str, TermTracker] = {}
        self.own: list[TermTracker] = []
        self.hidden: set[str] = set()
        self.weights: dict[str, Any] = {}
        self.training = True
        self.in_step = False
        self.epoch_runs = False
        self.fitting = False
        self.trains_own_loss = False  # in a `train_step` of a subclass
        self._names: dict[bool, tuple[str, ...]] = {}
        self._warned: set[str] = set()

    @contextmanager
    def step(self, training: bool) -> Iterator[None]:
        """Marks that a step is being traced or run."""
        self.training, before, self.in_step = training, self.in_step, True
        try:
            yield
        finally:
            self.in_step = before

    def declare(
        self,
        names: Iterable[str],
        own: Iterable[str],
        training: bool,
        *,
        hidden: Iterable[str],
    ) -> None:
        """Creates the trackers of a step's terms; the names must stay the same."""
        names = tuple(names)
        known = self._names.get(training)
        if known is not None and set(known) != set(names):
            raise ValueError(
                "`compute_losses` must return the same names in every step. Received: "
                f"{sorted(names)} after {sorted(known)}. Return a term that does not "
                "apply as `LossTerm(0.0, 0.0)`, or compile again."
            )
        own = set(own)
        for name in names:
            if name not in self.trackers:
                with tf.init_scope():
                    self.trackers[name] = TermTracker(name, own=name in own)
                if name in own:
                    self.own.append(self.trackers[name])
        self._names[training] = names
        self.hidden |= set(hidden)

    @property
    def unlogged(self) -> set[str]:
        """Names that this kind of step does not log: hidden, or of the other kind only."""
        return self.hidden | (set(self.trackers) - set(self._names.get(self.training, ())))

    def end_epoch(self) -> None:
        """Warns once of each term that had nothing to count in the epoch that ends.

        Raises:
            ValueError: In `fit`, for a term that compares rows of a query, where every
                query of the epoch had one row.
        """
        if not self.epoch_runs:
            return
        self.epoch_runs = False
        for tracker in self.own:
            if tracker.name not in self._names.get(self.training, ()):
                continue
            if self.fitting and self.training and tracker.has_lone_rows_only:
                raise ValueError(
                    f"Loss term {tracker.name!r} compares the rows of a query. Received: an "
                    "epoch in which every query had one row, so that nothing was learned. "
                    "`query_ids` must be the same for the rows of a query."
                )
            if tracker.name in self._warned:
                continue
            if float(tracker.count.numpy()) == 0.0:
                self._warned.add(tracker.name)
                warnings.warn(
                    f"Loss term {tracker.name!r} had nothing to count in the whole "
                    "epoch: no pair, token or triplet. It is logged as 0 and trained "
                    "nothing. Do batches hold whole queries (`data.query_batches`), "
                    "with labels that differ?",
                    stacklevel=4,
                )
