"""`Ranker`: the models of this library as an estimator of scikit-learn."""

from keras_trainsteps.sklearn.ranker import Ranker

__all__ = ["Ranker"]
