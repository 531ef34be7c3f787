"""Queries that batches cut, and rows that cut none."""

import numpy as np
import pytest

from keras_trainsteps import metrics
from tests.toy import (
    X,
    Y,
    close,
    evaluate,
    fit,
    network,
    still,
)

CUT = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])  # 1 and 2 lie in two batches of 4


def test_the_warning_of_cut_queries_covers_ids_that_only_a_metric_names():
    ndcg = metrics.NDCG("query_id", split_queries="count_parts")
    model = still(network(), loss="mse", metrics=[ndcg])
    with pytest.warns(UserWarning, match="2 of 3 queries of `query_id` have rows"):
        fit(model, {"features": X, "query_id": CUT}, np.abs(Y))


def test_rows_outside_the_mask_of_a_metric_cut_no_query():
    mask = np.array([True, True, True, False, True, True, False, False, True, True])
    model = still(network(), loss="mse", metrics=[metrics.NDCG("query_id", mask="mask")])
    x = {"features": X, "query_id": CUT, "mask": mask}
    whole = {name: value[mask] for name, value in x.items()}
    expected = evaluate(model, whole, np.abs(Y)[mask], batch_size=10)["ndcg"]
    assert evaluate(model, x, np.abs(Y))["ndcg"] == close(expected)
