"""What every loss and metric refuses of its arguments, and weights of any size."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import sparse

from keras_trainsteps import LossAwareModel, losses, metrics
from keras_trainsteps.losses import lambda_weights
from tests.losses.every_loss import every, example, one_of_each

RANKED = ("NDCG", "MAP", "MRR", "PairAccuracy")
TOKENS = (
    metrics.Perplexity,
    metrics.TokenAccuracy,
    metrics.SequenceAccuracy,
    metrics.EditDistance,
)


def value_and_gradient(case, batch):
    outputs = [tf.constant(batch[name], tf.float32) for name in case.takes]
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        value = case.term(batch | dict(zip(case.takes, outputs, strict=True))).value
    return float(value), np.concatenate(tape.gradient(value, outputs), axis=-1)


def is_a_mean(case):
    """Whether a loss divides by weights: of all others a factor of the weights stays."""
    if case.of == "queries":
        return case.options.get("normalize") != "rows" and (
            "pairwise" in case.function.__name__
            or "pointwise" in case.function.__module__
            or "approx" in case.function.__name__
        )
    return True


@pytest.mark.parametrize("size", [1e-30, 1e30])
@every(is_a_mean, default=one_of_each)
def test_a_factor_of_all_weights_changes_nothing(case, size):
    batch = example(case)
    expected = value_and_gradient(case, batch)
    scaled = batch | {"sample_weight": size * batch["sample_weight"]}
    if "query_weight" in batch:
        scaled["query_weight"] = size * batch["query_weight"]
    found = value_and_gradient(case, scaled)
    assert expected[0] != 0
    assert found[0] == pytest.approx(expected[0], rel=2e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("size", [1e-30, 1e30])
@pytest.mark.parametrize("weigh", ["sample_weight", "query_weight"])
def test_weights_of_any_size_in_fit(weigh, size):
    inputs = keras.Input((1,), name="score")
    logs = []
    for factor in (1.0, size):
        start = {"kernel_initializer": "ones", "use_bias": False}
        model = LossAwareModel(inputs, keras.layers.Dense(1, **start)(inputs))
        by_query = weigh == "query_weight"
        loss = losses.PairwiseLogistic(query_weight="w" if by_query else None)
        model.compile(keras.optimizers.SGD(0.1), loss=loss, run_eagerly=True)
        rng = np.random.default_rng(0)
        x = {"score": rng.normal(size=(12, 1)), "query_id": np.arange(12) // 3}
        weight = factor * np.repeat(rng.uniform(1, 2, 4), 3)
        x |= {"w": weight} if by_query else {}
        options = {"batch_size": 6, "shuffle": False, "epochs": 2, "verbose": 0}
        options |= {} if by_query else {"sample_weight": weight}
        logs.append(model.fit(x, np.arange(12) % 3, **options).history["loss"])
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-5)


@every(default=one_of_each)
def test_weights_that_are_no_measure_are_refused(case):
    for bad in (np.inf, -np.inf, 1e200, 1e-200):
        batch = {name: np.array(value) for name, value in example(case).items()}
        batch["sample_weight"].reshape(-1)[0] = bad
        if case.of == "sequences" and 0 < bad < np.inf:
            continue  # computed in float32, in which these are infinity and 0
        with pytest.raises(ValueError, match="`sample_weight` must be numbers that are not neg"):
            case.term(batch)


@every(default=one_of_each)
def test_masks_are_bools_or_0_and_1(case):
    batch = example(case)
    expected = float(case.term(batch).total)
    for dtype in (np.int8, np.int64, np.float32, np.float64):
        assert float(case.term(batch | {"mask": batch["mask"].astype(dtype)}).total) == expected
    for bad in (0.5, 2.0, -1.0, np.nan):
        mask = batch["mask"].astype(np.float64)
        mask.reshape(-1)[0] = bad
        with pytest.raises(ValueError, match=rf"`mask` must be bool, or of 0 and 1.* of {bad}"):
            case.term(batch | {"mask": mask})


@every(default=one_of_each)
def test_bad_masks_are_refused_in_a_graph(case):
    batch = {name: tf.constant(value) for name, value in example(case).items()}
    batch["mask"] = tf.cast(batch["mask"], tf.float32) * 0.5
    run = tf.function(lambda batch: case.term(batch).total)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`mask` must be bool, or of 0 and"):
        run(batch)


@pytest.mark.parametrize("bad", [0.5, 2.0, -1.0, np.nan])
def test_bad_masks_of_metrics(bad):
    for name in RANKED:
        metric = getattr(metrics, name)("q")
        with pytest.raises(ValueError, match="`mask` must be bool, or of 0 and 1"):
            metric.update_state([1.0, 0.0], [1.0, 2.0], query_ids=[0, 0], mask=[1.0, bad])
    for cls in TOKENS:
        with pytest.raises(ValueError, match="`mask` must be bool, or of 0 and 1"):
            cls().update_state([[0, 1]], np.zeros((1, 2, 2)), mask=[[1.0, bad]])


def nothing_dense(column):
    """What is no dense array of real numbers, and what an error calls it."""
    flat = np.asarray(column, np.float64).reshape(len(column), -1)
    return {
        "text": (np.full(len(column), "a"), "text"),
        "bytes": (np.full(len(column), b"a"), "text"),
        "string tensor": (tf.fill([len(column)], "a"), "text"),
        "objects": (np.array([None, *range(1, len(column))], object), "an array of objects (No"),
        "dates": (np.full(len(column), "2026-01-01", "datetime64[s]"), "dates and times"),
        "dict": ({"a": flat}, "a dict of ['a']"),
        "ragged": (tf.ragged.constant([[1.0], [1.0, 2.0]]), "a RaggedTensor"),
        "sparse": (tf.sparse.from_dense(flat), "a SparseTensor"),
        "csr": (sparse.csr_matrix(flat), "a sparse csr_matrix"),
        "unequal": ([[1.0], [1.0, 2.0]], "lists of different lengths"),
        "complex": (flat[:, 0] * 1j, "complex numbers"),
    }


@every(default=one_of_each)
def test_what_is_no_array_of_numbers_is_refused_by_name(case):
    batch = example(case)
    ids = {"query_ids"} | ({"y_true"} if case.of == "labels" else set())
    for name in batch:
        for kind, (value, called) in nothing_dense(batch[name]).items():
            if name in ids and kind in ("text", "bytes", "string tensor"):
                continue
            match = rf"`{name}` must be a dense array or tensor .*Received: {re.escape(called)}"
            with pytest.raises(TypeError, match=match):
                case.term(batch | {name: value})


@every(lambda case: case.of != "outputs", default=one_of_each)
def test_none_is_refused_by_name(case):
    for name in ("y_true", "y_pred"):
        with pytest.raises(TypeError, match=rf"`{name}` must be a dense .*Received: None"):
            case.term(example(case) | {name: None})


@pytest.mark.parametrize("name", RANKED)
def test_metrics_refuse_the_same(name):
    batch = {"y_true": [1.0, 0.0], "y_pred": [0.0, 1.0], "query_ids": [0, 0], "mask": [1, 1]}
    batch["sample_weight"] = [1.0, 1.0]
    for argument in batch:
        for kind, (value, called) in nothing_dense(batch[argument]).items():
            if argument == "query_ids" and kind in ("text", "bytes", "string tensor"):
                continue
            match = rf"`{argument}` must be a dense .*Received: {re.escape(called)}"
            with pytest.raises(TypeError, match=match):
                getattr(metrics, name)("q").update_state(**batch | {argument: value})


@every(lambda case: case.of == "queries", default=one_of_each)
def test_lists_of_python_are_arrays(case):
    batch = example(case)
    term = case.term({name: value.tolist() for name, value in batch.items()})
    assert float(term.total) == pytest.approx(float(case.term(batch).total), rel=2e-6)


@every(lambda case: case.of == "queries", default=one_of_each)
def test_one_weight_per_list_is_a_query_weight(case):
    ones = np.ones((2, 3))
    with pytest.raises(ValueError, match="For one weight per list pass `query_weight`"):
        case.function(ones, ones, sample_weight=np.ones(2), **case.options)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"lambda_weight": 1}, TypeError, "`lambda_weight` must be an object of `losses.lambda"),
        ({"lambda_weight": lambda_weights.NDCG}, TypeError, "`lambda_weight` must be an object"),
        ({"epsilon": None}, ValueError, "`epsilon` must be a finite number.*Received: None"),
        ({"epsilon": np.inf}, ValueError, "`epsilon` must be a finite number.*Received: inf"),
        ({"epsilon": -1.0}, ValueError, "`epsilon` must be a finite number, not negative"),
        ({"temperature": "x"}, ValueError, "`temperature` must be a finite number above 0"),
        ({"temperature": np.inf}, ValueError, "`temperature` must be a finite number above 0"),
        ({"pairs": ["all"]}, ValueError, "`pairs` must be one of 'preference', 'all'"),
    ],
)
def test_options_that_are_none(options, error, match):
    with pytest.raises(error, match=match):
        losses.pairwise_logistic([1.0, 0.0], [0.0, 1.0], query_ids=[0, 0], **options)
    with pytest.raises(error, match=match):
        losses.PairwiseLogistic(**options)


NUMBERS = {
    "temperature": np.float32(0.5),
    "margin": np.float32(0.5),
    "beta": np.float32(1.0),
    "alpha": np.int64(2),
    "base": np.float32(0.5),
    "epsilon": np.float32(0.25),
    "label_smoothing": np.float32(0.25),
    "smoothing_spares": np.int64(1),
    "gamma": np.float32(1.5),
    "seed": np.int64(3),
    "pad_id": np.int32(0),
}


@every(default=one_of_each)
def test_numpy_numbers_are_numbers(case, tmp_path):
    parameters = {name for name in NUMBERS if name in case.function.__kwdefaults__}
    if case.options.get("soft_margin"):
        parameters -= {"margin"}
    given = {name: NUMBERS[name] for name in parameters}
    plain = {name: value.item() for name, value in given.items()}
    batch = example(case)
    found = case.function(**batch, **case.options | given)
    expected = case.function(**batch, **case.options | plain)
    assert float(found.total) == float(expected.total)
    config = keras.saving.serialize_keras_object(case.cls(**case.options | given))
    again = keras.saving.deserialize_keras_object(config)
    for name, value in plain.items():
        assert type(again.given[name]) is type(value)
        assert again.given[name] == value


def test_numpy_numbers_of_the_others():
    scores = [1.0, 0.0]
    noisy = losses.gumbel(scores, samples=np.int64(2), temperature=np.float32(2), seed=np.int8(1))
    plain = losses.gumbel(scores, samples=2, temperature=2.0, seed=1)
    np.testing.assert_array_equal(noisy, plain)
    loss = losses.with_gumbel(losses.softmax, samples=np.int64(2), seed=np.int64(1))
    assert float(loss(scores, scores, query_ids=[0, 0]).count) == 2.0
    for weight in (lambda_weights.NDCG, lambda_weights.Precision):
        assert type(weight(np.int64(3)).k) is int
    for cls in TOKENS:
        assert type(cls(pad_id=np.int64(3)).pad_id) is int
    with pytest.raises(ValueError, match="`samples` must be an integer of at least 1"):
        losses.gumbel(scores, samples=np.float64(2.0))


def test_a_class_stands_for_an_object_as_in_keras():
    inputs = keras.Input((1,), name="score")
    model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", losses.PairwiseLogistic, metrics=[metrics.NDCG], run_eagerly=True)
    x = {"score": np.eye(4, 1), "query_id": np.array([7, 7, 8, 8])}
    logs = model.evaluate(x, np.array([1.0, 0.0, 2.0, 0.0]), verbose=0, return_dict=True)
    assert set(logs) == {"loss", "ndcg"}


IDS = np.array([7, 7, 8, 8])
OF_FIT = {
    "objects": (IDS.astype(object), "an array of objects (int)"),
    "None among them": (np.array([7, None, 8, 8], object), "an array of objects (NoneType, int)"),
    "dates": (np.full(4, "2026-01-01", "datetime64[D]"), "dtype datetime64[D]"),
    "bytes": (np.full(4, b"a"), "dtype |S1"),
    "list": ([7, 7, 8, 8], "a list of Python's own"),
    "csr": (sparse.csr_matrix(IDS[:, None]), "a csr_matrix"),
    "ragged": (tf.ragged.constant([[7], [7], [8], [8, 8]]), "a RaggedTensor"),
    "sparse": (tf.sparse.from_dense(IDS[:, None]), "a SparseTensor"),
}


@pytest.mark.parametrize("kind", OF_FIT)
def test_what_is_no_array_in_fit_is_refused_by_name(kind):
    inputs = keras.Input((1,), name="score")
    model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", losses.PairwiseLogistic(), metrics=[metrics.NDCG()], run_eagerly=True)
    bad, called = OF_FIT[kind]
    x = {"score": np.eye(4, 1), "query_id": IDS}
    y, match = np.array([1.0, 0.0, 2.0, 0.0]), rf"Received: {re.escape(called)}\. Pass"
    refused = [
        (rf"Entry 'query_id' of `x` must be an array .*{match}", (x | {"query_id": bad}, y)),
        (rf"`sample_weight` must be an array of numbers.*{match}", (x, y, bad)),
    ]
    if kind not in ("csr", "ragged", "sparse"):  # which a loss of one's own may well take
        refused.append((rf"`y` must be an array of numbers.*{match}", (x, bad)))
    for pattern, (*given, last) in refused:
        options = {"verbose": 0} | ({"sample_weight": last} if len(given) == 2 else {})
        given = given if len(given) == 2 else [*given, last]
        for run in (model.fit, model.evaluate):
            with pytest.raises(TypeError, match=pattern):
                run(*given, **options)


def test_text_as_targets_of_fit():
    inputs = keras.Input((1,), name="score")
    model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", losses.PairwiseLogistic(), run_eagerly=True)
    x = {"score": np.eye(4, 1), "query_id": np.array(["a", "a", "b", "b"])}
    with pytest.raises(TypeError, match=r"`y` must be an array of numbers.*Received: dtype <U1"):
        model.fit(x, np.array(["a", "b", "a", "b"]), verbose=0)
