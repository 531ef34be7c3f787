import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.losses.embeddings.multi_similarity import multi_similarity
from tests.losses.check import assert_same, term_and_gradient
from tests.losses.labelled import embedding_batches
from tests.reference import embeddings as reference
from tests.reference.complex_step import gradient


@given(batch=embedding_batches(), epsilon=st.sampled_from([None, 0.0, 0.1]))
def test_multi_similarity_is_that_of_plain_loops(batch, epsilon):
    labels, x, mask, weight = batch
    options = {"alpha": 2.0, "beta": 50.0, "base": 0.5, "epsilon": epsilon}

    def plain(x):
        return reference.multi_similarity(x, labels, mask, weight, **options)

    result = term_and_gradient(
        lambda x: multi_similarity(labels, x, mask=mask, sample_weight=weight, **options), x
    )
    assert_same(result, (*plain(x), gradient(lambda x: plain(x)[0], x)))


def test_bad_options_are_refused():
    labels, x = [0, 0, 1], np.ones((3, 2))
    for name in ("alpha", "beta"):
        with pytest.raises(ValueError, match=f"`{name}` must be a finite number above 0"):
            multi_similarity(labels, x, **{name: 0.0})
    with pytest.raises(ValueError, match="`epsilon` must be a finite number, not negative"):
        multi_similarity(labels, x, epsilon=-0.1)
