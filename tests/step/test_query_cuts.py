"""Queries whose rows come in different batches, wherever the batches come from."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import losses, metrics
from keras_trainsteps.data import query_batches
from tests.toy import UNKNOWN_LENGTH, X, fit, hooked, network, still

CUT = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])  # 1 and 2 lie in two batches of 4
LABELS = np.arange(10.0)[:, None] % 4
BATCHES = [slice(0, 4), slice(4, 8), slice(8, 10)]
SAID = "At least 2 batches of the epoch had rows of queries of `query_id`"


def inputs(ids=CUT):
    return {"features": X, "query_id": ids}


def batches(ids=CUT):
    for rows in BATCHES:
        yield {"features": X[rows], "query_id": ids[rows]}, LABELS[rows]


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return len(BATCHES)

    def __getitem__(self, index):
        return list(batches())[index]


SOURCES = {
    "tf.data": lambda: tf.data.Dataset.from_tensor_slices((inputs(), LABELS)).batch(4),
    "generator": batches,
    "PyDataset": Sequence,
}


def ranker(ids=lambda x: x["query_id"], **options):
    """The README's model: a hook that passes ids to a loss."""

    def hook(x, y, y_pred):
        return {"ranking": losses.softmax(y, y_pred, query_ids=ids(x))}

    options = {"run_eagerly": not options, **options}
    return still(network(hooked(hook, side_inputs=["query_id"])), **options)


def ranker_by_targets():
    """A model whose ids lie beside the labels."""

    def hook(x, y, y_pred):
        return {"ranking": losses.softmax(y["label"], y_pred, query_ids=y["query_id"])}

    return still(network(hooked(hook)), run_eagerly=True)


def by_targets():
    targets = {"label": LABELS, "query_id": CUT}
    return tf.data.Dataset.from_tensor_slices((X, targets)).batch(4)


def said(run):
    """The warnings of a run that speak of queries."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    texts = [str(warning.message) for warning in caught]
    return [text for text in texts if "quer" in text]


# Data that cannot be looked at


@UNKNOWN_LENGTH
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("method", "lost"), [("fit", "trained on"), ("evaluate", "counted")], ids=["fit", "evaluate"]
)
def test_queries_that_come_back_are_said_at_the_end_of_the_epoch(method, lost, source):
    options = {"shuffle": False} if method == "fit" else {}
    run = getattr(ranker(), method)
    with pytest.warns(UserWarning, match=f"{SAID}.* not {lost}.*`data.query_batches`"):
        run(SOURCES[source](), verbose=0, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"steps_per_execution": 2},
        {"loss": losses.Softmax("query_id"), "steps_per_execution": 2},
        pytest.param({"jit_compile": True}, marks=pytest.mark.slow),
    ],
    ids=["hook", "loss object", "XLA"],
)
def test_in_a_graph_each_run_says_it_once(options):
    model = still(network(), **options) if "loss" in options else ranker(**options)
    data = SOURCES["tf.data"]()
    found = said(lambda: model.fit(data, validation_data=data, epochs=3, verbose=0))
    assert len(found) == 2
    assert all(SAID in text for text in found)  # of training, and of validation
    assert len(said(lambda: model.evaluate(data, verbose=0))) == 1


def test_ids_that_are_made_in_the_hook_are_watched_too():
    assert (
        "At least 2 batches" in said(lambda: ranker_by_targets().fit(by_targets(), verbose=0))[0]
    )
    model = ranker(lambda x: tf.strings.as_string(x["query_id"])[:, None], run_eagerly=False)
    with pytest.warns(UserWarning, match="At least 2 batches .* `query_ids` of a loss"):
        model.fit(inputs(), LABELS, batch_size=4, shuffle=False, verbose=0)


@pytest.mark.parametrize("run_eagerly", [False, True])
@pytest.mark.parametrize(
    "ids",
    [
        lambda x: tf.zeros_like(x["query_id"]),  # all rows of a batch are compared
        lambda x: tf.range(tf.shape(x["query_id"])[0]) // 2,  # neighbours are
    ],
    ids=["one", "neighbours"],
)
def test_ids_of_a_batch_alone_are_the_same_in_every_batch(ids, run_eagerly):
    model = ranker(ids, run_eagerly=run_eagerly)
    model.fit(SOURCES["tf.data"](), verbose=0)  # warnings are errors


def test_evaluation_between_batches_forgets_nothing():
    whole = query_batches(inputs(), LABELS, query_ids="query_id", batch_size=4)
    between = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: model.evaluate(whole, verbose=0)
    )
    model = ranker()
    with pytest.warns(UserWarning, match=f"{SAID}.* not trained on"):
        model.fit(SOURCES["tf.data"](), callbacks=[between], verbose=0)


# Arrays, which are looked at: the right number


def cut_by_hand(ids, batches):
    """How many ids are in more than one batch."""
    return sum(sum(query in batch for batch in batches) > 1 for query in set(ids.tolist()))


@pytest.mark.parametrize(
    ("options", "batches"),
    [
        ({"shuffle": False}, np.split(CUT, [4, 8])),
        ({"shuffle": True}, np.split(CUT, range(1, 10))),
        ({"shuffle": False, "batch_size": 10, "validation_split": 0.5}, np.split(CUT, [5])),
        ({"shuffle": False, "validation_split": 0.4}, np.split(CUT, [4, 6])),
        (
            {"shuffle": False, "validation_split": 0.4, "validation_batch_size": 3},
            np.split(CUT, [4, 6, 9]),
        ),
    ],
    ids=["in order", "shuffled", "split", "split and batches", "validation batches"],
)
@pytest.mark.parametrize(
    "known", ["by compile", pytest.param("by the hook", marks=pytest.mark.slow)]
)
def test_arrays_are_counted(options, batches, known):
    if known == "by compile":
        model = still(network(), loss=losses.Softmax("query_id"), run_eagerly=True)
    else:
        model = ranker()
    found = said(lambda: fit(model, inputs(), LABELS, epochs=2, **options))
    expected = cut_by_hand(CUT, batches)
    assert f"{expected} of 3 queries of `query_id` have rows that `fit` puts" in found[0]
    # Of the arrays of validation alone `evaluate` speaks itself.
    assert len([text for text in found if "`fit`" in text]) == 1


@pytest.mark.parametrize("known", ["by the hook", "by compile"])
def test_arrays_of_validation_and_of_evaluate_are_counted(known):
    whole = query_batches(inputs(), LABELS, query_ids="query_id", batch_size=4)
    model = ranker()
    if known == "by compile":
        model = still(network(), loss=losses.Softmax("query_id"), run_eagerly=True)
    validation = {"validation_data": (inputs(), LABELS), "validation_batch_size": 4}
    for run in (
        lambda: model.fit(whole, epochs=2, verbose=0, **validation),
        lambda: model.evaluate(inputs(), LABELS, batch_size=4, verbose=0),
    ):
        (found,) = said(run)
        assert "2 of 3 queries of `query_id` have rows that `evaluate` puts" in found


# What is right says nothing; warnings are errors


@pytest.mark.parametrize("model", [ranker, lambda: still(network(), loss=losses.Softmax())])
def test_whole_queries_say_nothing(model):
    data = query_batches(inputs(), LABELS, query_ids="query_id", batch_size=4, seed=1)
    model().fit(data, validation_data=data, epochs=2, verbose=0)


def test_masked_rows_are_of_no_query():
    def hook(x, y, y_pred):
        return {"ranking": losses.softmax(y, y_pred, query_ids=x["query_id"], mask=x["mask"])}

    names = ["query_id", "mask"]
    model = still(network(hooked(hook, side_inputs=names)), run_eagerly=True)
    x = {**inputs(np.array([0, 0, 9, 9, 1, 1, 9, 9, 2, 9])), "mask": np.ones(10, bool)}
    x["mask"][[2, 3, 6, 7, 9]] = False  # 9 is padding
    data = tf.data.Dataset.from_tensor_slices((x, LABELS)).batch(4)
    model.fit(data, verbose=0)
    x["query_id"][4] = 0
    data = tf.data.Dataset.from_tensor_slices((x, LABELS)).batch(4)
    with pytest.warns(UserWarning, match="At least 1 batches"):
        model.fit(data, verbose=0)


def test_parts_that_a_metric_counts_are_its_own_matter():
    counts = metrics.MRR("query_id", relevant_from=1, split_queries="count_parts")
    model = still(network(), loss="mse", metrics=[counts], run_eagerly=True)
    model.fit(SOURCES["tf.data"](), verbose=0)


# Data that begin again within an epoch


def ranked(**options):
    """A model with a loss and a metric by query."""
    names = {
        "loss": losses.Softmax("query_id"),
        "metrics": [metrics.MRR("query_id", relevant_from=1)],
    }
    return still(network(), **names, **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"steps_per_execution": 3}, 4),
        ({"run_eagerly": True}, 5),
        ({"run_eagerly": True}, 2),
    ],
    ids=["4 steps by 3", "more than a pass", "less than a pass"],
)
@pytest.mark.parametrize("kind", ["repeat", "generator"])
def test_whole_queries_of_data_that_begin_again_are_right(options, steps, kind):
    data = query_batches(inputs(), LABELS, query_ids="query_id", batch_size=4, shuffle=False)

    def endless():
        while True:
            yield from data

    x = data.repeat() if kind == "repeat" else endless()
    history = ranked(**options).fit(x, steps_per_epoch=steps, shuffle=False, epochs=2, verbose=0)
    by_query = []
    for rows in (CUT == 0, CUT == 1, CUT == 2):  # one a batch
        scores, labels = X[rows].astype("float64").sum(axis=1), LABELS[rows, 0]
        order = np.argsort(-scores)
        by_query.append(1 / (1 + np.flatnonzero(labels[order] > 0)[0]))
    at_once = options.get("steps_per_execution", 1)  # Keras runs these whole
    first = [by_query[step % 3] for step in range(-(-steps // at_once) * at_once)]
    assert history.history["mrr"][0] == pytest.approx(np.mean(first))


def test_cut_queries_of_data_that_begin_again_are_refused():
    with pytest.raises(ValueError, match="A query must come whole in one batch"):
        ranked(run_eagerly=True).fit(SOURCES["tf.data"]().repeat(), steps_per_epoch=4, verbose=0)
