"""What an estimator is given, read by scikit-learn's rules and checked to be queries of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from keras_trainsteps.sklearn.best_epoch import HeldOut
from keras_trainsteps.sklearn.rows import (
    Rows,
    ids_of,
    require_grades,
    weights_of,
    without_ids,
)

_FEATURES = {"dtype": "float64", "ensure_all_finite": "allow-nan"}
_LARGEST = float(np.finfo("float32").max)


def rows_of(
    estimator: BaseEstimator,
    X: Any,
    y: Any,
    qid: Any,
    group: Any,
    sample_weight: Any,
    *,
    reset: bool,
) -> Rows:
    """Rows with grades, queries and weights; by `reset` they say what features there are."""
    X, qid = without_ids(X, qid)
    X, y = validate_data(estimator, X, y, reset=reset, y_numeric=True, **_FEATURES)
    require_grades(y)
    ids = ids_of(qid, group, len(y))
    return Rows(X, y.astype("float64"), _numbered(ids), weights_of(sample_weight, len(y)))


def features_of(estimator: BaseEstimator, X: Any) -> npt.NDArray[np.float32]:
    """Features alone, as the network takes them."""
    X = without_ids(X, None)[0]
    return as_float32(validate_data(estimator, X, reset=False, **_FEATURES))


def held_out_of(
    estimator: BaseEstimator, eval_set: Any, eval_qid: Any, eval_group: Any
) -> list[HeldOut]:
    """The sets to evaluate on, each with its own queries."""
    sets = [] if eval_set is None else _listed(eval_set)
    for name, given in (("eval_qid", eval_qid), ("eval_group", eval_group)):
        if given is not None and len(given) != len(sets):
            raise ValueError(
                f"`{name}` must be a list with one entry for each of `eval_set`. Received: "
                f"{len(given)} for {len(sets)}."
            )
    found = []
    for number, (X, y) in enumerate(sets):
        X, ids = without_ids(X, None if eval_qid is None else eval_qid[number], "eval_qid")
        X, y = validate_data(estimator, X, y, reset=False, y_numeric=True, **_FEATURES)
        require_grades(y, "eval_set")
        group = None if eval_group is None else eval_group[number]
        ids = ids_of(ids, group, len(y), ("eval_qid", "eval_group"))
        found.append(HeldOut(as_float32(X), y.astype("float64"), _numbered(ids)))
    return found


def as_float32(features: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Features in float32; refused where that would make them infinite."""
    if (np.abs(features) > _LARGEST).any():
        raise ValueError(
            f"`X` must hold numbers up to {_LARGEST:.3g}, the largest of float32. Received: "
            f"{np.nanmax(np.abs(features)):.3g}. Scale the feature down."
        )
    return features.astype("float32")


def _listed(eval_set: Any) -> list[tuple[Any, Any]]:
    """A list of pairs; one pair alone is taken for a list of one, as LightGBM does."""
    sets = [eval_set] if isinstance(eval_set, tuple) else list(eval_set)
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in sets):
        raise ValueError(
            "`eval_set` must be a list of pairs `(X, y)`. Received: entries of type "
            f"{sorted({type(pair).__name__ for pair in sets})}."
        )
    return sets


def _numbered(ids: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Queries by numbers from 0."""
    return np.unique(ids, return_inverse=True)[1]
