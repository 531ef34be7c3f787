"""The lowest label that is relevant: left open it is named, reached by none it is refused."""

import functools
import warnings

import numpy as np
import pytest

from keras_trainsteps import metrics
from keras_trainsteps.metrics import MAP, MRR, NDCG, QueryAUC
from keras_trainsteps.metrics.by_query import group, values_by_query
from tests.models import linear

AT_2 = [metrics.PrecisionAtK, metrics.RecallAtK, metrics.HitRateAtK, metrics.F1AtK]
BINARY = [
    *(MAP, MRR, QueryAUC, metrics.RPrecision, metrics.BPref, metrics.RBP),
    *(functools.partial(cls, k=2) for cls in AT_2),
]
GRADES = "takes every label above 0 for relevant. Received: labels other than 0 and 1"
GRADED = [0.0, 2.0, 1.0, 0.0], [3.0, 2.0, 1.0, 0.0]
IDS = [5, 5, 5, 5]


@pytest.mark.parametrize("build", BINARY)
def test_grades_are_named_once_where_nobody_says_which_are_relevant(build):
    metric = build("q")
    metric.update_state(*GRADED, query_ids=IDS)
    with pytest.warns(UserWarning, match=GRADES):
        metric.result()
    metric.result()
    said = build("q", relevant_from=1)
    said.update_state(*GRADED, query_ids=IDS)
    assert float(said.result()) == float(metric.result())


def test_labels_0_and_1_and_masked_grades_are_no_grades():
    metric = MAP("q")
    metric.update_state([0.0, 1.0], [1.0, 2.0], query_ids=[5, 5])
    metric.update_state([2.0, 1.0], [1.0, 2.0], query_ids=[6, 6], mask=[False, True])
    metric.result()
    graded = NDCG("q")
    graded.update_state(*GRADED, query_ids=IDS)
    graded.result()


def data(highest):
    x = {"features": np.eye(6, 3, dtype="float32"), "q": np.array([0, 0, 0, 1, 1, 1])}
    return x, np.array([[0.0], [1.0], [highest], [0.0], [1.0], [0.0]])


@pytest.mark.parametrize(
    ("call", "options"),
    [
        ("fit", {"run_eagerly": True}),
        ("evaluate", {"run_eagerly": True}),
        pytest.param("fit", {}, marks=pytest.mark.slow),
        pytest.param("evaluate", {"jit_compile": True}, marks=pytest.mark.slow),
    ],
)
def test_a_model_names_grades_once_and_refuses_what_no_label_reaches(call, options):
    model = linear()
    model.compile("sgd", "mse", metrics=[MRR("q")], **options)
    with pytest.warns(UserWarning, match="`MRR` takes every label above 0"):
        getattr(model, call)(*data(2.0), batch_size=6, verbose=0)
    getattr(model, call)(*data(2.0), batch_size=6, verbose=0)
    model.compile(
        "sgd", "mse", metrics=[MRR("q", relevant_from=3, no_relevant="skip")], **options
    )
    match = "`relevant_from` of `MRR` must be reached by some label.*Received: 3, and an epoch"
    with pytest.raises(ValueError, match=match):
        getattr(model, call)(*data(2.0), batch_size=6, verbose=0)
    getattr(model, call)(*data(3.0), batch_size=6, verbose=0)


def test_a_batch_need_not_reach_what_its_epoch_does():
    model = linear()
    model.compile("sgd", "mse", metrics=[MRR("q", relevant_from=2)], run_eagerly=True)
    x, y = data(2.0)
    logs = model.evaluate(x, y, batch_size=3, verbose=0, return_dict=True)
    # One of three equal scores, in one of two queries.
    assert logs["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3 / 2)


def test_all_the_rows_at_once_are_refused_at_once():
    labels, scores, queries = np.array([0.0, 2.0]), np.array([1.0, 2.0]), group(np.zeros(2, int))
    match = "must be reached by some label.*Received: 4, and labels up to 2"
    with pytest.raises(ValueError, match=match):
        values_by_query(MAP(relevant_from=4), labels, scores, queries)
    with pytest.warns(UserWarning, match="`MAP` takes every label above 0"):
        values_by_query(MAP(), labels, scores, queries)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert values_by_query(MAP(relevant_from=2), labels, scores, queries) == [1.0]


@pytest.mark.parametrize("lowest", ["2", np.nan, True, [1]])
def test_what_is_no_label_is_refused(lowest):
    with pytest.raises(ValueError, match="`relevant_from` must be a finite number"):
        MAP("q", relevant_from=lowest)


def test_a_reset_forgets_the_labels():
    metric = MAP("q", relevant_from=2)
    metric.update_state([0.0, 1.0], [1.0, 2.0], query_ids=[5, 5])
    with pytest.raises(ValueError, match="must be reached"):
        metric.end_epoch()
    metric.reset_state()
    metric.end_epoch()
