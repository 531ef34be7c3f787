"""The pursuit of objectives within a step: forward, gradients, updates, and what follows."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step import after, loss_schedules, padding, running
from keras_trainsteps.step.accumulation import (
    Quotient,
    quotients_of,
    require_constant_counts,
)
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
    y_pred = model._forward(batch.x, step, training=training)
    if not (training and aim.objective.is_conditional):
        step.y_pred = y_pred
    return y_pred


def update(model: Any, aim: Aim, batch: Batch, step: running.Running, repeat: int) -> None:
    """One update of what an objective trains; or its gradients, summed up for a later one."""
    padding.require_rowwise_network(compat.sublayers(model), step.row_mask)
    once = functools.partial(_gradients, model, aim, batch, step, repeat)
    computed = once(track=True)  # all of them before the first update
    with compat.after_loss([part.scaled for part in computed]):
        if model._training.accumulation is not None:
            _accumulate(model, aim, computed)
            return
        for place, part in enumerate(computed):
            _apply(model, aim, part.part, part.pairs, functools.partial(_of_part, once, place))


def update_by_group(model: Any) -> None:
    """One update by the gradients of a group of steps, and what follows it."""
    plan, accumulation = model._plan, model._training.accumulation
    steps = steps_done(model, plan)
    for aim in plan.aims:  # one: see `fitting.require_accumulates`
        for part in aim.parts:
            _apply(model, aim, part, accumulation.pairs(part.name), list)
    _follow_update(model, steps, {}, reads_batch=False)


def steps_done(model: Any, plan: Plan) -> Any:
    """The number of steps so far, where anything asks for it."""
    asked = model.after_step or not plan.is_whole
    if model.optimizer is None and not plan.is_whole:
        _refuse_to_train(plan.aims)
    if not asked or model.optimizer is None:
        return None
    return tf.convert_to_tensor(model.optimizer.iterations)


def follow_schedules(model: Any, plan: Plan) -> None:
    """Has loss weights follow the number of steps so far."""
    scheduled = plan.compiled.weights.scheduled
    if scheduled and model.optimizer is not None:
        loss_schedules.follow(scheduled, model.optimizer.iterations)


def end(model: Any, plan: Plan, step: running.Running, steps: Any) -> None:
    """What follows once in a step, when every objective has been pursued."""
    if isinstance(model.optimizer, Optimizers):
        build_without_call(model)
        require_apart(model, plan.aims)
        plan.compiled.weights.require_terms(plan.log.logged_weights)
    if model._training.accumulation is None:
        _follow_update(model, steps, step.passed)
    elif model.after_step:
        after.follow(model, steps, step.passed, reads_batch=True)


def rehearse(model: Any, data: Any) -> None:
    """Traces an eager step before the first, so that nothing is refused after an update."""
    asked = model.after_step or not model._plan.is_whole or model._training.micro_batches
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


class _Computed(NamedTuple):
    """What one pass has computed for a part of an objective.

    Attributes:
        part: The part.
        weights: What it trains.
        quotients: Its loss: whole, or in parts of one count each.
        scaled: Their values, scaled for float16.
        gradients: Those of each of these, by each weight.
    """

    part: Part
    weights: list[keras.Variable]
    quotients: list[Quotient]
    scaled: list[tf.Tensor]
    gradients: list[list[Any]]

    @property
    def pairs(self) -> Pairs:
        """The gradients of the whole loss, with the weights."""
        return list(zip(self.gradients[0], self.weights, strict=True))


def _gradients(
    model: Any, aim: Aim, batch: Batch, step: running.Running, repeat: int, *, track: bool
) -> list[_Computed]:
    """The scaled losses of the parts of an objective, and their gradients."""
    watched = watched_alone(model, aim)
    in_groups = model._training.accumulation is not None
    several = len(aim.parts) > 1 or in_groups
    with tf.GradientTape(several, watch_accessed_variables=watched is None) as tape:
        tape.watch(watched or ())
        step.tape, step.passes = tape, None
        y_pred = output(model, aim, batch, step, training=True)
        reached = step.passes.reached if step.passes else tape.watched_variables()
        losses = model._plan.losses(aim, batch, y_pred, training=True, repeat=repeat)
        if track:
            model._plan.log.track(losses, training=True)
        quotients = [
            quotients_of(each) if in_groups else [Quotient((), each.loss)] for each in losses
        ]
        scaled = [
            [_scaled(_optimizer_of(model, part), each.value) for each in of_part]
            for part, of_part in zip(aim.parts, quotients, strict=True)
        ]
    weights = [trained_weights(model, part.trains) for part in aim.parts]
    if aim.hook is not None and aim.objective.trains is None:
        warn_of_hook_alone(model, tape.watched_variables(), reached, model._training.warned)
    if aim.is_of_network and not all(weights):
        require_apart(model, [aim])  # says so
    if not any(weights):
        warnings.warn("The model does not have any trainable weights.", stacklevel=2)
    passes = step.passes
    gradient = functools.partial(passes.gradients, tape) if passes else tape.gradient
    if in_groups:
        for of_part, trained in zip(quotients, weights, strict=True):
            require_constant_counts(gradient, of_part, trained)
    gradients = [
        [gradient(value, trained) for value in values]
        for values, trained in zip(scaled, weights, strict=True)
    ]
    return list(map(_Computed, aim.parts, weights, quotients, scaled, gradients))


def _scaled(optimizer: Any, loss: tf.Tensor) -> tf.Tensor:
    return optimizer.scale_loss(loss) if optimizer else loss


def _accumulate(model: Any, aim: Aim, computed: Iterable[_Computed]) -> None:
    """Adds gradients to those of the group, and updates by them at its end."""
    accumulation = model._training.accumulation
    if not model.optimizer.built:  # not within a branch
        weights = [weight for each in computed for weight in each.weights]
        compat.created_outside(functools.partial(model.optimizer.build, weights))
    for part, weights, quotients, _, gradients in computed:
        accumulation.add(part.name, quotients, gradients, weights)
    accumulation.end_step(functools.partial(update_by_group, model))


def _apply(model: Any, aim: Aim, part: Part, pairs: Pairs, again: Callable[[], Pairs]) -> None:
    """Updates what a part of an objective trains."""
    optimizer = _optimizer_of(model, part)
    if optimizer is None:
        _refuse_to_train(pairs)
        return
    alone = model.distribute_strategy.num_replicas_in_sync == 1
    exchange = compat.without_exchange(optimizer) if alone else contextlib.nullcontext()
    with exchange:
        if pairs := applied_pairs(aim, part, optimizer, pairs, again):
            optimizer.apply_gradients(pairs)


def _follow_update(
    model: Any, steps: Any, passed: after.Passed, *, reads_batch: bool | None = None
) -> None:
    """What follows an update of all objectives."""
    if model.after_step:
        after.follow(model, steps, passed, reads_batch=reads_batch)
    if isinstance(model.optimizer, Optimizers):
        model.optimizer.count_step()


def _optimizer_of(model: Any, part: Part) -> Any:
    several = isinstance(model.optimizer, Optimizers)
    return model.optimizer[part.name] if several else model.optimizer


def _refuse_to_train(weights: Sequence[Any]) -> None:
    """Refuses to train any of these without an optimizer."""
    if weights:
        raise ValueError(
            "`optimizer` of `compile` must be given to train. Received: `None`. Compile with "
            "one, e.g. `optimizer='adam'`; evaluation and prediction need none."
        )


def _of_part(once: Callable[..., list[_Computed]], place: int) -> Pairs:
    """The gradients of one part, from another pass with the weights as they are by now."""
    return once(track=False)[place].pairs
