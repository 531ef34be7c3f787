"""A trained ranker, and its scorer in files."""

import pytest

from keras_trainsteps.rolling import save_for_inference
from tests.rolling.models import ranker, ranking_data


@pytest.fixture(scope="module")
def model():
    model = ranker(dropout=0.3)
    model.compile("adam", metrics=["mse"], run_eagerly=True)
    model.fit(*ranking_data(), batch_size=40, verbose=0)
    return model


@pytest.fixture
def saved(model, tmp_path):
    save_for_inference(model, tmp_path / "scorer")
    return tmp_path / "scorer"
