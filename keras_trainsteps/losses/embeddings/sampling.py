"""How often a batch holds an item, from how often it was seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from keras_trainsteps.validation import as_count


def expected_count(counts: ArrayLike, *, batch_size: int) -> np.ndarray:
    """How many rows of a batch are of each item, on average: `B * p`, which may exceed 1.

    For `losses.info_nce(expected_count=...)`, where a batch is of rows as they come, so that
    an item may be in it more than once and competes each time: the sum over such candidates,
    each divided by this number, is on average the sum over all items. A factor of all
    changes nothing, so those of a queue may have that of a batch, too; only beside
    `negatives` that have 1 it counts.

    ```
    expected_count(i) = B * p_i,    p_i = counts_i / sum_j counts_j
    ```

    Args:
        counts: How often each item was seen, as a candidate, shape `(items,)`.
        batch_size: `B`: the rows of a batch, of all replicas.

    Returns:
        Float64, shape `(items,)`; 0 for an item that was not seen, which a loss refuses.

    Raises:
        TypeError: For a `batch_size` that is not an integer.
        ValueError: For counts that are negative, not finite or all 0, not one per item, and
            for a `batch_size` below 1.

    Example:

    >>> expected_count([6, 3, 1], batch_size=5).tolist()
    [3.0, 1.5, 0.5]

    Reference:
        Yi et al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
        Recommendations", 2019.
    """
    return as_count("batch_size", batch_size) * _shares(counts)


def sampling_probability(counts: ArrayLike, *, batch_size: int) -> np.ndarray:
    """How likely a batch has a row of each item: `1 - (1 - p) ** B`.

    For `losses.info_nce(sampling_probability=...)`, where the candidates of a batch are
    distinct, as where duplicates were masked: then an item competes once, if at all. It is
    less than `expected_count`, the more so the more popular an item is; of items that a batch
    holds rarely, both are the same.

    ```
    sampling_probability(i) = 1 - (1 - p_i) ** B,    p_i = counts_i / sum_j counts_j
    ```

    Args:
        counts: How often each item was seen, as a candidate, shape `(items,)`.
        batch_size: `B`: the rows of a batch, of all replicas, before duplicates are masked.

    Returns:
        Float64, shape `(items,)`; 0 for an item that was not seen, which a loss refuses.

    Raises:
        TypeError: For a `batch_size` that is not an integer.
        ValueError: For counts that are negative, not finite or all 0, not one per item, and
            for a `batch_size` below 1.

    Example:

    >>> sampling_probability([1, 1], batch_size=2).tolist()
    [0.75, 0.75]

    Reference:
        Bengio and Senecal, "Adaptive Importance Sampling to Accelerate Training of a Neural
        Probabilistic Language Model", 2008.
    """
    # Not 1 - (1 - p), which would lose the digits of a small p.
    with np.errstate(divide="ignore"):  # an item that is all there is
        return -np.expm1(as_count("batch_size", batch_size) * np.log1p(-_shares(counts)))


def _shares(counts: ArrayLike) -> np.ndarray:
    """The share of each item in all that was seen."""
    found = np.asarray(counts, np.float64)
    if found.ndim != 1:
        raise ValueError(
            "`counts` must have one number per item, shape (items,). Received: shape "
            f"{found.shape}."
        )
    if not (np.isfinite(found).all() and (found >= 0).all() and found.any()):
        raise ValueError(
            "`counts` must be finite, not negative and not all 0. Received: numbers from "
            f"{found.min(initial=0)} to {found.max(initial=0)}. Count the rows of each item: "
            "`np.bincount(item_id, minlength=items)`."
        )
    return found / found.sum()
