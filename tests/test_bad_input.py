"""Wrong input gets a clear error before anything is changed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel, LossTerm, losses, metrics
from tests.models import Ranker, SquaredError, linear, ranking_batch


def model_with(hook, cls=LossAwareModel, **compile_options):
    class Hooked(cls):
        side_inputs = ("query_id",)

        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            return hook(x, y, y_pred)

    model = linear(Hooked)
    model.compile("sgd", **compile_options)
    return model


def raises_unchanged(model, match, *args, error=ValueError, **kwargs):
    before = model.get_weights()
    with pytest.raises(error, match=match):
        model.fit(*args, verbose=0, **kwargs)
    assert int(model.optimizer.iterations) == 0
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_a_missing_side_input():
    x, y = ranking_batch()
    model = linear(Ranker)
    model.compile("sgd")
    match = r"`x` must have the side input 'query_id'.*Received: keys \['features'\]"
    raises_unchanged(model, match, {"features": x["features"]}, y)
    raises_unchanged(model, "Received: no dict", x["features"], y)


def test_a_missing_side_input_of_a_compiled_loss_or_metric():
    x, y = ranking_batch()
    for options in (
        {"loss": losses.PairwiseLogistic(query_ids="traveller")},
        {"loss": "mse", "metrics": [metrics.NDCG("traveller")]},
    ):
        model = linear()
        model.compile("sgd", **options)
        raises_unchanged(model, "`x` must have the side input 'traveller'", x, y)


def test_a_missing_input_of_the_network():
    x, y = ranking_batch()
    first, second = keras.Input((3,), name="features"), keras.Input((1,), name="price")
    joined = keras.layers.Concatenate()([first, second])
    model = SquaredError([first, second], keras.layers.Dense(1)(joined))
    model.compile("sgd")
    raises_unchanged(model, "`x` must have an entry for the input 'price'", x, y)


@pytest.mark.parametrize("ids", [np.arange(24.0), np.full(24, np.nan)])
def test_float_ids(ids):
    x, y = ranking_batch()
    model = linear(Ranker)
    model.compile("sgd")
    match = "`query_ids` must be integers or strings"
    raises_unchanged(model, match, {**x, "query_id": ids}, y, error=TypeError)


def test_ids_of_another_rank():
    x, y = ranking_batch()
    model = linear(Ranker)
    model.compile("sgd")
    ids = np.zeros((24, 2), "int64")
    match = r"`query_ids` must have one entry a row.*Received: shape \(None, 2\)"
    raises_unchanged(model, match, {**x, "query_id": ids}, y)


@pytest.mark.parametrize("static", [True, False])
def test_ids_of_another_length(static):
    x, y = ranking_batch()
    data = tf.data.Dataset.from_tensors(({**x, "query_id": x["query_id"][:20]}, y))
    if not static:
        spec = tf.nest.map_structure(
            lambda s: tf.TensorSpec([None, *s.shape[1:]], s.dtype), data.element_spec
        )
        elements = data
        data = tf.data.Dataset.from_generator(lambda: iter(elements), output_signature=spec)
        data = data.apply(tf.data.experimental.assert_cardinality(1))
    model = linear(Ranker)
    model.compile("sgd")
    raises_unchanged(model, "must have one entry a row each", data)


@pytest.mark.parametrize(
    ("target", "output", "way_out"), [((24,), (24, 1), "None"), ((24, 1), (24,), "0")]
)
def test_shapes_that_would_broadcast_in_the_hook(target, output, way_out):
    inputs = keras.Input((3,))
    scores = keras.layers.Reshape(output[1:])(keras.layers.Dense(1)(inputs))
    model = SquaredError(inputs, scores)
    model.compile("sgd")
    x, y = ranking_batch()
    match = rf"must have the same number of axes.*Fit with `y\[\.\.\., {way_out}\]`"
    raises_unchanged(model, match, x["features"], y.reshape(target))


def test_a_returned_matrix_of_all_rows():
    x, y = ranking_batch()
    model = model_with(lambda x, y, y_pred: {"t": keras.ops.square(y[:, 0] - y_pred)})
    raises_unchanged(model, "'t' must have one value .or more. per row", x, y)


def test_per_token_losses_may_be_square():
    x = np.ones((4, 4, 2), "float32")
    inputs = keras.Input((4, 2))

    class Tokens(LossAwareModel):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            return {"t": keras.ops.square(y - y_pred)[..., 0]}

    model = Tokens(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd")
    data = tf.data.Dataset.from_tensors((x, np.ones((4, 4, 1), "float32")))
    assert model.fit(data, verbose=0).history["t"][0] >= 0


@pytest.mark.parametrize(
    "returned",
    [lambda: tf.constant(1.0), lambda: LossTerm(1.0, 1.0), lambda: None, lambda: [1.0]],
)
def test_a_hook_that_returns_no_dict(returned):
    x, y = ranking_batch()
    model = model_with(lambda *_: returned())
    match = "`compute_losses` must return a dict of name to loss"
    raises_unchanged(model, match, x, y, error=TypeError)


@pytest.mark.parametrize("name", ["loss", "regularization", "mae", "ndcg@3", 7])
def test_a_term_with_a_name_that_is_taken(name):
    x, y = ranking_batch()
    options = {"metrics": ["mae", metrics.NDCG("query_id", k=3)]}
    model = model_with(lambda x, y, y_pred: {name: keras.ops.square(y_pred)}, **options)
    raises_unchanged(model, "needs a name of its own", x, y)


@pytest.mark.parametrize(
    "steps", [["a", "b"], ["a", "ab"], ["ab", "a"]], ids=["another", "one more", "one fewer"]
)
def test_terms_that_change_between_steps(steps):
    x, y = ranking_batch()
    names = iter([*steps, ""])
    model = model_with(
        lambda x, y, y_pred: {name: keras.ops.square(y_pred) for name in next(names)},
        run_eagerly=True,
    )
    with pytest.raises(ValueError, match="must return the same names in every step"):
        model.fit(x, y, batch_size=8, verbose=0)


def test_unknown_options():
    batch = ([1.0, 0.0], [0.0, 1.0])
    for name, value in [("pairs", "both"), ("normalize", "pair"), ("pair_weight", "sum")]:
        with pytest.raises(ValueError, match=f"`{name}` must be one of .* Received: '{value}'"):
            losses.pairwise_logistic(*batch, query_ids=[0, 0], **{name: value})
        with pytest.raises(ValueError, match=f"`{name}` must be one of"):
            losses.PairwiseLogistic(**{name: value})
    with pytest.raises(ValueError, match="`no_relevant` must be one of"):
        metrics.NDCG("query_id", no_relevant="two")


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_positive(temperature):
    with pytest.raises(ValueError, match="`temperature` must be a finite number above 0"):
        losses.pairwise_logistic([1.0], [1.0], query_ids=[0], temperature=temperature)


@pytest.mark.parametrize("k", [0, -1, 1.5])
def test_ranks_below_1(k):
    with pytest.raises(ValueError, match="`k` must be an integer of at least 1"):
        metrics.NDCG("query_id", k=k)


@pytest.mark.parametrize("bad", [-1.0, float("nan")])
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_sample_weights_that_are_negative_or_no_numbers(bad, run_eagerly):
    x, y = ranking_batch()
    weight = np.ones(24, "float32")
    weight[3] = bad
    model = linear(Ranker)
    model.compile("sgd", run_eagerly=run_eagerly)
    raises_unchanged(model, "`sample_weight` must be", x, y, sample_weight=weight)
    with pytest.raises(ValueError, match="`sample_weight` must be"):
        losses.pairwise_logistic(y, y, query_ids=x["query_id"], sample_weight=weight)


@pytest.mark.parametrize("batch_size", [0, -4])
def test_a_batch_size_below_1(batch_size):
    x, y = ranking_batch()
    model = linear(Ranker)
    model.compile("sgd")
    raises_unchanged(model, "`batch_size` must be", x, y, batch_size=batch_size)
    with pytest.raises(ValueError, match=r"`batch_size` must be .*at least 1"):
        model.evaluate(x, y, batch_size=batch_size, verbose=0)


def test_no_loss_at_all():
    x, y = ranking_batch()
    model = linear()
    model.compile("sgd")
    raises_unchanged(model, "There is no loss to compute", x["features"], y)


def test_a_side_input_loss_outside_of_a_loss_aware_model():
    x, y = ranking_batch()
    model = linear(keras.Model)
    model.compile("sgd", loss=losses.PairwiseLogistic("query_id"))
    with pytest.raises(ValueError, match="only a `LossAwareModel` hands to it"):
        model.fit(x["features"], y, verbose=0)


def test_several_targets_beside_one_output():
    x, y = ranking_batch()
    targets = {"label": y, "group": x["query_id"]}
    for options in ({"loss": "mse"}, {"loss": None, "metrics": ["mae"]}):
        model = model_with(lambda x, y, y_pred: {"t": keras.ops.square(y_pred)}, **options)
        raises_unchanged(
            model, "the model has one output|one target for the one output", x, targets
        )


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        (["mse", "mae", "mse"], "one .or `None`. for each output. Received: 3 for 2"),
        ({"a": "mse", "c": "mse"}, r"names outputs that the model does not have: \['c'\]"),
    ],
)
def test_losses_that_do_not_fit_the_outputs(loss, match):
    inputs = keras.Input((3,))
    outputs = [keras.layers.Dense(1, name=name)(inputs) for name in "ab"]
    model = LossAwareModel(inputs, outputs)
    model.compile("sgd", loss=loss)
    y = np.ones((4, 1))
    raises_unchanged(model, match, np.ones((4, 3)), [y, y])


def test_strings_under_xla():
    x, y = ranking_batch()
    model = linear(Ranker)
    model.compile("sgd", jit_compile=True)
    ids = x["query_id"].astype(str)
    raises_unchanged(model, "must not be strings under XLA", {**x, "query_id": ids}, y)


def test_weights_that_differ_by_target_beside_the_hook():
    inputs = keras.Input((3,))
    outputs = {name: keras.layers.Dense(1, name=name)(inputs) for name in "ab"}

    class Two(LossAwareModel):
        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            return {"t": keras.ops.square(y["a"] + y["b"] - y_pred["a"] - y_pred["b"])}

    model = Two(inputs, outputs)
    model.compile("sgd")
    y = {name: np.ones((4, 1)) for name in "ab"}
    weights = {"a": np.ones(4), "b": np.zeros(4)}
    match = "`sample_weight` must be the same for every target"
    raises_unchanged(model, match, np.ones((4, 3)), y, sample_weight=weights)


@pytest.mark.parametrize("by_hook", [True, False])
def test_an_epoch_whose_queries_have_one_row_each(by_hook):
    x, y = ranking_batch()
    x["query_id"] = np.arange(24)
    model = linear(Ranker if by_hook else LossAwareModel)
    model.compile("sgd", loss=None if by_hook else losses.ListMLE("query_id"))
    match = "'(ranking|list_mle_loss)' compares the rows of a query.*every query had one row"
    with pytest.raises(ValueError, match=match):
        model.fit(x, y, batch_size=8, epochs=3, verbose=0)
    assert int(model.optimizer.iterations) == 3  # the first epoch shows it
    with pytest.warns(UserWarning, match="had nothing to count"):
        assert np.isfinite(model.evaluate(x, y, batch_size=8, verbose=0)).all()
    x["query_id"][:2] = 0, 0  # one query of two rows is enough
    model.fit(x, y, batch_size=24, verbose=0)


@pytest.mark.parametrize(
    ("loss", "bad", "match"),
    [
        (losses.Softmax("query_id"), -1.0, "`y_true` must not be negative or NaN.*`mask`"),
        (losses.PairwiseHinge("query_id"), np.nan, "`y_true` must hold numbers in every row"),
        (losses.PairwiseHinge("query_id", query_weight="w"), 1.0, "`query_weight` must be numb"),
    ],
)
def test_labels_and_weights_that_a_loss_cannot_take(loss, bad, match):
    x, y = ranking_batch()
    if "w" in loss.side_inputs:
        x["w"] = np.full(24, -1.0)
    y[3] = bad
    model = linear()
    model.compile("sgd", loss=loss, run_eagerly=True)
    raises_unchanged(model, match, x, y, batch_size=24)


@pytest.mark.parametrize("loss", ["mse", keras.losses.MeanSquaredError()])
def test_a_loss_of_keras_without_targets(loss):
    model = linear()
    model.compile("sgd", loss=loss)
    raises_unchanged(model, "`y` must be given: .*function `.y_true, y_pred.`", np.ones((4, 3)))


@pytest.mark.parametrize("reduced", [True, False])
def test_a_function_without_targets_gets_none(reduced):
    def loss(y_true, y_pred):
        assert y_true is None
        return keras.ops.mean(y_pred) if reduced else y_pred

    model, x = linear(), np.arange(12.0).reshape(4, 3)
    model.compile(keras.optimizers.SGD(0.0), loss=loss)
    assert model.fit(x, batch_size=3, verbose=0).history == {"loss": [x.sum() / 4]}
