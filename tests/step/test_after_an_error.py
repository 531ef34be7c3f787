"""After a fit that was refused, the corrected fit works on the same model."""

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
    return cls(inputs, keras.layers.Dense(1)(inputs))


WRONG = {
    "targets of another shape": (X, Y[:, 0]),
    "no ids": ({"features": FEATURES}, Y),
    "ids that are floats": ({**X, "query_id": IDS.astype("float32")}, Y),
    "labels that are NaN": (X, np.full_like(Y, np.nan)),
    "no targets": (X, None),
}


CASES = [(by_hook, wrong) for wrong in WRONG]
CASES += [(by_compile, wrong) for wrong in list(WRONG)[1:]]  # which aligns targets


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch"])
@pytest.mark.parametrize(("build", "wrong"), CASES)
def test_the_corrected_call_works(build, wrong, method):
    (x, y), model = WRONG[wrong], build()
    options = {} if method == "train_on_batch" else {"verbose": 0, "batch_size": ROWS}
    with pytest.raises((ValueError, TypeError, AttributeError)):
        getattr(model, method)(x, y, **options)
    fresh = build()
    fresh.set_weights(model.get_weights())
    found, expected = (getattr(each, method)(X, Y, **options) for each in (model, fresh))
    if method == "fit":
        found, expected = found.history, expected.history
    assert found == expected
