"""`Ranker`: the models of this library as an estimator of scikit-learn."""

from keras_trainsteps.sklearn import installed as installed  # before scikit-learn is imported
from keras_trainsteps.sklearn.ranker import Ranker

__all__ = ["Ranker"]
