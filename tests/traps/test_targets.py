"""What goes wrong in Keras 3 with targets, goes right here.

`TRAPS.md` lists them.
"""

from typing import get_args

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel, LossTerm, losses
from keras_trainsteps.losses.ranking import pair_term
from tests.toy import (
    BATCH,
    CUT_QUERIES,
    MSE,
    QUERIES,
    ROWS,
    SQUARES,
    SUMS,
    WEIGHTS,
    X,
    Y,
    close,
    fit,
    hooked,
    network,
    pairs,
    still,
)

ONE_AXIS = {
    "string": "mse",
    "function": lambda y_true, y_pred: ops.mean(ops.square(y_true - y_pred), axis=-1),
    "Loss": type(
        "Rank",
        (keras.losses.Loss,),
        {"call": lambda self, y, y_pred: ops.mean(ops.square(y - y_pred), axis=-1)},
    )(),
}


@pytest.mark.parametrize("loss", ONE_AXIS.values(), ids=ONE_AXIS)
def test_compiled_losses_align_rows_with_a_column(loss):
    assert fit(still(network(), loss=loss), y=Y[:, 0])["loss"] == [close(MSE)]


@pytest.mark.parametrize("loss", ONE_AXIS.values(), ids=ONE_AXIS)
def test_compiled_losses_align_lists_with_a_column(loss):
    """As many rows as items of a list: what does not fit would broadcast silently."""
    lists, labels = np.repeat(X[:4, None], 4, axis=1), np.arange(16.0).reshape(4, 4)
    inputs = keras.Input((4, 3))
    model = still(LossAwareModel(inputs, ops.sum(inputs, -1, keepdims=True)), loss=loss)
    expected = np.mean((SUMS[:4, None] - labels) ** 2)
    assert model.evaluate(lists, labels, verbose=0) == close(expected)


def test_the_hook_refuses_all_rows_by_all_rows():
    model = still(network(hooked(lambda x, y, p: {"squares": ops.square(p - x["target"])})))
    with pytest.raises(ValueError, match="all rows by all rows"):
        fit(model, {"features": X, "target": Y[:, 0]})


@pytest.mark.parametrize("loss", [None, "mse"], ids=["hook", "compiled"])
def test_metrics_refuse_to_choose_among_targets(loss):
    model = still(
        network() if loss else network(hooked(chosen_label)), metrics=["mae"], loss=loss
    )
    y = {"group": 1000.0 + np.arange(ROWS)[:, None], "label": Y}
    with pytest.raises(ValueError, match=r"`y` .*entries \['group', 'label'\]"):
        fit(model, y=y)


def chosen_label(x, y, y_pred):
    return {"squares": ops.square(y_pred - y["label"])}


TARGETS = {"label": Y, "qid": QUERIES[:, None]}


@pytest.mark.parametrize("kind", ["arrays", "dataset"])
def test_sample_weight_is_one_tensor_also_beside_several_targets(kind):
    seen = []

    def hook(x, y, y_pred, sample_weight):
        seen.append(tf.is_tensor(sample_weight))
        return chosen_label(x, y, y_pred)

    model = still(network(hooked(hook, weighted=True)))
    if kind == "arrays":
        history = fit(model, y=TARGETS, sample_weight=WEIGHTS)
    else:
        rows = tf.data.Dataset.from_tensor_slices((X, TARGETS, WEIGHTS)).batch(BATCH)
        history = model.fit(rows, shuffle=False, verbose=0).history
    assert history["loss"] == [close(np.mean(WEIGHTS * SQUARES))]
    assert all(seen)


def test_class_weight_beside_several_targets_is_refused():
    with pytest.raises(ValueError, match=r"class_weight.* single output"):
        fit(still(network(hooked(chosen_label))), y=TARGETS, class_weight={0: 1.0, 1: 2.0})


@CUT_QUERIES
def test_structured_targets_reach_the_hook_and_a_mask_the_compiled_loss():
    mask, labels = np.arange(ROWS)[:, None] % 3 > 0, Y

    def hook(x, y, y_pred):
        kept = ops.cast(y["mask"], "float32")
        total = ops.sum(kept * ops.square(y_pred - y["labels"]))
        return {"squares": LossTerm(total, ops.sum(kept))}

    history = fit(still(network(hooked(hook))), y={"labels": labels, "mask": mask})
    kept = mask[:, 0]
    assert history["loss"] == [close(SQUARES[kept].mean())]

    masked = losses.PairwiseLogistic(query_ids="query_id", mask="mask")
    model = still(network(), loss=masked, run_eagerly=True)
    x = {"features": X, "query_id": QUERIES, "mask": mask}
    expected = np.mean(pairs(SUMS[kept], Y[kept, 0], QUERIES[kept]))
    assert fit(model, x, batch_size=ROWS)["loss"] == [close(expected)]
    with pytest.raises(ValueError, match="`y` has the entries \\['labels', 'mask'\\]"):
        fit(model, x, {"labels": labels, "mask": mask})


@pytest.mark.parametrize("normalize", get_args(pair_term.Normalize))
def test_padding_changes_nothing(normalize):
    lists, labels = X[:9].reshape(3, 3, 3), Y[:9].reshape(3, 3)
    inputs = keras.Input((None, 3), name="features")
    model = LossAwareModel(inputs, ops.sum(inputs, axis=-1))
    loss = losses.PairwiseLogistic(query_ids=None, mask="mask", normalize=normalize)
    still(model, loss=loss, run_eagerly=True)
    seen = []
    for padding in (0, 2):
        pad = [(0, 0), (0, padding)]
        x = {
            "features": np.pad(lists, [*pad, (0, 0)], constant_values=7.0),
            "mask": np.pad(np.ones((3, 3), bool), pad),
        }
        seen.append(model.evaluate(x, np.pad(labels, pad, constant_values=9.0), verbose=0))
    assert seen[0] == close(seen[1])


def test_ragged_targets_and_side_inputs_reach_the_hook():
    lengths = np.arange(ROWS) % 3 + 1
    lists = tf.RaggedTensor.from_row_lengths(np.arange(lengths.sum(), dtype="float32"), lengths)

    def hook(x, y, y_pred):
        mean = tf.reduce_mean(y + tf.cast(x["lists"], tf.float32), axis=1)
        return {"squares": ops.square(y_pred[:, 0] - mean)}

    model = still(network(hooked(hook, side_inputs=["lists"])))
    rows = tf.data.Dataset.from_tensor_slices(({"features": X, "lists": lists}, lists))
    history = model.fit(rows.batch(BATCH), shuffle=False, verbose=0).history
    means = np.array([2 * np.mean(row) for row in lists.to_list()])
    assert history["loss"] == [close(np.mean((SUMS - means) ** 2))]
