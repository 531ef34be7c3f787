"""What was added to a model, as a source of terms of a step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_trainsteps.added.layer import AddedTerms
from keras_trainsteps.step.aims import Part
from keras_trainsteps.step.plan import Added
from keras_trainsteps.step.terms import LossTerm, StepTerm, as_loss, loss_name
from keras_trainsteps.step.trained import layers_of


def added_of(
    model: Any,
    layers: Iterable[AddedTerms],
    call_metrics: Iterable[dict[str, tf.Tensor]],
    rows: tf.Tensor,
) -> Added:
    """From what `model.losses` holds, its layers of added terms, and its last `call`.

    Some of the layers of a model may stand in its place.
    """
    terms, regularization = [], []
    for loss in model.losses:
        name = loss_name(loss)
        if name is None:
            regularization.append(loss)
            continue
        value = as_loss(loss)
        counted = tf.cast(rows, value.dtype)
        terms.append(
            StepTerm(name, LossTerm(value * counted, counted), value, True, None, "added")
        )
    metrics: dict[str, LossTerm] = {}
    for of_model in call_metrics:
        metrics |= {name: _mean(value, rows) for name, value in of_model.items()}
        of_model.clear()
    weights: dict[str, tf.Tensor] = {}
    logged: set[str] = set()
    for layer in layers:
        layer.require_values()
        for name, value in layer.metric_values().items():
            metrics[name] = _mean(value, rows)
        weights |= layer.term_weights()
        logged |= set(layer.logs())
    return Added(terms, regularization, metrics, weights, frozenset(logged))


def nothing_added(rows: tf.Tensor) -> Added:
    """Of an objective that trains a part of a model: what its networks add comes later."""
    return Added([], [], {}, {}, frozenset())


def added_by_networks(
    model: keras.Model,
    call_metrics: Iterable[dict[str, tf.Tensor]],
    part: Part,
    rows: tf.Tensor,
) -> Added:
    """What the networks that a part trains add: regularizers, and losses of their calls."""
    return added_of(_Networks(model, part.trains), (), call_metrics, rows)


class _Networks(NamedTuple):
    """Some of the layers of a model; `None` for all."""

    model: keras.Model
    trains: Any

    @property
    def losses(self) -> list[tf.Tensor]:
        if self.trains is None:
            return list(self.model.losses)
        every = (each for each in layers_of(self.model, self.trains))
        return list({id(loss): loss for each in every for loss in each.losses}.values())


def _mean(value: Any, rows: tf.Tensor) -> LossTerm:
    """Sum and count of all values; a scalar counts as the rows of its batch."""
    value = as_loss(tf.convert_to_tensor(value))
    if value.shape.rank == 0:
        counted = tf.cast(rows, value.dtype)
        return LossTerm(value * counted, counted)
    return LossTerm(tf.reduce_sum(value), tf.size(value))
