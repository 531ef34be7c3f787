"""Every loss of the list in `fit`: its object, and a small model with data for it."""

import keras
import numpy as np

from tests.losses.every_loss import CLASSES, example

READS = {
    "queries": {"query_ids": "ids", "mask": "kept", "query_weight": "query"},
    "labels": {"y_true": "label", "mask": "kept", "sample_weight": "weight"},
    "outputs": {"mask": "kept", "sample_weight": "weight"},
    "sequences": {"mask": "kept"},
}


def object_of(case):
    return case.cls(**READS[case.of], **case.options)


def model_and_data(case, cls):
    """A small network whose outputs the loss takes, with `fit`'s `x, y, sample_weight`."""
    keras.utils.set_random_seed(0)
    batch = example(case)
    x = {name: batch[argument] for argument, name in READS[case.of].items()}
    x["features"] = np.random.default_rng(0).normal(size=(10, 4)).astype("float32")
    targets = batch.get("y_true"), batch["sample_weight"]
    inputs = keras.Input((4,), name="features")
    if case.of == "queries":
        # The hook takes no rows beside a column.
        return cls(inputs, keras.layers.Dense(1)(inputs)), x, targets[0][:, None], targets[1]
    if case.of == "sequences":
        x["features"] = np.random.default_rng(0).integers(0, 5, (10, 4))
        hidden = keras.layers.Embedding(5, 3)(inputs)
        return cls(inputs, keras.layers.Dense(CLASSES)(hidden)), x, *targets
    if case.of == "labels":
        return cls(inputs, keras.layers.Dense(3)(inputs)), x, None, None
    outputs = {name: keras.layers.Dense(3)(inputs) for name in case.takes}
    return cls(inputs, outputs), x, None, None
