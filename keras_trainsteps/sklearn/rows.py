"""What a `Ranker` is given, as rows of queries; what cannot be is refused by name."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_trainsteps.data.arrays import checked_ids

Array = npt.NDArray[Any]
COLUMN = "qid"


class Rows(NamedTuple):
    """Rows to learn from.

    Attributes:
        features: Shape `(rows, features)`, float64, NaN where missing.
        labels: Grades, not negative, shape `(rows,)`.
        ids: The query of each row, shape `(rows,)`.
        weights: The weight of each row, shape `(rows,)`; `None` where all are 1.
    """

    features: Array
    labels: Array
    ids: Array
    weights: Array | None = None


def without_ids(X: Any, qid: Any, name: str = "qid") -> tuple[Any, Any]:
    """`X` and the query ids, which may be a column `qid` of a data frame, as for XGBoost."""
    columns = getattr(X, "columns", None)
    if columns is None or COLUMN not in list(columns):
        return X, qid
    if qid is not None:
        raise ValueError(
            f"`{name}` must be given once. Received: `{name}`, and a column 'qid' of the data "
            "frame. Drop either."
        )
    return X[[column for column in columns if column != COLUMN]], np.asarray(X[COLUMN])


def ids_of(qid: Any, group: Any, rows: int, names: tuple[str, str] = ("qid", "group")) -> Array:
    """The query of each row, from its id or from the sizes of groups."""
    by_id, by_size = names
    if (qid is None) == (group is None):
        received = "neither" if qid is None else "both"
        raise ValueError(
            f"`{by_id}` or `{by_size}` must say which rows belong together. Received: "
            f"{received}. Give one: `{by_id}`, an id per row in any order, or `{by_size}`, the "
            "number of rows of each query, whose rows then lie together; or a column 'qid' of a "
            "data frame `X`. In cross-validation, "
            "`sklearn.set_config(enable_metadata_routing=True)` passes `qid` on to the scores."
        )
    if group is not None:
        return _ids_of_group(group, rows, by_size)
    ids = checked_ids(np.asarray(qid), by_id)
    if len(ids) != rows:
        sizes = ids.dtype.kind in "iu" and ids.sum() == rows
        way_out = f" Sizes of groups are `{by_size}`." if sizes else ""
        raise ValueError(
            f"`{by_id}` must have one id per row. Received: {len(ids)} for {rows} rows.{way_out}"
        )
    return ids


def _ids_of_group(group: Any, rows: int, name: str) -> Array:
    sizes = np.asarray(group)
    if sizes.ndim != 1 or sizes.dtype.kind not in "iu" or (sizes < 0).any():
        raise ValueError(
            f"`{name}` must be whole numbers of at least 0, the rows of each query. Received: "
            f"{sizes.dtype} of shape {sizes.shape}."
        )
    if sizes.sum() != rows:
        ids = len(sizes) == rows
        way_out = " Ids of rows are `qid`." if ids else ""
        raise ValueError(
            f"`{name}` must add up to the number of rows. Received: {sizes.sum()} for {rows} "
            f"rows.{way_out}"
        )
    return np.repeat(np.arange(len(sizes)), sizes)


def weights_of(sample_weight: Any, rows: int) -> Array | None:
    """One weight per row, not negative, some above 0."""
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, "float64")
    if weights.shape != (rows,):
        raise ValueError(
            f"`sample_weight` must have one weight per row. Received: shape {weights.shape} for "
            f"{rows} rows. One a query, as XGBoost takes them, becomes one a row by "
            "`data.of_rows(weights, qid)`."
        )
    if not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
        raise ValueError(
            "`sample_weight` must hold finite weights, none negative and not all zero. "
            f"Received: values from {weights.min():.6g} to {weights.max():.6g}."
        )
    return weights


def require_grades(labels: Array, name: str = "y") -> None:
    """Refuses labels that cannot be grades."""
    if (labels < 0).any():
        raise ValueError(
            f"`{name}` must hold grades of at least 0, more for a better row. Received: "
            f"{labels.min():.6g}. Leave out rows without a grade; add a constant to others."
        )


def require_comparable(rows: Rows) -> None:
    """Refuses rows of which no two can be compared: same query, different grades, weights."""
    counted = np.ones(len(rows.ids), bool) if rows.weights is None else rows.weights > 0
    queries, query = np.unique(rows.ids[counted], return_inverse=True)
    labels = rows.labels[counted]
    low, high = np.full(len(queries), np.inf), np.full(len(queries), -np.inf)
    np.minimum.at(low, query, labels)
    np.maximum.at(high, query, labels)
    if not (low < high).any():
        alone = "of one sample each" if len(query) == len(queries) else "of equal grades each"
        raise ValueError(
            "`y` must differ within a query, or there is nothing to rank. Received: "
            f"{len(query)} rows in {len(queries)} queries {alone}."
        )
