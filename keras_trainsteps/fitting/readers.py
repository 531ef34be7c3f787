"""The losses and metrics that read query ids, or compare targets, and the arrays they get."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps.step import whole_queries
from keras_trainsteps.step.whole_queries import Arrays


class QueryReaders:
    """The losses and metrics of `compile` that read query ids, to look at arrays for them.

    Args:
        losses: The compiled losses.
        metrics: The compiled metrics.
    """

    def __init__(self, losses: Iterable[Any] = (), metrics: Iterable[Any] = ()) -> None:
        metrics, losses = list(metrics), list(losses)
        self.compare_targets = any(map(_compares_targets, (*metrics, *losses)))
        self.of_losses = _names_of_ids(losses)
        self.query_ids = self.of_losses | _names_of_ids(metrics)
        self.whole = [
            (metric.query_ids, metric.mask)
            for metric in metrics
            if getattr(metric, "split_queries", None) == "error" and metric.query_ids is not None
        ]

    def require_readable(self, x: Any, y: Any, sample_weight: Any) -> None:
        """Refuses, by name, ids that are no array of integers or strings, and such targets.

        Keras, which reads them first, says of most that their dtype is invalid.
        """
        ids = sorted(self.query_ids & set(x)) if isinstance(x, Mapping) else []
        given = {f"Entry {name!r} of `x`": x[name] for name in ids}
        given |= {
            name: value
            for name, value in (("`y`", y), ("`sample_weight`", sample_weight))
            if value is not None and not isinstance(value, Mapping)
        }
        for name, value in given.items():
            are_ids = name.startswith("Entry")
            received = _no_plain_array(value, text=are_ids, dense=name != "`y`")
            if received is not None:
                of = "integers or strings" if are_ids else "numbers"
                raise TypeError(
                    f"{name} must be an array of {of}. Received: {received}. Pass e.g. "
                    "`np.asarray(values)`, `values.astype('int64')` or `values.toarray()`."
                )

    def require_exact(self, *targets: Any) -> None:
        """Refuses float64 arrays of targets to compare, of which Keras makes others in float32.

        It does so on the way in: `1700000000.0` and `1700000050.0` become the same number.
        """
        if not self.compare_targets or keras.config.floatx() == "float64":
            return
        for leaf in keras.tree.flatten(targets):
            values = leaf if isinstance(leaf, np.ndarray) else getattr(leaf, "values", None)
            if not isinstance(values, np.ndarray) or values.dtype != np.float64:
                continue
            large = values[np.abs(values) > 2**24]
            lost = large[np.isfinite(large) & (large.astype(np.float32) != large)]
            if lost.size:
                raise ValueError(
                    "`y` must hold labels that float32 tells apart: Keras makes it of float64 "
                    f"arrays, on the way in. Received: {float(lost[0])!r}, of which it makes "
                    f"{float(np.float32(lost[0]))!r}. Pass whole numbers as int64, subtract the "
                    "smallest label, or pass float32."
                )

    def require_whole(self, arrays: Arrays, validation_data: Any = None) -> None:
        """Refuses arrays whose batches would cut queries of which a metric is the mean."""
        whole_queries.require_whole_queries(self.whole, arrays)
        if isinstance(validation_data, (tuple, list)):
            size = arrays.validation_batch_size or arrays.batch_size
            whole_queries.require_whole_queries(self.whole, Arrays(validation_data[0], size))


def _names_of_ids(readers: Iterable[Any]) -> set[str]:
    found = (getattr(reader, "query_ids", None) for reader in readers)
    return {name for name in found if isinstance(name, str)}


def _compares_targets(reader: Any) -> bool:
    """Whether a loss or metric compares targets with each other: of a query, or by label."""
    by_label = "y_true" in getattr(reader, "reads", ())
    return hasattr(reader, "query_ids") or (by_label and reader.given["y_true"] is None)


def _no_plain_array(value: Any, *, text: bool, dense: bool) -> str | None:
    """What a value is, if it is no array of numbers (or strings) that Keras can read."""
    if value is None:
        return "None"
    if isinstance(value, (list, tuple)):
        leaves = keras.tree.flatten(value)
        is_plain = any(isinstance(leaf, (int, float, str, bytes)) for leaf in leaves)
        return f"a {type(value).__name__} of Python's own" if is_plain else None
    if isinstance(value, (tf.RaggedTensor, tf.SparseTensor)) or hasattr(value, "tocsr"):
        return f"a {type(value).__name__}" if dense else None
    array = value if isinstance(value, np.ndarray) else getattr(value, "values", None)
    if not isinstance(array, np.ndarray):
        return None
    if array.dtype.kind in ("mMSV" if text else "mMSVU"):
        return f"dtype {array.dtype}"
    if array.dtype.kind == "O":
        kinds = sorted({type(entry).__name__ for entry in array.flat} - {"str"})
        return f"an array of objects ({', '.join(kinds[:4])})" if kinds else None
    return None
