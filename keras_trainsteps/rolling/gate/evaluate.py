"""`evaluate_candidate`: is a new model at least as good as the champion, query by query?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt

from keras_trainsteps.metrics import NDCG, PairAccuracy
from keras_trainsteps.metrics.by_query import QueryFunction, group, values_by_query
from keras_trainsteps.metrics.query_metric import QueryMetric
from keras_trainsteps.rolling.artifacts.scorer import fingerprint
from keras_trainsteps.rolling.gate import statistics
from keras_trainsteps.rolling.gate.checks import (
    Bootstrap,
    check_new,
    check_stability,
    check_threshold,
)
from keras_trainsteps.rolling.gate.queries import named_convention
from keras_trainsteps.rolling.gate.scores import check_scores, scores_of
from keras_trainsteps.rolling.gate.thresholds import ChangeThreshold, Stability, ValueThreshold
from keras_trainsteps.rolling.registry.blessing import Blessing

MissingChampion = Literal["refuse", "value_only"]


def evaluate_candidate(
    champion: keras.Model | None,
    challenger: keras.Model,
    data: tuple[Any, npt.ArrayLike],
    *,
    query_ids: npt.ArrayLike | str,
    thresholds: Sequence[ValueThreshold | ChangeThreshold],
    stability: Stability | None = None,
    metrics: Mapping[str, QueryMetric | QueryFunction] | None = None,
    new: npt.ArrayLike | None = None,
    on_missing_champion: MissingChampion = "refuse",
    confidence: float = 0.95,
    samples: int = 2000,
    seed: int = 0,
    batch_size: int = 4096,
) -> Blessing:
    """Compares a candidate with the champion on data that neither has trained on.

    Rows of a query are not independent, so each query gives one number per metric, the two
    models' numbers are paired, and the mean difference is bootstrapped over queries.
    Together with the thresholds the candidate's scores must be finite, and not all alike.

    A metric of `keras_trainsteps.metrics` has the value here that it has in `evaluate`.

    Args:
        champion: The model that serves now, or `None`.
        challenger: The candidate.
        data: `(x, y)`: what the models predict from, and one label per row.
        query_ids: One id per row, integers or strings; or the name of an entry of `x`. For
            data without queries, e.g. `np.arange(len(y))`.
        thresholds: What is demanded: at least one.
        stability: How much the candidate may differ from the champion. Default `None`: as
            much as it likes.
        metrics: More metrics by name: objects of `keras_trainsteps.metrics` that take
            query ids, or functions of one query's labels and scores. Known without them
            are `"ndcg"` (`NDCG(k=10)`), `"pair_accuracy"` (`PairAccuracy()`) and
            `"squared_error"`; another of that name replaces it, e.g. `{"ndcg": NDCG(k=20)}`.
            A query that a metric leaves out, or where a function gives NaN, is left out of it.
            What becomes of queries without a relevant row is said with each outcome.
        new: For `stability.max_new`: a bool per row, whether its ids are new. Default: none.
        on_missing_champion: Without a champion, `"refuse"` (default) fails every
            `ChangeThreshold`; `"value_only"` leaves them out, and then demands a
            `ValueThreshold`.
        confidence: Of the bootstrap interval, two-sided, between 0 and 1. Default 0.95.
        samples: Number of bootstrap samples. Default 2000.
        seed: Of the bootstrap. Default 0.
        batch_size: Rows per batch of the predictions. Default 4096.

    Returns:
        A `Blessing`, for `ModelRegistry.promote`; it prints as a table.

    Raises:
        ValueError: For no threshold, an unknown metric, no rows, ids of another length,
            labels that a metric refuses, `stability.max_new` without `new`.

    Example:

    >>> def linear(weight):
    ...     model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    ...     model.set_weights([np.full((1, 1), weight), np.zeros(1)])
    ...     return model
    >>> x = np.random.default_rng(0).normal(size=(200, 1))
    >>> blessing = evaluate_candidate(
    ...     linear(-1.0),
    ...     linear(1.0),
    ...     (x, x[:, 0] > 0),
    ...     query_ids=np.arange(200) // 10,
    ...     thresholds=[ChangeThreshold("pair_accuracy")],
    ... )
    >>> blessing.blessed
    True
    """
    x, y = data
    labels = np.asarray(y, dtype="float64").reshape(-1)
    ids = np.asarray(x[query_ids] if isinstance(query_ids, str) else query_ids).reshape(-1)
    _require_rows(ids, labels)
    known = {**_known_metrics(), **(metrics or {})}
    _require_thresholds(thresholds, known, on_missing_champion, alone=champion is None)
    queries = group(ids)
    scores = {"challenger": scores_of(challenger, x, len(labels), batch_size)}
    if champion is not None:
        scores["champion"] = scores_of(champion, x, len(labels), batch_size)
    if champion is None and on_missing_champion == "value_only":
        thresholds = [one for one in thresholds if isinstance(one, ValueThreshold)]
    checks = check_scores(scores["challenger"])
    if all(check.passed for check in checks):
        values = {
            (who, name): values_by_query(known[name], labels, given, queries)
            for who, given in scores.items()
            for name in {threshold.metric for threshold in thresholds}
        }
        bootstrap = Bootstrap(confidence, samples, seed)
        for threshold in thresholds:
            new_values = values["challenger", threshold.metric]
            old_values = values.get(("champion", threshold.metric))
            check = check_threshold(threshold, new_values, old_values, bootstrap)
            metric = known[threshold.metric]
            both = new_values if old_values is None else new_values + 0 * old_values
            said = named_convention(metric, both, labels, queries)
            checks.append(dataclasses.replace(check, rule=check.rule + said))
        if stability is not None:
            checks += check_new(stability, new)
            checks += [] if champion is None else check_stability(stability, scores, queries)
    return Blessing(
        challenger=fingerprint(challenger),
        champion=None if champion is None else fingerprint(champion),
        checks=tuple(checks),
        queries=len(queries.sizes),
    )


def _known_metrics() -> dict[str, QueryMetric | QueryFunction]:
    """The metrics that need no definition; made when asked for, as they hold variables."""
    return {
        "ndcg": NDCG(k=10),
        "pair_accuracy": PairAccuracy(),
        "squared_error": statistics.squared_error,
    }


def _require_rows(ids: npt.NDArray[Any], labels: npt.NDArray[Any]) -> None:
    if not len(labels) or len(ids) != len(labels):
        raise ValueError(
            "`query_ids` must have one id per row, for at least one row. Received: "
            f"{len(ids)} ids for {len(labels)} labels. An empty window is not a test."
        )


def _require_thresholds(
    thresholds: Sequence[ValueThreshold | ChangeThreshold],
    known: Mapping[str, QueryMetric | QueryFunction],
    on_missing_champion: str,
    *,
    alone: bool,
) -> None:
    if not thresholds:
        raise ValueError(
            "`thresholds` must demand something. Received: nothing. Pass e.g. "
            "`[ChangeThreshold('ndcg', max_loss=0.01)]`."
        )
    if on_missing_champion not in ("refuse", "value_only"):
        raise ValueError(
            "`on_missing_champion` must be 'refuse' or 'value_only'. "
            f"Received: {on_missing_champion!r}."
        )
    values = any(isinstance(threshold, ValueThreshold) for threshold in thresholds)
    if alone and on_missing_champion == "value_only" and not values:
        raise ValueError(
            "`thresholds` must hold a `ValueThreshold` where there is no champion to "
            "compare with. Received: none. Say what the first model must reach."
        )
    unknown = sorted({t.metric for t in thresholds} - set(known))
    if unknown:
        raise ValueError(
            f"`thresholds` must name known metrics, {sorted(known)}. Received: {unknown}. "
            "Pass others in `metrics`."
        )
