"""What `compile`, `fit` and `evaluate` are given: refused where Keras would take it silently."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.aims import require_apart
from keras_trainsteps.step.log import Log
from keras_trainsteps.step.plan import Plan
from keras_trainsteps.step.trained import trained_weights


def require_batch_size(batch_size: Any) -> None:
    """Refuses a batch size below 1, for which Keras takes its default or worse."""
    if batch_size is not None and batch_size < 1:
        raise ValueError(
            f"`batch_size` must be an integer of at least 1, or `None` for 32. "
            f"Received: {batch_size!r}."
        )


def require_targets_of_weights(y: Any, sample_weight: Any) -> None:
    """Refuses weights without targets, which Keras drops on the way to the step."""
    if sample_weight is not None and y is None:
        raise ValueError(
            "`sample_weight` weighs the loss of targets. Received: weights without `y`, which "
            "Keras would drop. Pass the weights as an entry of `x`, and name it in the loss."
        )


def require_supported_strategy(model: keras.Model) -> None:
    """Refuses what Keras fails on, or runs on one device, under a strategy (seen in 3.15.1)."""
    strategy = model.distribute_strategy
    current, own = tf.distribute.get_strategy(), compat.strategy_of(model)
    if tf.distribute.has_strategy() and current is not own:
        made = "outside of any" if own is None else "under another"
        raise ValueError(
            "A model must be made under the strategy that it is fitted under. Received: a model "
            f"made {made}, within the scope of a {type(current).__name__}. Make it and compile "
            "it in `with strategy.scope():` of that one, or call `fit` outside of the scope."
        )
    if strategy.num_replicas_in_sync == 1:
        return
    if model.steps_per_execution > 1:
        raise ValueError(
            "`steps_per_execution` must be 1 with several replicas: Keras fails on "
            f"more (seen in 3.15.1). Received: {model.steps_per_execution}. "
            "Compile with `steps_per_execution=1`."
        )
    if model.jit_compile is True:
        raise ValueError(
            "`jit_compile` must be `False` with several replicas: XLA cannot exchange numbers "
            "between them. Received: True. Compile with `jit_compile=False`."
        )


def build_optimizer(model: Any, plan: Plan) -> None:
    """Makes the state of the optimizer before the first step is traced.

    A `tf.function` that creates variables is traced a second time.
    """
    optimizer = model.optimizer
    one_replica = model.distribute_strategy.num_replicas_in_sync == 1
    if not plan.is_whole and model.built:
        require_apart(model, plan.aims)
    if one_replica and model.built and optimizer is not None and not optimizer.built:
        optimizer.build(trained_weights(model, model.trains))


def require_not_fitting(log: Log) -> None:
    """Refuses to add or remove terms while `fit` runs."""
    if log.fitting:
        raise ValueError(
            "Losses and metrics must be added and removed before or after `fit`. "
            "Received: a call while it runs. To switch a term during training, give it a "
            "`keras.Variable(1.0, trainable=False)` in `loss_weights`."
        )


def as_metric_objects(metrics: Any) -> Any:
    """Metrics with an object for each class that is given, as Keras makes them."""
    return keras.tree.map_structure(
        lambda metric: metric() if inspect.isclass(metric) else metric, metrics
    )
