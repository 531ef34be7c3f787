"""Which rows make the batches of a pass: what several makers of batches follow."""

from __future__ import annotations

import abc
from typing import ClassVar

import numpy as np

from keras_trainsteps.data.gathering import Pass
from keras_trainsteps.data.rows import Queries


class BatchOrder(abc.ABC):
    """An order of rows, cut into batches, that a generator draws anew for each pass.

    A subclass fills `drawn` and the attributes. Every pass has the same number of batches.

    Attributes:
        rows: The number of rows that the order is for.
        batches: Batches of a pass.
        every_row_once: Whether each pass has each row, once.

    Example:

    >>> class Pairs(BatchOrder):
    ...     def __init__(self, rows):
    ...         self.rows, self.batches = rows, rows // 2
    ...     def drawn(self, generator):
    ...         drawn = generator.permutation(self.rows)[: 2 * self.batches]
    ...         return drawn, np.arange(0, len(drawn) + 1, 2)
    >>> rows, ends = Pairs(5).drawn(np.random.default_rng(0))
    >>> len(rows), ends.tolist()
    (4, [0, 2, 4])
    """

    rows: int
    batches: int
    every_row_once: ClassVar[bool] = False

    @abc.abstractmethod
    def drawn(self, generator: np.random.Generator) -> Pass:
        """The rows of a pass, and where each batch begins, then where the last ends.

        Args:
            generator: Draws the order; nothing else may.
        """


class ByQuery(BatchOrder):
    """Whole queries, as nearly of `batch_size` rows as they allow."""

    every_row_once = True

    def __init__(self, queries: Queries, batch_size: int) -> None:
        self.rows, self.batches = len(queries.rows), queries.number_of_batches(batch_size)
        self._queries, self._batch_size = queries, batch_size

    def drawn(self, generator: np.random.Generator) -> Pass:
        order = generator.permutation(len(self._queries.sizes))
        return self._queries.in_batches(order, self._batch_size)
