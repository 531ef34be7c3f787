"""Batches of some classes by some rows, for losses that compare rows by their label."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keras_trainsteps.data.arrays import checked_ids
from keras_trainsteps.data.batch_order import BatchOrder
from keras_trainsteps.data.gathering import Pass
from keras_trainsteps.data.groups import is_count
from keras_trainsteps.data.rows import queries_of


class ByClass(BatchOrder):
    """Batches of `classes` classes with `rows_per_class` rows of each: for metric learning.

    Batches drawn by rows have few pairs of one class, or none. Here each pass draws, of a class
    `c` with `n_c` rows, groups of `K = rows_per_class` rows, and puts groups of `P = classes`
    different classes into each of `B` batches:

    ```
    g_c = floor(n_c / K)
    B   = the largest number with sum over classes of min(g_c, B) >= P * B
    ```

    A pass has no row twice. Rows that fill no group, groups of a class with more than `B`, and
    those that fill no batch are left out of a pass; which, each pass draws anew. Rows of a class
    lie together in the batch.

    Args:
        labels: The class of each row: integers or strings, shape `(rows,)` or `(rows, 1)`.
        classes: Classes of a batch, `P`, at least 2.
        rows_per_class: Rows of each, `K`, at least 2: a class of one row has no positive pair.

    Raises:
        TypeError: For labels that are neither integers nor strings.
        ValueError: For numbers below 2, fewer classes than `classes`, and a class of fewer rows
            than `rows_per_class`, with its name.

    Example:

    >>> order = ByClass(["a", "b", "b", "a", "c", "c"], classes=3, rows_per_class=2)
    >>> rows, ends = order.drawn(np.random.default_rng(0))
    >>> sorted(rows.tolist()), ends.tolist(), order.batches
    ([0, 1, 2, 3, 4, 5], [0, 6], 1)

    Reference:
        Hermans et al., "In Defense of the Triplet Loss for Person Re-Identification", 2017.
    """

    def __init__(self, labels: npt.ArrayLike, *, classes: int, rows_per_class: int) -> None:
        for name, value in (("classes", classes), ("rows_per_class", rows_per_class)):
            if not is_count(value) or value < 2:
                raise ValueError(
                    f"`{name}` must be an integer of at least 2: one has nothing to be compared "
                    f"with. Received: {value!r}."
                )
        ids = checked_ids(np.asarray(labels), "labels")
        found = queries_of(ids)
        if len(found.sizes) < classes:
            raise ValueError(
                f"`labels` must be of `classes={classes}` classes or more. Received: "
                f"{len(found.sizes)}. Lower `classes`, or look whether these are the labels."
            )
        small = found.sizes < rows_per_class
        if small.any():
            first = found.rows[np.cumsum(found.sizes) - found.sizes][small][0]
            raise ValueError(
                f"`labels` must have `rows_per_class={rows_per_class}` rows or more of each "
                f"class. Received: {found.sizes[small][0]} of class {ids[first].item()!r}, and "
                f"{small.sum() - 1} other classes with too few. Leave their rows out, or lower "
                "`rows_per_class`."
            )
        self.rows, self._classes, self._per_class = len(ids), int(classes), int(rows_per_class)
        self._rows, self._sizes = found.rows, found.sizes
        self._groups = found.sizes // self._per_class
        self.batches = _number_of_batches(self._groups, self._classes)

    def drawn(self, generator: np.random.Generator) -> Pass:
        owner = np.repeat(np.arange(len(self._sizes)), self._sizes)
        shuffled = np.lexsort((generator.random(self.rows), owner))
        begins = np.cumsum(self._sizes) - self._sizes

        groups = np.minimum(self._groups, self.batches)
        group_owner = np.repeat(np.arange(len(groups)), groups)
        number = np.arange(len(group_owner)) - np.repeat(np.cumsum(groups) - groups, groups)
        size = self._classes * self.batches
        kept = np.sort(generator.permutation(len(group_owner))[:size])
        of_class, number = group_owner[kept], number[kept]
        order = np.argsort(generator.permutation(len(groups))[of_class], kind="stable")
        of_class, number = of_class[order], number[order]

        batch = _different_batches(of_class, self.batches, generator)
        order = np.lexsort((generator.random(size), batch))
        first = begins[of_class[order]] + number[order] * self._per_class
        places = (first[:, None] + np.arange(self._per_class)).reshape(-1)
        ends = np.arange(self.batches + 1) * self._classes * self._per_class
        return self._rows[shuffled[places]], ends


def _number_of_batches(groups: npt.NDArray[np.int64], classes: int) -> int:
    """The most batches of so many different classes that there are groups for."""
    low, high = 1, int(groups.sum()) // classes
    while low < high:
        middle = (low + high + 1) // 2
        enough = int(np.minimum(groups, middle).sum()) >= classes * middle
        low, high = (middle, high) if enough else (low, middle - 1)
    return low


def _different_batches(
    of_class: npt.NDArray[np.int64], batches: int, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """A batch for each group, no class twice in one; groups of a class lie together.

    Every `batches` groups in turn take each batch once, in an order of their own. A class has
    at most `batches` groups, so only one that goes on from one turn to the next could come
    twice: what it has taken before comes later in the next turn.
    """
    taken = np.empty_like(of_class)
    for begin in range(0, len(of_class), batches):
        turn = generator.permutation(batches)
        same = of_class[begin : begin + batches] == of_class[begin]
        before = of_class[max(begin - batches, 0) : begin] == of_class[begin]
        if before.any():
            used = taken[max(begin - batches, 0) : begin][before]
            head = turn[~np.isin(turn, used)][: same.sum()]
            turn = np.concatenate([head, turn[~np.isin(turn, head)]])
        taken[begin : begin + batches] = turn
    return taken
