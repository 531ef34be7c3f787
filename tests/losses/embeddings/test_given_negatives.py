"""`info_nce` with several positives, ids of theirs, and negatives that are given."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from keras_trainsteps.losses.embeddings import anchors
from keras_trainsteps.losses.embeddings.info_nce import info_nce
from tests.losses.check import assert_same, term_and_gradient
from tests.losses.labelled import embedding_batches
from tests.reference import embeddings as reference
from tests.reference.complex_step import gradient


@given(
    batch=embedding_batches(copies=2),
    seed=st.integers(0, 99),
    similarity=st.sampled_from(["cosine", "dot", "squared_euclidean"]),
    shape=st.sampled_from([None, "shared", "own"]),
    decoupled=st.booleans(),
    with_queries=st.booleans(),
    with_ids=st.booleans(),
    with_count=st.booleans(),
)
def test_info_nce_is_that_of_plain_loops(
    batch, seed, similarity, shape, decoupled, with_queries, with_ids, with_count
):
    queries, x, mask, weight = batch
    rows, vectors = len(mask), 4
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 4, rows)
    shape = {None: None, "shared": (vectors,), "own": (rows, vectors)}[shape]
    options = {"similarity": similarity, "decoupled": decoupled, "temperature": 0.5}
    options |= {"ids": ids} if with_ids else {}
    counts = rng.uniform(0.1, 3.0, rows) if with_count else None
    negatives, more, of_given = np.zeros((0, 3)), {}, None
    if shape:
        negatives = rng.normal(size=(*shape, 3))
        more = {"negative_mask": rng.random(shape) < 0.7}
        more |= {"negative_ids": rng.integers(0, 6, shape)} if with_ids else {}
        of_given = rng.uniform(0.1, 3.0, shape) if seed % 2 else None

    def by_row(value):
        return np.broadcast_to(value, (rows, *value.shape)) if shape == (vectors,) else value

    def plain(x, negatives):
        given = {"negatives": by_row(negatives)} if shape else {}
        given |= {name: by_row(value) for name, value in more.items()}
        given |= {"queries": queries} if with_queries else {}
        given |= {} if of_given is None else {"negative_count": by_row(of_given)}
        return reference.info_nce(x, mask, weight, probability=counts, **options, **given)

    def loss(x, negatives):
        return info_nce(
            *tf.unstack(x),
            positives_by=queries if with_queries else None,
            negatives=negatives if shape else None,
            expected_count=counts,
            negative_expected_count=of_given,
            mask=mask,
            sample_weight=weight,
            **options,
            **more,
        )

    expected = *plain(x, negatives), gradient(lambda x: plain(x, negatives)[0], x)
    assert_same(term_and_gradient(lambda x: loss(x, negatives), x), expected)
    if shape:
        _, _, slope = term_and_gradient(lambda negatives: loss(x, negatives), negatives)
        expected = gradient(lambda negatives: plain(x, negatives)[0], negatives)
        np.testing.assert_allclose(slope, expected, rtol=1e-12, atol=1e-12)


def test_other_positives_are_neither_negatives_nor_lost():
    a, b = np.random.default_rng(0).normal(size=(2, 3, 4))
    together = info_nce(a, b, positives_by=["q", "q", "r"])
    z = 10 * reference_cosines(a, b)
    each = [np.log1p(np.exp(z[0, 2] - z[0, p])) for p in (0, 1)]
    each += [np.log1p(np.exp(z[1, 2] - z[1, p])) for p in (0, 1)]
    last = np.log(np.exp(z[2]).sum()) - z[2, 2]
    assert float(together.total) == pytest.approx(sum(each) / 2 + last)
    assert float(together.count) == 3.0


def reference_cosines(a, b):
    return np.array([[reference.cosine(v, u) for u in b] for v in a])


def test_a_candidate_that_is_another_positive_of_the_query_is_no_negative():
    a, b = np.random.default_rng(0).normal(size=(2, 3, 4))
    # Row 2 holds the item of row 1, which is a positive of row 0, whose query is that of row 1.
    term = info_nce(a, b, positives_by=[1, 1, 2], ids=[7, 8, 8])
    alone = info_nce(a[2:], b[2:], negatives=b[:1])
    assert float(term.count) == 1.0
    assert float(term.total) == pytest.approx(float(alone.total))


def test_both_directions():
    a, b = np.random.default_rng(0).normal(size=(2, 4, 3))
    options = {"ids": [1, 2, 3, 1], "mask": [True, True, True, False], "decoupled": True}
    pool = np.random.default_rng(1).normal(size=(2, 3))
    expected = info_nce(a, b, negatives=pool, **options) + info_nce(b, a, **options)
    found = info_nce(a, b, negatives=pool, symmetric=True, **options)
    assert_same((*found, 0), (*expected, 0))


def test_a_weight_as_pool_and_masked_entries_that_are_nan():
    a, b = np.random.default_rng(0).normal(size=(2, 3, 2)).astype("float32")
    pool = keras.Variable(np.ones((2, 2)), dtype="float16")
    expected = float(info_nce(a, b, negatives=np.ones((2, 2))).total)
    assert float(info_nce(a, b, negatives=pool).total) == expected
    padded = np.stack([np.ones((3, 2)), np.ones((3, 2)), np.full((3, 2), np.nan)], 1)
    keep = np.tile([True, True, False], (3, 1))
    term = info_nce(a, b, negatives=padded, negative_mask=keep)
    assert float(term.total) == pytest.approx(expected, rel=1e-6)
    for bad in (np.nan, np.inf, -np.inf):
        assert np.isnan(info_nce(a, b, negatives=[[bad, 1.0]], similarity="dot").value)


def test_counts_above_one_are_a_correction_up_to_a_factor():
    a, b = np.random.default_rng(0).normal(size=(2, 3, 4))
    q = np.array([0.1, 0.2, 0.3])
    by_count = info_nce(a, b, expected_count=20 * q)
    assert float(by_count.total) == pytest.approx(
        float(info_nce(a, b, sampling_probability=q).total)
    )


@pytest.mark.parametrize(
    ("ids", "others"),
    [
        (["a", "b", "c"], [1]),
        ([1, 2, 3], ["a"]),
        (np.ones(3), [1]),
        (np.ones(3), np.ones(1, "float32")),
        (tf.constant(["a", "b", "c"]), tf.constant([1])),
    ],
)
def test_ids_that_could_never_be_equal_are_refused(ids, others):
    x = np.ones((3, 2))
    with pytest.raises(TypeError, match="`negative_ids` must be of the kind of `ids`"):
        info_nce(x, x, ids=ids, negatives=x[:1], negative_ids=others)
    kept = info_nce(x, x, ids=["a", "b", "c"], negatives=x[:1], negative_ids=["a"])
    assert np.isfinite(float(kept.value))


def test_bad_input_is_refused():
    x = np.ones((3, 2))
    for options, match in (
        ({"positives_by": [1, 2]}, "`positives_by` must have one entry a row"),
        ({"positives_by": [1, 2, np.nan]}, "`positives_by` must hold an id.*nan"),
        ({"ids": [1, 2, np.nan]}, "`ids` must hold an id.*nan"),
        ({"negatives": np.ones((4, 3))}, r"`negatives` must be embeddings.*\(4, 3\)"),
        ({"negatives": np.ones((4, 1, 2))}, r"`negatives` must be embeddings.*\(4, 1, 2\)"),
        ({"negatives": np.ones(2)}, r"`negatives` must be embeddings.*\(2,\)"),
        ({"negative_mask": [True]}, "`negative_mask` must come with `negatives`"),
        ({"negative_ids": [1], "ids": [1, 2, 3]}, "`negative_ids` must come with `negatives`"),
        ({"negative_ids": [1], "negatives": x}, "`negative_ids` must come with `ids`"),
        ({"negative_mask": [True], "negatives": x}, "`negative_mask` must have one entry for"),
        ({"negative_expected_count": [1]}, "`negative_expected_count` must come with `negat"),
        (
            {"negative_expected_count": [1, -1], "negatives": x[:2]},
            "`negative_expected_count` must be above 0.*a count of -1",
        ),
        ({"expected_count": [1.0, 0.0, 2.0]}, "`expected_count` must be above 0.*a count of 0"),
        ({"expected_count": [1, np.inf, 2]}, "`expected_count` must be above 0"),
        ({"expected_count": x[:, 0], "sampling_probability": x[:, 0]}, "must not both be given"),
        ({"expected_count": x[:, 0], "symmetric": True}, "`expected_count` must be left out"),
        (
            {"sampling_probability": x[:, 0], "symmetric": True},
            "`sampling_probability` must be left out",
        ),
    ):
        with pytest.raises(ValueError, match=match):
            info_nce(x, x, **options)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(4,), (5, 4)], ids=["shared", "own"])
def test_eager_graph_of_unknown_size_and_xla_agree(shape):
    rng = np.random.default_rng(0)
    x, negatives = rng.normal(size=(2, 5, 3)), rng.normal(size=(*shape, 3))
    ids = {"positives_by": [1, 2, 1, 3, 2], "ids": [4, 5, 6, 6, 7]}
    ids |= {"negative_ids": rng.integers(4, 9, shape)}
    ids = {name: tf.constant(value, tf.int64) for name, value in ids.items()}

    def step(x, negatives, ids):
        with tf.GradientTape() as tape:
            tape.watch([x, negatives])
            term = info_nce(*tf.unstack(x), negatives=negatives, **ids)
        slopes = tape.gradient(term.total, [x, negatives])
        return *term, tf.concat([tf.reshape(slope, (-1,)) for slope in slopes], 0)

    given = tf.constant(x), tf.constant(negatives), ids
    expected = [value.numpy() for value in step(*given)]
    rows = [None] * len(shape)
    unknown = [
        tf.TensorSpec((2, None, 3), tf.float64),
        tf.TensorSpec((*rows, 3), tf.float64),
        {
            name: tf.TensorSpec(rows if name == "negative_ids" else [None], tf.int64)
            for name in ids
        },
    ]
    assert_same(tf.function(step, input_signature=unknown)(*given), expected)
    assert_same(tf.function(step, jit_compile=True)(*given), expected)


def test_few_anchors_at_a_time_give_what_all_at_once_give(monkeypatch):
    rng = np.random.default_rng(0)
    x, own = rng.normal(size=(2, 10, 3)), rng.normal(size=(10, 2, 3))
    ids = {"positives_by": np.arange(10) % 4, "ids": np.arange(10) % 7}
    ids |= {"negative_ids": rng.integers(0, 12, (10, 2))}

    def run():
        return term_and_gradient(lambda x: info_nce(*tf.unstack(x), negatives=own, **ids), x)

    expected = run()
    monkeypatch.setattr(anchors, "_ANCHORS", 4)
    assert_same(run(), expected)


@pytest.mark.slow
def test_no_tensor_has_an_entry_a_pair():
    rows, shapes = 1024, {"x": (2, 1024, 3), "own": (1024, 2, 3), "ids": (1024,)}

    @tf.function(
        input_signature=[
            tf.TensorSpec(shapes["x"]),
            tf.TensorSpec(shapes["own"]),
            tf.TensorSpec(shapes["ids"], tf.int64),
        ]
    )
    def step(x, own, ids):
        with tf.GradientTape() as tape:
            tape.watch([x, own])
            total = info_nce(*tf.unstack(x), negatives=own, positives_by=ids, ids=-ids).total
        return tape.gradient(total, [x, own])

    graph = step.get_concrete_function().graph.as_graph_def(add_shapes=True)
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    known = [s for node in nodes for s in node.attr["_output_shapes"].list.shape]
    sizes = [np.prod([d.size for d in s.dim]) for s in known if s.dim]
    assert anchors._ANCHORS * rows <= max(sizes) < rows * rows
