"""Peak memory of each loss against the length of its lists, beside the Keras-RS losses.

    python -m tests.benchmarks.memory           # ten minutes
    python -m tests.benchmarks.memory softmax   # what has this in its name
    python -m tests.benchmarks.memory --quick   # ranking losses on the longest lists: a minute

Every figure is the growth of the peak resident memory, in MiB, over a process that has
computed the same loss and gradient on a small batch: a fresh process each, the same data
for all. Ranking losses take 8 lists, padded, of 500 to 4,000 rows, and then more and more
queries of 500 rows by id: one float32 of all pairs of rows of the last such batch would
take 3,906 MiB. A peer that is not installed is named.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import pathlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from .timing import machine, print_table

LISTS = ["8 x 500", "8 x 1000", "8 x 2000", "8 x 4000"]
QUERIES = ["8 x 500", "16 x 500", "64 x 500"]
ROWS = ["256 x 64", "1024 x 64", "4096 x 64", "16384 x 64"]
TOKENS = ["8 x 64", "8 x 256"]  # sequences x tokens, of 8,000 classes
CLASSES = 8000

RANKING = [
    "pairwise_logistic",
    "pairwise_hinge",
    "pairwise_squared_hinge",
    "pairwise_soft_zero_one",
    "pairwise_mean_squared_error",
    "pairwise_logistic, NDCG weights",
    "softmax",
    "unique_softmax",
    "list_mle",
    "approx_ndcg",
    "approx_mrr",
    "sigmoid_crossentropy",
    "mean_squared_error",
]
KERAS_RS = [
    "PairwiseLogisticLoss",
    "PairwiseHingeLoss",
    "PairwiseSoftZeroOneLoss",
    "PairwiseMeanSquaredError",
    "ListMLELoss",
]
EMBEDDINGS = [
    "triplet",
    "mined_triplet",
    "contrastive",
    "margin_loss",
    "info_nce",
    "nt_xent",
    "supervised_contrastive",
    "multi_similarity",
]


def sizes_of(shape):
    return tuple(int(size) for size in shape.split(" x "))


def ranking(name, shape, by_id):
    """Scores to differentiate, and the loss of them."""
    from keras_trainsteps import losses

    queries, length = sizes_of(shape)
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 5, (queries, length)).astype("float32")
    if name == "sigmoid_crossentropy":
        y_true = np.minimum(y_true, 1)
    scores = rng.normal(size=(queries, length)).astype("float32")
    if name in KERAS_RS:
        import keras_rs

        loss = getattr(keras_rs.losses, name)()
        return scores, [y_true], lambda scores, y_true: loss(y_true, scores)
    function = getattr(losses, name.split(",")[0])
    options = {"lambda_weight": losses.lambda_weights.NDCG()} if "," in name else {}
    if not by_id:
        return (
            scores,
            [y_true],
            lambda scores, y_true: function(y_true, scores, **options).value,
        )
    ids = np.repeat(np.arange(queries), length)
    return (
        scores.ravel(),
        [y_true.ravel(), ids],
        lambda scores, y_true, ids: function(y_true, scores, query_ids=ids, **options).value,
    )


def embedding(name, shape):
    from keras_trainsteps import losses

    rows, width = sizes_of(shape)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, rows, width)).astype("float32")
    function = getattr(losses, name)
    if name in ("triplet", "info_nce", "nt_xent"):
        number = 3 if name == "triplet" else 2
        return values, [], lambda values: function(*(values[i] for i in range(number))).value
    options = {"beta": 1.2} if name == "margin_loss" else {}
    labels = np.arange(rows) // 4  # four rows a label
    return values[0], [labels], lambda x, labels: function(labels, x, **options).value


def sequence(name, shape):
    import keras

    from keras_trainsteps import losses

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(*sizes_of(shape), CLASSES)).astype("float32")
    targets = rng.integers(0, CLASSES, sizes_of(shape))
    if name == "masked_crossentropy":
        return logits, [targets], lambda z, y: losses.masked_crossentropy(y, z, pad_id=0).value
    stock = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return logits, [targets], lambda z, y: stock(y, z)


def one(kind, name, shape):
    """The growth of peak memory of loss and gradient of a batch, in MiB."""
    import tensorflow as tf

    make = {
        "lists": lambda shape: ranking(name, shape, by_id=False),
        "queries": lambda shape: ranking(name, shape, by_id=True),
        "embeddings": lambda shape: embedding(name, shape),
        "sequences": lambda shape: sequence(name, shape),
    }[kind]

    def arguments(shape):
        values, others, _ = make(shape)
        return [tf.constant(part) for part in (values, *others)]

    small = " x ".join(["8", *shape.split(" x ")[1:]]) if kind == "embeddings" else "8 x 16"
    loss = make(small)[2]
    whole = arguments(shape)

    def spec(part):  # of any number of rows
        rows = slice(1, 2) if part.shape.rank == 3 and kind == "embeddings" else slice(0, 2)
        shape = part.shape.as_list()
        if part.shape.rank == 2 and kind == "embeddings":
            rows = slice(0, 1)
        shape[rows] = [None] * len(shape[rows])
        return tf.TensorSpec(shape, part.dtype)

    @tf.function(input_signature=[spec(part) for part in whole])
    def run(values, *others):
        with tf.GradientTape() as tape:
            tape.watch(values)
            value = loss(values, *others)
        return value, tape.gradient(value, values)

    run(*arguments(small))
    before = resident("VmRSS")
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    value, gradient = run(*whole)
    assert np.isfinite(float(value))
    assert np.isfinite(gradient.numpy().sum())
    return (resident("VmHWM") - before) / 1024


def resident(field):
    """A figure of this process in KiB."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise OSError(f"/proc/self/status has no {field}")


def measured(kind, name, shape):
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.memory", "--one", kind, name, shape],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return "failed: " + (done.stderr.strip().splitlines() or ["?"])[-1][:60]
    return f"{float(done.stdout.split()[-1]):.0f}"


def table(kind, names, shapes, wanted, pool):
    names = [name for name in names if wanted in name]
    if not names:
        return
    futures = {
        name: [pool.submit(measured, kind, name, shape) for shape in shapes] for name in names
    }
    print_table(
        [kind, *shapes],
        (
            [
                f"Keras-RS {name}" if name in KERAS_RS else name,
                *(cell.result() for cell in row),
            ]
            for name, row in futures.items()
        ),
    )


def main():
    if sys.argv[1:2] == ["--one"]:
        print(one(*sys.argv[2:]))
        return
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("wanted", nargs="?", default="")
    arguments.add_argument("--quick", action="store_true")
    options = arguments.parse_args()
    quick, wanted = options.quick, options.wanted
    print(machine())
    print("\nGrowth of peak memory by loss and gradient of a batch, MiB\n")
    peers = KERAS_RS
    if not importlib.util.find_spec("keras_rs"):
        print("not installed: keras-rs", file=sys.stderr)
        peers = []
    with ThreadPoolExecutor(2) as pool:
        if quick:
            table("lists", RANKING + peers[:1], LISTS[-1:], wanted, pool)
            return
        table("lists", RANKING + peers, LISTS, wanted, pool)
        table("queries", RANKING, QUERIES, wanted, pool)
        table("embeddings", EMBEDDINGS, ROWS, wanted, pool)
        table(
            "sequences",
            ["masked_crossentropy", "SparseCategoricalCrossentropy"],
            TOKENS,
            wanted,
            pool,
        )


if __name__ == "__main__":
    main()
