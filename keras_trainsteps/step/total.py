"""From the terms of a batch to the loss that is trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_trainsteps import replicas
from keras_trainsteps.step.terms import LossTerm, StepTerm, as_loss


class Losses(NamedTuple):
    """The losses of one batch on one replica.

    Attributes:
        loss: The loss to train on. On one of several replicas its share, with the
            denominators of all replicas: the shares add up to the loss of the whole batch.
        by_rows: The part of the loss that epochs average by rows.
        rows: The number of rows of the batch.
        terms: The named terms, each with its weight.
        regularization: What has no name in `model.losses`: regularizers and `add_loss`.
        metrics: What is logged but not trained on.
        is_single: Whether one compiled loss is all there is: it is logged as `loss`.
        tracked: The terms with a tracker: all but a single one that `loss` itself tracks.
        also_logged: The names of what else is logged with these.
        name: What the loss is logged as.
    """

    loss: tf.Tensor
    by_rows: tf.Tensor
    rows: tf.Tensor
    terms: list[StepTerm]
    regularization: list[tf.Tensor]
    metrics: Mapping[str, LossTerm]
    is_single: bool
    tracked: list[StepTerm]
    also_logged: frozenset[str] = frozenset()
    name: str = "loss"


def total(
    terms: list[StepTerm],
    regularization: Iterable[Any],
    metrics: Mapping[str, LossTerm],
    *,
    rows: tf.Tensor,
    num_replicas: int,
    also_logged: frozenset[str] = frozenset(),
    name: str = "loss",
) -> Losses:
    """Adds up the loss of a batch, or the part of it that is logged as `name`.

    Raises:
        ValueError: When there is nothing to add up.
    """
    sums = [keras.ops.sum(as_loss(loss)) for loss in regularization]
    if not terms and not sums:
        raise ValueError(
            "There is no loss to compute. Received: no `loss` in `compile()`, nothing "
            "from `compute_losses`, no `add_loss`. Provide one of them."
        )
    if num_replicas > 1:
        loss, terms = _share_of_replica(terms, sums, rows)
    else:
        loss = added_up([weighed(term, term.value) for term in terms], sums)
    by_rows = [term for term in terms if term.by_rows]
    if num_replicas > 1 or len(by_rows) < len(terms):
        local = added_up([weighed(term, term.value) for term in by_rows], sums)
    else:
        local = loss
    is_single = len(terms) == 1 and terms[0].source == "compile"
    tracked = [] if is_single and terms[0].by_rows else terms
    return Losses(loss, local, rows, terms, sums, metrics, is_single, tracked, also_logged, name)


def of_own(
    loss: tf.Tensor, computed: Iterable[Losses], *, rows: tf.Tensor, num_replicas: int
) -> Losses:
    """What a subclass's own `compute_loss` gives: the loss, and what it has `computed` for it.

    The terms that it took from the library's `compute_loss` are logged, and not added up.
    """
    logged: dict[str, LossTerm] = {}
    for losses in computed:
        for term in losses.tracked:
            seen = term.of_epoch(losses.rows)
            logged[term.name] = logged[term.name] + seen if term.name in logged else seen
        logged.update(losses.metrics)
    local = loss
    if num_replicas > 1:  # shares, that add up to the loss
        every = tf.cast(replicas.sum_over_replicas(rows), loss.dtype)
        local = tf.math.divide_no_nan(loss * every, tf.cast(rows, loss.dtype))
    return Losses(loss, local, rows, [], [], logged, is_single=True, tracked=[])


def _share_of_replica(
    terms: list[StepTerm], regularization: list[tf.Tensor], rows: tf.Tensor
) -> tuple[tf.Tensor, list[StepTerm]]:
    """On one of several replicas: each term over its count on all of them.

    What is averaged by rows is logged as this replica's share in the value of the
    whole batch, and regularization weighs as this replica's rows.
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
    values = [weighed(term, share) for term, share in zip(terms, shares, strict=True)]
    return added_up(values, [loss * of_rows for loss in regularization]), logged


def weighed(term: StepTerm, value: tf.Tensor) -> tf.Tensor:
    """`value` times the loss weight of `term`."""
    if term.weight is None:
        return value
    return value * keras.ops.convert_to_tensor(term.weight, dtype=value.dtype)


def added_up(values: list[tf.Tensor], regularization: list[tf.Tensor]) -> tf.Tensor:
    """The sum in Keras's own order of operations, which fixes its last bit."""
    parts = [sum(values), *regularization] if values else regularization
    if not parts:
        return as_loss(tf.zeros(()))
    return parts[0] if len(parts) == 1 else keras.ops.sum(parts)
