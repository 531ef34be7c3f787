"""What goes wrong in Keras 3 around precision, weights and saving, goes right here.

`TRAPS.md` lists them.
"""

import keras
import numpy as np
import pytest
from keras import ops

from keras_trainsteps import LossAwareModel, losses
from tests.toy import (
    CUT_QUERIES,
    L2,
    MAE,
    MSE,
    ROWS,
    X,
    close,
    dense,
    fit,
    hooked,
    network,
    squares,
    still,
)


@pytest.fixture
def mixed_float16():
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    yield
    keras.mixed_precision.set_dtype_policy("float32")


@pytest.mark.usefixtures("mixed_float16")
def test_gradients_are_clipped_after_they_are_unscaled():
    model = network(hooked(squares))
    clipped = keras.optimizers.SGD(1.0, global_clipnorm=0.5)
    model.compile(keras.optimizers.LossScaleOptimizer(clipped, initial_scale=64.0))
    before = model.get_weights()[0]
    fit(model, batch_size=ROWS)
    assert np.linalg.norm(model.get_weights()[0] - before) == close(0.5)


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_variable_weight_can_be_annealed(run_eagerly):
    weight = keras.Variable(0.0, trainable=False)
    anneal = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: weight.assign(float(epoch))
    )
    model = network(hooked(squares))
    still(model, loss="mae", loss_weights={"squares": weight}, run_eagerly=run_eagerly)
    history = fit(model, callbacks=[anneal], epochs=3)
    assert history["loss"] == [close(epoch * MSE + MAE) for epoch in range(3)]
    assert history["squares"] == [close(MSE)] * 3


@keras.saving.register_keras_serializable("tests")
class Scaled(LossAwareModel):
    """Its hook reads a weight of the model."""

    def __init__(self, start=1.0, **kwargs):
        super().__init__(**kwargs)
        self.start, self.dense = start, dense()
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, inputs):
        return self.dense(inputs)

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {"scaled": ops.square(self.start * self.scale * y_pred - y)}

    def get_config(self):
        return {**super().get_config(), "start": self.start}


def test_a_weight_of_the_model_is_trained_and_saved(tmp_path):
    model = Scaled()
    model.compile(keras.optimizers.SGD(0.01))
    fit(model)
    assert float(model.scale) != 1.0
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert float(loaded.scale) == float(model.scale)


def test_the_regularization_of_a_frozen_layer_is_left_out():
    """By design, as in Keras: what is not trained has no say in the loss."""
    model = network(hooked(squares), kernel_regularizer=keras.regularizers.L2(1.0))
    assert fit(still(model))["loss"] == [close(MSE + L2)]
    model.layers[-1].trainable = False
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        history = fit(still(model))
    assert history == {"loss": [close(MSE)], "squares": [close(MSE)]}


def test_a_hook_is_saved_with_its_options_and_trains_on(tmp_path):
    model = Scaled(start=3.0)
    model.compile("adam", loss_weights={"scaled": 2.0})
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert fit(loaded, epochs=2) == fit(model, epochs=2)
    assert loaded.get_weights()[0].tolist() == model.get_weights()[0].tolist()


@CUT_QUERIES
def test_a_compiled_loss_is_saved_with_its_options_and_trains_on(tmp_path):
    model = network()
    loss = losses.PairwiseLogistic("qid", normalize="queries", temperature=0.5, pairs="all")
    model.compile("adam", loss=loss, run_eagerly=True)
    x = {"features": X, "qid": np.arange(ROWS) // 5}
    fit(model, x)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == loss.get_config()
    assert fit(loaded, x) == fit(model, x)


@keras.saving.register_keras_serializable("tests")
class Forgetful(losses.SideInputLoss):
    """Has an option of its own, and no `get_config`."""

    def __init__(self, alpha=1.0, name="forgetful"):
        super().__init__(name=name)
        self.alpha = alpha


def test_a_loss_that_would_lose_its_options_is_not_saved_silently():
    with pytest.raises(NotImplementedError, match=r"`Forgetful` must define `get_config`.*alpha"):
        keras.saving.serialize_keras_object(Forgetful(alpha=3.0))


@keras.saving.register_keras_serializable("tests")
class OwnCompile(LossAwareModel):
    """Overrides `compile`."""

    def compile(self, **kwargs):
        super().compile(loss="mse", **kwargs)


def test_an_overridden_compile_is_called_again_by_the_user(tmp_path):
    model = network(OwnCompile)
    model.compile(optimizer=keras.optimizers.SGD(0.0))
    fit(model)
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match=r"`compile\(\)` was not called as part of model"):
        loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.compile(optimizer=keras.optimizers.SGD(0.0))
    assert fit(loaded)["loss"] == [close(MSE)]


def test_no_name_of_the_hook_is_one_of_keras():
    """A method `loss` is hidden by what `compile` was given; the hook does not mind."""
    taken = vars(LossAwareModel).keys() - dir(keras.Model)
    assert {"compute_losses", "side_inputs"} <= taken

    class Shadowed(LossAwareModel):
        def loss(self, y, y_pred):
            return ops.square(y_pred - y)

        def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
            return {"squares": type(self).loss(self, y, y_pred)}

    model = still(network(Shadowed))
    assert fit(model)["loss"] == [close(MSE)]
    assert model.loss is None


class Counting(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.counter = keras.metrics.Mean(name="sub_metric")

    def call(self, inputs):
        self.counter.update_state(ops.shape(inputs)[1])
        return inputs


class Wrapper(keras.Model):
    def __init__(self):
        super().__init__()
        self.own = keras.metrics.Mean(name="sub_metric")

    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(("inner", "kept"), [(Counting, True), (Wrapper, False)])
def test_metrics_of_inner_layers_are_kept_and_of_inner_models_not(inner, kept):
    """By design, as in Keras."""
    inputs = keras.Input((3,))
    model = still(LossAwareModel(inputs, dense()(inner()(inputs))), loss="mse")
    history = fit(model)
    assert history["loss"] == [close(MSE)]
    assert history.get("sub_metric") == ([close(3.0)] if kept else None)
