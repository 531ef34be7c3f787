"""Every loss as an object for `compile`: options, side inputs, saving, training."""

import inspect

import keras
import numpy as np
import pytest

from keras_trainsteps import LossAwareModel, losses
from keras_trainsteps.losses import lambda_weights
from tests.losses.every_loss import CASES, every, one_of_each, some_to_compile
from tests.losses.in_fit import READS, model_and_data, object_of


def hooked(case):
    """A model whose hook calls the function of the case, as its object does."""

    class Hooked(LossAwareModel):
        side_inputs = tuple(READS[case.of].values())

        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            given = {argument: x[name] for argument, name in READS[case.of].items()}
            given |= dict(y_pred) if case.of == "outputs" else {"y_pred": y_pred}
            if y is not None:
                given |= {"y_true": y, "sample_weight": sample_weight}
            return {"term": case.function(**given, **case.options)}

    return Hooked


@pytest.mark.slow
@every(default=some_to_compile)
def test_trains_by_compile_as_its_function_by_the_hook(case, tmp_path):
    found = []
    for cls, loss in ((hooked(case), None), (LossAwareModel, object_of(case))):
        model, x, y, weight = model_and_data(case, cls)
        model.compile(keras.optimizers.SGD(0.01), loss=loss)
        options = {"batch_size": 10, "shuffle": False, "verbose": 0, "sample_weight": weight}
        found.append(model.fit(x, y, epochs=2, **options).history["loss"])
    assert found[0] == found[1]
    assert found[0][1] < found[0][0]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    given = {"batch_size": 10, "verbose": 0, "sample_weight": weight}
    assert loaded.evaluate(x, y, **given) == model.evaluate(x, y, **given)


@every(default=one_of_each)
def test_every_class_trains_by_compile(case):
    model, x, y, weight = model_and_data(case, LossAwareModel)
    model.compile(keras.optimizers.SGD(0.01), loss=object_of(case), run_eagerly=True)
    options = {"batch_size": 10, "shuffle": False, "verbose": 0, "sample_weight": weight}
    first, second = model.fit(x, y, epochs=2, **options).history["loss"]
    assert second < first


@every()
def test_configurations_round_trip(case):
    loss = object_of(case)
    config = keras.saving.serialize_keras_object(loss)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is case.cls
    assert again.get_config() == loss.get_config()
    assert again.side_inputs == loss.side_inputs == tuple(READS[case.of].values())
    assert loss.name == case.function.__name__
    assert case.cls(**READS[case.of], name="mine", **case.options).name == "mine"


@every()
def test_an_object_takes_the_options_of_its_function(case):
    of_function = inspect.signature(case.function).parameters
    of_object = inspect.signature(case.cls).parameters
    not_options = {"sample_weight", "name", "outputs", "y_true", *case.takes, *case.cls.reads}
    expected = {n: p.default for n, p in of_function.items() if n not in not_options}
    assert {n: p.default for n, p in of_object.items() if n not in not_options} == expected


@every()
def test_the_repr_makes_the_object_again(case):
    loss = object_of(case)
    again = eval(repr(loss), {**vars(losses), **vars(lambda_weights)})
    assert again.get_config() == loss.get_config()
    assert "name=" not in repr(loss)
    assert "name='mine'" in repr(case.cls(name="mine", **case.options))


@pytest.mark.parametrize(
    "shown",
    [
        "PairwiseLogistic(query_ids='query_id', lambda_weight=NDCG(k=10))",
        "Softmax(query_ids=None, temperature=0.5)",
        "InfoNCE(outputs=['query', 'item'], ids='item_id')",
        "Contrastive()",
        "SupervisedContrastive(y_true='label', temperature=0.5)",
        "MaskedCrossentropy(mask='is_word', label_smoothing=0.1)",
    ],
)
def test_a_repr_shows_what_was_chosen(shown):
    assert repr(eval(shown, {**vars(losses), **vars(lambda_weights)})) == shown


@every()
def test_options_are_checked_when_the_object_is_made(case):
    with pytest.raises(TypeError, match="'marging'"):
        case.cls(marging=2.0, **case.options)
    options = inspect.signature(case.function).parameters
    for name, bad in (("temperature", 0.0), ("margin", -1.0), ("normalize", "means")):
        if name in options:
            with pytest.raises(ValueError, match=f"`{name}` must be"):
                case.cls(**case.options | {name: bad})
    for name in ("temperature", "beta", "margin"):
        if name in options:
            variable = keras.Variable(1.0)
            with pytest.raises(TypeError, match=f"`{name}` must be a plain value.*Variable"):
                case.cls(**case.options | {name: variable})


@pytest.mark.parametrize("ids", ["ids", None])
def test_pointwise_losses_by_query(ids):
    labels, scores = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.eye(3, 2)
    term = losses.mean_squared_error(labels, scores, normalize="queries")
    loss = losses.MeanSquaredError(ids, normalize="queries")
    shape = (3, 2) if ids is None else (6, 1)
    x = {"ids": np.repeat([7, 9, 8], 2)}
    found = loss.term(labels.reshape(shape), scores.reshape(shape), x, None)
    assert float(found.value) == float(term.value)
    assert float(found.count) == 3.0


def test_every_public_loss_is_on_the_list():
    public = [getattr(losses, name) for name in losses.__all__]
    functions = {value for value in public if inspect.isfunction(value)}
    without_objects = {
        losses.gumbel,
        losses.with_gumbel,
        losses.gradient_penalty,
        losses.inverse_propensity_weights,
        losses.estimate_propensities,
        losses.expected_count,
        losses.sampling_probability,
    }
    assert {case.function for case in CASES.values()} == functions - without_objects
    bases = {losses.RankingLoss, losses.LabelLoss, losses.OutputsLoss, losses.SideInputLoss}
    bases |= {losses.PositionBias}
    classes = {value for value in public if inspect.isclass(value)}
    assert {case.cls for case in CASES.values()} == classes - bases
