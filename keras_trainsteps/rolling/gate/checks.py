"""The checks of a candidate: thresholds of its metrics, and how much it differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from keras_trainsteps.metrics.bootstrap import Floats, bootstrap_mean
from keras_trainsteps.metrics.by_query import Queries
from keras_trainsteps.rolling.gate import statistics
from keras_trainsteps.rolling.gate.rank_correlation import kendall_tau
from keras_trainsteps.rolling.gate.thresholds import ChangeThreshold, Stability, ValueThreshold
from keras_trainsteps.rolling.registry.blessing import Check


class Bootstrap(NamedTuple):
    """How intervals are drawn; see `evaluate_candidate`."""

    confidence: float
    samples: int
    seed: int


def check_threshold(
    threshold: ValueThreshold | ChangeThreshold,
    challenger: Floats,
    champion: Floats | None,
    bootstrap: Bootstrap,
) -> Check:
    """Whether a candidate reaches a threshold.

    Args:
        threshold: What is demanded.
        challenger: The candidate's values, one per query; NaN where there is none.
        champion: The champion's, of the same queries. `None` without a champion.
        bootstrap: How the interval of a change is drawn.
    """
    if isinstance(threshold, ValueThreshold):
        return threshold.check(_mean(challenger))
    name = f"{threshold.metric} gain"
    if champion is None:
        return Check(name, False, None, "there is no champion")
    both = ~(np.isnan(challenger) | np.isnan(champion))
    gains = (challenger - champion)[both] * (1 if threshold.direction == "higher" else -1)
    if not len(gains):
        return Check(name, False, None, "no query has a value")
    low, high = bootstrap_mean(gains, **bootstrap._asdict())
    return threshold.check(float(gains.mean()), low, high, float(champion[both].mean()))


def check_new(stability: Stability, new: npt.ArrayLike | None) -> list[Check]:
    """Whether the share of rows with new ids is small enough.

    Raises:
        ValueError: For `max_new` without `new`.
    """
    if stability.max_new is None:
        return []
    if new is None:
        raise ValueError(
            "`new` must be given with `stability.max_new`. Received: None. Pass a bool per "
            "row that says whether its ids are new."
        )
    share, most = float(np.mean(np.asarray(new, bool))), stability.max_new
    return [Check("new ids", share <= most, share, f"<= {most:g}")]


def check_stability(
    stability: Stability, scores: Mapping[str, Floats], queries: Queries
) -> list[Check]:
    """Whether a candidate's scores differ little enough from the champion's."""
    old, now = scores["champion"], scores["challenger"]
    checks = []
    if stability.min_overlap is not None:
        pairs = zip(queries.split(old), queries.split(now), strict=True)
        value = float(np.mean([statistics.top_overlap(*pair, stability.k) for pair in pairs]))
        checks.append(_at_least(f"top-{stability.k} overlap", value, stability.min_overlap))
    if stability.min_kendall is not None:
        value = _mean(kendall_tau(old, now, queries))
        checks.append(_at_least("Kendall tau", value, stability.min_kendall))
    if stability.max_drift is not None:
        value, most = statistics.stability_index(old, now), stability.max_drift
        checks.append(Check("score drift", value <= most, value, f"<= {most:g}"))
    return checks


def _at_least(name: str, value: float, least: float) -> Check:
    return Check(name, value >= least, value, f">= {least:g}")


def _mean(values: Floats) -> float:
    """The mean of the queries that have a value; NaN where none has."""
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")
