"""What works around Keras or TensorFlow, each with its issue and the version seen."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NoReturn

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from tensorflow.python.eager import record
from tensorflow.python.ops import control_flow_util


def in_xla() -> bool:
    """Whether ops are being traced for XLA, where every shape must be static.

    TensorFlow offers no public way to ask (seen in 2.21).
    """
    if tf.executing_eagerly():
        return False
    graph = tf.compat.v1.get_default_graph()
    return bool(control_flow_util.GraphOrParentsInXlaContext(graph))


@functools.cache
def functional_class() -> type[keras.Model]:
    """The class of Functional models, which Keras does not export (seen in 3.15.1).

    Every part is named, so that no counter of automatic names moves.
    """
    tensor = keras.Input((1,), name="functional_class_input")
    return type(keras.Model(tensor, tensor, name="functional_class"))


def makes_functional(
    cls: type[keras.Model], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bool:
    """Whether arguments of a constructor turn a model of class `cls` into a Functional one."""
    if issubclass(cls, (functional_class(), keras.Sequential)):
        return False
    given = [*args[:2], *(kwargs[name] for name in ("inputs", "outputs") if name in kwargs)]
    return len(given) == 2 and all(
        isinstance(leaf, keras.KerasTensor) for leaf in keras.tree.flatten(given)
    )


def global_random_state() -> keras.Variable | None:
    """The state of the generator that `keras.random` draws from when no seed is given.

    It belongs to no layer, and Keras exports it not (seen in 3.15.1). `None` when there is
    none yet: to make one would draw from Python's generator.
    """
    generator = global_state.get_global_attribute("global_seed_generator")
    return None if generator is None else generator.state


_twins: dict[Any, type[keras.Model]] = {}


def functional_twin(cls: type[keras.Model]) -> type[keras.Model]:
    """The subclass of `cls` that is a Functional model.

    `keras.Model.__init__` makes a subclass Functional by rewriting the bases of every
    class up to `Model`, after which models of these classes that define `call` fail
    ("Functional.__init__() missing 2 required positional arguments", seen in 3.15.1).
    """
    if cls in _twins:
        return _twins[cls]
    namespace = {"__module__": cls.__module__, "__doc__": cls.__doc__}
    twin = type(cls.__name__, (cls, functional_class()), namespace)
    twin.__qualname__ = cls.__qualname__
    registered = keras.saving.get_registered_name(cls)
    if ">" in registered:  # the twin is saved under the name of `cls`
        package, name = registered.split(">")
        keras.saving.register_keras_serializable(package, name)(twin)
        keras.saving.register_keras_serializable(package, name)(cls)
    _twins[cls] = twin
    return twin


def length_is_known(x: Any) -> bool:
    """Whether Keras knows how many batches `x` gives, and so asks for none beyond them."""
    if isinstance(x, tf.data.Dataset):
        return int(x.cardinality()) >= 0
    arrays = keras.tree.flatten(x)
    return all(
        leaf is None or tf.is_tensor(leaf) or hasattr(leaf, "__array__") for leaf in arrays
    )


@contextlib.contextmanager
def after(needed: Any) -> Iterator[None]:
    """Runs what is inside only once these tensors and operations are there.

    Keras fetches the next batch inside the compiled step; when there is none, whatever
    does not depend on the batch still runs: a phantom step (keras#23084, seen in 3.15.1).
    Variables are created outside the dependency, which XLA cannot lift.
    """
    flat = [
        part
        for part in tf.nest.flatten(needed, expand_composites=True)
        if tf.is_tensor(part) or isinstance(part, tf.Operation)
    ]
    if tf.executing_eagerly() or not flat:
        yield
        return

    def independent(next_creator: Any, **kwargs: Any) -> Any:
        with tf.control_dependencies(None):
            return next_creator(**kwargs)

    with tf.variable_creator_scope(independent), tf.control_dependencies(flat):
        yield


def created_outside(create: Callable[[], Any]) -> Any:
    """Creates variables outside of the function that is being traced.

    A `tf.function` that sees a variable created is traced a second time (seen in 2.21). It
    sees those of its own thread, also under `tf.init_scope`. A strategy belongs to a thread,
    too: under one there is no way around.
    """
    if tf.executing_eagerly() or tf.distribute.has_strategy():
        with tf.init_scope():
            return create()
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(create).result()


def after_loss(loss: tf.Tensor) -> contextlib.AbstractContextManager[None]:
    """Updates weights only once the loss has read them, and checked its inputs.

    The gradient of a factor of a penalty does not depend on the factor. TensorFlow's
    dependency optimizer then drops the order of its read and its update: now and then the
    loss, and the gradients of the other weights, see the factor of the next step (seen in
    2.21, also with stock Keras).
    """
    return after([loss])


class Model(keras.Model):
    """`keras.Model`, with what is private there under names of our own."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Model:
        if makes_functional(cls, args, kwargs):
            cls = functional_twin(cls)
        return super().__new__(cls, *args, **kwargs)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`, told whether `fit` calls it."""
        told = {_EVALUATION_OF_FIT: True} if is_evaluation_of_fit() else {}
        return super().evaluate(*args, **kwargs, **told)

    def declare_on_replicas(self, batch: Any) -> None:
        """Creates, for a batch, what no replica can create while its step is traced."""

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Called by Keras under a strategy, before the step is traced in the replicas, where
        # no variable can be created any more (seen in 3.15.1).
        strategy = self.distribute_strategy
        if strategy.num_replicas_in_sync == 1:
            super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)
            return
        if iterator is not None:
            data_batch = first_local_batch(iterator, strategy)
        super()._maybe_symbolic_build(data_batch=data_batch)
        with strategy.scope():
            trace(self.declare_on_replicas, data_batch)


def loss_tracker(model: keras.Model) -> keras.metrics.Metric | None:
    """The metric that logs the loss of a compiled model, which Keras keeps private."""
    return model._loss_tracker


def set_loss_tracker(model: keras.Model, tracker: keras.metrics.Metric) -> None:
    """Puts a tracker of ours in the place of Keras's own.

    Past `__setattr__`, which would list it once more among the metrics (seen in 3.15.1).
    """
    model.__dict__["_loss_tracker"] = tracker


def compile_metrics(model: keras.Model) -> keras.metrics.Metric | None:
    """The container of the metrics of `compile`, which Keras keeps private."""
    return model._compile_metrics


_EVALUATION_OF_FIT = "_use_cached_eval_dataset"  # what `fit` alone passes to `evaluate`
_of_fit = threading.local()


def is_evaluation_of_fit() -> bool:
    """Whether the `evaluate` that runs was called by `fit`, for validation."""
    return getattr(_of_fit, "evaluates", False)


def called_by_fit(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    """An `evaluate` with a signature of names alone, which `fit` may call in its own way.

    Keras passes a private keyword to it (seen in 3.15.1).
    """

    @functools.wraps(evaluate)
    def run(*args: Any, **kwargs: Any) -> Any:
        before = is_evaluation_of_fit()
        _of_fit.evaluates = kwargs.pop(_EVALUATION_OF_FIT, False)
        try:
            return evaluate(*args, **kwargs)
        finally:
            _of_fit.evaluates = before

    return run


def mask_of(tensor: Any) -> Any:
    """The mask that Keras attached to an output; `None` without one."""
    return getattr(tensor, "_keras_mask", None)


def with_mask_of(tensor: Any, other: tf.Tensor) -> tf.Tensor:
    """`other`, made of `tensor`, with the mask that Keras attached to `tensor`."""
    mask = mask_of(tensor)
    if mask is not None:
        other._keras_mask = mask
    return other


def layer_of(tensor: keras.KerasTensor) -> Any:
    """The layer or operation whose output a tensor of a graph is."""
    return tensor._keras_history.operation


def own_losses(layer: keras.layers.Layer) -> list[Any]:
    """What a layer itself, and none inside it, has passed to `add_loss` in this call."""
    return list(keras.layers.Layer._get_own_losses(layer))


def in_call() -> bool:
    """Whether the `call` of a layer or model is running, which Keras keeps to itself."""
    return global_state.get_global_attribute("current_call_ctx") is not None


class LossLayer(keras.layers.Layer):
    """A layer that gives losses when `model.losses` is read, and not when it is called.

    `keras.layers.Layer.losses` asks each layer for its own by a private method (seen in
    3.15.1).
    """

    def current_losses(self) -> list[Any]:
        """The losses of this layer with the weights as they are now."""
        return []

    def _get_own_losses(self) -> list[Any]:
        return self.current_losses()


def readable(x: Any) -> Any:
    """Arrays of text as arrays of objects, the only text that Keras reads (seen in 3.15.1)."""

    def as_objects(value: Any) -> Any:
        is_text = isinstance(value, np.ndarray) and value.dtype.kind in "SU"
        return value.astype(object) if is_text else value

    if not isinstance(x, (Mapping, tuple, list)):
        return x
    return keras.tree.map_structure(as_objects, x)


def as_in_fit(x: Any) -> Any:
    """Arrays as `fit` reads them: floats in `floatx`, which `train_on_batch` leaves out."""

    def cast(value: Any) -> Any:
        is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
        return value.astype(keras.config.floatx()) if is_float else value

    return keras.tree.map_structure(cast, readable(x))


def first_local_batch(iterator: Any, strategy: tf.distribute.Strategy) -> Any:
    """One batch of the first local replica, to build a model from.

    Keras averages the batches of all replicas for this, which fails for replicas with
    different numbers of rows, for strings and across workers (seen in 3.15.1).
    """
    for _, _, batches in iterator:
        batch = next(batches)
        return tf.nest.map_structure(
            lambda value: strategy.experimental_local_results(value)[0], batch
        )
    return None


def trace(function: Callable[[Any], None], batch: Any) -> None:
    """Traces `function` on batches of this kind, running nothing of it."""

    def spec(value: Any) -> Any:
        if value is None:
            return None
        tensor = tf.convert_to_tensor(value)
        return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)

    specs = tf.nest.map_structure(spec, batch)
    tf.function(function, autograph=False).get_concrete_function(specs)


def reducible_logs(logs: Any, strategy: tf.distribute.Strategy) -> Any:
    """The logs of a step in the shape in which Keras can average them over workers.

    With several workers Keras averages over the first axis, which scalars lack
    (`fit` raises in 3.15.1).
    """
    multi_worker = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if not multi_worker:
        return logs
    return tf.nest.map_structure(lambda value: tf.expand_dims(value, 0), logs)


_GRAPH = (
    "_outputs",
    "_outputs_struct",
    "_nodes",
    "_nodes_by_depth",
    "_operations",
    "_operations_by_depth",
)


def take_graph(model: keras.Model, grown: keras.Model) -> None:
    """Gives a Functional model the outputs, and with them the layers, of another one.

    Keras offers no way to extend a graph in place (seen in 3.15.1). The layers come in the
    order that a model newly made of these outputs has, since optimizer states are saved
    in it.
    """
    attached = [layer for layer in model._layers if layer not in model.layers]
    for layer in list(model._layers):
        model._tracker.untrack(layer)
    for name in _GRAPH:
        vars(model)[name] = vars(grown)[name]
    in_graph = {id(layer) for layer in model.layers}
    for layer in [*model.layers, *(one for one in attached if id(one) not in in_graph)]:
        model._tracker.track(layer)


def sublayers(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers inside a model, also those of layers, which Keras lists nowhere public."""
    layers: list[keras.layers.Layer] = model._flatten_layers(include_self=False)
    return layers


@contextlib.contextmanager
def unlocked(layer: keras.layers.Layer) -> Iterator[None]:
    """Lets a built layer take another sublayer, which Keras refuses (seen in 3.15.1)."""
    tracker = layer._tracker
    locked, tracker.locked = tracker.locked, False
    try:
        yield
    finally:
        tracker.locked = locked


def as_weight(variable: tf.Variable, name: str) -> keras.Variable:
    """A `tf.Variable` as a Keras variable that shares its value.

    Keras neither trains nor saves a `tf.Variable` that is an attribute of a model, and says
    nothing (seen in 3.15.1).
    """
    weight = keras.Variable(
        tf.zeros(variable.shape, variable.dtype),
        dtype=variable.dtype.name,
        trainable=variable.trainable and variable.dtype.is_floating,
        name=name,
    )
    weight._value = variable
    return weight


# What models and callbacks keep, by name


def node_of_outputs(model: keras.Model) -> Any:
    """The call of the one layer that gives all outputs of a Functional model, else `None`.

    Keras keeps for itself which call a tensor comes from (seen in 3.15.1).
    """
    histories = [tensor._keras_history for tensor in keras.tree.flatten(model.output)]
    layer, index = histories[0].operation, histories[0].node_index
    if any(history.operation is not layer for history in histories):
        return None
    return layer._inbound_nodes[index]


def tracked_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers right inside a layer, also those that no attribute holds.

    Keras lists them of models alone (seen in 3.15.1).
    """
    return list(getattr(layer, "_layers", ()))


_KERAS_ATTRIBUTES = frozenset(
    [
        "_tracker",
        "_tracked",
        "_layers",
        "_operations",
        "_operations_by_depth",
        "_nodes",
        "_nodes_by_depth",
        "_inbound_nodes",
        "_outbound_nodes",
        "_functional",
        "_metrics",
        "_loss_tracker",
        "_seed_generators",
        "_trainable_variables",
        "_non_trainable_variables",
        "_inputs",
        "_outputs",
        "_inputs_struct",
        "_outputs_struct",
        "_losses",
        "optimizer",
        "history",
        "_compile_metrics",
        "_compile_loss",
        "_compiled_trainable_state",
    ]
)


def is_keras_attribute(name: str) -> bool:
    """Whether an attribute of a layer or model is one in which Keras keeps its own lists.

    They hold what other attributes hold under names that users gave (seen in 3.15.1);
    those of TensorFlow begin with `_self_` (seen in 2.21).
    """
    return name in _KERAS_ATTRIBUTES or name.startswith("_self_")


# Not all of `vars`: `ReduceLROnPlateau` negates its `min_delta` in place on first use
# (seen in 3.15.1), and to restore it would negate it twice.
_REMEMBERED: dict[type[keras.callbacks.Callback], tuple[str, ...]] = {
    keras.callbacks.EarlyStopping: ("best", "wait", "best_epoch", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: (
        "best",
        "_batches_seen_since_last_saving",
        "_current_epoch",
        "_last_batch_seen",
    ),
}


def remembered_by(callback: keras.callbacks.Callback) -> tuple[str, ...] | None:
    """The attributes in which a callback of Keras keeps what it learned while training.

    `None` for a class that is not known here. Keras offers no way to save a callback's
    state (seen in 3.15.1).
    """
    for kind, names in _REMEMBERED.items():
        if isinstance(callback, kind):
            return names
    return None


# Metrics


def set_direction(metric: keras.metrics.Metric, direction: Literal["up", "down"]) -> None:
    """Says which values of a metric callbacks take for better in their mode `"auto"`.

    Keras reads it from a private attribute, and has no public way to say it (seen in
    3.15.1).
    """
    metric._direction = direction


# Optimizers

# Lists of what other attributes hold (seen in 3.15.1).
_OPTIMIZER_LISTS = ("_variables", "_trainable_variables", "_tracker")


def optimizer_attributes(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """What the attributes of an optimizer hold, by name, each once.

    Keras lists an optimizer's variables under names that are not unique; only attributes
    tell which weight each belongs to (seen in 3.15.1).
    """
    found = vars(optimizer)
    return {name.lstrip("_"): found[name] for name in found if name not in _OPTIMIZER_LISTS}


def optimized_weights(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The weights that an optimizer was built with, which Keras does not say (3.15.1)."""
    own = list(getattr(optimizer, "_trainable_variables", ()))
    inner = getattr(optimizer, "inner_optimizer", None)
    return own if own or inner is None else optimized_weights(inner)


def learning_rate_schedule(
    optimizer: keras.optimizers.Optimizer,
) -> keras.optimizers.schedules.LearningRateSchedule | None:
    """The schedule of an optimizer's learning rate, or `None` for a constant one.

    `optimizer.learning_rate` is the value at the present step (seen in 3.15.1).
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    rate = getattr(optimizer, "_learning_rate", None)
    return None if isinstance(rate, keras.Variable) else rate


class HandGradient:
    """A gradient written by hand, which no graph outlives.

    `tf.custom_gradient` registers a closure for each call that is traced, under a new name
    and for good, and with the closure its graph: every model leaks the graph of its loss
    (seen in 2.21). Here a gradient is registered once, and all that it needs goes through the
    graph. To differentiate it again raises, instead of being wrong, unless it may be.

    Args:
        name: A name that no other gradient has.
        gradient: `gradient(*upstream, *inputs, *saved)` with a slope for each input: one
            tensor, or a sequence.
        outputs: The number of tensors that are differentiated.
        inputs: The number of tensors that they are differentiated by.
        twice: Whether `gradient` may be differentiated in its turn.
    """

    def __init__(
        self,
        name: str,
        gradient: Callable[..., Any],
        *,
        outputs: int = 1,
        inputs: int = 1,
        twice: bool = False,
    ) -> None:
        self.name = f"keras_trainsteps.{name}"
        self.gradient = gradient
        self.outputs, self.inputs, self.twice = outputs, inputs, twice
        tf.RegisterGradient(self.name)(self._of_operation)

    def __call__(
        self,
        compute: Callable[..., tuple[Sequence[tf.Tensor], Sequence[tf.Tensor]]],
        *inputs: Any,
    ) -> list[tf.Tensor]:
        """The outputs of `compute(*inputs) -> (outputs, saved)`."""
        inputs = tuple(tf.convert_to_tensor(value) for value in inputs)
        with record.stop_recording():
            outputs, saved = compute(*inputs)
            outputs = _identities(self.name, [*outputs, *inputs, *saved])[: self.outputs]

        def slopes(*upstream: Any) -> list[tf.Tensor]:
            return self._slopes(upstream, inputs, saved)

        record.record_operation(self.name, outputs, inputs, slopes)
        return outputs

    def _of_operation(self, operation: tf.Operation, *upstream: Any) -> list[tf.Tensor | None]:
        first, last = self.outputs, self.outputs + self.inputs
        given = list(operation.inputs)
        slopes = self._slopes(upstream[:first], given[first:last], given[last:])
        return [*[None] * first, *slopes, *[None] * (len(given) - last)]

    def _slopes(
        self, upstream: Sequence[Any], inputs: Sequence[tf.Tensor], saved: Sequence[tf.Tensor]
    ) -> list[tf.Tensor]:
        upstream = [tf.convert_to_tensor(value) for value in upstream]  # of sparse ones too
        slopes = self.gradient(*upstream, *inputs, *saved)
        slopes = list(slopes) if isinstance(slopes, (list, tuple)) else [slopes]
        if self.twice:
            return slopes
        sources = [*upstream, *inputs]
        with record.stop_recording():
            final = _identities(_FINAL, [*slopes, *sources])[: len(slopes)]
        record.record_operation(_FINAL, final, [*slopes, *sources], _refuse_second_derivative)
        return final


_FINAL = "keras_trainsteps.final"


@tf.RegisterGradient(_FINAL)
def _refuse_second_derivative(*_: Any) -> NoReturn:
    raise NotImplementedError(
        "This loss has a first derivative only: its gradient is written by hand. Received: a "
        "request for the derivative of that gradient, as of nested tapes, a gradient penalty "
        "or a Hessian. Leave this loss out of the inner gradient."
    )


def _identities(name: str, values: list[tf.Tensor]) -> list[tf.Tensor]:
    """The values as outputs of one operation, whose gradient is registered as `name`."""
    if tf.executing_eagerly():
        return [tf.identity(value) for value in values]
    with tf.compat.v1.get_default_graph().gradient_override_map({"IdentityN": name}):
        return list(tf.identity_n(values))


def traced_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors that is traced once for each of their kinds, and not for each model.

    TensorFlow traces what a graph calls anew for each graph. A graph calls this as one
    operation. Eagerly, and in XLA, which wants static shapes, it runs as it is.
    """
    traced = tf.function(function, autograph=False, reduce_retracing=True)

    @functools.wraps(function)
    def call(*tensors: tf.Tensor) -> Any:
        as_it_is = tf.executing_eagerly() or in_xla()
        return function(*tensors) if as_it_is else traced(*tensors)

    return call
