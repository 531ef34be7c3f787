"""What TensorFlow runs, in which order, and how often it is traced."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.ops import control_flow_util


def in_xla() -> bool:
    """Whether ops are being traced for XLA, where every shape must be static.

    TensorFlow offers no public way to ask (seen in 2.21).
    """
    if tf.executing_eagerly():
        return False
    graph = tf.compat.v1.get_default_graph()
    return bool(control_flow_util.GraphOrParentsInXlaContext(graph))


_OF_SHAPES = ("Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike")


def values_flow(sources: Iterable[tf.Tensor], into: Any) -> bool:
    """Whether the values of one of these tensors, not just their shapes, make up `into`.

    Calls of other graphs are not looked into. Eagerly a tensor does not say what it is made
    of: there it must be one of `sources` itself.
    """
    sources = list(sources)
    if any(into is source for source in sources):
        return True
    if tf.executing_eagerly() or not tf.is_tensor(into):
        return False
    ends = {id(source.op) for source in sources if hasattr(source, "op")}
    seen: set[int] = set()
    open_ops = [into.op]
    while open_ops:
        op = open_ops.pop()
        if id(op) in ends:
            return True
        if id(op) not in seen and op.type not in _OF_SHAPES:
            seen.add(id(op))
            open_ops += [source.op for source in op.inputs if source.dtype != tf.resource]
    return False


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


def assign_on_replicas(pairs: Sequence[tuple[Any, tf.Tensor]]) -> None:
    """Gives variables new values, on each replica its own.

    A weight that is trained has no rule by which TensorFlow would make one value of those of
    several replicas; optimizers update each copy in its place, too (seen in Keras 3.15.1).
    """
    if tf.distribute.in_cross_replica_context() or _is_alone():
        for variable, value in pairs:
            variable.assign(value)
        return

    def assign(strategy: tf.distribute.Strategy, values: Sequence[Any]) -> None:
        for (variable, _), value in zip(pairs, values, strict=True):
            raw = variable.value if isinstance(variable, keras.Variable) else variable
            strategy.extended.update(raw, _assigned, args=(value,), group=False)

    context = tf.distribute.get_replica_context()
    context.merge_call(assign, args=([value for _, value in pairs],))


def _is_alone() -> bool:
    return int(tf.distribute.get_strategy().num_replicas_in_sync) == 1


def _assigned(variable: tf.Variable, value: tf.Tensor) -> Any:
    return variable.assign(value)


def trace_only(function: Callable[[Any], Any], data: Any) -> None:
    """Traces a function of a batch, and runs nothing of it."""

    def run(batch: Any) -> None:
        function(batch)

    tf.function(run, autograph=False).get_concrete_function(data)


def after_loss(loss: Any) -> contextlib.AbstractContextManager[None]:
    """Updates weights only once the loss has read them, and checked its inputs.

    The gradient of a factor of a penalty does not depend on the factor. TensorFlow's
    dependency optimizer then drops the order of its read and its update: now and then the
    loss, and the gradients of the other weights, see the factor of the next step (seen in
    2.21, also with stock Keras).
    """
    return after([loss])  # of each part of an objective


@contextlib.contextmanager
def without_exchange(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Keeps an optimizer from adding up gradients over its one replica.

    Keras does so by a `tf.custom_gradient`, which TensorFlow registers for good, and with it
    the graph of the step: no model that was trained ever leaves memory (seen in Keras 3.15.1
    and TensorFlow 2.21).
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    inner.__dict__["_all_reduce_sum_gradients"] = _at_once
    try:
        yield
    finally:
        del inner.__dict__["_all_reduce_sum_gradients"]


def _at_once(grads_and_vars: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Pairs of gradient and variable, with all gradients through one operation.

    What waits for the loss is this one, as in Keras: what an optimizer computes from a
    gradient is rewritten by TensorFlow, which then waits for the loss no more (seen in 2.21).
    """
    gradients, variables = zip(*grads_and_vars, strict=True)
    flat = tf.nest.flatten(gradients, expand_composites=True)  # sparse ones have two tensors
    given = [tensor for tensor in flat if tensor is not None]
    passed = iter(tf.identity_n(given) if given else [])
    flat = [None if tensor is None else next(passed) for tensor in flat]
    gradients = tf.nest.pack_sequence_as(gradients, flat, expand_composites=True)
    return list(zip(gradients, variables, strict=True))


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


def loaded_when_run(function: Callable[[], Any]) -> Callable[[], Any]:
    """A branch of `tf.cond` that TensorFlow does not prepare before it is taken.

    It builds the operations of both branches into the graph that asks, and optimizes and
    loads all of them with the first step of each model (seen in 2.21). A branch of many
    operations that is seldom taken is left a function here. Eagerly it runs as it is.
    """
    if tf.executing_eagerly():
        return function
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})
