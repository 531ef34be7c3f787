"""Batches of rows of about the same length, of so many rows or so many tokens."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keras_trainsteps.data.batch_order import BatchOrder
from keras_trainsteps.data.gathering import Pass
from keras_trainsteps.data.groups import is_count


class ByLength(BatchOrder):
    """Batches of rows of about the same length, so that little of a batch is padding.

    Lengths are rounded up to `width`. Rows are sorted by that, equals in an order that each pass
    draws; they are cut from the shortest on, and the batches come in an order that is drawn. The
    cuts do not depend on what is drawn, so that every pass has as many batches:

    ```
    rows of a batch <= batch_size
    rows of a batch * longest rounded length in it <= tokens
    ```

    Every row comes once a pass. Arrays are padded to the longest row of all: cut a batch to its
    own longest row, as in the example.

    Args:
        lengths: The length of each row, integers of at least 0, shape `(rows,)`.
        batch_size: Rows of a batch at most. Default: no limit.
        tokens: Tokens of a batch at most, padding included. Default: no limit. One of the two,
            or both, must be given.
        width: Rows whose lengths round up to the same multiple are mixed. The larger, the more
            a pass differs from the next, and the more padding. Default 8.

    Raises:
        TypeError: For lengths that are no integers.
        ValueError: For negative lengths, neither limit, limits below 1, and `tokens` below the
            longest row.

    Example:

    >>> from keras_trainsteps.data import ordered_batches
    >>> x = {"token": np.array([[1, 0, 0], [1, 2, 0], [1, 2, 3], [4, 0, 0]])}
    >>> x["length"] = (x["token"] > 0).sum(1)
    >>> order = ByLength(x["length"], tokens=4, width=1)
    >>> batches = ordered_batches(x, order=order, seed=1)
    >>> def cut(batch):
    ...     longest = tf.reduce_max(batch["length"])
    ...     return {**batch, "token": batch["token"][:, :longest]}
    >>> sorted(batch["token"].shape.as_list() for batch in batches.map(cut))
    [[1, 2], [1, 3], [2, 1]]
    """

    every_row_once = True

    def __init__(
        self,
        lengths: npt.ArrayLike,
        *,
        batch_size: int | None = None,
        tokens: int | None = None,
        width: int = 8,
    ) -> None:
        given = np.asarray(lengths)
        if given.dtype.kind not in "iu":
            raise TypeError(
                f"`lengths` must be integers, numbers of tokens. Received: dtype {given.dtype}."
            )
        if given.ndim != 1 or given.size == 0 or given.min() < 0:
            found = f"shape {given.shape}" + (f", with {given.min()}" if given.size else "")
            raise ValueError(
                f"`lengths` must be one number of at least 0 for each row. Received: {found}."
            )
        if batch_size is None and tokens is None:
            raise ValueError(
                "`batch_size` or `tokens` must say how large a batch is. Received: neither."
            )
        limits = {"batch_size": batch_size, "tokens": tokens, "width": width}
        for name, value in limits.items():
            if value is not None and (not is_count(value) or value < 1):
                raise ValueError(
                    f"`{name}` must be an integer of at least 1. Received: {value!r}."
                )
        longest = int(given.max())
        if tokens is not None and tokens < longest:
            raise ValueError(
                "`tokens` must be at least the length of the longest row, which a batch must "
                f"hold. Received: {tokens}, where row {int(given.argmax())} has {longest}. Cut "
                "the row, or raise `tokens`."
            )
        given = given.astype("int64")
        self._rounded = np.minimum(-(-given // width) * width, longest)
        self.rows = len(given)
        most = self.rows if batch_size is None else batch_size
        self._ends = _cuts(np.sort(self._rounded), most, tokens)
        self.batches = len(self._ends) - 1

    def drawn(self, generator: np.random.Generator) -> Pass:
        rows = np.lexsort((generator.random(self.rows), self._rounded))
        order = generator.permutation(self.batches)
        sizes = np.diff(self._ends)[order]
        ends = np.concatenate([[0], np.cumsum(sizes)])
        shift = np.repeat(self._ends[:-1][order] - ends[:-1], sizes)
        return rows[np.arange(self.rows) + shift], ends


def _cuts(
    ascending: npt.NDArray[np.int64], batch_size: int, tokens: int | None
) -> npt.NDArray[np.int64]:
    """Where batches begin, then where the last ends, each as large as the limits allow."""
    ends = [0]
    while ends[-1] < len(ascending):
        begin = ends[-1]
        end = min(begin + batch_size, len(ascending))
        if tokens is not None:
            padded = np.arange(1, end - begin + 1) * ascending[begin:end]  # ascending, too
            end = begin + int(np.searchsorted(padded, tokens, side="right"))
        ends.append(end)
    return np.array(ends)
