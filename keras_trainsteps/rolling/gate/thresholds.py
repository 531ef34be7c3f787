"""What a candidate must reach."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from keras_trainsteps.rolling.registry.blessing import Check


@dataclasses.dataclass(frozen=True)
class ValueThreshold:
    """A candidate's own value must lie within bounds.

    Args:
        metric: The name of the metric; see `evaluate_candidate`.
        lower: The least value, inclusive, in the metric's units. Default: none.
        upper: The largest value, inclusive. Default: none.

    Raises:
        ValueError: Without `lower` and `upper`.

    Example:

    >>> print(ValueThreshold("ndcg", lower=0.4).check(0.5))
    pass  ndcg                             0.5  (within [0.4, inf])
    """

    metric: str
    lower: float | None = None
    upper: float | None = None

    def __post_init__(self) -> None:
        if self.lower is None and self.upper is None:
            raise ValueError(
                f"`ValueThreshold` of {self.metric!r} needs `lower`, `upper` or both. "
                "Received: neither."
            )

    def check(self, value: float) -> Check:
        """Whether a value passes; NaN does not."""
        low = -math.inf if self.lower is None else self.lower
        high = math.inf if self.upper is None else self.upper
        rule = f"within [{low:g}, {high:g}]"
        return Check(self.metric, low <= value <= high, value, rule)


@dataclasses.dataclass(frozen=True)
class ChangeThreshold:
    """A candidate must not be worse than the champion, query by query, with confidence.

    The difference of each query is taken, and their mean bootstrapped over queries. The
    candidate passes when the interval excludes a loss larger than `max_loss`; with
    `min_gain`, when it excludes a gain smaller than that.

    Args:
        metric: The name of the metric; see `evaluate_candidate`.
        max_loss: The largest loss in the mean that is put up with, in the metric's units,
            not negative. Default 0.
        min_gain: Instead: the least gain that is demanded, e.g. 0 for "better than the
            champion, surely". Default: none.
        direction: Whether `"higher"` (default) or `"lower"` values are better.
        relative: Whether the bounds are fractions of the champion's mean. Default `False`.

    Raises:
        ValueError: For an unknown `direction` or a negative `max_loss`.

    Example:

    >>> threshold = ChangeThreshold("ndcg", max_loss=0.01)
    >>> print(threshold.check(mean=0.02, low=-0.005, high=0.04, champion=0.5))
    pass  ndcg gain                        0.02 [-0.005, 0.04]  (gain surely above -0.01)
    """

    metric: str
    max_loss: float = 0.0
    min_gain: float | None = None
    direction: Literal["higher", "lower"] = "higher"
    relative: bool = False

    def __post_init__(self) -> None:
        if self.direction not in ("higher", "lower"):
            raise ValueError(
                f"`direction` must be 'higher' or 'lower'. Received: {self.direction!r}."
            )
        if self.max_loss < 0:
            raise ValueError(
                f"`max_loss` must not be negative. Received: {self.max_loss}. Demand a gain "
                "by `min_gain`."
            )

    def check(self, mean: float, low: float, high: float, champion: float) -> Check:
        """Whether a mean difference with its interval passes; differences are gains."""
        bound = -self.max_loss if self.min_gain is None else self.min_gain
        if self.relative:
            bound *= abs(champion)
        rule = f"gain surely above {bound:.6g}"
        return Check(f"{self.metric} gain", bool(low >= bound), mean, rule, low, high)


@dataclasses.dataclass(frozen=True)
class Stability:
    """How much a candidate may differ from the champion, whatever the metrics say.

    Args:
        min_overlap: Least mean share of each query's top `k` that both have, from 0 to 1.
            Default: none.
        min_kendall: Least mean, over queries, of Kendall's tau-b between the two orders,
            from -1 to 1. Default: none.
        max_drift: Largest population stability index of the scores: below 0.1 is
            usual, above 0.25 a shift. Default: none.
        max_new: Largest share, inclusive, of rows whose queries or items (see `new` of
            `evaluate_candidate`) were not seen in training. Default: none.
        k: The number of top rows compared. Default 10.

    Example:

    >>> Stability(min_overlap=0.5, max_drift=0.25, k=3).k
    3
    """

    min_overlap: float | None = None
    min_kendall: float | None = None
    max_drift: float | None = None
    max_new: float | None = None
    k: int = 10
