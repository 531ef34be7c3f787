"""What checkpoints, publishing and loading cost.

    python -m tests.benchmarks.rolling

Targets: a checkpoint every epoch adds under 5 % to an epoch of a ranking model of ten
million parameters; publishing and loading take at most 1.3 times Keras's own `save` and
`load_model`, plus the hash.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from keras_trainsteps.rolling import (
    ModelRegistry,
    ResumableJob,
    load_for_inference,
    load_published,
    publish_model,
    resumable_batches,
    save_for_inference,
    save_for_training,
)
from keras_trainsteps.rolling.resume.checkpoint import JobCheckpoint
from tests.rolling.models import Ranker

from .timing import machine, print_table, times_of

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


class Begins(keras.callbacks.Callback):
    """Notes when each epoch begins."""

    def __init__(self):
        super().__init__()
        self.times = []

    def on_epoch_begin(self, epoch, logs=None):
        self.times.append(time.perf_counter())


@contextlib.contextmanager
def every_other_epoch():
    """Saves after epochs of odd number alone; gives the seconds of each save."""
    save, seconds = JobCheckpoint._save, []

    def timed(self, *, final=False):
        if self._epoch % 2:
            begin = time.perf_counter()
            save(self, final=final)
            seconds.append(time.perf_counter() - begin)

    with mock.patch.object(JobCheckpoint, "_save", timed):
        yield seconds


def checkpoint_cost(model, folder, epochs):
    """Seconds of checkpoints, of epochs with one, and of epochs without."""
    batches = resumable_batches(*data(), query_ids="query_id", batch_size=2000, seed=1)
    begins = Begins()
    job = ResumableJob(folder / "run", run_id="cost", stateless=(Begins,))
    with every_other_epoch() as saving:
        job.fit(model, batches, epochs=epochs, callbacks=[begins], verbose=0)
    whole = np.diff(begins.times)[2:]  # the first epochs trace, and make room on disk
    return saving[1:], whole[::2], whole[1::2]


def interleaved(folder, rounds, **calls):
    """The seconds of each call, all called in turn; what they write is deleted."""
    seconds = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            path = folder / f"{name}_{number}"
            begin = time.perf_counter()
            call(path)
            seconds[name].append(time.perf_counter() - begin)
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.with_suffix(".keras").unlink(missing_ok=True)
    return {name: np.array(values[1:]) for name, values in seconds.items()}


def hash_of(files):
    """Hashes the content of files; returns their size."""
    content = b"".join(file.read_bytes() for file in files)
    return len(content), lambda path: hashlib.sha256(content).digest()


def row(what, ours, stock, hashing):
    """Seconds, and how often Keras's fits into ours less the hash, round by round."""
    return [what, *map(times_of, (ours, stock, hashing, (ours - hashing) / stock))]


def saving_cost(model, folder, rounds):
    """Artefacts, publishing and loading beside Keras's own `save` and `load_model`."""
    plain = keras.Model(model.input, model.output)
    save_for_inference(model, folder / "scorer")
    save_for_training(model, folder / "training")
    registry = ModelRegistry(folder / "registry")
    publish_model(registry, model)
    plain.save(folder / "plain.keras")
    scorer_files = [folder / "scorer" / "model.keras"]
    training_files = [folder / "training" / "state.safetensors"]
    size, hash_scorer = hash_of(scorer_files)
    all_size, hash_all = hash_of([*scorer_files, *training_files])

    def publish(path):
        registry.retain(1)
        publish_model(registry, model)

    found = interleaved(
        folder,
        rounds,
        stock=lambda path: plain.save(path.with_suffix(".keras")),
        inference=lambda path: save_for_inference(model, path),
        hash_scorer=hash_scorer,
        stock_full=lambda path: model.save(path.with_suffix(".keras")),
        training=lambda path: save_for_training(model, path),
        hash_all=hash_all,
        publish=publish,
        stock_load=lambda path: keras.saving.load_model(folder / "plain.keras", compile=False),
        load=lambda path: load_for_inference(folder / "scorer"),
        load_published=lambda path: load_published(registry, registry.versions()[-1]),
    )
    sizes = f"network {size / 1e6:.0f} MB, network and training state {all_size / 1e6:.0f} MB"
    print(f"Seconds: {sizes}\n")
    loaded, scorer_hash = found["stock_load"], found["hash_scorer"]
    rest = found["hash_all"] - scorer_hash
    both = found["stock"] + found["stock_full"]
    print_table(
        ["", "here", "Keras", "the hash", "times Keras's, plus the hash"],
        [
            row("`save_for_inference`", found["inference"], found["stock"], scorer_hash),
            row("`save_for_training`", found["training"], found["stock_full"], rest),
            row("`publish_model`, with both", found["publish"], both, found["hash_all"]),
            row("`load_for_inference`", found["load"], loaded, scorer_hash),
            row("`load_published`", found["load_published"], loaded, scorer_hash),
        ],
    )


def main(epochs=14, rounds=9):
    keras.utils.set_random_seed(1)
    folder = Path(tempfile.mkdtemp(prefix="rolling_benchmark_"))
    model = build()
    print(machine())
    print(f"\nSeconds of a ranker of {model.count_params():,} parameters\n")
    saving, with_, without = checkpoint_cost(model, folder, epochs)
    longer = 100 * (np.median(with_) / np.median(without) - 1)
    print_table(
        ["", "seconds"],
        [
            ["epoch without a checkpoint", times_of(without)],
            ["epoch with one", times_of(with_)],
            ["in the checkpoint", times_of(saving)],
            ["of an epoch", f"{100 * np.median(saving) / np.median(without):.1f} %"],
            ["an epoch takes longer by", f"{longer:.1f} %"],
        ],
    )
    saving_cost(model, folder, rounds)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
