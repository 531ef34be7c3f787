"""Pictures of what `fit` logged."""

from keras_trainsteps.plots.history import plot_history

__all__ = ["plot_history"]
