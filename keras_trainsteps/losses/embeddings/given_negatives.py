"""Negatives that are given beside those of a batch, and candidates that are no negatives."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_trainsteps import replicas
from keras_trainsteps.losses.embeddings.anchors import Anchors
from keras_trainsteps.losses.embeddings.batch import as_labels
from keras_trainsteps.queries import widen
from keras_trainsteps.step import running
from keras_trainsteps.validation import as_float, as_mask, as_tensor, refuse


class Negatives(NamedTuple):
    """Embeddings that are candidates of all anchors, or of one anchor each, but no positives.

    Attributes:
        values: Embeddings, shape `(vectors, dimensions)` or `(rows, vectors, dimensions)`.
        valid: Which of them count, bool, of that shape but for the dimensions.
        ids: Their ids, of the shape of `valid`, or `None`.
        log_q: The logarithm of how often they are there, of that shape, or `None`.
    """

    values: tf.Tensor
    valid: tf.Tensor
    ids: tf.Tensor | None
    log_q: tf.Tensor | None

    @property
    def by_row(self) -> bool:
        """Whether each anchor has its own."""
        return self.valid.shape.rank == 2

    def of_anchors(self, value: tf.Tensor, anchors: Anchors) -> tf.Tensor:
        """`valid` or `ids` as those of some anchors, shape `(1 or anchors, vectors)`."""
        return own_rows(value, anchors) if self.by_row else value[None]


def given_negatives(
    negatives: Any, ids: Any, mask: Any, count: Any, anchors: tf.Tensor, rows: tf.Tensor
) -> Negatives | None:
    """Checks the argument `negatives` and those that tell more of them.

    Args:
        negatives: Embeddings, or `None`: then the others must be so, too.
        ids: Of each an id.
        mask: Which of them count.
        count: How often each is there.
        anchors: The embeddings of this replica's rows.
        rows: Whether each row counts.
    """
    if negatives is None:
        more = {"negative_ids": ids, "negative_mask": mask, "negative_expected_count": count}
        for name, value in more.items():
            if value is not None:
                raise ValueError(
                    f"`{name}` must come with `negatives`, of which it has one entry each. "
                    "Received: `negatives=None`."
                )
        return None
    # A weight is the same on all replicas; other rows are a part of the global batch.
    is_weight = isinstance(negatives, (keras.Variable, tf.Variable))
    values = tf.cast(widen(as_tensor("negatives", negatives)), anchors.dtype)
    shape = values.shape
    fits = shape.rank in (2, 3) and shape[-1:].is_compatible_with(anchors.shape[-1:])
    if not fits or (shape.rank == 3 and not shape[:1].is_compatible_with(anchors.shape[:1])):
        raise ValueError(
            "`negatives` must be embeddings of the anchors' dimensions: shape (vectors, "
            "dimensions), for all anchors, or (rows, vectors, dimensions), some for each. "
            f"Received: shape {tuple(shape)} for anchors of shape {tuple(anchors.shape)}."
        )
    valid = tf.ones(tf.shape(values)[:-1], tf.bool)
    if mask is not None:
        valid = _of_each("negative_mask", as_mask("negative_mask", mask), values)
    if shape.rank == 3:
        valid &= rows[:, None]
    elif not is_weight:
        counted = running.counted_rows(shape[:1], masked=True)
        valid = valid if counted is None else valid & counted
    finite = tf.where(
        tf.math.is_finite(values), values, float("nan")
    )  # -inf would be passed over
    values = tf.where(valid[..., None], finite, tf.zeros_like(values))
    found = None
    if ids is not None:
        found = _of_each("negative_ids", as_labels("negative_ids", ids), values)
        found = ids_of("negative_ids", found, valid)
    log_q = None
    if count is not None:
        name = "negative_expected_count"
        log_q = log_of_count(
            name, _of_each(name, as_float(name, count, values.dtype), values), valid
        )
    if is_weight:
        return Negatives(replicas.same_on_all(values), valid, found, log_q)
    given = (values, valid, found, log_q)
    return Negatives(*(None if each is None else replicas.gather_rows(each) for each in given))


def log_of_count(name: str, count: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """The logarithm of how often a batch holds each, 0 where nothing counts."""
    count = tf.where(valid, count, tf.ones_like(count))
    broken = ~((count > 0) & tf.math.is_finite(count))
    rule, way_out = f"`{name}` must be above 0 and finite", "Mask what is never there."
    return tf.math.log(refuse(count, broken, "count", rule, way_out))


def ids_of(name: str, ids: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Ids, 0 where nothing counts; those that are NaN, which equal nothing, are refused."""
    ids = tf.where(valid, ids, tf.zeros_like(ids))
    if not ids.dtype.is_floating:
        return ids
    rule, way_out = f"`{name}` must hold an id in all that is not masked", "Number such rows."
    return refuse(ids, tf.math.is_nan(ids), "id", rule, way_out)


def own_rows(value: tf.Tensor, anchors: Anchors) -> tf.Tensor:
    """The entries of some anchors, of one entry a row; anything for those that fill a tile."""
    return tf.gather(value, tf.minimum(anchors.row, tf.shape(value)[0] - 1))


def _of_each(name: str, value: tf.Tensor, negatives: tf.Tensor) -> tf.Tensor:
    """`value`, refused unless it has one entry for each of the negatives."""
    if value.shape.rank != negatives.shape.rank - 1 or not value.shape.is_compatible_with(
        negatives.shape[:-1]
    ):
        raise ValueError(
            f"`{name}` must have one entry for each of `negatives`. Received: shape "
            f"{tuple(value.shape)} for negatives of shape {tuple(negatives.shape)}."
        )
    return value


class KnownIds(NamedTuple):
    """The ids of all rows in order, in which others are looked up.

    Attributes:
        ordered: All ids, ascending, and one more.
        places: The place of each row's id in them, the first of equal ones.
    """

    ordered: tf.Tensor
    places: tf.Tensor

    @classmethod
    def of(cls, ids: tf.Tensor) -> KnownIds:
        """Those of the rows; one entry more, since there may be no row."""
        padded = tf.pad(ids, [[0, 1]])
        ordered = tf.sort(padded)
        return cls(ordered, tf.searchsorted(ordered, padded)[:-1])

    def held(self, positives: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """Whether a positive of each anchor has each of the ids.

        Args:
            positives: Shape `(anchors, rows)`.
            ids: Shape `(1, columns)`, or `(anchors, columns)`.
        """
        by_row = tf.transpose(tf.cast(positives, tf.float32))
        number = tf.math.unsorted_segment_sum(by_row, self.places, tf.size(self.ordered))
        place = tf.searchsorted(self.ordered, tf.reshape(ids, (-1,)))
        place = tf.reshape(tf.minimum(place, tf.size(self.ordered) - 1), tf.shape(ids))
        known = tf.gather(self.ordered, place) == ids
        by_anchor = tf.transpose(number) > 0
        if ids.shape[0] == 1:
            return known & tf.gather(by_anchor, place[0], axis=1)
        return known & tf.gather(by_anchor, place, batch_dims=1)
