"""A type checker finds wrong options in a user's file, and nothing in a right one."""

import re

import pytest

WRONG = {
    'PairwiseLogistic("query_id", normalize="querys")': "arg-type",
    'NDCG("query_id", k="10")': "arg-type",
    'model.compile("adam", steps_per_executoin=2)': "call-arg",
    'Softmax("query_id", temperatur=1.0)': "call-arg",
    'losses.softmax([1.0], [1.0], normalize="querys")': "arg-type",
    'model.fit(epochs="3")': "arg-type",
    'Objective(len, repeat="2")': "arg-type",
    'query_batches({}, query_ids=["query_id"])': "arg-type",
}
RIGHT = """
class Ranker(LossAwareModel):
    side_inputs = ("query_id",)

    def compute_losses(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True
    ) -> dict[str, LossTerm]:
        return {"pairs": losses.pairwise_logistic(y, y_pred, query_ids=x["query_id"])}


ranker = Ranker()
ranker.compile(
    "adam",
    loss=PairwiseLogistic("query_id", normalize="queries"),
    metrics=[NDCG("query_id", k=10)],
    micro_batch_size=4,
)
history = ranker.fit(query_batches({}, query_ids="query_id"), epochs=3, verbose=0)
"""
IMPORTS = """
from typing import Any
from keras_trainsteps import LossAwareModel, LossTerm, Objective, losses
from keras_trainsteps.data import query_batches
from keras_trainsteps.losses import PairwiseLogistic, Softmax
from keras_trainsteps.metrics import NDCG
model = LossAwareModel()
"""


@pytest.mark.slow
def test_wrong_options_are_found_and_right_ones_are_not(tmp_path):
    from mypy import api  # of the extra `dev`, as all long tests

    path = tmp_path / "user.py"
    path.write_text(IMPORTS + RIGHT + "\n".join(WRONG), encoding="utf-8")
    printed = api.run(["--strict", "--cache-dir", str(tmp_path / "cache"), str(path)])[0]
    found = re.findall(r"user\.py:(\d+): error: .*\[(.+)\]", printed)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert {lines[int(number) - 1]: code for number, code in found} == WRONG, printed
