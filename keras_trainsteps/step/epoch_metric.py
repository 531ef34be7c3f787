"""Metrics that have something to say about a whole epoch."""

from __future__ import annotations

from collections.abc import Iterable

import keras


class EpochMetric(keras.metrics.Metric):
    """A metric that a model tells of the end of an epoch, before it is reset."""

    def end_epoch(self) -> None:
        """Looks at the state of a whole epoch."""
        raise NotImplementedError(f"{type(self).__name__} must define `end_epoch`.")


def end_epoch(metrics: Iterable[keras.metrics.Metric]) -> None:
    """Tells metrics that an epoch has ended."""
    for metric in metrics:
        if isinstance(metric, EpochMetric):
            metric.end_epoch()
