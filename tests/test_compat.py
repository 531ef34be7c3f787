"""The workarounds. A test named `test_keras_...` fails once Keras has mended the defect."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps import LossAwareModel, compat
from tests.models import SquaredError, linear


def unknown_length():
    """Five batches of two rows, of a number that Keras does not know in advance."""
    rows = np.ones((10, 3), "float32"), np.ones((10, 1), "float32")
    data = tf.data.Dataset.from_tensor_slices(rows)
    return data.filter(lambda x, y: True).batch(2, drop_remainder=True)


def steps_of(cls, data, loss):
    model = linear(cls)
    model.compile("sgd", loss=loss)
    # Keras says that data ran out: so it is when a length is not known.
    with pytest.warns(UserWarning, match="ran out of data"):
        model.fit(data, epochs=1, verbose=0, shuffle=False)
    return int(model.optimizer.iterations)


def test_keras_takes_a_phantom_step():
    assert steps_of(keras.Model, unknown_length(), "mse") == 6


def graphs_kept_by(cls, optimizer):
    """The graphs of steps that are alive after a model was trained and deleted."""

    def alive():
        gc.collect()
        return {id(found) for found in gc.get_objects() if isinstance(found, tf.Graph)}

    def train():
        model = linear(cls)
        model.compile(optimizer(), loss="mse")
        model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)

    before = alive()
    train()
    keras.utils.clear_session()
    return len(alive() - before)


def scaled_sgd():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())


@pytest.mark.parametrize("optimizer", [keras.optimizers.Adam, scaled_sgd])
def test_keras_keeps_the_graph_of_every_model_that_was_trained(optimizer):
    assert graphs_kept_by(keras.Model, optimizer) > 0


@pytest.mark.parametrize("optimizer", [keras.optimizers.Adam, scaled_sgd])
def test_no_graph_of_a_model_that_was_trained_is_kept(optimizer):
    assert graphs_kept_by(LossAwareModel, optimizer) == 0


class Scaled(keras.layers.Layer):
    """A penalty with a trained factor, whose gradient does not depend on the factor."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(4, use_bias=False)
        self.scale = self.add_weight(shape=(), initializer="ones")

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        self.add_loss(self.value())
        return self.dense(x)

    def value(self):
        return self.scale * keras.ops.norm(self.dense.kernel)


def losses_of_a_later_step(cls, steps=200):
    """In how many steps the loss was not that of the weights before the step."""
    layer, found, expected = Scaled(), [], []
    inputs = keras.Input((3,))
    model = cls(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(1e-3))
    for _ in range(steps):
        expected.append(float(layer.value()))
        found.append(model.train_on_batch(np.ones((2, 3)), return_dict=True)["loss"])
    return int(np.sum(~np.isclose(found, expected, rtol=1e-6)))


def test_the_loss_reads_weights_before_they_are_updated():
    # Each trace orders its operations anew: half of them were wrong where it went wrong.
    assert [losses_of_a_later_step(LossAwareModel, steps=20) for _ in range(8)] == [0] * 8


@pytest.mark.slow
def test_the_loss_reads_weights_before_they_are_updated_in_any_trace():
    assert [losses_of_a_later_step(LossAwareModel) for _ in range(10)] == [0] * 10


def test_keras_updates_weights_before_the_loss_has_read_them():
    # A race: most traces of the step lose it at times, some never do.
    assert any(losses_of_a_later_step(keras.Model) for _ in range(20))


def test_functional_class_moves_no_counter():
    keras.backend.clear_session()
    compat.functional_class.cache_clear()
    compat.functional_class()
    assert keras.Input((1,)).name == "keras_tensor"
    assert keras.Sequential().name == "sequential"
    inputs = keras.Input((1,))
    assert keras.Model(inputs, inputs).name == "functional"


def test_keras_rewrites_the_bases_of_a_subclass():
    class Base(keras.Model):
        pass

    linear(Base)
    assert Base.__bases__ != (keras.Model,)


def test_a_twin_is_saved_under_the_name_of_its_class():
    twin = compat.functional_twin(SquaredError)
    assert keras.saving.get_registered_name(twin) == "tests>SquaredError"
    assert keras.saving.get_registered_object("tests>SquaredError") is SquaredError
    assert compat.functional_twin(SquaredError) is twin


def test_keras_knows_no_registered_class_by_its_name_alone(tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class Registered(keras.Sequential):
        pass

    Registered([keras.Input((3,)), keras.layers.Dense(1)]).save(tmp_path / "m.h5")
    with pytest.raises(ValueError, match="Unknown layer: 'Registered'"):
        keras.saving.load_model(tmp_path / "m.h5")


@pytest.mark.parametrize("outputs", [3, [np.ones(2)]], ids=["number", "arrays"])
def test_outputs_that_are_no_tensors_are_refused_and_change_no_class(outputs):
    bases = LossAwareModel.__bases__
    with pytest.raises(ValueError, match="All `outputs` values must be KerasTensors"):
        LossAwareModel(keras.Input((3,)), outputs)
    assert LossAwareModel.__bases__ == bases


def test_in_xla():
    seen = []

    def look():
        seen.append(compat.in_xla())
        return tf.constant(0)

    look()
    tf.function(look)()
    tf.function(look, jit_compile=True)()
    tf.function(lambda: tf.function(look)(), jit_compile=True)()
    assert seen == [False, False, True, True]


def test_keras_cannot_read_arrays_of_text():
    inputs = {
        "a": keras.Input((), dtype="string", name="a"),
        "b": keras.Input((1,), name="b"),
    }
    model = keras.Model(inputs, inputs["b"])
    x = {"a": np.array(["u", "v"]), "b": np.ones((2, 1))}
    with pytest.raises(ValueError, match="Invalid dtype"):
        model.predict(x, verbose=0)
    assert model.predict(compat.readable(x), verbose=0).tolist() == [[1.0], [1.0]]


def test_keras_adds_no_tensor_to_a_graph():
    # Why `take_graph` is needed.
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(2)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    with pytest.raises(NotImplementedError):
        model.add_loss(keras.ops.mean(hidden))


def test_taking_a_graph_keeps_the_layers_and_their_order():
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(2, name="hidden")
    model = keras.Model(inputs, keras.layers.Dense(1, name="scores")(hidden(inputs)))
    grown = keras.Model(inputs, keras.layers.Activation("tanh", name="end")(model.output))
    expected = grown.predict(np.ones((2, 3)), verbose=0)
    compat.take_graph(model, grown)
    np.testing.assert_array_equal(model.predict(np.ones((2, 3)), verbose=0), expected)
    assert [layer.name for layer in model.layers] == [layer.name for layer in grown.layers]
    assert [w.path for w in model.weights] == [w.path for w in grown.weights]


def test_keras_lists_layers_of_layers_nowhere():
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="deep")])
    inputs = keras.Input((3,))
    model = keras.Model(inputs, inner(inputs))
    assert "deep" not in [layer.name for layer in model.layers]
    assert "deep" in [layer.name for layer in compat.sublayers(model)]


def test_keras_locks_a_built_layer():
    class Called(keras.Model):
        def build(self, shape):
            pass

        def call(self, inputs):
            return inputs

    model = Called()
    model(np.ones((2, 3)))
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        model.late = keras.layers.Dense(1)
    with compat.unlocked(model):
        model.late = keras.layers.Dense(1)
    assert model.late in compat.sublayers(model)


def test_keras_ignores_a_tf_variable():
    class Scaled(keras.Model):
        def __init__(self):
            super().__init__()
            self.scale = tf.Variable(2.0)

    assert Scaled().weights == []
    variable = tf.Variable(2.0)
    weight = compat.as_weight(variable, "scale")
    weight.assign(3.0)
    assert float(variable) == 3.0


# What models and callbacks keep, by name


def test_keras_does_not_say_which_layer_gives_the_outputs():
    inputs = keras.Input((3,))
    last = keras.layers.Dense(1)
    one = keras.Model(inputs, last(inputs))
    assert compat.node_of_outputs(one).operation is last
    assert not hasattr(one.output, "operation")
    two = keras.Model(inputs, [last(inputs), keras.layers.Dense(1)(inputs)])
    assert compat.node_of_outputs(two) is None


def test_keras_lists_the_layers_of_a_layer_nowhere_public():
    class Outer(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dense(1)

    outer = Outer()
    assert compat.tracked_layers(outer) == [outer.inner]
    assert not hasattr(outer, "layers")
    assert compat.tracked_layers(keras.layers.Dense(1)) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda path: keras.callbacks.EarlyStopping(patience=1, restore_best_weights=True),
        lambda path: keras.callbacks.ReduceLROnPlateau(patience=1, cooldown=2),
        lambda path: keras.callbacks.ModelCheckpoint(
            path / "m.weights.h5", save_freq=2, save_weights_only=True
        ),
        lambda path: keras.callbacks.ModelCheckpoint(path / "m.keras", save_best_only=True),
    ],
    ids=["early stopping", "plateau", "checkpoint by steps", "checkpoint by epochs"],
)
def test_keras_saves_no_state_of_callbacks(make, tmp_path):
    # Whatever a callback changes while it trains is known to be part of its state.
    callback, model = make(tmp_path), linear(keras.Model)
    assert not hasattr(callback, "get_state")
    model.compile("sgd", loss="mse")
    callback.set_model(model)
    callback.set_params({"epochs": 9, "steps": 3, "verbose": 0})
    callback.on_train_begin()
    states = []
    for epoch, value in enumerate([1.0, 2.0, 2.0, 0.5]):
        callback.on_epoch_begin(epoch)
        for batch in range(3):
            callback.on_train_batch_begin(batch)
            callback.on_train_batch_end(batch, {"loss": value})
            states.append(dict(vars(callback)))
        callback.on_epoch_end(epoch, {"loss": value, "val_loss": value})
        states.append(dict(vars(callback)))
    later = states[3:]  # what is set once, at the first epoch's end, is no state
    changed = {name for name in later[0] for state in later if state[name] is not later[0][name]}
    assert changed - {"best_weights"} <= set(compat.remembered_by(callback))
    assert changed


def test_a_callback_of_ones_own_is_not_known():
    assert compat.remembered_by(keras.callbacks.Callback()) is None


def test_the_plateau_negates_its_min_delta_once_more_each_time():
    callback = keras.callbacks.ReduceLROnPlateau(monitor="loss", min_delta=0.1)
    model = linear(keras.Model)
    model.compile("sgd", loss="mse")
    callback.set_model(model)
    callback.on_train_begin()
    callback.on_epoch_end(0, {"loss": 1.0})
    assert callback.min_delta == -0.1


def test_keras_has_no_public_way_to_say_which_values_are_better():
    class Bias(keras.metrics.Mean):
        def update_state(self, y_true, y_pred, sample_weight=None):
            super().update_state(y_pred - y_true, sample_weight)

    model = linear(keras.Model)
    told, untold = Bias("told"), Bias("untold")
    compat.set_direction(told, "up")
    model.compile("sgd", loss="mse", metrics=[told, untold])
    watched = keras.callbacks.EarlyStopping("told"), keras.callbacks.EarlyStopping("untold")
    data = np.ones((2, 3)), np.ones((2, 1))
    model.fit(*data, callbacks=[watched[0]], verbose=0)
    assert watched[0].monitor_op(2.0, 1.0)
    with pytest.raises(ValueError, match="isn't able to automatically determine"):
        model.fit(*data, callbacks=[watched[1]], verbose=0)


@pytest.mark.parametrize("scaled", [False, True])
def test_keras_does_not_say_what_an_optimizer_trains(scaled):
    rate = keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9)
    optimizer = keras.optimizers.Adam(rate)
    outer = keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer
    weights = [keras.Variable([1.0], name="w") for _ in range(2)]
    outer.build(weights)
    assert [id(w) for w in compat.optimized_weights(outer)] == [id(w) for w in weights]
    assert compat.learning_rate_schedule(outer) is rate
    assert compat.learning_rate_schedule(keras.optimizers.Adam()) is None
    assert not isinstance(optimizer.learning_rate, type(rate))
    named = compat.optimizer_attributes(optimizer)
    assert {"momentums", "velocities"} <= set(named)
    held = [v for value in named.values() if isinstance(value, list) for v in value]
    slots = [v for v in optimizer.variables if "momentum" in v.path]
    assert len({v.path for v in slots}) < len(slots) == 2  # by path they are one
    assert all(sum(v is slot for v in held) == 1 for slot in slots)


def differentiable(compute, slopes):
    """`compute` differentiated by TensorFlow's own decorator."""

    @tf.custom_gradient
    def run(value):
        return compute(value), slopes

    return run


TWICE = compat.HandGradient("test.twice", lambda up, value, factor: up * factor, twice=True)
ONCE = compat.HandGradient("test.once", lambda up, value, factor: up * factor)


def tripled(hand, value):
    return hand(lambda value: ([3.0 * value], [tf.constant(3.0)]), value)[0]


def first_and_second(hand, value):
    with tf.GradientTape() as outer:
        outer.watch(value)
        with tf.GradientTape() as tape:
            tape.watch(value)
            cube = tripled(hand, value * value)
        slope = tape.gradient(cube, value)
    return slope, outer.gradient(slope, value)


@pytest.mark.parametrize("run", [lambda f: f, tf.function], ids=["eager", "graph"])
def test_a_hand_gradient_is_final_unless_it_says_otherwise(run):
    slope, second = run(lambda value: first_and_second(TWICE, value))(tf.constant(2.0))
    assert (float(slope), float(second)) == (12.0, 6.0)
    with pytest.raises(NotImplementedError, match="first derivative only"):
        run(lambda value: first_and_second(ONCE, value))(tf.constant(2.0))


def test_a_hand_gradient_is_that_of_a_graph_differentiated_from_outside():
    value = tf.constant(2.0)
    with tf.GradientTape() as tape:
        tape.watch(value)
        tripled_value = tf.function(lambda value: tripled(ONCE, value))(value)
    assert float(tape.gradient(tripled_value, value)) == 3.0


def graph_of_one_use(function):
    """A reference to the graph of a step that nobody holds any more."""

    @tf.function
    def step(value):
        with tf.GradientTape() as tape:
            tape.watch(value)
            result = function(value)
        return tape.gradient(result, value)

    graph = weakref.ref(step.get_concrete_function(tf.constant(2.0)).graph)
    del step
    gc.collect()
    return graph


def test_tensorflow_keeps_the_graph_of_a_custom_gradient():
    """Once this fails, `HandGradient` may go."""
    kept = differentiable(lambda value: 3.0 * value, lambda upstream: 3.0 * upstream)
    assert graph_of_one_use(kept)() is not None
    assert graph_of_one_use(lambda value: tripled(ONCE, value))() is None


def test_what_is_traced_once_is_shared_by_graphs_and_runs_in_xla():
    traces = []

    @compat.traced_once
    def doubled(values):
        traces.append(values.shape)
        return 2.0 * values

    signature = [tf.TensorSpec((None,))]
    for _ in range(3):
        in_graph = tf.function(lambda values: doubled(values) + 1.0, input_signature=signature)
        assert in_graph(tf.constant([1.0])).numpy().tolist() == [3.0]
    assert len(traces) == 1
    in_xla = tf.function(lambda values: doubled(values), jit_compile=True)
    assert in_xla(tf.constant([1.0])).numpy().tolist() == [2.0]
    assert traces[-1] == (1,)


def test_a_branch_that_is_loaded_when_run_stays_one_call_in_its_graph():
    def branches(value):
        tripled = compat.loaded_when_run(lambda: value * 3.0)
        return tf.cond(value > 0, tripled, lambda: value)

    for value, expected in ((2.0, 6.0), (-2.0, -2.0)):
        assert float(branches(tf.constant(value))) == expected
        assert float(tf.function(branches)(tf.constant(value))) == expected

    graph = tf.function(branches).get_concrete_function(tf.TensorSpec(())).graph
    library = {
        function.signature.name: function for function in graph.as_graph_def().library.function
    }
    kept = [name for name, function in library.items() if function.attr["_noinline"].b]
    calls = [
        node.attr["f"].func.name
        for function in library.values()
        for node in function.node_def
        if node.op.endswith("PartitionedCall")
    ]
    assert len(kept) == 1
    assert calls == kept


# Operations


def kinds_of(function):
    found = []
    with compat.operations_seen(lambda kind, inputs: found.append((kind, list(inputs)))):
        function()
    return found


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("eagerly", [False, True])
def test_operations_are_seen_with_the_variables_that_they_use(eagerly, jit):
    variable = tf.Variable([1.0, 2.0])

    def step():
        variable.assign_add([1.0, 1.0])
        return tf.cond(variable[0] > 0, lambda: tf.exp(variable), lambda: tf.zeros(2))

    run = step if eagerly else tf.function(step, jit_compile=jit)
    found = kinds_of(run)
    assert "AssignAddVariableOp" in [kind for kind, _ in found]
    handles = {id(h): h for _, inputs in found for h in compat.handles_of(inputs)}
    assert list(handles) == [id(handle) for handle in compat.handles_of_variable(variable)]
    seen = compat.VariableInUse(next(iter(handles.values())))
    assert (seen.shape, seen.dtype) == ((2,), "float32")
    assert np.asarray(seen).tolist() == [2.0, 3.0]
    seen.assign(np.zeros(2, "float32"))
    assert variable.numpy().tolist() == [0.0, 0.0]
    assert kinds_of(lambda: None) == []


def test_which_operations_draw_by_themselves():
    assert [k for k, _ in kinds_of(lambda: tf.random.normal((1,))) if compat.draws_by_itself(k)]
    for draw in (
        lambda: tf.random.stateless_normal((1,), (1, 2)),
        lambda: tf.random.Generator.from_seed(1).normal((1,)),
        lambda: keras.random.normal((1,), seed=1),
    ):
        assert not [k for k, _ in kinds_of(draw) if compat.draws_by_itself(k)]


def test_keras_gives_functions_of_compile_as_names_alone():
    def loss(y_true, y_pred):
        return keras.ops.square(y_true - y_pred)

    model = linear(keras.Model)
    model.compile("sgd", loss=loss)
    assert model.get_compile_config()["loss"]["config"] == "loss"
    assert compat.compile_options(model)["loss"] is loss


def test_keras_keeps_losses_of_calls_until_a_layer_is_called_again():
    layer = keras.layers.Dense(1, activity_regularizer="l2")
    model = keras.Sequential([keras.Input((2,)), layer, keras.layers.Identity()])
    model(np.ones((4, 2)))
    model.layers[1](np.ones((4, 1)))
    assert len(layer.losses) == 1  # Keras has mended it: `forget_losses_of_calls` may go
    compat.forget_losses_of_calls(model)
    assert layer.losses == []
