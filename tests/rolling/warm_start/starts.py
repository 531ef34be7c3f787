"""Models to start from, and how a refusal is checked."""

import keras
import numpy as np
import pytest

from keras_trainsteps.rolling import warm_start
from keras_trainsteps.rolling.artifacts.model_state import state_of as copy_of
from tests.rolling.models import state_of

Dense = keras.layers.Dense


def sequential(*layers):
    return keras.Sequential([keras.Input((4,)), *layers])


def randomized(model, seed=0):
    """Sets every value of a model and its optimizer to noise of its own."""
    generator = np.random.default_rng(seed)
    variables = [v for v in model.variables if "seed" not in v.path]
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        optimizer.build(model.trainable_variables)
        variables += [v for v in optimizer.variables if len(v.shape)]
    for variable in variables:
        variable.assign(generator.uniform(1, 2, variable.shape))
    return model


def compiled(model, optimizer="adam", seed=0):
    model.compile(optimizer, loss="mse")
    return randomized(model, seed)


def refused(model, source, match, **options):
    before = state_of(model)
    with pytest.raises(ValueError, match=match):
        warm_start(model, source, **options)
    assert state_of(model) == before


def values(model):
    return {path: value.copy() for path, value in copy_of(model).weights.items()}


def shop(tokens, *, oov=1, mask=None, rows=None, optimizer="adam", seed=0):
    inputs = keras.Input((), dtype="string", name="item")
    lookup = keras.layers.StringLookup(
        vocabulary=list(tokens), num_oov_indices=oov, mask_token=mask, name="lookup"
    )
    size = rows or lookup.vocabulary_size()
    table = keras.layers.Embedding(size, 3, name="table")(lookup(inputs))
    model = keras.Model(inputs, Dense(1, name="score")(table))
    model.compile(optimizer, loss="mse")
    return randomized(model, seed)


OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.1),
    "amsgrad": lambda: keras.optimizers.Adam(0.1, amsgrad=True),
    "adagrad": lambda: keras.optimizers.Adagrad(0.1),
    "adamw": lambda: keras.optimizers.AdamW(0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.1, centered=True),
    "nadam": lambda: keras.optimizers.Nadam(0.1),
    "ftrl": lambda: keras.optimizers.Ftrl(0.1),
    "lion": lambda: keras.optimizers.Lion(0.1),
    "adadelta": lambda: keras.optimizers.Adadelta(0.1),
    "adamax": lambda: keras.optimizers.Adamax(0.1),
    "lamb": lambda: keras.optimizers.Lamb(0.1),
    "adafactor": lambda: keras.optimizers.Adafactor(0.1),
    "ema": lambda: keras.optimizers.Adam(0.1, use_ema=True),
    "accumulation": lambda: keras.optimizers.Adam(0.1, gradient_accumulation_steps=2),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1)),
}
