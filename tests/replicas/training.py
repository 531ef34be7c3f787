"""Trains on one device, on two replicas and on one device, or as one of two workers.

    python -m tests.replicas.training OUTPUT.json one|mirrored|worker CASE [CASE ...]

Each case is one `fit`, `evaluate` and `predict`, and `edges` are those of `edges.py`; what they
give is written as JSON, apart for one device and for replicas.
"""

import contextlib
import json
import sys

import numpy as np
import tensorflow as tf

KIND = sys.argv[2] if len(sys.argv) > 2 else "one"
if KIND == "mirrored":
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * 2,
    )
# A strategy of several workers must be made before anything else.
STRATEGY = {
    "one": lambda: None,
    "mirrored": lambda: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]),
    "worker": tf.distribute.MultiWorkerMirroredStrategy,
}[KIND]()

import keras  # noqa: E402

from keras_trainsteps import LossAwareModel, losses, metrics, penalties  # noqa: E402
from keras_trainsteps.data import query_batches  # noqa: E402
from tests.replicas import edges, objectives  # noqa: E402

ROWS = 11


class Both(LossAwareModel):
    """A term by rows and one with a denominator of its own."""

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        pairwise = losses.pairwise_logistic(
            y, y_pred, query_ids=x["query_id"], sample_weight=sample_weight, epsilon=1e-2
        )
        return {"squared": keras.ops.square(y - y_pred), "pairwise": pairwise}


def data():
    rng = np.random.default_rng(0)
    x = {
        "features": rng.normal(size=(ROWS, 3)).astype("float32"),
        "query_id": np.sort(rng.integers(0, 4, size=ROWS)) + 2**40,
    }
    y = rng.integers(0, 3, size=(ROWS, 1)).astype("float32")
    return x, y, rng.uniform(size=ROWS).astype("float32")


def network(cls):
    inputs = keras.Input((3,), name="features")
    regularizer = keras.regularizers.L2(0.1)
    hidden = keras.layers.Dense(8, "tanh", kernel_regularizer=regularizer)(inputs)
    return cls(inputs, keras.layers.Dense(1)(hidden))


def compiled(split, cls, **options):
    model = network(cls)
    ranking = [
        metric("query_id", split_queries=split) for metric in (metrics.NDCG, metrics.PairAccuracy)
    ]
    model.compile(keras.optimizers.SGD(0.1), metrics=["mae", *ranking], **options)
    return model


def added(split):
    """Named and unnamed added losses, a trained factor at its bound, and a metric."""
    inputs = keras.Input((3,), name="features")
    hidden = keras.layers.Dense(8, "tanh", name="first")(inputs)
    model = Both(inputs, keras.layers.Dense(1, name="last")(hidden))
    kernels = ["first/kernel", "last/kernel"]
    factor = penalties.TrainableCoefficient(0.4, bounds=(0.3, 1.0))
    norms = penalties.WeightPenalty(penalties.sum_of_norms, weights=kernels, coefficient=factor)
    model.add_loss(norms, name="norms")
    model.add_loss(lambda: 0.1 * keras.ops.max(model.get_layer("last").kernel))
    model.add_loss(keras.ops.square(hidden), name="activity")
    model.add_metric(keras.ops.abs(hidden), name="size")
    weighting = penalties.UncertaintyWeighting(["squared", "pairwise"])
    model.add_loss(weighting, name="weighting")
    model.compile(keras.optimizers.SGD(0.1))
    return model


def masked():
    """A sequence model under Keras's implicit mask."""
    inputs = keras.Input((4,), dtype="int32")
    embedded = keras.layers.Embedding(5, 3, mask_zero=True)(inputs)
    model = LossAwareModel(inputs, keras.layers.Dense(1)(embedded))
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, 5, size=(ROWS, 4))
    tokens[:, 0] = 1
    return model, tokens, rng.normal(size=(ROWS, 4, 1)).astype("float32")


def with_activity(**options):
    """Layers that pass on losses in a call, under a loss that waits for other replicas."""
    inputs = keras.Input((3,), name="features")
    hidden = keras.layers.Dense(8, "tanh", activity_regularizer=keras.regularizers.L2(0.1))
    model = LossAwareModel(inputs, keras.layers.Dense(1)(hidden(inputs)))
    loss = losses.PairwiseLogistic("query_id", pairs="all")
    model.compile(keras.optimizers.SGD(0.1), loss=loss, **options)
    return model


MODELS = {
    "activity": lambda split: with_activity(),
    "micro-batches": lambda split: with_activity(micro_batch_size=2),
    "added": added,
    "objectives": objectives.model,
    "hook": lambda split: compiled(split, Both, loss_weights={"pairwise": 2.0}),
    "compiled mse": lambda split: compiled(split, LossAwareModel, loss="mse"),
    "compiled sum": lambda split: compiled(
        split, LossAwareModel, loss=keras.losses.MeanAbsoluteError(reduction="sum")
    ),
    "compiled weighted mean": lambda split: compiled(
        split,
        LossAwareModel,
        loss=keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"),
    ),
    "compiled function": lambda split: compiled(
        split, LossAwareModel, loss=lambda y, p: keras.ops.mean(keras.ops.abs(y - p))
    ),
    "compiled pairwise": lambda split: compiled(
        split,
        LossAwareModel,
        loss=losses.PairwiseLogistic("query_id", pairs="all", normalize="queries"),
    ),
}


def run(case, strategy):
    """`MODEL/BATCH_SIZE`: rows are cut anywhere; batch size 11 leaves 6 and 5 rows."""
    name, batch_size = case.split("/")
    keras.utils.set_random_seed(1)
    batch_logs = []

    class Record(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            batch_logs.append({key: float(value) for key, value in logs.items()})

    with strategy.scope() if strategy else contextlib.nullcontext():
        if name == "masked":
            model, x, y = masked()
            weight = None
        else:
            x, y, weight = data()
            split = "error" if batch_size == "queries" else "count_parts"
            model = MODELS[name](split)
            if name == "compiled function":
                # Keras multiplies what a function reduced by itself with the mean weight: a
                # product of two means of the batch, which no sum over replicas gives.
                weight = None
    if batch_size == "queries":
        batches = query_batches(x, y, weight, query_ids="query_id", batch_size=5, shuffle=False)
        fit, options = (batches,), {}
    else:
        fit = (x, y)
        options = {"batch_size": int(batch_size), "shuffle": False}
    weighted = options and weight is not None
    history = model.fit(
        *fit,
        **options,
        **({"sample_weight": weight} if weighted else {}),
        epochs=2,
        verbose=0,
        validation_data=(x, y),
        callbacks=[Record()],
    ).history
    evaluated = model.evaluate(
        *fit, **({"batch_size": 4} if options else {}), verbose=0, return_dict=True
    )
    return {
        "history": history,
        "batches": batch_logs,
        "evaluate": evaluated,
        "weights": [weight.tolist() for weight in model.get_weights()],
        "predict": model.predict(x, verbose=0, batch_size=ROWS).tolist(),
    }


if __name__ == "__main__":
    import warnings

    warnings.filterwarnings("ignore", message=".* queries of .* have rows that")
    cases = [case for case in sys.argv[3:] if case != "edges"]
    found = {}
    if STRATEGY:
        found["replicas"] = {case: run(case, STRATEGY) for case in cases}
    if KIND != "worker":
        found["one device"] = {case: run(case, None) for case in cases}
    if "edges" in sys.argv[3:]:  # last, since they end in errors
        found["edges"] = edges.found(STRATEGY)
    with open(sys.argv[1], "w") as file:
        json.dump(found, file)
