"""As one of two workers, that differ in one thing after the other: what each is told.

python -m tests.replicas.workers OUTPUT.json INDEX
"""

import json
import sys
from pathlib import Path

import tensorflow as tf

STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()  # before anything else

import keras  # noqa: E402
import numpy as np  # noqa: E402

from keras_trainsteps import LossAwareModel  # noqa: E402
from tests.replicas.edges import refused  # noqa: E402

ROWS = 8


def fitted(loss="mse", dtype="float32", rows=ROWS):
    with STRATEGY.scope():
        inputs = keras.Input((3,))
        model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
        model.compile("sgd", loss=loss)
    x, y = np.ones((rows, 3), "float32"), np.ones((rows, 1), dtype)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return model.fit(data.with_options(options), verbose=0).history


def main():
    path, index = Path(sys.argv[1]), int(sys.argv[2])
    differing = {
        "batches": {"dtype": ["float32", "int32"][index]},
        "terms and metrics": {"loss": ["mse", ["mae", "huber"][index]]},
        "number of batches": {"rows": ROWS * (1 + index)},
    }
    found = {
        name: refused(lambda given=given: fitted(**given)) for name, given in differing.items()
    }
    path.write_text(json.dumps({**found, "nothing": refused(fitted)}))


if __name__ == "__main__":
    main()
