"""NDCG of held-out rows after each epoch; training stops, and goes back to the best one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from keras_trainsteps.metrics import NDCG

AT_A_TIME = 65536


class HeldOut(NamedTuple):
    """Rows to evaluate on: features in float32, grades, and query ids."""

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[Any]
    ids: npt.NDArray[Any]


def scores_of(model: keras.Model, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The score of each row, in the order of the rows."""
    parts = [
        np.reshape(model.predict_on_batch(features[begin : begin + AT_A_TIME]), -1)
        for begin in range(0, len(features), AT_A_TIME)
    ]
    return np.concatenate(parts)


class BestEpoch(keras.callbacks.Callback):
    """Evaluates each epoch; keeps the weights of the best on the last of the sets.

    Args:
        held_out: The sets.
        metric: NDCG. Its state is not kept.
        patience: Epochs without a better one, after which training stops. `None`: it does
            not, and the last weights are kept.

    Attributes:
        values: NDCG of each set after each epoch.
        best: The number of the best epoch, from 1.
    """

    def __init__(self, held_out: Sequence[HeldOut], metric: NDCG, patience: int | None) -> None:
        super().__init__()
        self.held_out, self.metric, self.patience = held_out, metric, patience
        self.values: list[list[float]] = [[] for _ in held_out]
        self.best, self._weights = 0, None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for rows, values in zip(self.held_out, self.values, strict=True):
            self.metric.reset_state()
            scores = scores_of(self.model, rows.features)
            self.metric.update_state(rows.labels, scores, query_ids=rows.ids)
            values.append(float(self.metric.result()))
        found = self.values[-1]
        if self.patience is None:
            self.best = len(found)
        elif not self.best or found[-1] > found[self.best - 1]:
            self.best, self._weights = len(found), self.model.get_weights()
        elif len(found) - self.best >= self.patience:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._weights is not None:
            self.model.set_weights(self._weights)
