"""What goes wrong in Keras 3 with the entries of `x`, goes right here.

`TRAPS.md` lists them.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel, data, losses, metrics
from tests.toy import (
    BATCH,
    MSE,
    QUERIES,
    ROWS,
    SQUARES,
    SUMS,
    X,
    Y,
    close,
    fit,
    hooked,
    network,
    pairs,
    still,
)


def ranker(query_ids="query_id", **options):
    loss = losses.PairwiseLogistic(query_ids=query_ids)
    options.setdefault("run_eagerly", not options.get("jit_compile"))
    return still(network(), loss=loss, **options)


# Extra entries of `x`


@pytest.mark.parametrize("extra", ["a_mask", "zz"], ids=["first", "last"])
@pytest.mark.parametrize("declared", ["dict", "list"])
def test_extra_entries_of_x_never_become_inputs(extra, declared):
    inputs = {name: keras.Input((3,), name=name) for name in ("q", "x")}
    output = ops.sum(inputs["x"] - 2 * inputs["q"], axis=1, keepdims=True)
    model = LossAwareModel(inputs if declared == "dict" else [*inputs.values()], output)
    still(model, loss="mse")
    batch = {extra: np.zeros((ROWS, 3), "float32"), "q": 1 + X, "x": X}
    expected = SUMS - 2 * (3 + SUMS)
    assert model.predict(batch, verbose=0).ravel() == close(expected, rel=1e-4)
    mse = np.mean((expected - Y[:, 0]) ** 2)
    with pytest.warns(UserWarning, match=rf"entries \['{extra}'\] that nothing reads"):
        found = model.evaluate(batch, Y, verbose=0, batch_size=BATCH)
    assert found == close(mse)


@pytest.mark.parametrize("read", ["declared", "by the hook", "by an own loss", "only entry"])
def test_entries_that_may_be_read_are_not_warned_of(read):
    class Own(LossAwareModel):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(x["extra"] * ops.square(y - y_pred)[:, 0])

    cls = {
        "declared": type("Declared", (LossAwareModel,), {"side_inputs": ("extra",)}),
        "by the hook": hooked(lambda x, y, y_pred: {"term": x["extra"] * y_pred[:, 0]}),
        "by an own loss": Own,
        "only entry": LossAwareModel,
    }[read]
    x = {"other": X} if read == "only entry" else {"features": X, "extra": np.ones(ROWS)}
    loss = "mse" if read in ("declared", "only entry") else None
    fit(still(network(cls), loss=loss, run_eagerly=True), x)  # warnings are errors


NESTED = {
    "dicts": lambda q, x: {"in": {"q": q, "x": x}},
    "list": lambda q, x: {"in": [q, x]},
}


@pytest.mark.parametrize("structure", NESTED.values(), ids=NESTED)
def test_nested_inputs_are_taken_as_declared(structure):
    q, x = keras.Input((3,), name="q"), keras.Input((3,), name="x")
    model = LossAwareModel(structure(q, x), ops.sum(x - 2 * q, axis=1, keepdims=True))
    batch = {**structure(1 + X, X), "a_mask": 0 * X}
    assert model.predict(batch, verbose=0).ravel() == close(-SUMS - 6, rel=1e-4)


def test_a_missing_input_is_named():
    with pytest.raises(ValueError, match="`x` must have an entry for the input 'features'"):
        fit(still(network(), loss="mse"), {"other": X, "another": X})


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch"])
def test_a_missing_side_input_is_named_and_predict_needs_none(method):
    model = ranker()
    message = "`x` must have the side input 'query_id'.*Received: keys \\['features'\\]"
    with pytest.raises(ValueError, match=message):
        getattr(model, method)({"features": X}, Y)
    assert model.predict({"features": X}, verbose=0).ravel() == close(SUMS, rel=1e-4)


# Ids


@pytest.mark.parametrize("jit_compile", [False, True])
def test_integer_ids_are_exact(jit_compile):
    ids = 2**24 + np.arange(ROWS) % 2  # which float32 cannot tell apart
    model = ranker(jit_compile=jit_compile)
    history = fit(model, {"features": X, "query_id": ids}, batch_size=ROWS)
    assert history["loss"] == [close(np.mean(pairs(SUMS, Y[:, 0], ids)))]


def test_integer_targets_reach_the_hook_as_they_are():
    seen = []

    def hook(x, y, y_pred):
        seen.append((y["id"].dtype, int(y["id"][0, 0])))
        return {"squares": ops.square(y_pred - y["label"])}

    y = {"id": np.full((ROWS, 1), 2**24 + 1), "label": Y}
    assert fit(still(network(hooked(hook)), run_eagerly=True), y=y)["loss"] == [close(MSE)]
    assert seen[0] == (tf.int64, 2**24 + 1)


def test_string_targets_reach_the_hook():
    def hook(x, y, y_pred):
        chosen = ops.cast(tf.equal(y["kind"], "a"), "float32")
        return {"squares": chosen * ops.square(y_pred - y["label"])}

    kinds = np.array([["a"], ["b"]] * (ROWS // 2))
    rows = tf.data.Dataset.from_tensor_slices((X, {"kind": kinds, "label": Y}))
    history = (
        still(network(hooked(hook))).fit(rows.batch(BATCH), shuffle=False, verbose=0).history
    )
    assert history["loss"] == [close(SQUARES[::2].sum() / ROWS)]


def string_ids():
    ids = np.array([f"query {query}" for query in QUERIES])
    return data.query_batches(
        {"features": X, "query_id": ids}, Y, query_ids="query_id", batch_size=5
    )


def test_string_ids_are_exact_and_refused_under_xla():
    history = ranker().fit(string_ids(), shuffle=False, verbose=0).history
    assert history["loss"] == [close(np.mean(pairs(SUMS, Y[:, 0], QUERIES)))]
    with pytest.raises(ValueError, match=r"strings under XLA.*`jit_compile=False`"):
        ranker(jit_compile=True).fit(string_ids(), shuffle=False, verbose=0)


def test_query_batches_keep_queries_whole():
    ids = np.array([4, 7, 4, 9, 9, 7, 4, 9, 7, 7])
    x = {"features": X, "query_id": ids}
    batches = data.query_batches(x, Y, query_ids="query_id", batch_size=BATCH, seed=1)
    history = ranker(metrics=[metrics.PairAccuracy("query_id")]).fit(
        batches, epochs=3, shuffle=False, verbose=0
    )
    assert history.history["loss"] == [close(np.mean(pairs(SUMS, Y[:, 0], ids)))] * 3
    right = [
        np.mean(np.log(2) > pairs(SUMS[ids == i], Y[ids == i, 0], ids[ids == i]))
        for i in (4, 7, 9)
    ]
    assert history.history["pair_accuracy"] == [close(np.mean(right))] * 3


def test_fit_on_shuffled_rows_says_how_many_queries_it_splits():
    x = {"features": X, "query_id": np.arange(ROWS) % 2}
    with pytest.warns(UserWarning, match=r"2 of .*2 queries.*`data.query_batches`"):
        ranker().fit(x, Y, batch_size=BATCH, verbose=0)
