"""Which labels are relevant to a metric that knows relevant rows and others alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_trainsteps.metrics.ranked_rows import is_relevant
from keras_trainsteps.queries import RankingRows
from keras_trainsteps.validation import is_number


class Relevance:
    """The lowest label that is relevant, and whether the labels of an epoch go with it.

    Without it labels above 0 are relevant: then a label that is neither 0 nor 1 is a grade, of
    which somebody should say from where on it counts. With it some label must reach it.

    Args:
        owner: The name of the metric's class.
        relevant_from: The lowest label that is relevant, or `None`.
        add_variable: The metric's. The variable is all zero at the start of an epoch.
    """

    def __init__(
        self, owner: str, relevant_from: Any, add_variable: Callable[..., keras.Variable]
    ) -> None:
        if relevant_from is not None and not (
            is_number(relevant_from) and np.isfinite(relevant_from)
        ):
            raise ValueError(
                "`relevant_from` must be a finite number, the lowest label that is relevant, or "
                f"None for every label above 0. Received: {relevant_from!r}."
            )
        self.relevant_from = None if relevant_from is None else float(relevant_from)
        self._owner, self._warned = owner, False
        # Batches; and those with a grade, or with a label that is relevant.
        self._seen = add_variable((2,), "zeros", dtype="float64", name="relevance")

    def note(self, rows: RankingRows) -> None:
        """Takes in the labels of a batch."""
        found = is_relevant(rows.y_true, self.relevant_from)
        if self.relevant_from is None:
            found &= rows.y_true != 1
        some = tf.cast(tf.reduce_any(found & (rows.query >= 0)), tf.float64)
        self._seen.assign_add(tf.stack([tf.ones_like(some), some]))

    def warn_of_grades(self) -> None:
        """Names grades once, where nobody has said which of them are relevant."""
        if self.relevant_from is None and not self._warned and float(self._seen.numpy()[1]) > 0:
            self._warned = True
            warnings.warn(self._of_grades, stacklevel=4)

    def require_reached(self) -> None:
        """Refuses an epoch in which no label is relevant."""
        batches, reached = self._seen.numpy()
        if self.relevant_from is not None and batches > 0 and reached == 0:
            raise ValueError(self._not_reached("an epoch without such a label"))

    def check(self, labels: npt.NDArray[Any]) -> None:
        """Looks at all the labels there are: names grades once, and refuses what none reaches."""
        if self.relevant_from is None:
            if not self._warned and bool(np.any((labels > 0) & (labels != 1))):
                self._warned = True
                warnings.warn(self._of_grades, stacklevel=4)
        elif len(labels) and not bool(np.any(labels >= self.relevant_from)):
            raise ValueError(self._not_reached(f"labels up to {np.max(labels):g}"))

    @property
    def _of_grades(self) -> str:
        return (
            f"`{self._owner}` takes every label above 0 for relevant. Received: labels other "
            "than 0 and 1. If these are grades, set `relevant_from` to the lowest that is "
            "relevant; `relevant_from=1` goes on counting all whole ones above 0."
        )

    def _not_reached(self, received: str) -> str:
        return (
            f"`relevant_from` of `{self._owner}` must be reached by some label, or nothing is "
            f"relevant. Received: {self.relevant_from:g}, and {received}. Lower it."
        )
