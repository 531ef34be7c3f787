"""Batches that are filled up to one size: every number is that of the batches as they were."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel, LossTerm, losses, metrics
from keras_trainsteps.data import ROW_MASK
from keras_trainsteps.step import running
from tests.losses.every_loss import every, example, one_of_each

RNG = np.random.default_rng(3)
SIZES = [3, 1, 4, 2, 5, 2, 3]
IDS = np.repeat(np.arange(len(SIZES)) + 10, SIZES)
X = {"features": RNG.normal(size=(len(IDS), 4)).astype("float32"), "query_id": IDS}
Y = RNG.integers(0, 3, size=(len(IDS), 1)).astype("float32")
WEIGHT = RNG.uniform(0.5, 2, size=len(IDS)).astype("float32")
BATCHES = [slice(0, 8), slice(8, 10), slice(10, 20)]
ROWS = 12


def batches(filled, weighted, x=X, y=Y):
    """The batches as they are, or filled up with copies of their first row."""

    def each():
        for rows in BATCHES:
            index = np.arange(len(IDS))[rows]
            count = len(index)
            if filled:
                index = np.concatenate([index, np.full(ROWS - count, index[0])])
            part = {name: values[index] for name, values in x.items()}
            if filled:
                part[ROW_MASK] = np.arange(ROWS) < count
            yield (part, y[index], WEIGHT[index]) if weighted else (part, y[index])

    signature = tf.nest.map_structure(
        lambda value: tf.TensorSpec((ROWS if filled else None, *value.shape[1:]), value.dtype),
        next(each()),
    )
    dataset = tf.data.Dataset.from_generator(each, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(BATCHES)))


class Hooked(LossAwareModel):
    side_inputs = ("query_id",)
    hook = None

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {} if self.hook is None else type(self).hook(x, y, y_pred, sample_weight)


def model_of(hook=None, **compiled):
    cls = type("Model", (Hooked,), {"hook": staticmethod(hook) if hook else None})
    inputs = keras.Input((4,), name="features")
    hidden = keras.layers.Dense(3, kernel_regularizer="l2")(inputs)
    outputs = keras.layers.Dense(1)(keras.layers.LayerNormalization()(hidden))
    model = cls({"features": inputs}, outputs)
    model.compile(keras.optimizers.SGD(0.1), **compiled)
    return model


def seen(filled, weighted, options, **more):
    keras.utils.set_random_seed(5)
    model = model_of(**options(), **more)
    data = batches(filled, weighted)
    logs = model.fit(data, epochs=2, validation_data=data, shuffle=False, verbose=0).history
    return logs, model.get_weights()


def squared(x, y, y_pred, sample_weight):
    return {"squared": ops.square(y - y_pred)[:, 0]}


def by_query(x, y, y_pred, sample_weight):
    term = losses.softmax(y, y_pred, query_ids=x["query_id"], sample_weight=sample_weight)
    return {"softmax": term, "mean": ops.abs(y - y_pred)}


def by_hand(x, y, y_pred, sample_weight):
    values = ops.abs(y - y_pred)[:, 0]
    counted = x.get(ROW_MASK, ops.ones_like(values, "bool"))
    return {
        "by_hand": LossTerm(
            ops.sum(ops.where(counted, values, 0.0)), ops.sum(ops.cast(counted, "float32"))
        )
    }


OPTIONS = {
    "a loss of Keras": lambda: {"loss": "mse"},
    "metrics of Keras": lambda: {
        "loss": "mae",
        "metrics": ["mse", keras.metrics.RootMeanSquaredError()],
        "weighted_metrics": ["mae"],
    },
    "a sum": lambda: {
        "loss": keras.losses.MeanSquaredError(reduction="sum"),
        "loss_weights": 0.01,
    },
    "a weighted mean": lambda: {
        "loss": keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    },
    "a loss by query": lambda: {
        "loss": losses.PairwiseLogistic("query_id"),
        "metrics": [metrics.NDCG("query_id", k=3)],
        "weighted_metrics": [metrics.MRR("query_id", relevant_from=1)],
    },
    "values of the hook": lambda: {"hook": squared, "metrics": ["mae"]},
    "terms of the hook": lambda: {"hook": by_query, "loss": losses.ListMLE("query_id")},
    "a term by hand": lambda: {"hook": by_hand},
    "two of them": lambda: {"hook": squared, "loss": "mae", "loss_weights": {"squared": 0.3}},
}


def same(one, other):
    np.testing.assert_equal(set(one[0]), set(other[0]))
    for name, values in one[0].items():
        np.testing.assert_allclose(other[0][name], values, rtol=2e-6, err_msg=name)
    for a, b in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(b, a, rtol=2e-5, atol=1e-6)


MORE = ("a sum", "a weighted mean", "values of the hook", "a term by hand")
MODES = {
    "eager": {"run_eagerly": True},
    "graph": {"jit_compile": False},
    "xla": {"jit_compile": True},
    "steps": {"steps_per_execution": 2},
}


@pytest.mark.parametrize(
    ("mode", "weighted"),
    [
        ("eager", True),
        pytest.param("eager", False, marks=pytest.mark.slow),
        *(pytest.param(mode, True, marks=pytest.mark.slow) for mode in ("graph", "xla", "steps")),
    ],
)
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, id=name, marks=pytest.mark.slow if name in MORE else ())
        for name, options in OPTIONS.items()
    ],
)
def test_a_filled_batch_gives_the_numbers_of_the_batch(options, mode, weighted):
    as_it_is = seen(
        False, weighted, options, **(MODES["eager"] if mode == "xla" else MODES[mode])
    )
    same(as_it_is, seen(True, weighted, options, **MODES[mode]))


@pytest.mark.slow
def test_xla_compiles_once():
    """The warning of several compilations is an error here."""
    seen(True, False, OPTIONS["metrics of Keras"], jit_compile=True)


@every(default=one_of_each)
def test_every_loss_leaves_out_what_fills_a_batch_up(case):
    batch = {name: np.asarray(values) for name, values in example(case).items()}
    index = np.concatenate([np.arange(10), [0, 0, 3]])
    filled = {name: values[index] for name, values in batch.items()}
    with running.Running({}, row_mask=tf.range(13) < 10):
        term = case.term(filled)
    np.testing.assert_allclose(term, case.term(batch), rtol=2e-6)


# What would count rows that only fill a batch up


def model_with(layer):
    inputs = keras.Input((4,), name="features")
    model = Hooked({"features": inputs}, keras.layers.Dense(1)(layer(inputs)))
    model.compile("sgd", loss="mse")
    return model


class OwnLoss(LossAwareModel):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.square(y - y_pred))


class OwnStep(LossAwareModel):
    def train_step(self, data):
        x, y = data
        self.loss_tracker.update_state(ops.mean(y - self(x)))
        return {"own": self.loss_tracker.result()}


def own(cls):
    inputs = keras.Input((4,), name="features")
    model = cls({"features": inputs}, keras.layers.Dense(1)(inputs))
    model.loss_tracker = keras.metrics.Mean(name="own")
    model.compile("sgd", loss="mse")
    return model


class Ours(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred))


def with_added_loss():
    inputs = keras.Input((4,), name="features")
    outputs = keras.layers.Dense(1)(inputs)
    model = Hooked({"features": inputs}, outputs)
    model.add_loss(ops.mean(ops.square(outputs)), name="size")
    model.compile("sgd", loss="mse")
    return model


REFUSED = {
    "BatchNormalization": (
        lambda: model_with(keras.layers.BatchNormalization()),
        "must not mix the rows",
    ),
    "activity regularizer": (
        lambda: model_with(keras.layers.Dense(3, activity_regularizer="l2")),
        "`activity_regularizer` must leave out",
    ),
    "added loss": (with_added_loss, "'size' must leave out"),
    "scalar of the hook": (
        lambda: model_of(lambda x, y, p, w: {"own": ops.mean(y - p)}),
        "'own' must leave out",
    ),
    "term of the hook": (
        lambda: model_of(lambda x, y, p, w: {"own": LossTerm(ops.sum(y - p), 8.0)}),
        "'own' must leave out",
    ),
    "other rows": (
        lambda: model_of(
            lambda x, y, p, w: {"own": losses.softmax(y[:6], p[:6], query_ids=x["query_id"][:6])}
        ),
        "must be given a `mask`",
    ),
    "a loss that reduces": (lambda: model_of(loss=Ours()), "must be reduced by Keras"),
    "no reduction": (
        lambda: model_of(loss=keras.losses.MeanSquaredError(reduction=None)),
        "must be reduced by Keras",
    ),
    "a loss of its own": (lambda: own(OwnLoss), "`compute_loss` must leave out"),
    "a step of its own": (lambda: own(OwnStep), "written by hand"),
}


@pytest.mark.parametrize(("build", "match"), REFUSED.values(), ids=REFUSED)
def test_what_would_count_them_is_refused(build, match):
    model = build()
    before = model.get_weights()
    with pytest.raises(ValueError, match=match):
        model.fit(batches(True, False), verbose=0)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_a_loss_outside_of_a_step_is_refused():
    x, y = next(iter(batches(True, False)))
    model = model_of(loss="mse")
    with pytest.raises(ValueError, match="must come to a step"):
        model.compute_loss(x, y, model(x))


class Subclassed(LossAwareModel):
    side_inputs = ("query_id",)

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, x):
        return self.dense(x["features"])


def test_a_model_that_defines_call_takes_them_too():
    found = []
    for filled in (False, True):
        keras.utils.set_random_seed(2)
        model = Subclassed()
        model.compile("sgd", loss="mse", metrics=[metrics.NDCG("query_id")], run_eagerly=True)
        history = model.fit(batches(filled, True), verbose=0, shuffle=False).history
        found.append((history, model.get_weights()))
    same(*found)
