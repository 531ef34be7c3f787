"""Metrics and losses of one batch group and sort it once."""

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import metrics
from keras_trainsteps.losses import Softmax
from keras_trainsteps.metrics import MAP, MRR, NDCG, ranked_rows
from keras_trainsteps.queries import query_order
from keras_trainsteps.step import running
from tests.models import linear

# Here grades are taken for relevant where they are above 0.
pytestmark = pytest.mark.filterwarnings("ignore:`.*` takes every label above 0 for relevant")


def batch():
    rng = np.random.default_rng(0)
    x = {
        "features": rng.normal(size=(12, 3)).astype("float32"),
        "q": np.repeat(np.arange(3), 4),
    }
    return x, rng.integers(0, 3, size=(12, 1)).astype("float32")


def test_a_step_groups_rows_once_and_sorts_scores_once(monkeypatch):
    sorts = []

    def counted(*given):
        sorts.append(1)
        return query_order(*given)

    monkeypatch.setattr(ranked_rows, "query_order", counted)
    model, built = linear(), [NDCG("q"), MRR("q"), MAP("q"), metrics.RecallAtK("q", k=2)]
    model.compile("sgd", loss=Softmax("q"), metrics=built)
    x, y = batch()
    model.train_on_batch(x, y)
    sorts.clear()
    step = tf.function(model.train_step, autograph=False)
    graph = step.get_concrete_function((tf.nest.map_structure(tf.constant, x), y)).graph
    assert [operation.type for operation in graph.get_operations()].count("Unique") == 1
    assert sorts == [1]


def test_what_is_shared_changes_no_value():
    x, y = batch()
    scores = x["features"].sum(axis=1)
    together, apart = ([NDCG("q"), MRR("q", ties="stable"), MAP("q")] for _ in range(2))
    with running.Running(x):
        given = tf.constant(y), tf.constant(scores[:, None])
        for metric in together:
            metric.update_state(*given)
    for metric in apart:
        metric.update_state(y, scores[:, None], query_ids=x["q"])
    assert [float(m.result()) for m in together] == [float(m.result()) for m in apart]


def test_another_mask_is_another_order():
    x, y = batch()
    mask = np.arange(12) % 4 != 0
    x |= {"kept": mask}
    masked, plain, alone = NDCG("q", mask="kept"), NDCG("q"), NDCG("q")
    with running.Running({name: tf.constant(value) for name, value in x.items()}):
        given = tf.constant(y), tf.constant(x["features"][:, :1])
        plain.update_state(*given)
        masked.update_state(*given)
    alone.update_state(y[mask], x["features"][mask, :1], query_ids=x["q"][mask])
    assert float(masked.result()) == float(alone.result()) != float(plain.result())


def test_nothing_outlives_the_step():
    step = running.Running({})
    with step:
        kept = running.shared(lambda: tf.random.uniform((3,)), "rows", "given")
        assert running.shared(lambda: tf.zeros((3,)), "rows", "given") is kept
    assert running.shared(lambda: None, "rows", "given") is None
    seen = weakref.ref(step)
    del step
    gc.collect()
    assert seen() is None


def test_a_branch_keeps_its_own():
    @tf.function(autograph=False)
    def run(values):
        with running.Running({}):

            def branch():
                return running.shared(lambda: 2 * values, "doubled", values)

            inside = tf.cond(tf.reduce_sum(values) > 0, branch, branch)
            return inside + branch()

    assert run(tf.constant([1.0, 2.0])).numpy().tolist() == [4.0, 8.0]
