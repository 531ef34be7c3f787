"""How arguments are shown."""

import keras
import numpy as np
import pytest

from keras_trainsteps.validation import repr_of


class Metric:
    def __init__(self, query_ids="query_id", *, k=None, mask=None, seed=None, beta=0.5):
        self.arguments = {"query_ids": query_ids, "k": k, "mask": mask, "seed": seed}
        self.arguments["beta"] = beta

    def __repr__(self):
        return repr_of(self, self.arguments)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (Metric(), "Metric(query_ids='query_id')"),
        (Metric(None), "Metric(query_ids=None)"),
        (Metric("user", k=10), "Metric(query_ids='user', k=10)"),
        (Metric(beta=0.5, mask="kept"), "Metric(query_ids='query_id', mask='kept')"),
        (Metric(beta=1), "Metric(query_ids='query_id', beta=1)"),
        (
            Metric(seed=Metric(k=2)),
            "Metric(query_ids='query_id', seed=Metric(query_ids='query_id', k=2))",
        ),
        (Metric(seed=keras.ops.sum), "Metric(query_ids='query_id', seed=sum)"),
        (Metric(seed=object()), "Metric(query_ids='query_id', seed=object(...))"),
        (Metric(seed=np.arange(2)), "Metric(query_ids='query_id', seed=array([0, 1]))"),
    ],
)
def test_a_repr_shows_what_was_chosen(made, expected):
    assert repr(made) == expected


def test_a_repr_shows_weights_by_their_paths():
    layer = keras.layers.Dense(2, name="hidden")
    layer.build((None, 3))
    assert repr(Metric(seed=[layer.kernel, "*/bias"])).endswith(
        "seed=['hidden/kernel', '*/bias'])"
    )
