"""From the terms of a batch to the loss that is trained on, and to what is logged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_trainsteps import replicas
from keras_trainsteps.step.log import TermLog, TotalLoss
from keras_trainsteps.step.terms import LossTerm, QueryTerm, StepTerm, as_loss


class LossParts(NamedTuple):
    """The terms and added losses of one batch on one replica.

    Attributes:
        terms: The terms of the hook and of `compile`.
        added: What `model.losses` holds: regularization and `add_loss` of layers.
        rows: The number of rows of the batch.
        loss: The loss to train on. On one of several replicas its share, with the
            denominators of all replicas: the shares add up to the loss of the whole batch.
        metrics: What is logged beside the loss.
    """

    terms: list[StepTerm]
    added: list[tf.Tensor]
    rows: tf.Tensor
    loss: tf.Tensor
    metrics: Mapping[str, LossTerm] = {}

    @classmethod
    def of(
        cls,
        terms: list[StepTerm],
        added: Iterable[Any],
        rows: tf.Tensor,
        metrics: Mapping[str, LossTerm],
    ) -> LossParts:
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
        if replicas.num_replicas() > 1:
            return cls._of_replica(terms, sums, rows)._replace(metrics=metrics)
        loss = _sum([term.weigh(term.value) for term in terms], sums)
        return cls(terms, sums, rows, loss, metrics)

    @classmethod
    def _of_replica(
        cls, terms: list[StepTerm], added: list[tf.Tensor], rows: tf.Tensor
    ) -> LossParts:
        """On one of several replicas: each term over its count on all of them.

        What is averaged by rows is logged as this replica's share in the value of the
        whole batch, and added losses weigh as this replica's rows.
        """
        counts = [as_loss(rows), *(as_loss(term.term.count) for term in terms)]
        every = tf.unstack(replicas.sum_over_replicas(tf.stack(counts)), num=len(counts))
        shares = [
            as_loss(LossTerm(term.term.total, count).value)
            for term, count in zip(terms, every[1:], strict=True)
        ]
        of_rows = tf.math.divide_no_nan(counts[0], every[0])
        logged = [
            term._replace(value=tf.math.divide_no_nan(share, of_rows)) if term.by_rows else term
            for term, share in zip(terms, shares, strict=True)
        ]
        weighed = [term.weigh(share) for term, share in zip(terms, shares, strict=True)]
        return cls(logged, added, rows, _sum(weighed, [loss * of_rows for loss in added]))

    @property
    def tracked(self) -> list[StepTerm]:
        """The terms with a tracker: not a single loss of Keras, which `loss` itself tracks."""
        single = len(self.terms) == 1 and self.terms[0].compiled
        return [term for term in self.terms if not (single and term.by_rows)]

    def declare(self, log: TermLog, training: bool) -> None:
        """Creates the trackers that these parts are logged in."""
        names = [term.name for term in self.tracked]
        own = [term.name for term in self.tracked if not term.by_rows]
        single = len(self.terms) == 1 and self.terms[0].compiled
        if self.added:
            names.append("regularization")
        names += self.metrics
        log.declare(names, own, training, hidden=own if single else ())
        log.weights.update({term.name: term.weight for term in self.tracked})

    def track(self, log: TermLog, loss_tracker: TotalLoss) -> None:
        """Enters the values of this batch into the trackers.

        What is averaged by rows is one running mean, updated as Keras updates its own.
        """
        by_rows = [term for term in self.terms if term.by_rows]
        if replicas.num_replicas() == 1 and len(by_rows) == len(self.terms):
            local = self.loss
        else:
            local = _sum([term.weigh(term.value) for term in by_rows], self.added)
        loss_tracker.track(local, self.rows)
        for term in self.tracked:
            value = tf.reduce_mean(term.value)  # a loss with `reduction=None` has many
            counted = (value * tf.cast(self.rows, value.dtype), self.rows)
            tracker = log.trackers[term.name]
            tracker.track(*(counted if term.by_rows else term.term), term.weight)
            if isinstance(term.term, QueryTerm):
                tracker.track_queries(term.term.query_sizes)
        if self.added:
            total = tf.add_n(self.added) * tf.cast(self.rows, self.added[0].dtype)
            log.trackers["regularization"].track(total, self.rows)
        for name, metric in self.metrics.items():
            log.trackers[name].track(*metric)


def _sum(values: list[tf.Tensor], added: list[tf.Tensor]) -> tf.Tensor:
    """The sum in Keras's own order of operations, which fixes its last bit."""
    parts = [sum(values), *added] if values else added
    if not parts:
        return as_loss(tf.zeros(()))
    return parts[0] if len(parts) == 1 else keras.ops.sum(parts)
