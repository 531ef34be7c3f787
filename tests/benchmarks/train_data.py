"""Simulated LETOR data, NDCG@10 of it, and the curve of a training: NumPy alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

FEATURES = 46
HIDDEN = (64, 32)
RATE = 2e-3
BATCH = 2048
PATIENCE = 6


class Rows(NamedTuple):
    """Rows of queries, one query after the other."""

    features: np.ndarray
    labels: np.ndarray
    query: np.ndarray


def letor(queries: int, seed: int) -> Rows:
    """Queries of 5 to 250 rows, log-normal, with labels from 0 to 4, most of them 0.

    Labels follow a sum of a linear part, a product and a threshold of features, beside noise
    and an offset of each query, which no ranker can know.
    """
    rng = np.random.default_rng([7, seed])
    truth = np.random.default_rng(7)
    sizes = np.exp(rng.normal(np.log(40), 0.8, queries)).astype(int).clip(5, 250)
    query = np.repeat(np.arange(queries), sizes)
    x = rng.normal(size=(len(query), FEATURES)).astype("float32")
    signal = x @ (truth.normal(size=FEATURES) * (np.arange(FEATURES) < 20) / 4)
    signal += 0.8 * x[:, 20] * x[:, 21] + 1.0 * (x[:, 22] > 1) - 0.6 * np.abs(x[:, 23])
    signal += rng.normal(size=len(x)) + rng.normal(size=queries)[query]
    levels = np.quantile(signal, [0.52, 0.84, 0.97, 0.99])
    return Rows(x, np.digitize(signal, levels).astype("float32"), query)


def ndcg(rows: Rows, scores: np.ndarray, k: int = 10) -> float:
    """The mean over queries of `DCG@k / ideal DCG@k`, of gains `2**label - 1`."""

    def dcg(keys: np.ndarray) -> np.ndarray:
        order = np.lexsort((-keys, rows.query))
        begins = np.searchsorted(rows.query, rows.query)
        rank = np.arange(len(order)) - begins
        gains = (2.0 ** rows.labels[order] - 1) / np.log2(2 + rank) * (rank < k)
        return np.bincount(rows.query, gains)

    ideal = dcg(rows.labels)
    known = ideal > 0
    return float(np.mean(dcg(np.ravel(scores))[known] / ideal[known]))


def padded(values: np.ndarray, query: np.ndarray, fill: float) -> np.ndarray:
    """Rows as lists of the longest query's length."""
    sizes = np.bincount(query)
    lists = np.full((len(sizes), sizes.max(), *values.shape[1:]), fill, values.dtype)
    lists[np.arange(sizes.max()) < sizes[:, None]] = values
    return lists


def curve(
    rounds: Iterator[Callable[[], np.ndarray]], held_out: Rows, limit: float
) -> list[tuple[float, float]]:
    """Seconds of training so far, and NDCG@10, after each round.

    Args:
        rounds: Trains a round each time it is asked, and gives what scores the rows held out.
            What it does before the first round is timed, scoring is not.
        held_out: The rows to score.
        limit: Seconds of training after which to stop.
    """
    spent, found, best = 0.0, [], 0
    while spent < limit and len(found) - best <= PATIENCE:
        begin = time.perf_counter()
        score = next(rounds, None)
        spent += time.perf_counter() - begin
        if score is None:
            break
        found.append((spent, ndcg(held_out, score())))
        best = max(range(len(found)), key=lambda i: found[i][1])
    return found
