"""Runs against qrels as trec_eval has them, by `ir-measures`: minus infinity: not retrieved."""

import ir_measures
import numpy as np
import pytest

from keras_trainsteps import metrics
from keras_trainsteps.metrics import MAP, MRR, NDCG

NOT_RETRIEVED = -np.inf
# Each metric of ours, that of ir-measures, and whether it looks at judged rows alone.
CASES = {
    "map": (MAP("q", relevant_from=1), ir_measures.AP, False),
    "map@10, from 2": (MAP("q", k=10, relevant_from=2), ir_measures.AP(rel=2) @ 10, False),
    "mrr": (MRR("q", relevant_from=1), ir_measures.RR, False),
    "precision@10": (metrics.PrecisionAtK("q", k=10, relevant_from=1), ir_measures.P @ 10, False),
    "precision@5, from 2": (
        metrics.PrecisionAtK("q", k=5, relevant_from=2),
        ir_measures.P(rel=2) @ 5,
        False,
    ),
    "recall@20": (metrics.RecallAtK("q", k=20, relevant_from=1), ir_measures.R @ 20, False),
    "hit_rate@2": (
        metrics.HitRateAtK("q", k=2, relevant_from=1),
        ir_measures.Success @ 2,
        False,
    ),
    "r_precision, from 2": (
        metrics.RPrecision("q", relevant_from=2),
        ir_measures.Rprec(rel=2),
        False,
    ),
    "ndcg": (NDCG("q", gains="linear"), ir_measures.nDCG, False),
    "ndcg@10": (NDCG("q", k=10, gains="linear"), ir_measures.nDCG @ 10, False),
    "ndcg@10, table": (
        NDCG("q", k=10, gains=[0, 1, 5, 6]),
        ir_measures.nDCG(gains={0: 0, 1: 1, 2: 5, 3: 6}) @ 10,
        False,
    ),
    "bpref": (metrics.BPref("q", relevant_from=1), ir_measures.Bpref, True),
    "bpref, from 2": (metrics.BPref("q", relevant_from=2), ir_measures.Bpref(rel=2), True),
}


def columns():
    """Documents of six topics: judged or not, retrieved or not; no equal scores."""
    rng = np.random.default_rng(0)
    rows = 240
    y = rng.integers(0, 4, rows) * (rng.random(rows) < 0.4)
    y[rng.integers(0, 6, rows) == 5] = 0
    s = rng.permutation(rows).astype("float64")
    s[rng.random(rows) < 0.3] = NOT_RETRIEVED
    query = rng.integers(0, 6, rows)
    y[query == 3] = 0  # a topic without a relevant document
    judged = (rng.random(rows) < 0.6) | (y > 0)
    kept = judged | (s > NOT_RETRIEVED)  # nobody knows of the others
    return [column[kept] for column in (y.astype("float64"), s, query, judged)]


def by_ir_measures(measure, y, s, query, judged):
    """The mean over topics, by trec_eval; those that it leaves out count 0."""
    ids = [f"d{row:03}" for row in range(len(y))]
    qrels = [
        ir_measures.Qrel(str(q), ids[row], int(y[row]))
        for row, q in enumerate(query)
        if judged[row]
    ]
    run = [
        ir_measures.ScoredDoc(str(q), ids[row], s[row])
        for row, q in enumerate(query)
        if s[row] > NOT_RETRIEVED
    ]
    found = {one.query_id: one.value for one in ir_measures.iter_calc([measure], qrels, run)}
    return sum(found.values()) / len(set(query))


@pytest.mark.parametrize("name", CASES)
def test_rows_that_are_not_retrieved_reproduce_trec_eval(name):
    metric, measure, judged_alone = CASES[name]
    y, s, query, judged = columns()
    metric.reset_state()
    metric.update_state(y, s, query_ids=query, mask=judged if judged_alone else None)
    expected = by_ir_measures(measure, y, s, query, judged)
    assert 0 < expected < 1
    # trec_eval is in float64, and rounds ranks to none.
    assert float(metric.result()) == pytest.approx(expected, rel=1e-12)
