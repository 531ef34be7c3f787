"""What Keras does around a step: building, reading arrays, logs of replicas."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps.compat.functional import functional_twin, makes_functional


def length_is_known(x: Any) -> bool:
    """Whether Keras knows how many batches `x` gives, and so asks for none beyond them."""
    if isinstance(x, tf.data.Dataset):
        return int(x.cardinality()) >= 0
    arrays = keras.tree.flatten(x)
    return all(
        leaf is None or tf.is_tensor(leaf) or hasattr(leaf, "__array__") for leaf in arrays
    )


def shapes_are_static(x: Any) -> bool:
    """Whether all batches of `x` have one shape, but for a shorter last one of arrays."""
    if isinstance(x, tf.data.Dataset):
        specs = tf.nest.flatten(x.element_spec)
        return all(spec.shape.is_fully_defined() for spec in specs)
    return length_is_known(x)


def may_begin_again(x: Any, steps: int | None) -> bool:
    """Whether an epoch of `x` may hold the end of one pass and the beginning of the next."""
    if isinstance(x, tf.data.Dataset) and x.cardinality() == tf.data.INFINITE_CARDINALITY:
        return True
    return steps is not None and not length_is_known(x)


def sources_of(x: Any) -> list[tf.data.Dataset]:
    """A dataset, and all that it is made of, which TensorFlow keeps private (seen in 2.21)."""
    if not isinstance(x, tf.data.Dataset):
        return []
    inner = [sources_of(source) for source in x._inputs()]
    return [x, *(source for sources in inner for source in sources)]


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

    def __reduce__(self) -> Any:
        """As in Keras, by the file of the model, and not by its class.

        Keras names a method of the class, which pickle imports (seen in 3.15.1): a class made
        of another one, as `functional_twin`, cannot be imported.
        """
        _, arguments = super().__reduce__()
        return Model._unpickle_model, arguments

    def declare_on_replicas(self, batch: Any) -> None:
        """Creates, for a batch, what no replica can create while its step is traced."""

    def end_batches(self) -> None:
        """What follows the last batch of an epoch or of an evaluation, before its logs."""

    def _get_metrics_result_or_logs(self, logs: Any) -> Any:
        # Called by `fit` between the last step and validation, which has no other hook for it,
        # and by `evaluate` (seen in 3.15.1).
        self.end_batches()
        return super()._get_metrics_result_or_logs(logs)

    def compare_workers(self, batch: Any, num_batches: int | None) -> None:
        """Refuses workers that differ, before their first step."""

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
        self.compare_workers(data_batch, getattr(iterator, "num_batches", None))


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


def compiles_by_itself(model: keras.Model) -> bool:
    """Whether Keras would compile the steps of `model` by XLA on this machine."""
    return bool(model._resolve_auto_jit_compile())


def save_as_compiled(model: keras.Model, **options: Any) -> None:
    """Keeps options in the config of `compile` as they were given.

    Keras puts there what `jit_compile="auto"` means on this machine, of which the next one may
    lack the accelerator, and no options but its own (seen in 3.15.1).
    """
    model._compile_config.config.update(options)


def updated_by_two_weights(
    metrics: keras.metrics.Metric, y: Any, y_pred: Any, unweighted: Any, weighted: Any
) -> None:
    """Updates the metrics of `compile`, those without weights by some, too.

    Keras hands weights to `weighted_metrics` alone (seen in 3.15.1).
    """
    if not metrics.built:
        metrics.build(y, y_pred)
    kinds = metrics._flat_metrics, metrics._flat_weighted_metrics
    try:
        for each, weights in zip(kinds, (unweighted, weighted), strict=True):
            metrics._flat_metrics, metrics._flat_weighted_metrics = [], each
            metrics.update_state(y, y_pred, weights)
    finally:
        metrics._flat_metrics, metrics._flat_weighted_metrics = kinds


def strategy_of(model: keras.Model) -> tf.distribute.Strategy | None:
    """The strategy under which a model was made; `None` for none.

    `model.distribute_strategy` is that of the scope one stands in, for a model that was made
    without (seen in 3.15.1).
    """
    return model._distribute_strategy


def callbacks_in(callbacks: Any) -> list[keras.callbacks.Callback]:
    """The callbacks that `fit` was given: one, several, or a `CallbackList`."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return [each for each in keras.tree.flatten(callbacks) if each is not None]


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


def kind_of(value: Any) -> tf.TensorSpec | None:
    """What is the same for a part of every batch: its dtype, and its shape but for the rows."""
    if value is None:
        return None
    tensor = tf.convert_to_tensor(value)
    return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)


def trace(function: Callable[[Any], None], batch: Any) -> None:
    """Traces `function` on batches of this kind, running nothing of it."""
    specs = tf.nest.map_structure(kind_of, batch)
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
