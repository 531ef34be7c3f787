"""After a fit that was refused, the corrected fit works on the same model."""

import functools

import keras
import numpy as np
import pytest

from keras_trainsteps import LossAwareModel, losses
from tests.toy import hooked

ROWS = 8
FEATURES = np.random.default_rng(0).normal(size=(ROWS, 3)).astype("float32")
IDS = np.arange(ROWS) // 4
X = {"features": FEATURES, "query_id": IDS}
Y = (np.arange(ROWS) % 2).astype("float32")[:, None]


def softmax(x, y, y_pred):
    return {"softmax": losses.softmax(y, y_pred, query_ids=x["query_id"])}


def by_hook():
    model = network(hooked(softmax, side_inputs=["query_id"]))
    model.compile("adam", metrics=["mae"])
    return model


def by_compile():
    model = network(LossAwareModel)
    model.compile("adam", loss=losses.Softmax("query_id"), metrics=["mae"])
    return model


def network(cls):
    inputs = keras.Input((3,), name="features")
    return cls(inputs, keras.layers.Dense(1, kernel_initializer="ones")(inputs))


WRONG = {
    "targets of another shape": (X, Y[:, 0]),
    "no ids": ({"features": FEATURES}, Y),
    "ids that are floats": ({**X, "query_id": IDS.astype("float32")}, Y),
    "labels that are NaN": (X, np.full_like(Y, np.nan)),
    "no targets": (X, None),
}


METHODS = ["fit", "evaluate", "train_on_batch"]
BUILDS = [(by_hook, list(WRONG)), (by_compile, list(WRONG)[1:])]  # a compiled loss aligns targets
CASES = [
    pytest.param(
        build, wrong, method, marks=() if method == "fit" and not i else pytest.mark.slow
    )
    for build, each in BUILDS
    for i, wrong in enumerate(each)
    for method in METHODS
]


def called(model, method, x, y):
    options = {} if method == "train_on_batch" else {"verbose": 0, "batch_size": ROWS}
    found = getattr(model, method)(x, y, **options)
    return found.history if method == "fit" else found


@functools.cache
def expected(build, method):
    """What a model gives that was never called wrongly."""
    return called(build(), method, X, Y)


@pytest.mark.parametrize(("build", "wrong", "method"), CASES)
def test_the_corrected_call_works(build, wrong, method):
    model = build()
    with pytest.raises((ValueError, TypeError, AttributeError)):
        called(model, method, *WRONG[wrong])
    assert called(model, method, X, Y) == expected(build, method)
