"""The pursuit of objectives within a step: forward, gradients, updates, and what follows."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step import after, padding, running
from keras_trainsteps.step.aims import (
    Aim,
    Part,
    applied_pairs,
    require_apart,
    require_unchanged,
    watched_alone,
)
from keras_trainsteps.step.batch import Batch
from keras_trainsteps.step.objective import Pairs
from keras_trainsteps.step.optimizers import Optimizers
from keras_trainsteps.step.plan import Plan
from keras_trainsteps.step.trained import trained_weights, warn_of_hook_alone


def output(model: Any, aim: Aim, batch: Batch, step: running.Running, *, training: bool) -> Any:
    """The output of the network for an objective, if it asks for it."""
    if aim.is_of_network:
        compat.forget_losses_of_calls(model)
        if not aim.objective.takes_output:
            return None
        if not training and step.y_pred is not None:
            return step.y_pred  # weights stay as they are
    y_pred = model._forward(batch.x, step.row_mask, training=training)
    if not (training and aim.objective.is_conditional):
        step.y_pred = y_pred
    return y_pred


def update(model: Any, aim: Aim, batch: Batch, step: running.Running, repeat: int) -> None:
    """One update of what an objective trains."""
    padding.require_rowwise_network(compat.sublayers(model), step.row_mask)
    once = functools.partial(_gradients, model, aim, batch, step, repeat)
    scaled, gradients = once(track=True)  # all of them before the first update
    alone = model.distribute_strategy.num_replicas_in_sync == 1
    for place, (part, pairs) in enumerate(zip(aim.parts, gradients, strict=True)):
        optimizer = _optimizer_of(model, part)
        if optimizer is None:
            _refuse_to_train(pairs)
            continue
        exchange = compat.without_exchange(optimizer) if alone else contextlib.nullcontext()
        with compat.after_loss(scaled), exchange:
            again = functools.partial(_of_part, once, place)
            if pairs := applied_pairs(aim, part, optimizer, pairs, again):
                optimizer.apply_gradients(pairs)


def steps_done(model: Any, plan: Plan) -> Any:
    """The number of steps so far, where anything asks for it."""
    asked = model.after_step or not plan.is_whole
    if model.optimizer is None and not plan.is_whole:
        _refuse_to_train(plan.aims)
    if not asked or model.optimizer is None:
        return None
    return tf.convert_to_tensor(model.optimizer.iterations)


def end(model: Any, plan: Plan, step: running.Running, steps: Any) -> None:
    """What follows once in a step, when every objective has been pursued."""
    if model.after_step:
        after.follow(model, steps, step.passed)
    if isinstance(model.optimizer, Optimizers):
        build_without_call(model)
        require_apart(model, plan.aims)
        plan.compiled.weights.require_terms(plan.log.logged_weights)
        model.optimizer.count_step()


def rehearse(model: Any, data: Any) -> None:
    """Traces an eager step before the first, so that nothing is refused after an update."""
    asked = model.after_step or not model._plan.is_whole
    if not (asked and tf.executing_eagerly()):
        return
    require_same(model)
    if model._training.rehearsed is not model._plan:
        compat.trace_only(model.train_step, data)
        model._training.rehearsed = model._plan


def require_same(model: Any) -> None:
    """Refuses objectives that are no longer those that the step was planned for."""
    if model._has_objectives:
        require_unchanged(model, model._plan.aims, model._objectives())


def build_without_call(model: Any) -> None:
    """Says that a model without a `call` of its own is built once its networks are."""
    has_call = type(model).call is not keras.Model.call
    networks = compat.sublayers(model)
    if not has_call and networks and all(network.built for network in networks):
        model.built = True


def trained_by_part(reference: Callable[[], Any]) -> dict[str, list[keras.Variable]]:
    """What each optimizer of a model trains, by name; the model by a weak reference."""
    model = reference()
    return {
        part.name: trained_weights(model, part.trains)
        for aim in model._plan.aims
        for part in aim.parts
    }


def _gradients(
    model: Any, aim: Aim, batch: Batch, step: running.Running, repeat: int, *, track: bool
) -> tuple[list[tf.Tensor], list[Pairs]]:
    """The scaled losses of the parts of an objective, and their gradients with weights."""
    watched = watched_alone(model, aim)
    several = len(aim.parts) > 1
    with tf.GradientTape(several, watch_accessed_variables=watched is None) as tape:
        tape.watch(watched or ())
        y_pred = output(model, aim, batch, step, training=True)
        reached = tape.watched_variables()
        losses = model._plan.losses(aim, batch, y_pred, training=True, repeat=repeat)
        if track:
            model._plan.log.track(losses, training=True)
        optimizers = [_optimizer_of(model, part) for part in aim.parts]
        scaled = [
            optimizer.scale_loss(each.loss) if optimizer else each.loss
            for optimizer, each in zip(optimizers, losses, strict=True)
        ]
    weights = [trained_weights(model, part.trains) for part in aim.parts]
    if aim.hook is not None and aim.objective.trains is None:
        warn_of_hook_alone(model, tape.watched_variables(), reached, model._training.warned)
    if aim.is_of_network and not all(weights):
        require_apart(model, [aim])  # says so
    if not any(weights):
        warnings.warn("The model does not have any trainable weights.", stacklevel=2)
    gradients = [tape.gradient(*each) for each in zip(scaled, weights, strict=True)]
    pairs = [list(zip(*each, strict=True)) for each in zip(gradients, weights, strict=True)]
    return scaled, pairs


def _optimizer_of(model: Any, part: Part) -> Any:
    several = isinstance(model.optimizer, Optimizers)
    return model.optimizer[part.name] if several else model.optimizer


def _refuse_to_train(weights: Sequence[Any]) -> None:
    """Refuses to train any of these without an optimizer."""
    if weights:
        raise ValueError(
            "`optimizer` of `compile` must be given to train. Received: `None`. Compile with one, "
            "e.g. `optimizer='adam'`; evaluation and prediction need none."
        )


def _of_part(once: Callable[..., tuple[Any, list[Pairs]]], place: int) -> Pairs:
    """The gradients of one part, from another pass with the weights as they are by now."""
    return once(track=False)[1][place]
