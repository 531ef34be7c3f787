"""Recall over a whole catalogue of items, as a metric of validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy.typing as npt
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.metrics.corpus import Corpus, require_found
from keras_trainsteps.step import running, side_inputs
from keras_trainsteps.validation import TensorLike


@keras.saving.register_keras_serializable("keras_trainsteps")
class CorpusRecall(keras.metrics.Metric):
    """The share of a query's items that are among the `k` best of all items of a catalogue.

    For two-tower retrieval. The recall within a batch is far above what users will see; here
    every item is a candidate, and none is sampled. Each row is a query, with all its positives:

    ```
    s_j      = <query, tower(item j)>
    rank(p)  = number of j that are not seen, with s_j > s_p, or s_j = s_p and j before p
    recall@k = number of positives p with rank(p) < k / number of positives
    metric   = mean over queries, by their weights
    ```

    The items are embedded anew in the first batch after `reset_state`, that is once in each
    `evaluate` and each validation of `fit`. Training steps do not update the metric, which is
    NaN in their logs: monitor `"val_corpus_recall@10"`, or, of an output of several,
    `metrics={"query": [...]}`, what Keras calls it: `"val_query_corpus_recall@10"`. Keras
    updates metrics only where there are targets: pass the ids as `y`, too, if there are none.

    Items are compared a block at a time, so that memory is that of their embeddings and of
    `rows * positives * block` numbers. Eager and graph mode, on one device.

    The catalogue and the tower are not saved with a model: compile a loaded one anew, with a
    `CorpusRecall` of its own towers. To serve, an index takes the embeddings, for instance
    Keras-RS's: `keras_rs.layers.BruteForceRetrieval(tower(items), k=10)`.

    Args:
        k: How many items are shown, at least 1. Of fewer items, all.
        corpus: A dict of arrays of one entry per item: the ids, and the inputs of `tower`.
        tower: The network that embeds items, the one that is trained: its output has shape
            `(items, dimensions)`.
        item_id: The name of the entry of `corpus` with the ids, integers or strings, and of the
            side input with the positives of each query, shape `(rows,)` or `(rows, positives)`.
            There -1, or an empty text, fills up; a row of nothing else does not count.
        seen: The name of the side input with the ids of items that the query has seen already,
            shape `(rows, items)`, filled up alike, or with ids that are not in the catalogue.
            They are not candidates, except the positives. Default: none.
        block: Items that are embedded and compared at a time. Default 4096.
        name: Default `"corpus_recall@k"`.

    Raises:
        ValueError: For a `k` or `block` below 1, a catalogue of different lengths, an id of
            several rows that differ. In `update_state`, for a positive that is not in the
            catalogue, and a metric that was loaded.
        TypeError: For ids of another kind than those of the catalogue.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> items = {"item_id": np.array([7, 8, 9]), "vector": np.eye(3)}
    >>> tower = keras.layers.Identity()
    >>> recall = CorpusRecall(1, corpus=items, tower=tower, item_id="item_id")
    >>> recall.update_state(None, np.eye(3)[:2], item_id=[7, 9])
    >>> float(recall.result())
    0.5
    >>> model = LossAwareModel()
    >>> model.compile("adam", loss="mse", metrics=[recall])
    """

    def __init__(
        self,
        k: int,
        *,
        corpus: Mapping[str, npt.ArrayLike] | None,
        tower: keras.Layer | None,
        item_id: str,
        seen: str | None = None,
        block: int = 4096,
        name: str | None = None,
    ) -> None:
        for option, value in (("k", k), ("block", block)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(
                    f"`{option}` must be an integer of at least 1. Received: {value!r}."
                )
        super().__init__(name=name or f"corpus_recall@{k}", dtype="float64")
        self.k, self.item_id, self.seen, self.block = k, item_id, seen, block
        compat.set_direction(self, "up")
        self.total = self.add_variable((), "zeros", dtype="float64", name="total")
        self.count = self.add_variable((), "zeros", dtype="float64", name="count")
        self._corpus: Corpus | None = None
        if corpus is not None and tower is not None:
            self._corpus = Corpus(corpus, item_id, tower, block)

    @property
    def side_inputs(self) -> tuple[str, ...]:
        """The names of the entries of `x` that the metric reads."""
        return (self.item_id,) if self.seen is None else (self.item_id, self.seen)

    def update_state(
        self,
        y_true: TensorLike | None,
        y_pred: TensorLike,
        sample_weight: TensorLike | None = None,
        *,
        item_id: TensorLike | None = None,
        seen: TensorLike | None = None,
    ) -> None:
        """Adds the queries of a batch, except in a training step.

        Args:
            y_true: Not read.
            y_pred: Embeddings of the queries, shape `(rows, dimensions)`.
            sample_weight: Weights of the queries, shape `(rows,)`. Default: 1.
            item_id: Ids of the positives. Default: the side input that the metric names.
            seen: Ids of seen items. Default: the side input that the metric names.
        """
        if self._corpus is None:
            raise ValueError(
                "`corpus` and `tower` must be given; they are not saved with a model. Received: "
                "neither. Compile the loaded model with a new `CorpusRecall(...)`."
            )
        step = running.current()
        if step is not None and step.tape is not None:
            return
        if step is not None and step.num_replicas > 1:
            raise ValueError(
                "`CorpusRecall` must run on one device. Received: a step on "
                f"{step.num_replicas} replicas. Evaluate outside of the strategy."
            )
        if item_id is None:
            item_id = side_inputs.current(self.item_id)
        if seen is None and self.seen is not None:
            seen = side_inputs.current(self.seen)
        self._corpus.refresh()
        queries = tf.cast(tf.convert_to_tensor(y_pred), tf.float32)
        ids = _as_columns(item_id)
        is_id = ids != ("" if ids.dtype == tf.string else tf.constant(-1, ids.dtype))
        places = require_found(self._corpus.places(ids), is_id)
        hidden = None if seen is None else self._corpus.places(_as_columns(seen))
        ranks = self._corpus.ranks(queries, places, hidden)
        hits = tf.cast((ranks < self.k) & (places >= 0) & is_id, tf.float64)
        number = tf.reduce_sum(tf.cast(is_id, tf.float64), axis=1)
        values = tf.math.divide_no_nan(tf.reduce_sum(hits, axis=1), number)
        is_known = tf.reduce_all(tf.math.is_finite(queries), axis=1)
        is_known &= tf.reduce_all(tf.math.is_finite(self._corpus.vectors))
        values = tf.where(is_known, values, tf.constant(float("nan"), tf.float64))
        counts = tf.cast(number > 0, tf.float64)
        if sample_weight is not None:
            counts *= tf.reshape(tf.cast(sample_weight, tf.float64), (-1,))
        self.total.assign_add(tf.reduce_sum(tf.where(counts > 0, values * counts, 0.0)))
        self.count.assign_add(tf.reduce_sum(counts))

    def reset_state(self) -> None:
        super().reset_state()
        if self._corpus is not None:
            self._corpus.stale.assign(True)

    def result(self) -> tf.Tensor:
        return tf.convert_to_tensor(self.total) / tf.convert_to_tensor(self.count)

    def get_config(self) -> dict[str, Any]:
        names = ("k", "item_id", "seen", "block", "name")
        return {**{name: getattr(self, name) for name in names}, "corpus": None, "tower": None}


def _as_columns(ids: Any) -> tf.Tensor:
    ids = tf.convert_to_tensor(ids)
    return ids[:, None] if ids.shape.rank == 1 else ids
