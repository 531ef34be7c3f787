"""Two models on the same queries, compared query by query."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from keras_trainsteps.metrics.bootstrap import bootstrap_mean, sign_test
from keras_trainsteps.metrics.query_table import QueryTable, checked_confidence
from keras_trainsteps.validation import as_count


class Comparison(NamedTuple):
    """The differences of two models, query by query.

    Attributes:
        mean: The mean of new less old.
        low: Where the interval of the mean begins; minus infinity for fewer than two queries.
        high: Where it ends.
        queries: How many queries have a value of both.
        higher: In how many of them the new value is higher.
        lower: In how many it is lower.
        p_value: How probable so large a mean is, of either sign, between models that are alike.

    Example:

    >>> Comparison(0.01, 0.002, 0.018, 100, 60, 40, 0.02).higher
    60
    """

    mean: float
    low: float
    high: float
    queries: int
    higher: int
    lower: int
    p_value: float


def compare(
    new: QueryTable,
    old: QueryTable,
    name: str,
    *,
    confidence: float = 0.95,
    samples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Two models on the same queries: the mean difference, its interval, and a paired test.

    Rows of a query are not independent of each other, queries are: so each query gives one
    difference. The interval draws queries anew, as the gate of `rolling` does; `p_value` is that
    of Fisher's randomization test, which flips the signs of the differences.

    ```
    mean = sum over queries q with a value of both of (new_q - old_q) / their number
    ```

    Args:
        new: The values of one model, from `per_query`.
        old: The values of the other, of the same queries.
        name: The name of the metric.
        confidence: Of the interval, two-sided, between 0 and 1. Default 0.95.
        samples: How often queries are drawn, and signs. Default 2000.
        seed: Of the draws. Default 0.

    Returns:
        A `Comparison`.

    Raises:
        ValueError: For an unknown name, tables of different queries, a `confidence` that is not
            between 0 and 1, and where no query has a value of both.

    Example:

    >>> from keras_trainsteps.metrics import MRR, per_query
    >>> labels, ids = np.tile([0, 1], 30), np.repeat(np.arange(30), 2)
    >>> good, bad = (per_query(MRR(), labels, s * labels, query_ids=ids) for s in (1.0, -1.0))
    >>> found = compare(good, bad, "mrr")
    >>> found.mean, found.higher, found.lower, found.p_value < 0.001
    (0.5, 30, 0, True)

    Reference:
        Smucker, Allan and Carterette, "A comparison of statistical significance tests for
        information retrieval evaluation", 2007.
    """
    if not np.array_equal(new.ids, old.ids):
        raise ValueError(
            "`new` and `old` must be of the same queries. Received: "
            f"{len(new)} and {len(old)} queries, not all the same."
        )
    both = (new.weights[new.known(name)] > 0) & (old.weights[old.known(name)] > 0)
    differences = (new[name] - old[name])[both]
    if not len(differences):
        raise ValueError(f"{name!r} must have a value of some query in both. Received: none.")
    samples, confidence = as_count("samples", samples), checked_confidence(confidence)
    low, high = bootstrap_mean(differences, samples=samples, confidence=confidence, seed=seed)
    return Comparison(
        float(differences.mean()),
        float(low),
        float(high),
        len(differences),
        int(np.sum(differences > 0)),
        int(np.sum(differences < 0)),
        sign_test(differences, samples=samples, seed=seed),
    )
