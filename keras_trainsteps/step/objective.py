"""`Objective`: which losses train which weights, and how often; one of those of a model."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

GIVEN = ("x", "y", "y_pred", "sample_weight", "training", "repeat")

Networks: TypeAlias = Any
"""A layer, model, or name of an attribute that is one; several; a dict to names of terms."""

Pairs: TypeAlias = list[tuple[Any, Any]]
"""Pairs of gradient and weight."""

Gradients: TypeAlias = Callable[..., Sequence[tuple[Any, Any]]]
"""From pairs of gradient and weight to such pairs; may take what gives them again, too."""


class Objective:
    """Losses together with what they train: one of several that a model pursues in a step.

    A method `objectives()` of a `LossAwareModel` returns them by name. They run in turn:
    each computes its losses from a forward pass of its own, with the weights that the ones
    before it left, and updates what it `trains`, and nothing else. A generative adversarial
    network has two, one for each network; a model without the method has one, named `loss`.

    Every term is logged by its name, and the weighted sum of the terms of an objective,
    with the losses that its networks add (`network.losses`), under that of the objective.

    Args:
        losses: A hook as `compute_losses`, which returns the same. It is called with those
            of `x`, `y`, `y_pred`, `sample_weight`, `training` and `repeat` that it names.
            `y_pred` is the output of the model's `call`, which runs for those alone that
            name it; `repeat` is the number of the repetition, from 0.
        trains: A layer or model, or the name of an attribute that is one; several of them;
            or a dict of these to names of terms. The networks of a dict share one forward
            pass, and all gradients are taken before any of them is updated; each has an
            optimizer and a log of its own, by its name. Default: all trainable weights.
        repeat: How often it is pursued with a batch, each time with a forward pass and
            random numbers of its own. Its log is over all of them.
        every: It is pursued in steps 0, `every`, `2 * every`, ... alone. What is not
            pursued costs nothing and counts nothing; an epoch without any is logged as NaN.
        when: A variable, or a function of the number of steps done so far: pursued where
            that is true. Default: always.
        after: Names of objectives before it that train some of the same weights, which is
            refused otherwise.
        gradients: A function from (gradient, weight) pairs to pairs, which are applied. If
            it takes two arguments, the second is a function that computes the pairs again,
            with the weights as they are then. Gradients are not scaled for float16 there;
            that of an embedding is a `tf.IndexedSlices`. On one replica alone.

    Raises:
        TypeError: For arguments of another kind, or a hook that needs other arguments.
        ValueError: For a `repeat` or `every` below 1, or nothing to train.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> class Ladder(LossAwareModel):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.low = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    ...         self.high = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    ...     def objectives(self):
    ...         return {
    ...             "small": Objective(self.small, trains=self.low),
    ...             "close": Objective(self.close, trains="high", repeat=2),
    ...         }
    ...     def small(self, x):
    ...         return {"size": keras.ops.square(self.low(x))}
    ...     def close(self, x, y):
    ...         return {"gap": keras.ops.square(self.high(self.low(x)) - y)}
    >>> model = Ladder()
    >>> model.compile({"small": "sgd", "close": keras.optimizers.Adam(0.01)})
    >>> history = model.fit(np.ones((8, 2)), np.ones((8, 1)), verbose=0)
    >>> sorted(history.history)
    ['close', 'gap', 'size', 'small']
    """

    def __init__(
        self,
        losses: Callable[..., Mapping[str, Any]],
        *,
        trains: Networks = None,
        repeat: int = 1,
        every: int = 1,
        when: keras.Variable | Callable[[Any], Any] | None = None,
        after: str | Iterable[str] = (),
        gradients: Gradients | None = None,
    ) -> None:
        if not callable(losses):
            raise TypeError(
                "`losses` must be a function that returns named losses, as `compute_losses`. "
                f"Received: {type(losses).__name__}. Pass e.g. `self.tell_apart`."
            )
        _require_count("repeat", repeat)
        _require_count("every", every)
        if when is not None and not (callable(when) or isinstance(when, _VARIABLES)):
            raise TypeError(
                "`when` must be a variable, or a function of the number of steps. Received: "
                f"{when!r}. Pass e.g. `lambda step: step >= 1000`, or a `keras.Variable`."
            )
        if gradients is not None and not callable(gradients):
            raise TypeError(
                "`gradients` must be a function from (gradient, weight) pairs to pairs. "
                f"Received: {type(gradients).__name__}."
            )
        if trains is not None and not isinstance(trains, str) and not _is_filled(trains):
            raise ValueError(
                "`trains` must name what is trained: a layer, several, or a dict of network to "
                f"names of terms. Received: {trains!r}. `None` trains all."
            )
        self.losses, self.trains = losses, trains
        self.repeat, self.every, self.when = repeat, every, when
        self.after = (after,) if isinstance(after, str) else tuple(after)
        self.gradients = gradients
        self.by_place, self.takes = _takes(losses)

    @property
    def takes_again(self) -> bool:
        """Whether `gradients` asks for a function that computes them again."""
        if self.gradients is None:
            return False
        parameters = inspect.signature(self.gradients).parameters.values()
        return sum(p.default is p.empty and p.kind is not p.VAR_KEYWORD for p in parameters) > 1

    @property
    def takes_output(self) -> bool:
        """Whether the hook asks for `y_pred`."""
        return "y_pred" in self.takes

    @property
    def is_conditional(self) -> bool:
        """Whether there are steps that do not pursue it."""
        return self.every > 1 or self.when is not None

    def due(self, steps: tf.Tensor) -> tf.Tensor | None:
        """Whether the step after so many pursues it, as a tensor; `None` for always."""
        asked = []
        if self.every > 1:
            asked.append(tf.equal(tf.math.floormod(steps, self.every), 0))
        if self.when is not None:
            is_function = callable(self.when) and not isinstance(self.when, _VARIABLES)
            asked.append(tf.cast(self.when(steps) if is_function else self.when, tf.bool))
        return tf.reduce_all(tf.stack(asked)) if asked else None


def called(objective: Objective, **given: Any) -> Any:
    """What the hook of an objective returns, called with what it takes of `given`."""
    if not objective.by_place:
        return objective.losses(**{name: given[name] for name in objective.takes})
    named = {name: given[name] for name in ("training", "repeat") if name in objective.takes}
    return objective.losses(*(given[name] for name in GIVEN[:4]), **named)


_VARIABLES = (keras.Variable, tf.Variable)


def require_hook(hook: Callable[..., Any]) -> None:
    """Refuses a `compute_losses` of a class that no step could call."""
    parameters = list(inspect.signature(hook).parameters)
    if not parameters or parameters[0] in GIVEN:
        raise TypeError(
            f"`compute_losses` must be a method. Received: {_place(hook)}, with {parameters}. "
            "Make `self` its first argument."
        )
    _takes(functools.partial(hook, None), "compute_losses", _place(hook))


def _place(hook: Callable[..., Any]) -> str:
    """A function by its name, file and line."""
    name = getattr(hook, "__qualname__", repr(hook))
    code = getattr(hook, "__code__", None)
    return repr(name) if code is None else f"{name!r} ({code.co_filename}:{code.co_firstlineno})"


def _takes(
    losses: Callable[..., Any], argument: str = "losses", place: str = ""
) -> tuple[bool, tuple[str, ...]]:
    """Whether a hook takes its arguments by place, as `compute_losses`, and which it takes."""
    signature = inspect.signature(losses)
    named = [p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL,)]
    names = [p.name for p in named[:4]]
    elsewhere = any(n in GIVEN and n != given for n, given in zip(names, GIVEN, strict=False))
    try:
        signature.bind(None, None, None, None, training=True)
    except TypeError:
        pass
    else:
        if not elsewhere:
            repeat = ("repeat",) if "repeat" in signature.parameters else ()
            return True, (*GIVEN[:5], *repeat)
    unknown = [
        p.name
        for p in named
        if p.kind is not p.VAR_KEYWORD
        and (p.kind is p.POSITIONAL_ONLY or (p.default is p.empty and p.name not in GIVEN))
    ]
    if unknown:
        raise TypeError(
            f"`{argument}` must take arguments among {list(GIVEN)}, by name. Received: "
            f"{place or _place(losses)}, which needs {unknown}. Rename them, "
            "or give them by `functools.partial`."
        )
    return False, tuple(p.name for p in named if p.name in GIVEN)


def _require_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"`{name}` must be an integer of at least 1. Received: {value!r}.")


def _is_filled(trains: Any) -> bool:
    return not isinstance(trains, (Mapping, Sequence, set)) or len(trains) > 0
