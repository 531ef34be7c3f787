"""The objectives of a model as a step follows them: in parts, each with an optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step import names
from keras_trainsteps.step.objective import Objective, Pairs
from keras_trainsteps.step.terms import StepTerm
from keras_trainsteps.step.trained import (
    attribute_of,
    followed_weights,
    layers_of,
    require_layers,
    trained_weights,
)

WHOLE = "loss"
"""The name of the one objective of most models."""


class Part(NamedTuple):
    """What one optimizer trains of an objective, and one log tells of.

    Attributes:
        name: Of its optimizer and its log.
        trains: Its networks, as in `Objective`; `None` for all weights.
        terms: The names of its terms; `None` for all of the objective.
    """

    name: str
    trains: Any
    terms: tuple[str, ...] | None = None

    def of(self, terms: Sequence[StepTerm]) -> list[StepTerm]:
        """Its terms among those of the objective."""
        return [term for term in terms if self.terms is None or term.name in self.terms]


class Aim(NamedTuple):
    """An objective of a model, as a step follows it.

    Attributes:
        name: Its name.
        objective: What was said of it.
        parts: What it trains, each with an optimizer.
        hook: Gives its named losses; `None` for none.
        added: Gives what was added to the whole model, for a batch of so many rows.
        added_by: Gives what the networks of a part add; `None` where `added` has it all.
    """

    name: str
    objective: Objective
    parts: tuple[Part, ...]
    hook: Callable[..., Any] | None
    added: Callable[[tf.Tensor], Any]
    added_by: Callable[[Part, tf.Tensor], Any] | None = None

    @property
    def is_of_network(self) -> bool:
        """Whether it is one that a subclass names, and not the one of the whole model."""
        return self.added_by is not None

    @property
    def hook_name(self) -> str:
        """How errors call its hook."""
        named = getattr(self.objective.losses, "__name__", "losses")
        return named if self.is_of_network else "compute_losses"

    def pursue(self, update: Callable[[int], None], steps: Any) -> None:
        """Updates as often as it says, in a step after so many; or, where it says so, not."""

        def run() -> tf.Tensor:
            for number in range(self.objective.repeat):
                update(number)
            return tf.constant(True)

        due = self.objective.due(steps) if self.objective.is_conditional else None
        if due is None:
            run()
        else:
            tf.cond(due, run, lambda: tf.constant(False))

    @property
    def evaluations(self) -> range:
        """The repetitions that tell their losses: those that differ by more than random draws."""
        return range(self.objective.repeat if "repeat" in self.objective.takes else 1)

    def require_terms(self, terms: Iterable[StepTerm]) -> None:
        """Refuses terms that train no network, and names of none."""
        if self.parts[0].terms is None:
            return
        known = {term.name for term in terms}
        wanted = {name for part in self.parts for name in part.terms or ()}
        if known != wanted:
            raise ValueError(
                f"`trains` of objective {self.name!r} must name each of its terms. Received: "
                f"{sorted(wanted)}, where the terms are {sorted(known)}."
            )


def parts_of(model: keras.Model, name: str, objective: Objective) -> tuple[Part, ...]:
    """What an objective trains, in parts."""
    trains = objective.trains
    if not isinstance(trains, Mapping):
        return (Part(name, trains),)
    return tuple(
        Part(
            _name_of(model, network),
            network,
            (terms,) if isinstance(terms, str) else tuple(terms),
        )
        for network, terms in trains.items()
    )


def require_objectives(objectives: Any) -> None:
    """Refuses what is no dict of name to `Objective`, and an order that is none."""
    if not isinstance(objectives, Mapping) or not objectives:
        raise TypeError(
            "`objectives` must return a dict of name to `Objective`, in the order in which they "
            f"run. Received: {objectives!r}."
        )
    before: list[str] = []
    for name, objective in objectives.items():
        if not isinstance(objective, Objective):
            raise TypeError(
                f"`objectives` must return a dict of name to `Objective`. Received: {name!r} of "
                f"type {type(objective).__name__}. Write `Objective(self.{name}_losses, "
                "trains=...)`."
            )
        if unknown := sorted(set(objective.after) - set(before)):
            raise ValueError(
                f"`after` of objective {name!r} must name objectives that run before it. "
                f"Received: {unknown}, where these do: {before}."
            )
        before.append(name)


def part_names(model: keras.Model, objectives: Mapping[str, Objective]) -> list[str]:
    """The names of optimizers and logs, in order.

    Raises:
        ValueError: For names that cannot be logged, or two alike.
    """
    found = [
        part.name
        for name, objective in objectives.items()
        for part in parts_of(model, name, objective)
    ]
    names.require_parts_named(found)
    return found


def conditional_parts(model: keras.Model, objectives: Mapping[str, Objective]) -> frozenset[str]:
    """The names of logs that an epoch may have nothing of."""
    return frozenset(
        part.name
        for name, objective in objectives.items()
        if objective.is_conditional
        for part in parts_of(model, name, objective)
    )


def require_unchanged(
    model: keras.Model, aims: Sequence[Aim], objectives: Mapping[str, Objective]
) -> None:
    """Refuses other objectives than those that were decided on."""

    def summary(name: str, one: Objective) -> tuple[Any, ...]:
        said = (one.repeat, one.every, one.after, one.takes)
        return name, said, [(part.name, part.terms) for part in parts_of(model, name, one)]

    now = [summary(name, one) for name, one in objectives.items()]
    before = [summary(aim.name, aim.objective) for aim in aims]
    if now != before:
        raise ValueError(
            "`objectives` must return the same in every step. Received: "
            f"{now} after {before}. For phases give an objective a `when`; else compile again."
        )


def watched_alone(model: keras.Model, aim: Aim) -> list[tf.Variable] | None:
    """What a tape of an objective need watch; `None` for all, where weights are not known yet.

    Of networks that it calls and does not train, nothing is recorded.
    """
    if aim.objective.trains is None or not aim.is_of_network:
        return None
    networks = [one for part in aim.parts for one in layers_of(model, part.trains)]
    if not all(one.built for net in networks for one in (net, *compat.sublayers(net))):
        return None
    return [w.value for part in aim.parts for w in trained_weights(model, part.trains)]


def applied_pairs(
    aim: Aim, part: Part, optimizer: Any, pairs: Pairs, again: Callable[[], Pairs]
) -> Pairs:
    """The pairs of gradient and weight that an optimizer applies.

    Args:
        aim: The objective.
        part: The part of it.
        optimizer: Its optimizer.
        pairs: The pairs of its pass.
        again: Gives those of another pass with the weights as they are by then.
    """
    if aim.is_of_network and all(gradient is None for gradient, _ in pairs):
        raise ValueError(
            f"Objective {aim.name!r} must have a gradient for what it trains. Received: none "
            f"for any weight of {part.name!r}. Call its networks in the hook, without "
            "`stop_gradient`, or name what the losses depend on in `trains`."
        )
    if aim.objective.after:  # what another objective trains, this one may leave alone in part
        pairs = [(gradient, weight) for gradient, weight in pairs if gradient is not None]
    change = aim.objective.gradients
    if change is None:
        return pairs
    scale = optimizer.scale_loss(tf.constant(1.0))  # a power of two: exact
    given: list[Any] = [_times(pairs, 1.0 / scale)]
    if aim.objective.takes_again:
        given.append(lambda: _times(again(), 1.0 / scale))
    changed = list(change(*given))
    unknown = [weight for _, weight in changed if all(weight is not w for _, w in pairs)]
    if unknown:
        raise ValueError(
            f"`gradients` of objective {aim.name!r} must return pairs of gradient and weight, "
            f"of the weights that it was given. Received: {unknown[0]!r}."
        )
    return _times(changed, scale)


def _times(pairs: Pairs, factor: tf.Tensor) -> Pairs:
    return [(_scaled(gradient, factor), weight) for gradient, weight in pairs]


def _scaled(gradient: Any, factor: tf.Tensor) -> Any:
    if gradient is None:
        return None
    factor = tf.cast(factor, gradient.dtype)
    if isinstance(gradient, tf.IndexedSlices):  # of some rows of an embedding
        return tf.IndexedSlices(factor * gradient.values, gradient.indices, gradient.dense_shape)
    return factor * gradient


def require_apart(model: keras.Model, aims: Sequence[Aim]) -> None:
    """Refuses a network without weights, and weights that two objectives train unasked.

    Raises:
        ValueError: For either, or for a network that follows another one (`Ema`).
    """
    trained_by: dict[int, tuple[str, str]] = {}
    followed = {id(weight) for weight in followed_weights(model)}
    for aim in aims:
        for part in aim.parts:
            weights = trained_weights(model, part.trains)
            if not weights:
                raise ValueError(
                    f"`trains` of objective {aim.name!r} must name what has trainable weights. "
                    f"Received: {part.trains!r}, which has none. Is it frozen?"
                )
            for weight in weights:
                other, other_part = trained_by.get(id(weight), (None, None))
                if other is not None and other not in aim.objective.after:
                    raise ValueError(
                        "`trains` must name what no other objective trains. Received: the "
                        f"weight {weight.path!r} in {part.name!r} and in {other_part!r}. Name "
                        f"the networks of each; if both are to train it, say `after={other!r}` "
                        "in the later one."
                    )
                if id(weight) in followed:
                    raise ValueError(
                        "`trains` must not name what follows another network. Received: the "
                        f"weight {weight.path!r} in {part.name!r}, of which `Ema` sets it."
                    )
            trained_by |= {id(weight): (aim.name, part.name) for weight in weights}


def _name_of(model: keras.Model, network: Any) -> str:
    if isinstance(network, (list, tuple)):
        return "_".join(_name_of(model, one) for one in network)
    require_layers(model, network)
    return network if isinstance(network, str) else attribute_of(model, network)
