"""`plot_queries` draws means of groups of queries, and the best and worst."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.metrics import QueryTable
from keras_trainsteps.plots import plot_queries
from keras_trainsteps.plots.queries import groups_of


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def table(queries=40, left_out=0):
    rng = np.random.default_rng(0)
    values = rng.random(queries)
    values[:left_out] = np.nan
    return QueryTable(
        np.arange(100, 100 + queries),
        rng.integers(1, 30, queries),
        {"ndcg": values},
        {"ndcg": (np.arange(queries) >= left_out) * 1.0},
    )


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 7))
def test_groups_hold_every_query_once_in_order_and_keep_equal_numbers_together(numbers, groups):
    found = groups_of(np.array(numbers, float), groups)
    assert 1 <= len(found) <= groups
    assert sorted(np.concatenate(found).tolist()) == list(range(len(numbers)))
    values = [{numbers[place] for place in members} for members in found]
    assert all(max(one) < min(two) for one, two in itertools.pairwise(values))


def test_the_drawn_points_are_the_means_of_the_groups():
    queries = table(left_out=3)
    axes = plot_queries(queries, "ndcg", groups=4).axes[0]
    kept = queries.weights["ndcg"] > 0
    values, rows = queries["ndcg"][kept], queries.rows[kept].astype(float)
    expected = [values[members].mean() for members in groups_of(rows, 4)]
    drawn = [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(drawn, expected)
    dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert dotted[0].get_ydata()[0] == pytest.approx(values.mean())


def test_best_and_worst_queries_and_panels_of_ones_own():
    queries = table()
    figure = plot_queries(queries, "ndcg", by={"relevant rows": np.arange(40) % 5}, extremes=2)
    assert [axes.get_title() for axes in figure.axes] == [
        "rows",
        "relevant rows",
        "best and worst",
    ]
    order = np.argsort(-queries["ndcg"])
    named = [label.get_text().split()[0] for label in figure.axes[-1].get_yticklabels()]
    assert named == [str(queries.ids[row]) for row in [*order[:2], *order[-2:]]]


def test_bad_input():
    with pytest.raises(ValueError, match=r"`name` must be a metric of the table.*'mrr'"):
        plot_queries(table(), "mrr")
    with pytest.raises(ValueError, match=r"`by` must hold one number per query.*\(3,\).*'odd'"):
        plot_queries(table(), "ndcg", by={"odd": [1, 2, 3]})
    with pytest.raises(ValueError, match="must have a value of some query"):
        plot_queries(table(left_out=40), "ndcg")
    with pytest.raises(ValueError, match="`groups`"):
        plot_queries(table(), "ndcg", groups=0)
