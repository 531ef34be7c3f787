"""`evaluate_candidate`: is a new model at least as good as the champion, query by query?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
import numpy.typing as npt

from keras_trainsteps.rolling.artifacts.scorer import fingerprint
from keras_trainsteps.rolling.gate import statistics
from keras_trainsteps.rolling.gate.thresholds import ChangeThreshold, Stability, ValueThreshold
from keras_trainsteps.rolling.registry.blessing import Blessing, Check

QueryMetric = Callable[[Any, Any], float]
METRICS: dict[str, QueryMetric] = {
    "ndcg": statistics.ndcg,
    "pair_accuracy": statistics.pair_accuracy,
    "squared_error": statistics.squared_error,
}


def evaluate_candidate(
    champion: keras.Model | None,
    challenger: keras.Model,
    data: tuple[Any, Any],
    *,
    query_ids: Any,
    thresholds: Sequence[ValueThreshold | ChangeThreshold],
    stability: Stability | None = None,
    metrics: Mapping[str, QueryMetric] | None = None,
    new: Any = None,
    on_missing_champion: Literal["refuse", "value_only"] = "refuse",
    confidence: float = 0.95,
    samples: int = 2000,
    seed: int = 0,
    batch_size: int = 4096,
) -> Blessing:
    """Compares a candidate with the champion on data that neither has trained on.

    Rows of a query are not independent, so each query gives one number a metric, the two
    models' numbers are paired, and the mean difference is bootstrapped over queries.
    Beside the thresholds the candidate's scores must be finite, and not all alike.

    Args:
        champion: The model that serves now, or `None`.
        challenger: The candidate.
        data: `(x, y)`: what the models predict from, and one label a row.
        query_ids: One id a row, integers or strings; or the name of an entry of `x`. For
            data without queries, e.g. `np.arange(len(y))`.
        thresholds: What is demanded: at least one.
        stability: How much the candidate may differ from the champion.
        metrics: More metrics by name: functions of one query's labels and scores. Known
            are `"ndcg"` (at 10), `"pair_accuracy"` and `"squared_error"`. A query where a
            metric is NaN is left out of it.
        new: For `stability.max_new`: a bool a row, whether its ids are new.
        on_missing_champion: Without a champion, `"refuse"` fails every `ChangeThreshold`;
            `"value_only"` leaves them out, and then demands a `ValueThreshold`.
        confidence: Of the bootstrap interval, two-sided.
        samples: Number of bootstrap samples.
        seed: Of the bootstrap.
        batch_size: Of the predictions.

    Returns:
        A `Blessing`, for `ModelRegistry.promote`; it prints as a table.

    Raises:
        ValueError: For no threshold, an unknown metric, no rows, ids of another length.

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
    if isinstance(query_ids, str):
        query_ids = x[query_ids]
    rows = _rows(np.asarray(query_ids), labels)
    known = {**METRICS, **(metrics or {})}
    _require(thresholds, known, on_missing_champion, alone=champion is None)
    scores = {"challenger": _scores(challenger, x, len(labels), batch_size)}
    if champion is not None:
        scores["champion"] = _scores(champion, x, len(labels), batch_size)
    checks = _sanity(scores["challenger"])
    if all(check.passed for check in checks):
        values = {
            (who, name): _by_query(known[name], labels, given, rows)
            for who, given in scores.items()
            for name in {threshold.metric for threshold in thresholds}
        }
        for threshold in thresholds:
            found = _threshold(
                threshold,
                values,
                champion is None,
                on_missing_champion,
                confidence,
                samples,
                seed,
            )
            checks += found
        checks += _stability(stability, scores, rows, new)
    return Blessing(
        challenger=fingerprint(challenger),
        champion=None if champion is None else fingerprint(champion),
        checks=tuple(checks),
        queries=len(rows),
    )


def _threshold(
    threshold: ValueThreshold | ChangeThreshold,
    values: Mapping[tuple[str, str], npt.NDArray[Any]],
    alone: bool,
    on_missing_champion: str,
    confidence: float,
    samples: int,
    seed: int,
) -> list[Check]:
    new = values["challenger", threshold.metric]
    if isinstance(threshold, ValueThreshold):
        defined = new[~np.isnan(new)]
        return [threshold.check(float(defined.mean()) if len(defined) else float("nan"))]
    if alone:
        if on_missing_champion == "value_only":
            return []
        return [Check(f"{threshold.metric} gain", False, None, "there is no champion")]
    old = values["champion", threshold.metric]
    both = ~(np.isnan(new) | np.isnan(old))
    gains = (new - old)[both] * (1 if threshold.direction == "higher" else -1)
    if not len(gains):
        return [Check(f"{threshold.metric} gain", False, None, "no query has a value")]
    low, high = statistics.bootstrap_mean(
        gains, samples=samples, confidence=confidence, seed=seed
    )
    return [threshold.check(float(gains.mean()), low, high, float(old[both].mean()))]


def _stability(
    stability: Stability | None,
    scores: Mapping[str, npt.NDArray[Any]],
    rows: statistics.Rows,
    new: Any,
) -> list[Check]:
    if stability is None:
        return []
    checks = []
    if stability.max_new is not None:
        if new is None:
            raise ValueError("`new` must be given with `max_new`: which rows have new ids.")
        share = float(np.mean(np.asarray(new, bool)))
        checks.append(
            Check("new ids", share <= stability.max_new, share, f"<= {stability.max_new:g}")
        )
    if "champion" not in scores:
        return checks
    old, now = scores["champion"], scores["challenger"]
    if stability.min_overlap is not None:
        found = [statistics.top_overlap(old[r], now[r], stability.k) for r in rows]
        value = float(np.mean(found))
        name, least = f"top-{stability.k} overlap", stability.min_overlap
        checks.append(Check(name, value >= least, value, f">= {least:g}"))
    if stability.min_kendall is not None:
        taus = np.array([statistics.kendall_tau(old[r], now[r]) for r in rows])
        defined = taus[~np.isnan(taus)]
        value = float(defined.mean()) if len(defined) else float("nan")
        least = stability.min_kendall
        checks.append(Check("Kendall tau", value >= least, value, f">= {least:g}"))
    if stability.max_drift is not None:
        value = statistics.stability_index(old, now)
        most = stability.max_drift
        checks.append(Check("score drift", value <= most, value, f"<= {most:g}"))
    return checks


def _sanity(scores: npt.NDArray[Any]) -> list[Check]:
    finite = np.isfinite(scores)
    share = float(np.mean(finite))
    checks = [Check("finite scores", bool(finite.all()), share, "all")]
    if finite.all():
        spread = float(np.ptp(scores))
        checks.append(Check("scores differ", spread > 0 or len(scores) == 1, spread, "> 0"))
    return checks


def _scores(model: keras.Model, x: Any, rows: int, batch_size: int) -> npt.NDArray[Any]:
    given = _network_entries(model, x) if isinstance(x, Mapping) else x
    predicted = model.predict(given, batch_size=batch_size, verbose=0)
    scores = np.asarray(predicted, dtype="float64").reshape(-1)
    if len(scores) != rows:
        raise ValueError(
            f"A model must give one score a row. Received: {np.shape(predicted)} for {rows} rows."
        )
    return scores


def _network_entries(model: keras.Model, x: Mapping[str, Any]) -> Any:
    """What of `x` a network takes, by name: with more entries Keras mixes them up.

    It takes those of a dict with extra keys in alphabetical order (keras#23258).
    """
    names = [tensor.name for tensor in getattr(model, "inputs", None) or ()]
    declared = model.input if names and not isinstance(model, keras.Sequential) else None
    if isinstance(declared, Mapping):
        names = list(declared)
    if not names or not all(name in x for name in names):
        return x
    if len(names) == 1 and not isinstance(declared, Mapping):
        return x[names[0]]
    return {name: x[name] for name in names}


def _by_query(
    metric: QueryMetric,
    labels: npt.NDArray[Any],
    scores: npt.NDArray[Any],
    rows: statistics.Rows,
) -> npt.NDArray[Any]:
    return np.array([metric(labels[r], scores[r]) for r in rows], dtype="float64")


def _rows(query_ids: npt.NDArray[Any], labels: npt.NDArray[Any]) -> statistics.Rows:
    ids = query_ids.reshape(-1)
    if not len(labels) or len(ids) != len(labels):
        raise ValueError(
            "`query_ids` must have one id a row, for at least one row. Received: "
            f"{len(ids)} ids for {len(labels)} labels. An empty window is not a test."
        )
    return statistics.rows_by_query(ids)


def _require(
    thresholds: Sequence[ValueThreshold | ChangeThreshold],
    known: Mapping[str, QueryMetric],
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
