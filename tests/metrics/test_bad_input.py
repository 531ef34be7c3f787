"""What ranking metrics refuse, and what they must not hide."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import metrics
from keras_trainsteps.metrics import (
    ARP,
    DCG,
    MAP,
    MRR,
    NDCG,
    PairAccuracy,
    PrecisionAtK,
    QueryAUC,
)
from tests.models import linear

AT_K = [PrecisionAtK, metrics.RecallAtK, metrics.HitRateAtK, metrics.F1AtK]
ANY_K = [NDCG, DCG, MRR, MAP, metrics.RBP]
OTHERS = [metrics.RPrecision, metrics.BPref, metrics.KendallTau, metrics.SpearmanRho, metrics.OPA]
ALL = {
    **{cls.__name__: cls for cls in [*ANY_K, ARP, PairAccuracy, QueryAUC, *OTHERS]},
    "ERR": functools.partial(metrics.ERR, highest_label=2),
    **{cls.__name__: lambda q, cls=cls, **kw: cls(q, k=2, **kw) for cls in AT_K},
}
GAINS = [NDCG, DCG, ARP]
NAN = float("nan")


@pytest.mark.parametrize("cls", [*ANY_K, *AT_K])
@pytest.mark.parametrize("k", [0, -1, 1.5, True, "2"])
def test_ranks_below_1(cls, k):
    with pytest.raises(ValueError, match="`k` must be an integer of at least 1"):
        cls("q", k=k)


@pytest.mark.parametrize("cls", AT_K)
def test_ranks_left_open(cls):
    with pytest.raises(ValueError, match="`k` must be an integer of at least 1"):
        cls("q", k=None)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: MRR("q", ties="mean"), "`ties` must be one of 'stable', 'average', 'random'"),
        (lambda: MAP("q", no_relevant="two"), "`no_relevant` must be one of"),
        (lambda: DCG("q", no_relevant="one"), "`no_relevant` must be one of 'zero', 'skip'"),
        (lambda: MAP("q", normalize="k"), "`normalize` must be one of 'relevant', 'reachable'"),
        (
            lambda: PrecisionAtK("q", k=1, normalize="relevant"),
            "`normalize` must be one of 'k', 'rows'",
        ),
        (lambda: NDCG("q", gains="squared"), "`gains` must be one of 'exponential', 'linear', a"),
        (lambda: DCG("q", discount="log"), "`discount` must be one of 'log2', 'reciprocal', or"),
    ],
)
def test_unknown_options(build, match):
    with pytest.raises(ValueError, match=match):
        build()


@pytest.mark.parametrize("seed", [1.5, None, True])
def test_a_seed_that_is_no_integer(seed):
    with pytest.raises(TypeError, match="`seed` must be an integer"):
        MRR("q", ties="random", seed=seed)


@pytest.mark.parametrize("build", ALL.values(), ids=ALL)
def test_labels_that_are_nan(build):
    metric = build("q")
    with pytest.raises(ValueError, match=r"`y_true` must .*a label of nan"):
        metric.update_state([NAN, 1.0], [1.0, 2.0], query_ids=[0, 0])
    assert not any(variable.numpy().any() for variable in metric.variables)
    metric.update_state([NAN, 1.0], [1.0, 2.0], query_ids=[0, 0], mask=[False, True])
    assert np.isfinite(float(metric.result()))


@pytest.mark.parametrize("cls", GAINS)
def test_labels_that_are_negative_where_they_are_gains(cls):
    with pytest.raises(ValueError, match=r"must not be negative.*Received: a label of -1\.0"):
        cls("q").update_state([-1.0, 1.0], [1.0, 2.0], query_ids=[0, 0])


def test_gains_that_are_negative():
    with pytest.raises(ValueError, match=r"labels are gains here.*a label of 1\.0"):
        NDCG("q", gains=lambda y: y - 2).update_state([1.0, 3.0], [1.0, 2.0], query_ids=[0, 0])


@pytest.mark.parametrize("bad", [NAN, -1.0])
def test_bad_labels_in_fit(bad):
    x = {"features": np.ones((4, 3), "float32"), "q": np.zeros(4, int)}
    model = linear()
    model.compile("sgd", loss="mse", metrics=[NDCG("q")])
    with pytest.raises(ValueError, match="`y_true` must not be negative or NaN"):
        model.evaluate(x, np.array([[0.0], [1.0], [bad], [0.0]]), verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "builds",
    [
        [functools.partial(PrecisionAtK, k=1, no_relevant="skip")],
        [NDCG, MRR, QueryAUC],
    ],
)
def test_bad_labels_under_xla_make_the_metric_nan_whatever_the_others_are(builds):
    # With another label of 0 no query would count but for the label that is not known.
    built = [build("q") for build in builds]

    @functools.partial(tf.function, jit_compile=True)
    def update(labels):
        for metric in built:
            metric.update_state(labels, [1.0, 2.0], query_ids=tf.constant([0, 0]))

    for other in (1.0, 0.0):
        for metric in built:
            metric.reset_state()
        update(tf.constant([NAN, other]))
        assert np.isnan([float(metric.result()) for metric in built]).all()


@pytest.mark.parametrize("build", ALL.values(), ids=ALL)
def test_a_nan_score_is_not_hidden(build):
    metric = build("q")
    labels, ids = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0], [0, 0, 1, 1, 2, 2]
    metric.update_state(labels, [2.0, 1.0, NAN, 1.0, 2.0, 1.0], query_ids=ids)
    assert np.isnan(float(metric.result()))


@pytest.mark.parametrize("build", ALL.values(), ids=ALL)
def test_a_masked_nan_score_does_not_count(build):
    rng = np.random.default_rng(0)
    y, s, ids = rng.integers(0, 2, 40) * 1.0, rng.normal(size=40), np.arange(40) % 5
    mask = rng.random(40) < 0.7
    masked, removed = build("q"), build("q")
    hidden = np.where(mask, s, NAN)
    masked.update_state(y, hidden, query_ids=ids, mask=mask)
    removed.update_state(y[mask], s[mask], query_ids=ids[mask])
    assert float(masked.result()) == float(removed.result())


def test_infinite_scores_rank_first_and_last():
    metric = MRR("q")
    metric.update_state([0.0, 1.0, 0.0], [-np.inf, 1.0, np.inf], query_ids=[0, 0, 0])
    assert float(metric.result()) == 0.5


@pytest.mark.parametrize("build", ALL.values(), ids=ALL)
def test_shapes_that_do_not_fit(build):
    with pytest.raises(ValueError, match="must be padded lists"):
        build(None).update_state([1.0], [1.0])
    with pytest.raises(ValueError, match="one entry a row"):
        build("q").update_state([1.0, 0.0], [1.0], query_ids=[0])
    with pytest.raises(TypeError, match="`query_ids` must be integers or strings"):
        build("q").update_state([1.0], [1.0], query_ids=[0.5])
