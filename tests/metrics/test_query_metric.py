"""Ranking metrics against plain loops; epochs, weights, saving."""

import functools
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_trainsteps import metrics
from keras_trainsteps.data import query_batches
from keras_trainsteps.metrics import DCG, MAP, MRR, NDCG, PairAccuracy, PrecisionAtK
from tests.models import linear
from tests.reference import ranking

# Here grades are taken for relevant where they are above 0.
pytestmark = pytest.mark.filterwarnings("ignore:`.*` takes every label above 0 for relevant")


@keras.saving.register_keras_serializable("tests")
def squares(labels):
    return labels**2


@keras.saving.register_keras_serializable("tests")
def reciprocal(ranks):
    return 1 / ranks


def case(build, value, rule=ranking.stable, **options):
    return build, functools.partial(rule, value, **options)


FUNCTIONS = {"gains": squares, "discount": reciprocal}
LINEAR = {"gains": lambda label: label}
TABLE = [0.0, 0.5, 4.0, 3.0, 3.0, 7.0]  # not even in the order of the labels
OF_TABLE = {"gains": lambda label: TABLE[int(label)]}
STABLE = {"ties": "stable"}  # all orders of ties: `test_ranked_rows`
# What is logged, built by name: the metric, and its value of one query as a plain loop.
CASES = {
    "ndcg": case(lambda: NDCG("q", **STABLE), ranking.ndcg),
    "ndcg@3": case(lambda: NDCG("q", **STABLE, k=3), ranking.ndcg, k=3),
    "ndcg@2 one": case(
        lambda: NDCG("q", **STABLE, k=2, no_relevant="one"), ranking.ndcg, k=2, no_relevant="one"
    ),
    "ndcg skip": case(
        lambda: NDCG("q", **STABLE, no_relevant="skip"), ranking.ndcg, no_relevant="skip"
    ),
    "ndcg linear": case(lambda: NDCG("q", **STABLE, gains="linear"), ranking.ndcg, **LINEAR),
    "ndcg functions": case(
        lambda: NDCG("q", **STABLE, k=4, **FUNCTIONS), ranking.ndcg, k=4, **FUNCTIONS
    ),
    "dcg@3": case(lambda: DCG("q", **STABLE, k=3), ranking.dcg, k=3),
    "dcg skip": case(
        lambda: DCG("q", **STABLE, gains="linear", no_relevant="skip"),
        ranking.dcg,
        no_relevant="skip",
        **LINEAR,
    ),
    "mrr": case(lambda: MRR("q", **STABLE), ranking.mrr),
    "mrr@2 one": case(
        lambda: MRR("q", **STABLE, k=2, no_relevant="one"), ranking.mrr, k=2, no_relevant="one"
    ),
    "hit_rate@2": case(
        lambda: metrics.HitRateAtK("q", **STABLE, k=2, no_relevant="skip"),
        ranking.hit_rate,
        k=2,
        no_relevant="skip",
    ),
    "precision@3": case(lambda: PrecisionAtK("q", **STABLE, k=3), ranking.precision, k=3),
    "precision@3 rows": case(
        lambda: PrecisionAtK("q", **STABLE, k=3, normalize="rows", no_relevant="one"),
        ranking.precision,
        k=3,
        normalize="rows",
        no_relevant="one",
    ),
    "recall@2": case(lambda: metrics.RecallAtK("q", **STABLE, k=2), ranking.recall, k=2),
    "map": case(lambda: MAP("q", **STABLE), ranking.average_precision),
    "map@3 reachable": case(
        lambda: MAP("q", **STABLE, k=3, normalize="reachable", no_relevant="skip"),
        ranking.average_precision,
        k=3,
        normalize="reachable",
        no_relevant="skip",
    ),
    "map@2": case(lambda: MAP("q", **STABLE, k=2), ranking.average_precision, k=2),
    "ndcg table": case(lambda: NDCG("q", **STABLE, gains=TABLE), ranking.ndcg, **OF_TABLE),
    "dcg@2 table": case(
        lambda: DCG("q", **STABLE, k=2, gains=TABLE, discount="reciprocal"),
        ranking.dcg,
        k=2,
        discount=ranking.reciprocal,
        **OF_TABLE,
    ),
    "map from 2": case(
        lambda: MAP("q", **STABLE, relevant_from=2),
        ranking.relevant_from(ranking.average_precision, 2),
    ),
    "mrr from 2": case(
        lambda: MRR("q", **STABLE, relevant_from=2, no_relevant="skip"),
        ranking.relevant_from(ranking.mrr, 2),
        no_relevant="skip",
    ),
    "precision@2 from 2": case(
        lambda: PrecisionAtK("q", **STABLE, k=2, relevant_from=2),
        ranking.relevant_from(ranking.precision, 2),
        k=2,
    ),
    "r_precision": case(lambda: metrics.RPrecision("q", **STABLE), ranking.r_precision),
    "f1@2": case(
        lambda: metrics.F1AtK("q", **STABLE, k=2, no_relevant="one"),
        ranking.f1,
        k=2,
        no_relevant="one",
    ),
    "bpref from 2": case(
        lambda: metrics.BPref("q", **STABLE, relevant_from=2),
        ranking.relevant_from(ranking.bpref, 2),
    ),
    "rbp@3": case(
        lambda: metrics.RBP("q", **STABLE, k=3, persistence=0.5),
        ranking.rbp,
        k=3,
        persistence=0.5,
    ),
    "err@3": case(
        lambda: metrics.ERR("q", **STABLE, k=3, highest_label=5),
        ranking.err,
        k=3,
        highest_label=5,
    ),
    "arp": case(lambda: metrics.ARP("q", **STABLE), ranking.arp),
    "kendall_tau": (lambda: metrics.KendallTau("q"), ranking.kendall_tau),
    "spearman_rho": (lambda: metrics.SpearmanRho("q"), ranking.spearman_rho),
    "pair_accuracy": (lambda: PairAccuracy("q"), ranking.pair_accuracy),
    "query_auc": (lambda: metrics.QueryAUC("q"), ranking.auc),
    "query_auc from 2": (
        lambda: metrics.QueryAUC("q", relevant_from=2),
        ranking.relevant_from(ranking.auc, 2),
    ),
}


@st.composite
def batches(draw, max_rows=30):
    rows = draw(st.integers(1, max_rows))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return {
        "y": rng.integers(0, draw(st.integers(1, 4)), size=rows).astype("float32"),
        "s": rng.integers(0, draw(st.integers(1, 50)), size=rows).astype("float32"),
        "ids": rng.integers(0, draw(st.integers(1, 8)), size=rows) - 2**40,
        "mask": rng.random(rows) < draw(st.sampled_from([0.3, 1.0])),
        "weight": rng.integers(0, 4, size=rows).astype("float32"),
    }


def update(metric, batch, weight=None):
    metric.update_state(
        batch["y"], batch["s"], weight, query_ids=batch["ids"], mask=batch["mask"]
    )


# Others are of like code, or among `test_ranked_rows`.
IN_SLOW_RUN = ("ndcg table", "map from 2", "precision@2 from 2", "r_precision", "f1@2", "rbp@3")


def assert_equals_plain_loops(batch, weight, left_out=()):
    rows = (batch["y"], batch["s"], batch["ids"], batch["mask"], weight)
    for name in CASES.keys() - set(left_out):
        build, value = CASES[name]
        metric = build()
        update(metric, batch, weight)
        expected = ranking.by_query(value, *rows)
        assert float(metric.result()) == pytest.approx(expected, rel=1e-12, abs=1e-12), name


@settings(max_examples=5)
@given(batches(), st.booleans())
def test_equals_plain_loops(batch, weighted):
    assert_equals_plain_loops(batch, batch["weight"] if weighted else None, IN_SLOW_RUN)


@pytest.mark.slow
@settings(max_examples=40)
@given(batches())
@pytest.mark.parametrize("weighted", [False, True])
def test_many_batches_equal_plain_loops(weighted, batch):
    assert_equals_plain_loops(batch, batch["weight"] if weighted else None)


def data(rows=40):
    rng = np.random.default_rng(0)
    x = {
        "features": rng.normal(size=(rows, 3)).astype("float32"),
        "q": np.sort(rng.integers(0, 9, size=rows)),
    }
    return x, rng.integers(0, 3, size=(rows, 1)).astype("float32")


# Compiling each variant for XLA would take half a minute.
XLA = (
    *("ndcg@3", "mrr", "map@2", "arp", "pair_accuracy", "query_auc", "ndcg table"),
    *("r_precision", "bpref from 2", "rbp@3", "err@3", "kendall_tau", "spearman_rho"),
)
FEW = ("ndcg@3", "dcg skip", "map@3 reachable", "pair_accuracy")


@pytest.mark.parametrize(
    ("names", "jit_compile"),
    [
        (FEW, False),
        pytest.param(("query_auc",), True, marks=pytest.mark.slow),
        pytest.param(tuple(CASES), False, marks=pytest.mark.slow),
        pytest.param(XLA, True, marks=pytest.mark.slow),
    ],
)
def test_an_epoch_is_the_mean_over_its_queries(names, jit_compile):
    x, y = data()
    model = linear()
    compiled = [CASES[name][0]() for name in names]
    for metric, name in zip(compiled, names, strict=True):
        metric.name = name
    model.compile("sgd", loss="mse", metrics=compiled, jit_compile=jit_compile)
    # Batches with different numbers of queries; the mean of batch means would differ.
    epoch = query_batches(x, y, query_ids="q", batch_size=15, shuffle=False)
    logs = model.evaluate(epoch, return_dict=True, verbose=0)
    scores = x["features"].astype("float64").sum(axis=1)
    for name in names:
        _, value = CASES[name]
        expected = ranking.by_query(value, y[:, 0], scores, x["q"])
        assert logs[name] == pytest.approx(expected, rel=1e-6), name


def test_weighted_metrics_weigh_queries_by_the_mean_of_their_rows():
    x, y = data()
    weight = np.random.default_rng(1).random(40).astype("float32")
    model = linear()
    model.compile("sgd", loss="mse", weighted_metrics=[NDCG("q")], metrics=[PairAccuracy("q")])
    logs = model.evaluate(x, y, sample_weight=weight, batch_size=40, return_dict=True, verbose=0)
    scores = x["features"].astype("float64").sum(axis=1)
    batch = (y[:, 0], scores, x["q"])
    _, ndcg = CASES["ndcg"]
    assert logs["ndcg"] == pytest.approx(ranking.by_query(ndcg, *batch, weight=weight), rel=1e-6)
    assert logs["pair_accuracy"] == pytest.approx(
        ranking.by_query(ranking.pair_accuracy, *batch), rel=1e-6
    )


@pytest.mark.parametrize("name", CASES)
def test_padded_lists_equal_flat_rows(name):
    lists = (
        np.array([[2.0, 0.0, 1.0], [1.0, 0.0, 5.0]]),
        np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 9.0]]),
    )
    mask = np.array([[True, True, True], [True, True, False]])
    build, _ = CASES[name]
    padded, flat = build(), build()
    padded.query_ids = None
    padded.update_state(*lists, mask=mask)
    flat.update_state(*(values[mask] for values in lists), query_ids=[0, 0, 0, 1, 1])
    assert float(padded.result()) == float(flat.result())


def test_no_query_gives_0():
    metric = NDCG("q", no_relevant="skip")
    metric.update_state([0.0], [1.0], query_ids=[1])
    assert float(metric.result()) == 0.0


def test_without_a_batch_the_side_input_is_asked_for():
    with pytest.raises(ValueError, match="Side input `q` is only known while a `LossAwareModel`"):
        NDCG("q").update_state([0.0], [1.0])


@pytest.mark.parametrize("name", CASES)
def test_round_trips(name):
    build, _ = CASES[name]
    metric = build()
    metric.mask = "m"
    config = keras.saving.serialize_keras_object(metric)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()
    batch = {"query_ids": [0, 0, 0, 1], "mask": [True, True, True, True]}
    for each in (metric, again):
        each.update_state([0.0, 1.0, 2.0, 0.0], [3.0, 2.0, 1.0, 5.0], **batch)
    assert float(again.result()) == float(metric.result())


def test_names_say_what_they_are():
    built = [
        *(NDCG("q"), NDCG("q", k=10), DCG("q", k=5), MRR("q"), MRR("q", k=10), MAP("q", k=5)),
        *(PrecisionAtK("q", k=1), metrics.RecallAtK("q", k=20), metrics.HitRateAtK("q", k=3)),
        *(metrics.ARP("q"), metrics.QueryAUC("q"), NDCG("q", k=2, name="own")),
    ]
    assert [metric.name for metric in built] == [
        *("ndcg", "ndcg@10", "dcg@5", "mrr", "mrr@10", "map@5"),
        *("precision@1", "recall@20", "hit_rate@3"),
        *("arp", "query_auc", "own"),
    ]


CLASSES = [
    name
    for name in metrics.__all__
    if isinstance(getattr(metrics, name), type)
    and issubclass(getattr(metrics, name), keras.metrics.Metric)
]


def test_two_of_one_name_are_both_logged():
    x, y = data()
    model = linear()
    model.compile("sgd", loss="mse", metrics=[NDCG("q"), NDCG("q", no_relevant="one")])
    logs = model.evaluate(x, y, batch_size=40, return_dict=True, verbose=0)
    assert {"ndcg", "ndcg_1"} <= set(logs)


def test_better_is_known_to_callbacks():
    x, y = data()
    model = linear()
    model.compile("sgd", loss="mse", metrics=[NDCG("q"), metrics.ARP("q")])
    watched = [keras.callbacks.EarlyStopping(name) for name in ("ndcg", "arp")]
    model.fit(x, y, batch_size=40, callbacks=watched, verbose=0)
    ndcg, arp = (callback.monitor_op for callback in watched)
    assert ndcg(2.0, 1.0)
    assert arp(1.0, 2.0)
    directions = {name: build().better for name, (build, _) in CASES.items()}
    assert {name for name, way in directions.items() if way == "down"} == {"arp"}


def test_updates_do_not_retrace():
    both, traces = [NDCG("q"), MAP("q", ties="average")], []

    @tf.function(reduce_retracing=True)
    def update(y, s, ids):
        traces.append(1)
        for metric in both:
            metric.update_state(y, s, query_ids=ids)

    for rows in (3, 5, 8, 13):
        update(tf.ones(rows), tf.ones(rows), tf.fill((rows,), tf.constant(rows, tf.int64)))
    assert len(traces) <= 2


def test_what_a_log_shows():
    assert repr(NDCG(k=np.int64(10))) == "NDCG(query_ids='query_id', k=10)"
    made = [
        MRR("user", ties="stable", seed=1),
        PrecisionAtK(None, k=3, normalize="rows", mask="kept"),
        NDCG("q", gains=squares, name="own"),
        metrics.ARP.from_config(metrics.ARP("q", split_queries="count_parts").get_config()),
    ]
    assert [repr(metric) for metric in made] == [
        "MRR(query_ids='user', ties='stable', seed=1)",
        "PrecisionAtK(query_ids=None, k=3, mask='kept', normalize='rows')",
        "NDCG(query_ids='q', gains=squares, name='own')",
        "ARP(query_ids='q', split_queries='count_parts')",
    ]


@pytest.mark.parametrize("name", CLASSES)
def test_every_argument_is_named_in_the_signature_and_on_the_page(name):
    cls = getattr(metrics, name)
    for argument, parameter in inspect.signature(cls).parameters.items():
        assert parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        assert f"        {argument}: " in cls.__doc__, argument
    for part in ("```", "Args:", "Raises:", "Example:", "compile("):
        assert part in cls.__doc__, part


def test_state_is_a_few_hundred_bytes():
    numbers = 2 + 2 * 16  # two sums, and two for each remembered query
    assert sum(variable.numpy().nbytes for variable in NDCG("q").variables) == 8 * numbers


def test_numpy_integers_are_integers():
    ranked = NDCG("q", k=np.int32(2), ties="random", seed=np.int64(3))
    assert type(ranked.k) is type(ranked.seed) is int
    assert ranked.name == "ndcg@2"
    keras.saving.serialize_keras_object(ranked)


def test_a_metric_of_ones_own_fills_one_method():
    class BestScore(metrics.QueryMetric):
        def query_values(self, rows):
            best = tf.math.unsorted_segment_max(rows.y_pred, rows.query, rows.num_queries)
            return best, tf.ones_like(best)

    metric = BestScore("q")
    metric.update_state([0, 1, 1], [3.0, 2.0, 1.0], query_ids=[5, 5, 6])
    assert float(metric.result()) == 2.0
    assert metric.name.startswith("best_score")
