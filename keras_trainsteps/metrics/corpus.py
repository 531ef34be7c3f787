"""A catalogue of items: its rows by id, and their embeddings, made anew when they are stale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step import side_inputs
from keras_trainsteps.step.terms import FAILED


class Corpus:
    """The items that a query may find, each once, in the order of their first rows.

    Args:
        features: A dict of arrays of one entry per item, the ids among them.
        item_id: The name of the entry with the ids, integers or strings.
        tower: The network that embeds items.
        block: How many items are embedded and compared at a time.

    Attributes:
        size: The number of items.
        vectors: Their embeddings, filled up with zeros to whole blocks.
        stale: Whether these are to be made anew.
    """

    def __init__(
        self, features: Mapping[str, npt.ArrayLike], item_id: str, tower: keras.Layer, block: int
    ) -> None:
        arrays = _distinct_items(features, item_id)
        ids = arrays[item_id]
        self.size, self.block = len(ids), min(block, len(ids))
        self._is_text = ids.dtype.kind in "OSU"
        self._tower, self._item_id = tower, item_id
        filled = -(-self.size // self.block) * self.block
        rows = np.minimum(np.arange(filled), self.size - 1)
        self._features = {name: tf.constant(array[rows]) for name, array in arrays.items()}
        if self._is_text:
            order = np.arange(self.size)
            table = tf.lookup.KeyValueTensorInitializer(
                tf.constant(ids.astype(str)), tf.constant(order, tf.int64)
            )
            self._table = tf.lookup.StaticHashTable(table, -1)
        else:
            order = np.argsort(ids, kind="stable")
            self._sorted = tf.constant(ids[order], tf.int64)
        self._order = tf.constant(order, tf.int64)
        embedded = self._embedded(0)
        if embedded.shape.rank != 2 or embedded.shape[1] is None:
            raise ValueError(
                "`tower` must give one vector for each item, shape `(items, dimensions)`. "
                f"Received: shape {tuple(embedded.shape)}."
            )
        self.vectors = tf.Variable(tf.zeros((filled, embedded.shape[1])), trainable=False)
        self.stale = tf.Variable(True, trainable=False)

    def refresh(self) -> None:
        """Embeds all items, block by block, if they are stale."""

        def embed() -> tf.Tensor:
            def body(begin: tf.Tensor) -> tuple[tf.Tensor]:
                made = tf.cast(self._embedded(begin), tf.float32)
                with tf.control_dependencies(
                    [self.vectors[begin : begin + self.block].assign(made)]
                ):
                    return (begin + self.block,)

            end = self.vectors.shape[0]
            (done,) = tf.while_loop(
                lambda begin: begin < end, body, (tf.constant(0),), parallel_iterations=1
            )
            with tf.control_dependencies([done]):
                self.stale.assign(False)
            return done

        if tf.executing_eagerly():
            if bool(self.stale):
                embed()
        else:
            tf.cond(self.stale, embed, lambda: tf.constant(0))

    def places(self, ids: Any) -> tf.Tensor:
        """The place of each item, int64; -1 for ids that are not in the catalogue."""
        ids = tf.convert_to_tensor(ids)
        if (ids.dtype == tf.string) != self._is_text or not (
            ids.dtype == tf.string or ids.dtype.is_integer
        ):
            kind = "text" if self._is_text else "integers"
            raise TypeError(
                f"Ids must be {kind}, as those of `corpus`. Received: dtype {ids.dtype.name}."
            )
        if self._is_text:
            return self._table.lookup(ids)
        ids = tf.cast(ids, tf.int64)
        flat = tf.reshape(ids, (-1,))
        place = tf.minimum(tf.searchsorted(self._sorted, flat), self.size - 1)
        found = tf.gather(self._sorted, place) == flat
        return tf.reshape(tf.where(found, tf.gather(self._order, place), -1), tf.shape(ids))

    def ranks(self, queries: tf.Tensor, places: tf.Tensor, hidden: tf.Tensor | None) -> tf.Tensor:
        """How many items come before those at `places`, shape (rows, positives), int32.

        Of items `hidden`, shape (rows, hidden), none does. A block is multiplied as a whole, and
        its products are read twice, so that equal vectors have equal scores.
        """
        blocks = self.vectors.shape[0] // self.block

        def scores(number: tf.Tensor) -> tf.Tensor:
            begin = number * self.block
            return tf.matmul(queries, self.vectors[begin : begin + self.block], transpose_b=True)

        own = tf.zeros(tf.shape(places), tf.float32)

        def find(number: tf.Tensor, own: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            inside = places - tf.cast(number * self.block, tf.int64)
            here = (inside >= 0) & (inside < self.block)
            column = tf.clip_by_value(inside, 0, self.block - 1)
            return number + 1, tf.where(
                here, tf.gather(scores(number), column, batch_dims=1), own
            )

        def count(number: tf.Tensor, before: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            begin = tf.cast(number * self.block, tf.int64)
            item = begin + tf.range(self.block, dtype=tf.int64)
            found = scores(number)
            if hidden is not None:
                found = _without(found, hidden - begin)
            found = tf.where(item < self.size, found, -np.inf)[:, None]
            tied = (found == own[..., None]) & (item < places[..., None])
            ahead = (found > own[..., None]) | tied
            return number + 1, before + tf.reduce_sum(tf.cast(ahead, tf.int32), axis=-1)

        def loop(body: Any, value: tf.Tensor) -> tf.Tensor:
            start = (tf.constant(0), value)
            end = tf.while_loop(lambda n, _: n < blocks, body, start, parallel_iterations=1)
            return end[1]

        own = loop(find, own)
        return loop(count, tf.zeros(tf.shape(places), tf.int32))

    def _embedded(self, begin: Any) -> tf.Tensor:
        rows = {k: v[begin : begin + self.block] for k, v in self._features.items()}
        functional = isinstance(self._tower, compat.functional_class())
        declared = self._tower.input if functional else None
        names = () if declared is not None else (self._item_id,)
        rows = side_inputs.network_inputs(rows, names, declared, single=True)
        return tf.convert_to_tensor(self._tower(rows, training=False))


def _without(scores: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Scores with minus infinity in some columns of each row; those outside are none."""
    width = tf.cast(tf.shape(scores)[1], tf.int64)
    inside = (columns >= 0) & (columns < width)
    column = tf.clip_by_value(columns, 0, width - 1)
    row = tf.broadcast_to(tf.range(tf.shape(columns)[0])[:, None], tf.shape(columns))
    where = tf.stack([tf.cast(row, tf.int64), column], axis=-1)
    lowest = tf.where(inside, tf.constant(-np.inf), tf.constant(np.inf))
    return tf.tensor_scatter_nd_min(scores, where, lowest)


def require_found(places: tf.Tensor, is_id: tf.Tensor) -> tf.Tensor:
    """Refuses positives that are no items of the catalogue; XLA, which cannot, lets them miss."""
    missing = tf.reduce_any(is_id & (places < 0))
    rule = (
        "`item_id` must be in `corpus`: an item that is not there cannot be found. Received: "
        "a positive that is not. Add its row to `corpus`, or leave the row out"
    )
    if tf.executing_eagerly():
        if bool(missing):
            raise ValueError(f"{rule}.")
        return places
    if compat.in_xla():
        return places
    with tf.control_dependencies([tf.debugging.Assert(~missing, [f"{FAILED}{rule}."])]):
        return tf.identity(places)


def _distinct_items(
    features: Mapping[str, npt.ArrayLike], item_id: str
) -> dict[str, npt.NDArray[Any]]:
    """The first row of each id; refuses an id with rows that differ."""
    if not isinstance(features, Mapping) or item_id not in features:
        received = sorted(features) if isinstance(features, Mapping) else type(features).__name__
        raise ValueError(
            f"`corpus` must be a dict of arrays, with an entry {item_id!r} of ids (`item_id`). "
            f"Received: {received}."
        )
    arrays = {name: np.asarray(array) for name, array in features.items()}
    ids = arrays[item_id]
    if ids.ndim != 1 or ids.dtype.kind not in "iuOSU" or len(ids) == 0:
        raise ValueError(
            "`corpus` must have integers or strings for ids, one for each item. Received: dtype "
            f"{ids.dtype}, shape {ids.shape}."
        )
    if {array.shape[:1] for array in arrays.values()} != {ids.shape}:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(f"`corpus` must have one entry per item. Received: shapes {shapes}.")
    _, first, number = np.unique(ids, return_index=True, return_inverse=True)
    for name, array in arrays.items():
        differs = array != array[first[number]]
        differs = differs.reshape(len(ids), -1).any(1)
        if differs.any():
            raise ValueError(
                "`corpus` must have one row for each id. Received: several of "
                f"{ids[differs][0].item()!r} that differ in {name!r}. Keep one."
            )
    kept = np.sort(first)
    return {name: array[kept] for name, array in arrays.items()}
