"""Rows of a table that follow their tokens from an old vocabulary to a new one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True)
class VocabularyMap:
    """How the rows of a table are found again under a new vocabulary.

    A token that both vocabularies hold keeps its row and the optimizer's slots of it; one
    that is gone is dropped; a new one begins. Of tokens that occur several times (the
    out-of-vocabulary ones) the first goes to the first, the second to the second. Rows of
    the table beyond the vocabulary are begun anew.

    Args:
        lookup: The path of the `StringLookup` or `IntegerLookup` layer that gives both
            vocabularies. Or else give `old` and `new`.
        old: The tokens of the saved table, one per row, special ones included.
        new: The tokens of the model's table.
        axis: The axis of the table that tokens run along: 0 for an embedding, 1 for the
            kernel of an output layer. Default: 0.
        new_rows: `"initializer"` leaves new rows as the model has them; `"mean"` sets them
            to the mean of the rows that are kept. Default: `"initializer"`.
        new_slots: `"initial"` begins the slots of new rows as the optimizer does. With
            carried Adam moments the first steps of such rows are longer than elsewhere
            (up to 6 times); `"mean"` takes the mean over the kept rows. Default:
            `"initial"`.

    Raises:
        ValueError: For both or neither of `lookup` and the two lists, or an unknown
            `new_rows` or `new_slots`.

    Example:

    >>> VocabularyMap(old=["[UNK]", "cat", "dog"], new=["[UNK]", "emu", "cat"]).rows()
    array([ 0, -1,  1])
    """

    lookup: str | None = None
    old: Sequence[str] | None = None
    new: Sequence[str] | None = None
    axis: int = 0
    new_rows: Literal["initializer", "mean"] = "initializer"
    new_slots: Literal["initial", "mean"] = "initial"

    def __post_init__(self) -> None:
        if (self.lookup is None) == (self.old is None or self.new is None):
            raise ValueError(
                "`VocabularyMap` needs either `lookup`, or both `old` and `new`. Received: "
                f"lookup={self.lookup!r}, old {'given' if self.old else 'missing'}, "
                f"new {'given' if self.new else 'missing'}."
            )
        if self.new_rows not in ("initializer", "mean"):
            raise ValueError(
                f"`new_rows` must be 'initializer' or 'mean'. Received: {self.new_rows!r}."
            )
        if self.new_slots not in ("initial", "mean"):
            raise ValueError(
                f"`new_slots` must be 'initial' or 'mean'. Received: {self.new_slots!r}."
            )

    def rows(self) -> npt.NDArray[np.int_]:
        """For each new token the row of the old table that it had, or -1: (new tokens,)."""
        old = {token: row for row, token in enumerate(_numbered(self.old or ()))}
        found = [old.get(token, -1) for token in _numbered(self.new or ())]
        return np.array(found, dtype=int)

    def remap(
        self, source: npt.NDArray[Any], target: npt.NDArray[Any], fill: str
    ) -> npt.NDArray[Any]:
        """The new table: kept rows of `source`, the others from `target` or their mean."""
        rows = self.rows()
        kept = np.flatnonzero(rows >= 0)
        table = np.moveaxis(target.copy(), self.axis, 0)
        survivors = np.moveaxis(source, self.axis, 0)[rows[kept]]
        if fill == "mean" and len(kept):
            new = np.setdiff1d(np.arange(len(rows)), kept)
            table[new] = survivors.astype("float64").mean(axis=0).astype(table.dtype)
        table[kept] = survivors
        return np.ascontiguousarray(np.moveaxis(table, 0, self.axis))

    def problem(self, source: tuple[int, ...], target: tuple[int, ...]) -> str | None:
        """Why tables of these shapes do not fit the vocabularies; `None` if they do."""
        if not 0 <= self.axis < min(len(source), len(target)):
            return f"`axis` {self.axis} is no axis of shapes {source} and {target}"
        rest = [shape[: self.axis] + shape[self.axis + 1 :] for shape in (source, target)]
        if rest[0] != rest[1]:
            return f"shape {source} in the source, {target} in the model"
        for side, tokens, shape in (("old", self.old, source), ("new", self.new, target)):
            if len(tokens or ()) > shape[self.axis]:
                return (
                    f"the {side} vocabulary has {len(tokens or ())} tokens, its table only "
                    f"{shape[self.axis]} rows"
                )
        return None


def _numbered(tokens: Sequence[str]) -> list[tuple[str, int]]:
    """Tokens with how often they came before."""
    counts: dict[str, int] = {}
    numbered = []
    for token in map(str, tokens):
        number = counts.get(token, 0)
        counts[token] = number + 1
        numbered.append((token, number))
    return numbered
