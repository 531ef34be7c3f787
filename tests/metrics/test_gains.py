"""What a label is worth: names, tables and functions, the same for metrics and losses."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import losses
from keras_trainsteps.losses import lambda_weights
from keras_trainsteps.metrics import DCG, NDCG
from keras_trainsteps.queries.gains import as_gains, gains_of, grow_with_labels

TABLE = [0, 1, 3, 7]
Y, S, IDS = np.array([0.0, 3.0, 1.0, 2.0]), np.array([0.3, 0.1, 0.4, 0.2]), np.zeros(4, int)
LAMBDAS = [
    lambda_weights.DCG,
    lambda_weights.NDCG,
    lambda_weights.NDCG2,
    lambda_weights.DCG2,
    lambda_weights.DCG1,
    lambda_weights.NDCG1,
]


def of_metric(build, **options):
    metric = build("q", **options)
    metric.update_state(Y, S, query_ids=IDS)
    return float(metric.result())


def of_lambdas(cls, **options):
    weight = cls(**options)
    return float(losses.pairwise_logistic(Y, S, query_ids=IDS, lambda_weight=weight).total)


def of_loss(function, **options):
    return float(function(Y, S, query_ids=IDS, **options).total)


EVERYWHERE = {
    "NDCG": functools.partial(of_metric, NDCG),
    "DCG": functools.partial(of_metric, DCG),
    **{f"lambda {cls.__name__}": functools.partial(of_lambdas, cls) for cls in LAMBDAS},
    "approx_ndcg": functools.partial(of_loss, losses.approx_ndcg),
    "unique_softmax": functools.partial(of_loss, losses.unique_softmax),
}


@pytest.mark.parametrize("where", EVERYWHERE.values(), ids=EVERYWHERE)
def test_a_table_is_what_it_says(where):
    assert where(gains=TABLE) == pytest.approx(where(), rel=1e-12)  # of `2**y - 1`
    assert where(gains=np.arange(4)) == pytest.approx(where(gains="linear"), rel=1e-12)
    squares = where(gains=lambda y: y**2)
    assert where(gains=(0, 1, 4, 9)) == pytest.approx(squares, rel=1e-12)
    assert where() != pytest.approx(where(gains="linear"), rel=1e-3)


@pytest.mark.parametrize("where", EVERYWHERE.values(), ids=EVERYWHERE)
@pytest.mark.parametrize("label", [4.0, 1.5, -1.0])
def test_grades_that_the_table_does_not_have_are_refused(where, label, monkeypatch):
    monkeypatch.setitem(globals(), "Y", np.array([0.0, label, 1.0, 2.0]))
    match = rf"whole numbers from 0 to 3, the labels that the table `gains`.*label of {label}"
    with pytest.raises(ValueError, match=match):
        where(gains=TABLE)


@pytest.mark.parametrize("where", EVERYWHERE.values(), ids=EVERYWHERE)
@pytest.mark.parametrize("gains", ["squared", [], [1, -1], [0, np.inf], {"0": 1}, 3, [[1, 2]]])
def test_what_are_no_gains_is_refused(where, gains):
    with pytest.raises(ValueError, match="`gains` must"):
        where(gains=gains)


def test_a_masked_label_need_not_be_in_the_table():
    metric = NDCG("q", gains=TABLE)
    given = {"query_ids": IDS, "mask": [True, True, True, False]}
    metric.update_state([0.0, 1.0, 2.0, -1.0], S, **given)
    term = losses.approx_ndcg([0.0, 1.0, 2.0, 9.0], S, gains=TABLE, **given)
    expected = losses.approx_ndcg([0.0, 1.0, 2.0], S[:3], gains=TABLE, query_ids=IDS[:3])
    np.testing.assert_allclose(term.total, expected.total, rtol=1e-12)


def test_tables_say_whether_they_grow():
    assert grow_with_labels(as_gains([0, 1, 1, 2]))
    assert grow_with_labels("linear")
    assert not grow_with_labels(as_gains([0, 2, 1]))
    found = gains_of(as_gains([0, 5]), tf.constant([1.0, 0.0, 2.0, -1.0, np.nan]))
    np.testing.assert_array_equal(found, [5.0, 0.0, np.nan, np.nan, np.nan])


@pytest.mark.parametrize(
    "made",
    [
        NDCG("q", gains=TABLE, discount="reciprocal"),
        losses.ApproxNDCG("q", gains=[0.0, 1.0, 5.0]),
        losses.PairwiseLogistic("q", lambda_weight=lambda_weights.NDCG(gains=TABLE, k=2)),
    ],
    ids=lambda made: type(made).__name__,
)
def test_tables_are_saved(made):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert repr(again) == repr(made)
    assert "gains=[0.0, 1.0, " in repr(again)


def test_the_argument_of_older_files_is_read():
    config = NDCG("q", gains="linear").get_config()
    config["gain"] = config.pop("gains")
    assert repr(NDCG.from_config(config)) == "NDCG(query_ids='q', gains='linear')"


def test_a_table_is_lightgbm_s_label_gain():
    # One query, as LightGBM has it with `label_gain=[0, 3, 5, 100]`.
    # Gains by score 5, 0, 3, 100; the best are 100, 5, 3, 0.
    discount = 1 / np.log2(2 + np.arange(4))
    labels, scores = np.array([2.0, 0.0, 1.0, 3.0]), np.array([4.0, 3.0, 2.0, 1.0])
    for k in range(1, 5):
        metric = NDCG("q", k=k, gains=[0, 3, 5, 100])
        metric.update_state(labels, scores, query_ids=IDS)
        found = np.array([5, 0, 3, 100])[:k] @ discount[:k]
        best = np.array([100, 5, 3, 0])[:k] @ discount[:k]
        assert float(metric.result()) == pytest.approx(found / best, rel=1e-12)
