"""The variables of an optimizer, by the weight that each belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from keras_trainsteps import compat
from keras_trainsteps.structure.structure import Variables


class OptimizerVariables(NamedTuple):
    """The state of a built optimizer.

    Attributes:
        scalars: What belongs to no weight (`iterations`, `learning_rate`), by name.
        slots: What belongs to one weight, by the name of the slot and the weight's path:
            `("velocities", "hidden/kernel")`.
    """

    scalars: Variables
    slots: dict[tuple[str, str], keras.Variable]


def optimizer_variables(
    optimizer: keras.optimizers.Optimizer, weights: Mapping[str, keras.Variable]
) -> OptimizerVariables:
    """The state of a built optimizer.

    Keras names slots after weights in a way that is not unique; here each is found by the
    place of its weight in the list that the optimizer was built with.

    Raises:
        ValueError: When the optimizer holds state that cannot be told apart.
    """
    paths = {id(variable): path for path, variable in weights.items()}
    found = OptimizerVariables({}, {})
    _collect(optimizer, "", paths, found)
    known = {id(v) for v in (*found.scalars.values(), *found.slots.values())}
    unknown = [v.path for v in optimizer.variables if id(v) not in known]
    if unknown:
        raise ValueError(
            "`optimizer` must keep its state in lists of one variable per weight. Received: "
            f"{type(optimizer).__name__} with {unknown}. Use `optimizer='reset'`."
        )
    return found


def config_of(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """What two optimizers must share for one to go on with the other's state."""
    config = keras.saving.serialize_keras_object(optimizer)

    def strip(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                key: strip(item)
                for key, item in value.items()
                if key not in ("name", "learning_rate", "build_config")
            }
        return value

    plain: dict[str, Any] = json.loads(json.dumps(strip(config), default=str))
    return plain


def is_scheduled(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether a learning rate follows a schedule; of several objectives, any of theirs."""
    every = compat.each_optimizer(optimizer).values()
    return any(compat.learning_rate_schedule(one) is not None for one in every)


def fresh_state(
    optimizer: keras.optimizers.Optimizer, weights: Mapping[str, keras.Variable]
) -> OptimizerVariables:
    """The state that an optimizer of this config begins with on the same weights."""
    trainable = compat.optimized_weights(optimizer)
    fresh = compat.unbuilt_copy(optimizer)
    fresh.build(trainable)
    return optimizer_variables(fresh, weights)


def _collect(
    optimizer: Any, prefix: str, paths: Mapping[int, str], found: OptimizerVariables
) -> None:
    trainable = compat.optimized_weights(optimizer)
    for attribute, value in sorted(compat.optimizer_attributes(optimizer).items()):
        name = prefix + attribute
        if isinstance(value, keras.Variable):
            found.scalars[name] = value
        elif isinstance(value, keras.optimizers.Optimizer):
            _collect(value, f"{name}/", paths, found)
        elif isinstance(value, list) and trainable and len(value) == len(trainable):
            for weight, slot in zip(trainable, value, strict=True):
                if isinstance(slot, keras.Variable) and id(weight) in paths:
                    found.slots[name, paths[id(weight)]] = slot
