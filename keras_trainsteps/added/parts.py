"""What was added to a model, as parts of one step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import tensorflow as tf

from keras_trainsteps.added.layer import AddedTerms
from keras_trainsteps.step.terms import LossTerm, StepTerm, as_loss, loss_name


class AddedParts(NamedTuple):
    """The added losses and metrics of one batch.

    Attributes:
        terms: The losses that have a name.
        unnamed: The other ones, and weight regularization.
        metrics: Sum and count of the values of each metric.
        weights: Trained weights of terms, by name of term.
        logged: The names of trained coefficients in the logs.
    """

    terms: list[StepTerm]
    unnamed: list[tf.Tensor]
    metrics: dict[str, LossTerm]
    weights: dict[str, tf.Tensor]
    logged: set[str]

    @classmethod
    def of(
        cls, losses: Iterable[Any], layers: Iterable[AddedTerms], rows: tf.Tensor
    ) -> AddedParts:
        """From what `model.losses` holds and the layers of added terms."""
        terms, unnamed = [], []
        for loss in losses:
            name = loss_name(loss)
            if name is None:
                unnamed.append(loss)
                continue
            value = as_loss(loss)
            counted = tf.cast(rows, value.dtype)
            terms.append(StepTerm(name, LossTerm(value * counted, counted), value, True))
        metrics: dict[str, LossTerm] = {}
        weights: dict[str, tf.Tensor] = {}
        logged: set[str] = set()
        for layer in layers:
            layer.require_values()
            for name, value in layer.metric_values().items():
                metrics[name] = _mean(value, rows)
            weights |= layer.term_weights()
            logged |= set(layer.logs())
        return cls(terms, unnamed, metrics, weights, logged)

    @property
    def names(self) -> set[str]:
        """What is logged of it by name."""
        return {*(term.name for term in self.terms), *self.metrics, *self.logged}

    def require_free(self, taken: set[str]) -> None:
        """Refuses names that something else is logged under."""
        names = [*(term.name for term in self.terms), *self.metrics, *self.logged]
        clashing = sorted(name for name in set(names) if name in taken or names.count(name) > 1)
        if clashing:
            raise ValueError(
                "An added loss or metric needs a name of its own: neither 'loss', "
                "'regularization', the name of a metric nor that of a compiled loss. "
                f"Received: {clashing}. Add it under another `name`."
            )

    def weigh(self, terms: list[StepTerm]) -> list[StepTerm]:
        """The terms with their trained weights."""
        if not self.weights:
            return terms
        known = {term.name for term in terms}
        unknown = sorted(set(self.weights) - known)
        if unknown:
            raise ValueError(
                "`terms` of `UncertaintyWeighting` must be terms of the loss. Received: "
                f"{unknown}, where the terms are {sorted(known)}."
            )
        return [
            term._replace(weight=term.weigh(self.weights[term.name]))
            if term.name in self.weights
            else term
            for term in terms
        ]


def _mean(value: Any, rows: tf.Tensor) -> LossTerm:
    """Sum and count of all values; a scalar counts as the rows of its batch."""
    value = as_loss(tf.convert_to_tensor(value))
    if value.shape.rank == 0:
        counted = tf.cast(rows, value.dtype)
        return LossTerm(value * counted, counted)
    return LossTerm(tf.reduce_sum(value), tf.size(value))
