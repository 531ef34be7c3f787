"""Weights of queries by their relevant rows, and of rows within a query, against plain loops."""

import functools

import keras
import numpy as np
import pytest
from hypothesis import given, settings

from keras_trainsteps import metrics
from keras_trainsteps.metrics import DCG, MAP, MRR, NDCG, PairAccuracy
from tests.metrics.test_query_metric import batches
from tests.models import linear
from tests.reference import ranking

# Here grades are taken for relevant where they are above 0.
pytestmark = pytest.mark.filterwarnings("ignore:`.*` takes every label above 0 for relevant")


def relevant(label):
    return float(label > 0)


def over_queries(value, worth, batch, inside):
    """TF-Ranking's mean of lists; `value(labels, weights)` from the best score down."""
    found = []
    for query in dict.fromkeys(batch["ids"].tolist()):
        rows = [
            i for i in range(len(batch["y"])) if batch["ids"][i] == query and batch["mask"][i]
        ]
        w = [float(batch["weight"][i]) for i in rows]
        if not sum(w):
            continue
        y = [float(batch["y"][i]) for i in rows]
        order = sorted(range(len(rows)), key=lambda i: -batch["s"][rows[i]])
        labels, weights = [y[i] for i in order], [w[i] if inside else 1.0 for i in order]
        total = sum(map(worth, y))
        share = sum(w[i] * worth(y[i]) for i in range(len(y))) / total if total else None
        found.append((value(labels, weights), share))
    shares = [share for _, share in found if share is not None]
    average = float(np.mean(shares)) if shares else 1.0
    shares = [average if share is None else share for _, share in found]
    if not sum(shares):
        return 0.0
    return sum(s * v for (v, _), s in zip(found, shares, strict=True)) / sum(shares)


def weighted_dcg(labels, weights, k=2):
    ranked = zip(labels[:k], weights, strict=False)
    return sum((2**y - 1) * w / np.log2(2 + place) for place, (y, w) in enumerate(ranked))


def dcg_over_weight(labels, weights, k=2):
    worth = [2**y - 1 for y in labels]
    share = sum(w * g for w, g in zip(weights, worth, strict=True))
    return weighted_dcg(labels, weights, k) * sum(worth) / share if share else 0.0


def weighted_ndcg(labels, weights, k=2):
    worth = sorted((w * (2**y - 1) for y, w in zip(labels, weights, strict=True)), reverse=True)
    best = sum(g / np.log2(2 + place) for place, g in enumerate(worth[:k]))
    return weighted_dcg(labels, weights, k) / best if best else 0.0


def weighted_map(labels, weights, k=3):
    total = sum(w for y, w in zip(labels, weights, strict=True) if y > 0)
    found = 0.0
    for place in range(min(k, len(labels))):
        if labels[place] > 0:
            hits = sum(y > 0 for y in labels[: place + 1])
            found += weights[place] * hits / (place + 1)
    return found / total if total else 0.0


def unweighted(value, **options):
    return lambda labels, _: value(labels, **options)


PEERS = {
    "ndcg": (functools.partial(NDCG, k=2), weighted_ndcg, ranking.exponential, True),
    "dcg": (functools.partial(DCG, k=2), dcg_over_weight, ranking.exponential, True),
    "map": (functools.partial(MAP, k=3), weighted_map, relevant, True),
    "ndcg of queries": (NDCG, unweighted(ranking.ndcg), ranking.exponential, False),
    "mrr": (MRR, unweighted(ranking.mrr), relevant, False),
    "precision": (
        functools.partial(metrics.PrecisionAtK, k=2),
        unweighted(ranking.precision, k=2),
        relevant,
        False,
    ),
    "err": (
        functools.partial(metrics.ERR, highest_label=4),
        unweighted(ranking.err, highest_label=4),
        relevant,
        False,
    ),
}


@settings(max_examples=3)
@given(batches())
def test_weights_are_those_of_peers(batch):
    for name, (build, value, worth, inside) in PEERS.items():
        metric = build("q", weigh="relevant", ties="stable")
        columns = {"query_ids": batch["ids"], "mask": batch["mask"]}
        if inside:
            columns["row_weight"] = batch["weight"]
        # In two batches: the average is that of the epoch.
        half = batch["ids"] % 2 == 0
        for part in (half, ~half):
            if part.any():
                taken = {key: column[part] for key, column in columns.items()}
                metric.update_state(
                    batch["y"][part], batch["s"][part], batch["weight"][part], **taken
                )
        expected = over_queries(value, worth, batch, inside)
        assert float(metric.result()) == pytest.approx(expected, rel=1e-12, abs=1e-12), name


def test_without_weights_of_rows_nothing_weighs():
    for build in (NDCG, MRR):
        plain, relevant_ones = build("q"), build("q", weigh="relevant")
        for metric in (plain, relevant_ones):
            metric.update_state([0.0, 1.0, 0.0], [2.0, 1.0, 0.0], query_ids=[1, 1, 2])
        assert float(plain.result()) == float(relevant_ones.result())


@pytest.mark.parametrize("build", [NDCG, DCG, MAP])
def test_rows_of_weight_2_are_averaged_over_the_orders_of_ties(build):
    y, w = np.array([1.0, 0.0, 1.0]), np.array([2.0, 1.0, 0.5])
    tied = build("q")
    tied.update_state(y, np.zeros(3), query_ids=[1, 1, 1], row_weight=w)
    found = []
    for order in ([2, 1, 0], [2, 0, 1], [1, 2, 0], [0, 2, 1], [1, 0, 2], [0, 1, 2]):
        one = build("q")
        one.update_state(y, np.array(order, float), query_ids=[1, 1, 1], row_weight=w)
        found.append(float(one.result()))
    assert float(tied.result()) == pytest.approx(np.mean(found), rel=1e-12)


def test_a_model_reads_the_weights_of_rows_from_its_side_input():
    rng = np.random.default_rng(0)
    x = {
        "features": rng.normal(size=(12, 3)).astype("float32"),
        "q": np.arange(12) // 4,
        "w": rng.random(12),
    }
    y = rng.integers(0, 2, (12, 1))
    model = linear()
    built = [NDCG("q", row_weight="w"), MAP("q", row_weight="w", weigh="relevant")]
    model.compile("sgd", "mse", weighted_metrics=built, run_eagerly=True)
    logs = model.evaluate(x, y, sample_weight=x["w"], verbose=0, return_dict=True)
    alone = [type(one).from_config(one.get_config()) for one in built]
    scores = x["features"].sum(axis=1)
    for metric in alone:
        metric.update_state(y, scores, x["w"], query_ids=x["q"], row_weight=x["w"])
        assert logs[metric.name] == pytest.approx(float(metric.result()), rel=1e-6)


def test_they_are_saved():
    made = MAP("q", row_weight="w", weigh="relevant")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert repr(again) == "MAP(query_ids='q', row_weight='w', weigh='relevant')"
    assert again.side_inputs == ("q", "w")


def test_what_is_refused():
    with pytest.raises(ValueError, match="`weigh` must be one of 'mean', 'relevant'"):
        NDCG("q", weigh="rows")
    with pytest.raises(
        ValueError, match="`row_weight` must be None with `normalize='reachable'`"
    ):
        MAP("q", row_weight="w", normalize="reachable", k=3)
    for metric in (MRR("q"), PairAccuracy("q")):
        with pytest.raises(TypeError, match="`row_weight` must be None for `"):
            metric.update_state([1.0], [1.0], query_ids=[1], row_weight=[1.0])
    with pytest.raises(ValueError, match="must be numbers that are not negative"):
        NDCG("q").update_state([1.0], [1.0], query_ids=[1], row_weight=[-1.0])
