"""Orders of rows for batches: so many rows of so many classes; rows of about one length."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from keras_trainsteps.data.arrays import checked_ids
from keras_trainsteps.data.rows import Pass, queries_of

Integers: TypeAlias = npt.NDArray[np.int64]

NAMED = 5  # classes that an error names


class RowOrder(Protocol):
    """Which rows make a batch, pass by pass.

    Attributes:
        rows: The number of rows that there are.
        batches: The number of batches of a pass.
        batch_rows: The rows of every batch; `None` where they differ.
        is_once: Whether a pass has every row, once.
    """

    rows: int
    batches: int
    batch_rows: int | None
    is_once: bool

    def passed(self, generator: np.random.Generator | None) -> Pass:
        """A pass; without a generator the same each time."""

    def fingerprint(self) -> str:
        """What a resumed job must share."""


class ByClass:
    """Batches of so many rows of each of so many classes, for losses that compare rows by label.

    Every batch has `classes` different classes, and `rows` different rows of each, so that each
    row has `rows - 1` positives ("PK batches", Hermans et al. 2017). Classes take turns: none
    comes a second time before all have come once; and so do the rows of a class. A pass has
    `ceil(number of rows / (classes * rows))` batches, all of one shape. Classes are drawn alike,
    however many rows they have, so that a pass leaves rows of large classes out.

    Args:
        labels: The class of each row, integers or strings, shape `(rows,)` or `(rows, 1)`.
        classes: Classes of a batch, 2 or more.
        rows: Rows of each, 2 or more.

    Raises:
        TypeError: For labels that are neither integers nor strings.
        ValueError: For counts below 2, fewer classes than `classes`, and classes with fewer
            than `rows` rows.

    Example:

    >>> order = ByClass(np.repeat(["cat", "dog", "owl"], 4), classes=2, rows=2)
    >>> order.batches, order.batch_rows
    (3, 4)

    Reference:
        Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person
        Re-Identification", 2017.
    """

    is_once = False

    def __init__(self, labels: npt.ArrayLike, *, classes: int, rows: int) -> None:
        self.labels = checked_ids(np.asarray(labels), "labels")
        self.classes, self.rows_of_class = _count("classes", classes, 2), _count("rows", rows, 2)
        members = queries_of(self.labels)
        ends = np.cumsum(members.sizes)
        self._members = np.split(members.rows, ends[:-1])
        if len(self._members) < self.classes:
            raise ValueError(
                "`classes` must be at most the number of classes that there are. Received: "
                f"{self.classes}, where `labels` has {len(self._members)}."
            )
        few = [each for each in self._members if len(each) < self.rows_of_class]
        if few:
            named = [f"{self.labels[each[0]]!s} ({len(each)})" for each in few[:NAMED]]
            raise ValueError(
                f"`labels` must have at least `rows={self.rows_of_class}` rows of each class. "
                f"Received: {len(few)} classes with fewer, {', '.join(named)}"
                f"{', ...' if len(few) > NAMED else ''}. Leave their rows out, or lower `rows`."
            )
        self.rows = len(self.labels)
        self.batch_rows: int | None = self.classes * self.rows_of_class
        self.batches = -(-self.rows // (self.classes * self.rows_of_class))

    def passed(self, generator: np.random.Generator | None) -> Pass:
        generator = np.random.default_rng(0) if generator is None else generator
        drawn = _in_turns(generator, len(self._members), self.batches, self.classes)
        rows = np.empty((self.batches, self.classes, self.rows_of_class), np.int64)
        turns = np.bincount(drawn.reshape(-1), minlength=len(self._members))
        places = np.argsort(drawn.reshape(-1), kind="stable")
        flat = rows.reshape(-1, self.rows_of_class)
        begin = 0
        for members, number in zip(self._members, turns, strict=True):
            groups = _in_turns(generator, len(members), int(number), self.rows_of_class)
            flat[places[begin : begin + number]] = members[groups]
            begin += number
        ends = np.arange(self.batches + 1, dtype=np.int64) * (self.classes * self.rows_of_class)
        return rows.reshape(-1), ends

    def fingerprint(self) -> str:
        return _digest(f"classes|{self.classes}|{self.rows_of_class}", self.labels)


class ByLength:
    """Batches of rows of about one length, so that little of them is padding.

    Rows are sorted by length, those of one length in an order that each pass draws, cut into
    batches, and the batches are shuffled. With `tokens`, short rows make larger batches:
    each takes as many rows as fit, `number of rows * longest <= tokens`.

    Args:
        lengths: The length of each row, integers of at least 1, shape `(rows,)`.
        batch_size: Rows of a batch; the last one may have fewer.
        tokens: Instead: the most tokens of a batch, padding included.

    Raises:
        TypeError: For lengths that are no integers.
        ValueError: For lengths or a `batch_size` below 1, both or neither of `batch_size` and
            `tokens`, and fewer `tokens` than the longest row has.

    Example:

    >>> order = ByLength([3, 9, 2, 8], tokens=9)
    >>> rows, ends = order.passed(None)
    >>> [part.tolist() for part in np.split(rows, ends[1:-1])]
    [[2, 0], [3], [1]]
    """

    is_once = True
    batch_rows: int | None = None

    def __init__(
        self, lengths: npt.ArrayLike, *, batch_size: int | None = None, tokens: int | None = None
    ) -> None:
        self.lengths = np.asarray(lengths)
        if self.lengths.ndim != 1 or self.lengths.dtype.kind not in "iu":
            raise TypeError(
                "`lengths` must be integers, one per row, shape (rows,). Received: shape "
                f"{self.lengths.shape}, dtype {self.lengths.dtype}."
            )
        if not len(self.lengths) or self.lengths.min() < 1:
            raise ValueError(
                "`lengths` must be at least 1, of a row or more. Received: "
                f"{self.lengths.min() if len(self.lengths) else 'no rows'}."
            )
        if (batch_size is None) == (tokens is None):
            raise ValueError(
                "`batch_size` or `tokens` must be given, one of them. Received: "
                f"batch_size={batch_size}, tokens={tokens}."
            )
        self.batch_size = None if batch_size is None else _count("batch_size", batch_size, 1)
        self.tokens = None if tokens is None else _count("tokens", tokens, 1)
        if self.tokens is not None and self.tokens < self.lengths.max():
            raise ValueError(
                "`tokens` must be at least the longest row. Received: "
                f"{tokens}, where one has {self.lengths.max()}. Cut it, or raise `tokens`."
            )
        self.rows = len(self.lengths)
        self._cuts = self._cut(np.sort(self.lengths))
        self.batches = len(self._cuts) - 1

    def passed(self, generator: np.random.Generator | None) -> Pass:
        order = np.arange(self.rows)
        if generator is not None:
            generator.shuffle(order)
        rows = order[np.argsort(self.lengths[order], kind="stable")].astype(np.int64)
        if generator is None:
            return rows, self._cuts
        parts = np.split(rows, self._cuts[1:-1])
        parts = [parts[place] for place in generator.permutation(len(parts))]
        return np.concatenate(parts), np.cumsum([0, *map(len, parts)])

    def fingerprint(self) -> str:
        return _digest(f"lengths|{self.batch_size}|{self.tokens}", self.lengths)

    def _cut(self, ascending: Integers) -> Integers:
        """Where batches of rows of these lengths begin, and where the last ends."""
        if self.tokens is None:
            return np.append(np.arange(0, self.rows, self.batch_size), self.rows)
        cuts = [0]
        for place, length in enumerate(ascending):
            if (place + 1 - cuts[-1]) * int(length) > self.tokens:
                cuts.append(place)
        return np.array([*cuts, self.rows], np.int64)


def _in_turns(generator: np.random.Generator, items: int, groups: int, size: int) -> Integers:
    """Groups of different items, shape `(groups, size)`; all come once before one comes again."""
    rounds: list[Integers] = []
    needed, left = groups * size, np.empty(0, np.int64)
    while needed > 0:
        drawn = generator.permutation(items)
        if len(left):  # the group that the round before began takes none of its items again
            again = np.isin(drawn, left)
            others = drawn[~again]
            begun = size - len(left)
            rest = generator.permutation(np.concatenate([others[begun:], drawn[again]]))
            drawn = np.concatenate([others[:begun], rest])
        rounds.append(drawn)
        needed -= items
        number = (len(left) + items) % size
        left = drawn[len(drawn) - number :]
    flat = np.concatenate(rounds) if rounds else np.empty(0, np.int64)
    return flat[: groups * size].reshape(groups, size)


def _count(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"`{name}` must be an integer of at least {least}. Received: {value!r}.")
    return int(value)


def _digest(kind: str, values: npt.NDArray[Any]) -> str:
    text = "\0".join(map(str, values)) if values.dtype.kind in "OSU" else ""
    content = text.encode() or np.ascontiguousarray(values).tobytes()
    return hashlib.sha256(f"{kind}|{values.dtype}|".encode() + content).hexdigest()
