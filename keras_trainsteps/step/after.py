"""What follows once in a step, when every objective has been pursued."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import keras

Steps: TypeAlias = Any
"""A number of steps: a scalar tensor of int64."""

Passed: TypeAlias = Mapping[str, Any]
"""What hooks have passed on, by name."""


@runtime_checkable
class Rule(Protocol):
    """What an entry of `after_step` must have, unless it is a function.

    Attributes:
        reads_batch: Whether it reads what hooks pass on, and not the model alone.
    """

    reads_batch: bool

    def prepare(self, model: keras.Model) -> None:
        """Makes the weights that it needs, in a new model."""

    def require(self, model: keras.Model) -> None:
        """Refuses a model that does not have what it needs."""

    def follow(self, model: keras.Model, steps: Steps, passed: Passed) -> None:
        """Changes the model after a step.

        Args:
            model: The model.
            steps: The number of steps before this one.
            passed: What hooks have passed on in this step, by name.
        """


AfterStep: TypeAlias = Rule | Callable[..., None]
"""`Ema`, `Queue`, or a function of the model and of what was passed on."""


def prepare(model: Any) -> None:
    """Makes the weights of what follows the steps of a new model, where its class says so."""
    for rule in _rules(getattr(type(model), "after_step", ())):
        if isinstance(rule, Rule):
            rule.prepare(model)


def require(model: Any) -> None:
    """Refuses entries of `after_step` that are none, and a model that does not fit them."""
    for rule in model.after_step:
        if isinstance(rule, Rule):
            rule.require(model)
        elif not callable(rule):
            raise TypeError(
                "`after_step` must hold `Ema`, `Queue` and functions of the model. Received: "
                f"{rule!r}."
            )


def follow(model: Any, steps: Steps, passed: Passed, *, reads_batch: bool | None = None) -> None:
    """Does what follows a step, in order.

    Args:
        model: The model.
        steps: The number of steps, or of updates, before this one.
        passed: What hooks have passed on, by name.
        reads_batch: Which of the rules: those that read what was passed on, or those that
            read the model alone. Default: all.
    """
    require(model)
    for rule in model.after_step:
        names = [] if isinstance(rule, Rule) else list(inspect.signature(rule).parameters)[1:]
        reads = rule.reads_batch if isinstance(rule, Rule) else bool(names)
        if reads_batch is not None and reads != reads_batch:
            continue
        if isinstance(rule, Rule):
            rule.follow(model, steps, passed)
        else:
            rule(model, *(taken(passed, name, rule.__name__) for name in names))


def taken(passed: Mapping[str, Any], name: str, reader: str) -> Any:
    """What was passed on under a name.

    Raises:
        ValueError: If nothing was.
    """
    if name not in passed:
        raise ValueError(
            f"`after_step` needs what a hook passes on in every step. Received: nothing under "
            f"{name!r} for {reader!r}, of {sorted(passed)}. Call `self.pass_on({name!r}, ...)` "
            "in a hook."
        )
    return passed[name]


def _rules(given: Any) -> Iterable[Any]:
    return given if isinstance(given, (list, tuple)) else ()
