"""Pictures of what `fit` logged, and of what a model does query by query."""

from keras_trainsteps.plots.history import plot_history
from keras_trainsteps.plots.queries import plot_queries

__all__ = ["plot_history", "plot_queries"]
