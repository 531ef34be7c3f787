"""What checkpoints, publishing and loading cost.

    python -m tests.benchmarks.rolling

Targets: a checkpoint every epoch adds under 5 % to an epoch of a ranking model of ten
million parameters; publishing and loading take at most 1.3 times Keras's own `save` and
`load_model`, plus the hash.
"""

import hashlib
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from keras_trainsteps.rolling import (
    ModelRegistry,
    ResumableCheckpoint,
    load_for_inference,
    load_published,
    publish_model,
    resumable_batches,
    save_for_inference,
    save_for_training,
)
from tests.rolling.models import Ranker

ITEMS, WIDTH = 300_000, 32  # 9.6 million parameters, and a network of 0.4 million
ROWS, QUERY = 200_000, 20


def build():
    """A ranker of items: a table, and a network on item and features."""
    item = keras.Input((), dtype="int32", name="item")
    features = keras.Input((64,), name="features")
    table = keras.layers.Embedding(ITEMS, WIDTH, name="table")(item)
    hidden = keras.layers.Concatenate()([table, features])
    for width in (512, 512, 256):
        hidden = keras.layers.Dense(width, "relu")(hidden)
    scores = keras.layers.Reshape(())(keras.layers.Dense(1)(hidden))
    model = Ranker({"item": item, "features": features}, scores)
    model.log_scale = model.add_weight(name="log_scale", shape=(), initializer="zeros")
    model.compile(keras.optimizers.Adam(1e-3))
    return model


def data():
    generator = np.random.default_rng(0)
    x = {
        "item": generator.integers(0, ITEMS, ROWS).astype("int32"),
        "features": generator.normal(size=(ROWS, 64)).astype("float32"),
        "query_id": np.arange(ROWS) // QUERY,
    }
    return x, generator.integers(0, 2, ROWS).astype("float32")


class Clock(keras.callbacks.Callback):
    """When each epoch began and ended, the saving after it included."""

    def __init__(self):
        super().__init__()
        self.begins = []

    def on_epoch_begin(self, epoch, logs=None):
        self.begins.append(time.perf_counter())

    def on_train_end(self, logs=None):
        self.begins.append(time.perf_counter())


def timed(function, repeats=3):
    """The median time of a call."""
    times = []
    for number in range(repeats):
        begin = time.perf_counter()
        function(number)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def checkpoint_cost(model, folder, epochs=3):
    """Seconds of one checkpoint, and of the epoch around it."""
    batches = resumable_batches(*data(), query_ids="query_id", batch_size=2000, seed=1)
    seconds = []

    class Timed(ResumableCheckpoint):
        def on_epoch_end(self, epoch, logs=None):
            begin = time.perf_counter()
            super().on_epoch_end(epoch, logs)
            seconds.append(time.perf_counter() - begin)

    clock = Clock()
    checkpoint = Timed(folder / "run", batches, run_id="cost", stateless=(Clock,))
    model.fit(**batches.fit_arguments, epochs=epochs, callbacks=[clock, checkpoint], verbose=0)
    whole = np.diff(clock.begins)[1:-1]  # the first traces, the last saves its end twice
    saving = statistics.median(seconds[1:])
    return saving, float(np.median(whole)) - saving


def main():
    keras.utils.set_random_seed(1)
    folder = Path(tempfile.mkdtemp(prefix="rolling_benchmark_"))
    model = build()
    print(f"{model.count_params():,} parameters")
    saving, epoch = checkpoint_cost(model, folder)
    print(f"epoch {epoch:.2f} s, checkpoint {saving:.3f} s: {100 * saving / epoch:.1f} %")

    plain = keras.Model(model.input, model.output)
    stock_save = timed(lambda n: plain.save(folder / f"plain{n}.keras"))
    ours = timed(lambda n: save_for_inference(model, folder / f"scorer{n}"))
    content = (folder / "scorer0" / "model.keras").read_bytes()
    hashing = timed(lambda n: hashlib.sha256(content).digest())
    print(
        f"save_for_inference {ours:.3f} s, Keras {stock_save:.3f} s, hash {hashing:.3f} s: "
        f"{(ours - hashing) / stock_save:.2f} times"
    )
    stock_load = timed(
        lambda n: keras.saving.load_model(folder / f"plain{n}.keras", compile=False)
    )
    load = timed(lambda n: load_for_inference(folder / f"scorer{n}"))
    print(
        f"load_for_inference {load:.3f} s, Keras {stock_load:.3f} s: "
        f"{(load - hashing) / stock_load:.2f} times"
    )
    full = timed(lambda n: model.save(folder / f"full{n}.keras"))
    training = timed(lambda n: save_for_training(model, folder / f"training{n}"))
    print(f"save_for_training {training:.3f} s, Keras with optimizer {full:.3f} s")
    registry = ModelRegistry(folder / "registry")
    publish = timed(lambda n: publish_model(registry, model))
    published = timed(lambda n: load_published(registry, n + 1))
    bytes_ = sum(entry["bytes"] for entry in registry.get(1).files.values())
    hash_all = hashing * bytes_ / len(content)
    print(
        f"publish_model {publish:.3f} s (both artefacts, {bytes_ / 1e6:.0f} MB, hash "
        f"{hash_all:.3f} s), Keras's two saves {full + stock_save:.3f} s: "
        f"{(publish - hash_all) / (full + stock_save):.2f} times"
    )
    print(f"load_published {published:.3f} s")


if __name__ == "__main__":
    main()
