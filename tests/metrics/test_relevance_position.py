"""What of an `ARP` is saved, and what its rows and queries weigh."""

import keras
import numpy as np
import pytest

from keras_trainsteps.metrics import ARP


def test_all_arguments_are_saved():
    options = {"row_weight": "w", "normalize": "relevance", "split_queries": "count_parts"}
    made = ARP("q", mask="m", ties="random", seed=5, name="own", **options)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert repr(again) == repr(made)
    assert again.seed == 5
    assert again.side_inputs == ("q", "m", "w")


def lists(weighed):
    rng = np.random.default_rng(0)
    y, s = rng.integers(0, 3, (6, 5)).astype(float), rng.permutation(30).reshape(6, 5) * 1.0
    y[2] = 0
    w = rng.integers(0, 4, (6, 5)) / 2 if weighed else np.ones((6, 5))
    w[4] = w[4] if not weighed else 0
    return y, s, w


def by_hand(y, s, w, normalize):
    """As `ARPMetric` of TF-Ranking for `"relevance"`, with a loop in place of its sort."""
    total = count = 0.0
    for labels, scores, weights in zip(y, s, w, strict=True):
        order = sorted(range(len(labels)), key=lambda i, scores=scores: -scores[i])
        worth = sum(weights[i] * labels[i] for i in order)
        if worth:
            places = sum(r * weights[i] * labels[i] for r, i in enumerate(order, start=1))
            of_query = worth if normalize == "relevance" else 1.0
            total, count = total + of_query * places / worth, count + of_query
    return total / count


@pytest.mark.parametrize("normalize", ["queries", "relevance"])
@pytest.mark.parametrize("weighed", [False, True])
def test_weights_of_rows_and_of_relevance(normalize, weighed):
    y, s, w = lists(weighed)
    flat, padded = ARP("q", normalize=normalize), ARP(None, normalize=normalize)
    ids = np.repeat(np.arange(6), 5)
    weights = {"row_weight": w} if weighed else {}
    for part in (slice(0, 2), slice(2, 6)):
        padded.update_state(y[part], s[part], **{n: v[part] for n, v in weights.items()})
    order = np.random.default_rng(1).permutation(30)
    y_flat, s_flat = y.ravel()[order], s.ravel()[order]
    of_rows = {name: value.ravel()[order] for name, value in weights.items()}
    flat.update_state(y_flat, s_flat, query_ids=ids[order], **of_rows)
    for metric in (flat, padded):
        np.testing.assert_allclose(metric.result(), by_hand(y, s, w, normalize), rtol=1e-14)


def test_weights_of_rows_and_ties():
    # Of two equal scores each row is expected at 1.5, whatever the rows weigh.
    metric = ARP("q")
    columns = [1.0, 1.0, 0.0], [2.0, 2.0, 1.0]
    metric.update_state(*columns, query_ids=[0, 0, 0], row_weight=[1.0, 3.0, 1.0])
    assert float(metric.result()) == 1.5


def test_an_unknown_normalize_is_refused():
    with pytest.raises(ValueError, match="`normalize` must be one of 'queries', 'relevance'"):
        ARP("q", normalize="labels")
