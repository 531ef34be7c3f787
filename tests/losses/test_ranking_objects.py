"""The ranking losses as objects: options, side inputs, saving, training."""

import keras
import numpy as np
import pytest

from keras_trainsteps import LossAwareModel, losses
from tests.models import linear, ranking_batch

OBJECTS = [
    losses.PairwiseLogistic,
    losses.PairwiseHinge,
    losses.PairwiseSquaredHinge,
    losses.PairwiseSoftZeroOne,
    losses.PairwiseMeanSquaredError,
    losses.Softmax,
    losses.UniqueSoftmax,
    losses.ListMLE,
    losses.ApproxNDCG,
    losses.ApproxMRR,
    losses.SigmoidCrossentropy,
    losses.MeanSquaredError,
]


@pytest.mark.parametrize("cls", OBJECTS, ids=lambda cls: cls.__name__)
def test_trains_by_compile_as_its_function_by_the_hook(cls, tmp_path):
    x, y = ranking_batch()
    x["mask"] = np.arange(24) % 7 > 0
    y = np.minimum(y, 1)

    class Hooked(LossAwareModel):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            read = {"query_ids": x["query_id"], "mask": x["mask"]}
            return {"term": cls.function(y, y_pred, **read, sample_weight=sample_weight)}

    histories = []
    for model, loss in ((linear(Hooked), None), (linear(), cls("query_id", mask="mask"))):
        model.compile(keras.optimizers.SGD(0.1), loss=loss)
        history = model.fit(x, y, batch_size=24, epochs=2, shuffle=False, verbose=0).history
        histories.append(history["loss"])
    assert histories[0] == histories[1]
    assert histories[0][1] < histories[0][0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


def test_options_that_do_not_exist_are_refused():
    with pytest.raises(TypeError, match=r"has the options .*Received: \['margin'\]"):
        losses.PairwiseHinge("query_id", margin=2.0)


def test_options_that_the_function_refuses_are_refused_at_once():
    with pytest.raises(ValueError, match="`normalize` must be one of"):
        losses.Softmax("query_id", normalize="tokens")


@pytest.mark.parametrize("cls", OBJECTS, ids=lambda cls: cls.__name__)
def test_names_are_those_of_the_functions(cls):
    assert cls().name == cls.function.__name__
    assert cls().side_inputs == ("query_id",)
