"""From the terms of a batch to the loss that is trained on, and to what is logged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_trainsteps import replicas
from keras_trainsteps.terms import LossTerm, StepTerm, as_loss
from keras_trainsteps.trackers import TermLog


class LossParts(NamedTuple):
    """The terms and added losses of one batch on one replica.

    Attributes:
        terms: The terms of the hook and of `compile`.
        added: What `model.losses` holds: regularization and `add_loss` of layers.
        rows: The number of rows of the batch.
        loss: The loss to train on. On one of several replicas its share, with the
            denominators of all replicas: the shares add up to the loss of the whole batch.
    """

    terms: list[StepTerm]
    added: list[tf.Tensor]
    rows: tf.Tensor
    loss: tf.Tensor

    @classmethod
    def of(cls, terms: list[StepTerm], added: Iterable[Any], rows: tf.Tensor) -> LossParts:
        """Adds up the loss of a batch.

        Raises:
            ValueError: When there is nothing to add up.
        """
        sums = [keras.ops.sum(as_loss(loss)) for loss in added]
        if not terms and not sums:
            raise ValueError(
                "There is no loss to compute. Received: no `loss` in `compile()`, nothing "
                "from `compute_losses`, no `add_loss`. Provide one of them."
            )
        if replicas.num_replicas() == 1:
            values, added_share = [term.value for term in terms], sums
        else:
            values, added_share = _shares(terms, sums, rows)
        weighed = [term.weigh(value) for term, value in zip(terms, values, strict=True)]
        return cls(terms, sums, rows, _sum(weighed, added_share))

    @property
    def shown(self) -> bool:
        """Whether terms are logged one by one: not where `loss` is the only one of Keras."""
        return len(self.terms) > 1 or any(not term.compiled for term in self.terms)

    def declare(self, log: TermLog, training: bool) -> None:
        """Creates the trackers that these parts are logged in."""
        hidden = [] if self.shown else [term.name for term in self.terms]
        names = [term.name for term in self.terms]
        own = [term.name for term in self.terms if not term.by_rows]
        if self.added:
            names.append("regularization")
        log.declare(names, own, training, hidden=hidden)

    def track(self, log: TermLog, loss_tracker: keras.metrics.Mean) -> None:
        """Enters the values of this batch into the trackers.

        What is averaged by rows is one running mean, updated as Keras updates its own.
        """
        by_rows = [term for term in self.terms if term.by_rows]
        if replicas.num_replicas() == 1 and len(by_rows) == len(self.terms):
            local = self.loss
        else:
            local = _sum([term.weigh(term.value) for term in by_rows], self.added)
        loss_tracker.update_state(local, sample_weight=self.rows)
        for term in self.terms:
            counted = (term.value * tf.cast(self.rows, term.value.dtype), self.rows)
            log.trackers[term.name].track(
                *(counted if term.by_rows else term.term), term.weight
            )
        if self.added:
            total = tf.add_n(self.added) * tf.cast(self.rows, self.added[0].dtype)
            log.trackers["regularization"].track(total, self.rows)


def _sum(values: list[tf.Tensor], added: list[tf.Tensor]) -> tf.Tensor:
    """The sum in Keras's own order of operations, which fixes its last bit."""
    parts = [sum(values), *added] if values else added
    if not parts:
        return as_loss(tf.zeros(()))
    return parts[0] if len(parts) == 1 else keras.ops.sum(parts)


def _shares(
    terms: list[StepTerm], added: list[tf.Tensor], rows: tf.Tensor
) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Each term over its count on all replicas; added losses by this replica's rows."""
    counts = [as_loss(rows), *(as_loss(term.term.count) for term in terms)]
    every = tf.unstack(replicas.sum_over_replicas(tf.stack(counts)), num=len(counts))
    values = [
        as_loss(LossTerm(term.term.total, count).value)
        for term, count in zip(terms, every[1:], strict=True)
    ]
    share = tf.math.divide_no_nan(as_loss(rows), every[0])
    return values, [loss * share for loss in added]
