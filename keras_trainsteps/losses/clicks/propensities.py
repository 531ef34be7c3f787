"""Propensities of positions: weights from them, and how to estimate them from logs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_trainsteps.validation import as_count, require_not_negative

Floats = npt.NDArray[np.float64]


def inverse_propensity_weights(
    positions: npt.ArrayLike, propensities: npt.ArrayLike, *, most: float | None = None
) -> Floats:
    """What each click weighs, so that positions that are seldom looked at count no less.

    ```
    weight(row) = min(1 / propensity[position(row)], most)
    ```

    As `sample_weight` of clicked rows in a loss by query it makes the loss, in the mean over
    who looked, that of relevance (Joachims et al. 2017). Weights of rows without a click
    matter in losses that take them for negatives; leave those at 1.

    Args:
        positions: The position of each row, integers from 1, shape `(rows,)`.
        propensities: The chance that a position is looked at, above 0 and at most 1, from the
            first position on; relative to the first will do.
        most: Where to cut weights, which bounds their variance. Default: not.

    Returns:
        Weights, float64, shape `(rows,)`.

    Raises:
        TypeError: For positions that are no integers.
        ValueError: For positions that have no propensity, and propensities that are none.

    Example:

    >>> inverse_propensity_weights([1, 2, 4], [1.0, 0.5, 0.25, 0.1], most=5.0).tolist()
    [1.0, 2.0, 5.0]

    Reference:
        Joachims, Swaminathan and Schnabel, "Unbiased Learning-to-Rank with Biased
        Feedback", 2017.
    """
    known = np.asarray(propensities, np.float64)
    if known.ndim != 1 or not len(known) or not np.all((known > 0) & (known <= 1)):
        raise ValueError(
            "`propensities` must be above 0 and at most 1, one per position. Received: "
            f"{known.tolist() if known.size < 20 else known.shape}."
        )
    weights = 1 / known[_places(positions, len(known))]
    if most is None:
        return weights
    require_not_negative("most", most)
    return np.minimum(weights, most)


def estimate_propensities(
    clicks: npt.ArrayLike,
    positions: npt.ArrayLike,
    items: npt.ArrayLike,
    *,
    iterations: int = 200,
) -> Floats:
    """How much each position is looked at, beside the first, from logs.

    Of items (a document for a query) that stood in several positions: in the position-based model

    ```
    P(click) = theta[position] * gamma[item]
    ```

    what an item is clicked more in one position than in another is due to the positions. Both
    factors are estimated by expectation and maximization, from all rows:

    ```
    examined = theta * (1 - gamma) / (1 - theta * gamma)    of rows without a click, else 1
    relevant = gamma * (1 - theta) / (1 - theta * gamma)    of rows without a click, else 1
    theta[position] = mean examined of its rows,  gamma[item] = mean relevant of its rows
    ```

    Args:
        clicks: 0 or 1 of each row, shape `(rows,)`.
        positions: Positions, integers from 1.
        items: What was shown: an id of the pair of query and document, of each row.
        iterations: How often both are estimated. Default 200.

    Returns:
        `theta / theta[0]`, at most 1, float64, shape `(largest position,)`.

    Raises:
        TypeError: For positions that are no integers.
        ValueError: For clicks that are not 0 or 1, columns of different lengths, positions
            without a row or a click, and logs in which no item stood in two positions.

    Example:

    >>> clicks, positions = [1, 0, 1, 1, 0, 1], [1, 2, 1, 2, 2, 1]
    >>> theta = estimate_propensities(clicks, positions, ["a", "a", "b", "b", "c", "c"])
    >>> theta.round(2).tolist()
    [1.0, 0.33]

    Reference:
        Wang et al., "Position Bias Estimation for Unbiased Learning to Rank in Personal
        Search", 2018.
    """
    clicked = np.asarray(clicks, np.float64)
    place = _places(positions, None)
    _, item = np.unique(np.asarray(items), return_inverse=True)
    if not clicked.shape == place.shape == item.shape or not np.isin(clicked, (0, 1)).all():
        raise ValueError(
            "`clicks` must be 0 or 1, with one position and one item per row. Received: shapes "
            f"{clicked.shape}, {place.shape}, {item.shape}, and clicks from {clicked.min()} to "
            f"{clicked.max()}."
        )
    number = place.max() + 1
    by_place = np.bincount(place, weights=clicked, minlength=number)
    if not by_place.all():
        raise ValueError(
            "`positions` must each have a click. Received: none of "
            f"{(np.flatnonzero(by_place == 0) + 1).tolist()[:10]}. Leave out what is below."
        )
    first = np.full(item.max() + 1, -1)
    first[item] = place
    if np.all(first[item] == place):
        raise ValueError(
            "`items` must stand in several positions, or nothing tells a position from what it "
            "shows. Received: each in one."
        )
    theta, gamma = np.full(number, 0.5), np.full(len(first), 0.5)
    rows_of_place, rows_of_item = np.bincount(place), np.bincount(item)
    for _ in range(as_count("iterations", iterations)):
        t, g = theta[place], gamma[item]
        missed = 1 - np.minimum(t * g, 1 - 1e-12)
        examined = np.where(clicked == 1, 1.0, t * (1 - g) / missed)
        relevant = np.where(clicked == 1, 1.0, g * (1 - t) / missed)
        theta = np.bincount(place, weights=examined) / rows_of_place
        gamma = np.bincount(item, weights=relevant) / rows_of_item
    found: Floats = np.minimum(theta / theta[0], 1.0)
    return found


def _places(positions: npt.ArrayLike, number: int | None) -> npt.NDArray[Any]:
    """Positions from 0, each of them below `number`."""
    array = np.asarray(positions)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise TypeError(
            "`positions` must be integers from 1, one per row. Received: shape "
            f"{array.shape}, dtype {array.dtype}."
        )
    if len(array) and (array.min() < 1 or (number is not None and array.max() > number)):
        upper = "" if number is None else f" to {number}"
        raise ValueError(
            f"`positions` must be from 1{upper}. Received: {array.min()} to {array.max()}."
        )
    return array - 1
