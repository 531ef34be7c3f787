"""Labels as they are given: large ones stay apart, large gains stay finite, -1 is no label."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel, losses
from keras_trainsteps.losses import lambda_weights
from tests.reference import listwise
from tests.reference.pairwise import pairwise

NOW = 1_700_000_000  # seconds: float32 tells apart what is 128 of these apart
IDS = np.array([7, 7, 7, 8, 8, 8])
SCORES = np.array([0.3, -0.2, 0.5, 0.1, 1.5, -0.7])
LATER = np.array([0, 50, 20, 3, 1, 2])  # a time of each row, in seconds after `NOW`
PAIRWISE = {
    "LOGISTIC": losses.pairwise_logistic,
    "HINGE": losses.pairwise_hinge,
    "SQUARED_HINGE": losses.pairwise_squared_hinge,
    "SOFT_ZERO_ONE": losses.pairwise_soft_zero_one,
    "SQUARED_ERROR": losses.pairwise_mean_squared_error,
}
COMPARED = {  # with each other, of one query
    **{f.__name__: f for f in PAIRWISE.values()},
    "list_mle": losses.list_mle,
    "softmax of labels": functools.partial(losses.softmax, labels="softmax"),
    "LabelDifference": functools.partial(
        losses.pairwise_logistic, lambda_weight=lambda_weights.LabelDifference()
    ),
}


def expected_of(name):
    """Total and count as a plain loop over pairs of the times themselves."""
    options = {"pairs": "all"} if name == "SQUARED_ERROR" else {}
    return pairwise(name, LATER, SCORES, IDS, **options)[:2]


@pytest.mark.parametrize("dtype", ["int64", "float64"])
@pytest.mark.parametrize("scores", ["float32", "float64"])
@pytest.mark.parametrize("name", PAIRWISE)
def test_pairs_of_large_labels_are_pairs(name, scores, dtype):
    labels = (NOW + LATER).astype(dtype)
    term = PAIRWISE[name](labels, SCORES.astype(scores), query_ids=IDS)
    np.testing.assert_allclose((term.total, term.count), expected_of(name), rtol=2e-6)
    assert term.total.dtype == scores


@pytest.mark.parametrize("dtype", ["int64", "float64"])
@pytest.mark.parametrize("name", COMPARED)
def test_what_compares_labels_does_not_see_that_all_of_them_are_large(name, dtype):
    large = COMPARED[name]((NOW + LATER).astype(dtype), SCORES, query_ids=IDS)
    small = COMPARED[name](LATER.astype(float), SCORES, query_ids=IDS)
    assert float(large.total) == pytest.approx(float(small.total), rel=1e-14)
    assert float(large.count) == float(small.count)


def test_whole_numbers_that_no_float64_holds_are_refused():
    labels = np.array([2**53, 2**53 + 1])
    with pytest.raises(ValueError, match=r"`y_true` must be within 2\*\*53 of 0"):
        losses.list_mle(labels, [0.0, 0.0], query_ids=[0, 0])
    masked = losses.list_mle(labels, [0.0, 0.0], query_ids=[0, 0], mask=[True, False])
    assert float(masked.total) == 0.0


def linear():
    inputs = keras.Input((1,), name="score")
    outputs = keras.layers.Dense(1, kernel_initializer="ones", use_bias=False)(inputs)
    return inputs, outputs


class ByHook(LossAwareModel):
    side_inputs = ("query_id",)

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"term": losses.pairwise_logistic(y, y_pred, query_ids=x["query_id"])}


X = {"score": SCORES[:, None].astype("float32"), "query_id": IDS}


@pytest.mark.parametrize(
    ("route", "data"),
    [
        ("compile", "int64 arrays"),
        ("compile", "int64 dataset"),
        ("compile", "float64 dataset"),
        ("hook", "int64 arrays"),
        ("hook", "int64 dataset"),
    ],
)
def test_targets_of_fit_stay_apart(route, data):
    y = (NOW + LATER).astype(data.split()[0])
    model = (LossAwareModel if route == "compile" else ByHook)(*linear())
    loss = losses.PairwiseLogistic() if route == "compile" else None
    model.compile(keras.optimizers.SGD(0.0), loss=loss, run_eagerly=True)
    y = y if route == "compile" else y[:, None]
    given = (X, y) if "arrays" in data else (tf.data.Dataset.from_tensors((X, y)),)
    found = model.evaluate(*given, verbose=0, return_dict=True)["loss"]
    total, count = expected_of("LOGISTIC")
    assert found == pytest.approx(total / count, rel=2e-6)


@pytest.mark.parametrize("loss", [losses.PairwiseLogistic, losses.ListMLE])
def test_float64_arrays_that_keras_would_round_are_refused(loss):
    y = (NOW + LATER).astype("float64")
    model = LossAwareModel(*linear())
    model.compile("sgd", loss=loss(), run_eagerly=True)
    for run in (
        lambda: model.fit(X, y, verbose=0),
        lambda: model.fit(X, LATER, validation_data=(X, y), verbose=0),
        lambda: model.evaluate(X, y, verbose=0),
        lambda: model.train_on_batch(X, y),
        lambda: model.test_on_batch(X, y),
    ):
        with pytest.raises(ValueError, match="`y` must hold labels that float32 tells apart"):
            run()
    model.fit(X, y.astype("int64"), verbose=0)
    model.fit(X, y - NOW, verbose=0)


def test_labels_of_embeddings_that_keras_would_round_are_refused():
    model = LossAwareModel(*linear())
    y = (NOW + np.array([0, 0, 50, 50, 90, 90])).astype("float64")
    model.compile("sgd", loss=losses.Contrastive(), run_eagerly=True)
    with pytest.raises(ValueError, match="`y` must hold labels that float32 tells apart"):
        model.fit({"score": X["score"]}, y, verbose=0)
    as_integers = model.evaluate({"score": X["score"]}, y.astype("int64"), verbose=0)
    term = losses.contrastive(y - NOW, model.predict({"score": X["score"]}, verbose=0))
    assert as_integers == pytest.approx(float(term.value), rel=1e-6)


def gains_over(labels, highest):
    """`(2**y - 1) / 2**highest` in plain float64."""
    return [2.0 ** (y - highest) - 2.0**-highest for y in labels]


LARGE = [1023, 1024, 5000, 10**9]


@pytest.mark.parametrize("top", LARGE)
def test_approx_ndcg_of_large_gains(top):
    labels = [float(top), top - 1.0, top - 2.5, 0.0, 3.0, top - 1.0]
    scores = list(SCORES)
    gains = gains_over(labels, top)
    best = sum(g / np.log2(2.0 + i) for i, g in enumerate(sorted(gains, reverse=True)))
    ranks = [listwise.soft_rank(scores, i, 0.1) for i in range(6)]
    expected = -sum(g / np.log2(1.0 + r) for g, r in zip(gains, ranks, strict=True)) / best
    term = losses.approx_ndcg(labels, SCORES, query_ids=np.zeros(6, int))
    assert float(term.total) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("top", LARGE)
@pytest.mark.parametrize("k", [None, 2])
def test_ndcg_weights_of_large_gains(top, k):
    labels = [float(top), top - 1.0, top - 2.5, 0.0, 3.0, top - 1.0]
    gains = gains_over(labels, top)
    cut = [1 / np.log2(1 + r) if k is None or r <= k else 0.0 for r in range(1, 7)]
    best = sum(g * d for g, d in zip(sorted(gains, reverse=True), cut, strict=True))
    rank = {i: r for r, i in enumerate(sorted(range(6), key=lambda i: -SCORES[i]))}

    def factor(y, s, i, j):
        return abs(gains[i] - gains[j]) * abs(cut[rank[i]] - cut[rank[j]]) / best

    ids = np.zeros(6, int)
    expected, *_ = pairwise("LOGISTIC", labels, SCORES, ids, factor=factor)
    weight = lambda_weights.NDCG(k=k)
    term = losses.pairwise_logistic(labels, SCORES, query_ids=ids, lambda_weight=weight)
    assert float(term.total) == pytest.approx(expected, rel=1e-12)
    second = losses.pairwise_logistic(
        labels, SCORES, query_ids=ids, lambda_weight=lambda_weights.NDCG2(k=k)
    )
    assert 0 < float(second.total) < 100


def test_large_gains_of_one_query_leave_the_others_as_they_are():
    labels = np.array([0.0, 1e6, 1.0, 2.0, 0.0, 1.0])
    whole = losses.approx_ndcg(labels, SCORES, query_ids=IDS)
    second = losses.approx_ndcg(labels[3:], SCORES[3:], query_ids=IDS[3:])
    first = losses.approx_ndcg(labels[:3], SCORES[:3], query_ids=IDS[:3])
    assert float(whole.total) == pytest.approx(float(first.total + second.total), rel=1e-12)


GROW = {
    "unique_softmax": losses.unique_softmax,
    "DCG weights": functools.partial(
        losses.pairwise_logistic, lambda_weight=lambda_weights.DCG()
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", GROW)
def test_gains_that_the_loss_grows_with_are_refused_where_they_have_no_number(name, dtype):
    limit = 96.0 if dtype == "float32" else 896.0
    scores = SCORES.astype(dtype)
    term = GROW[name]([limit, 0.0, 1.0], scores[:3], query_ids=[1, 1, 1])
    one = GROW[name]([limit - 10, 0.0, 1.0], scores[:3], query_ids=[1, 1, 1])
    assert float(term.total) == pytest.approx(2.0**10 * float(one.total), rel=1e-6)
    for bad in (limit + 1, 1024.0, 1e9):
        with pytest.raises(ValueError, match=rf"`y_true` must be at most {limit:g}.* of {bad}"):
            GROW[name]([bad, 0.0, 1.0], scores[:3], query_ids=[1, 1, 1])


GAINS = (losses.softmax, losses.unique_softmax, losses.approx_ndcg, losses.approx_mrr)


@pytest.mark.parametrize("loss", GAINS, ids=lambda loss: loss.__name__)
def test_infinite_labels_are_no_gains(loss):
    with pytest.raises(ValueError, match=r"`y_true` must not be negative .* a label of inf"):
        loss([np.inf, 0.0], [0.0, 1.0], query_ids=[1, 1])


LISTS = np.array([[2.0, 0.0, 1.0, -1.0], [1.0, 3.0, -1.0, -1.0]])
OF_LISTS = np.array([[0.1, 0.4, -0.3, 2.0], [0.2, -0.5, 1.0, 0.7]])
REAL = {name: loss for name, loss in COMPARED.items() if name != "LabelDifference"}


@pytest.mark.parametrize("name", REAL)
def test_minus_1_in_padded_lists_is_refused_and_a_mask_says_what_it_is(name):
    loss = REAL[name]
    match = r"`y_true` must not be negative in padded lists without a `mask`.*`mask=y >= 0`"
    with pytest.raises(ValueError, match=match):
        loss(LISTS, OF_LISTS)
    kept, ids = LISTS >= 0, np.repeat([0, 1], 4).reshape(2, 4)
    padded = loss(LISTS, OF_LISTS, mask=kept)
    flat = loss(LISTS[kept], OF_LISTS[kept], query_ids=ids[kept])
    assert float(padded.total) == pytest.approx(float(flat.total), rel=1e-12)
    real = loss(LISTS, OF_LISTS, mask=np.ones_like(kept))
    every = loss(LISTS.ravel(), OF_LISTS.ravel(), query_ids=ids.ravel())
    assert float(real.total) == pytest.approx(float(every.total), rel=1e-12)
    assert float(real.total) != pytest.approx(float(padded.total), rel=1e-3)


@pytest.mark.parametrize("mask", [None, "kept"])
def test_minus_1_as_padding_in_fit(mask):
    loss = losses.ListMLE(None, mask=mask)
    inputs = keras.Input((4,), name="scores")
    model = LossAwareModel(inputs, keras.layers.Dense(4)(inputs))
    model.compile("sgd", loss=loss)
    x = {"scores": OF_LISTS} | ({} if mask is None else {mask: LISTS >= 0})
    if mask is None:
        with pytest.raises(ValueError, match="`y_true` must not be negative in padded lists"):
            model.fit(x, LISTS, verbose=0)
    else:
        model.fit(x, LISTS, verbose=0)


@pytest.mark.parametrize("pairs", ["all", "preference"])
@pytest.mark.parametrize("rows", [6, 600])
def test_squared_errors_beside_labels_near_the_limit(pairs, rows):
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 3, rows), rng.normal(size=rows)
    ids = np.arange(rows) // (rows // 2)
    term, small = (
        losses.pairwise_mean_squared_error(y, scores, query_ids=ids, pairs=pairs)
        for y in (2**53 - 5 + labels, labels)
    )
    assert float(term.total) == pytest.approx(float(small.total), rel=1e-12)
