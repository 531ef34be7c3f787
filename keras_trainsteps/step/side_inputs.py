"""What of a batch goes where: side inputs to losses and metrics, the rest to the network."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step import running


def current(name: str) -> tf.Tensor:
    """The side input `name` of the batch whose metrics are being updated."""
    step = running.current()
    if step is None:
        raise ValueError(
            f"Side input `{name}` is only known while a `LossAwareModel` updates its "
            f"metrics. Received: no batch. Pass `{name}` to `update_state` yourself."
        )
    return pick(step.x, name)


def pick(x: Any, name: str) -> Any:
    """The entry `name` of the `x` dict of a batch."""
    if isinstance(x, Mapping) and name in x:
        return x[name]
    received = f"keys {sorted(map(str, x))}" if isinstance(x, Mapping) else "no dict"
    raise ValueError(
        f"`x` must have the side input {name!r}, which a loss or metric reads. "
        f"Received: {received}. Pass `x` as a dict with that entry, of one entry per row "
        "of the batch."
    )


def require(x: Any, names: Iterable[str]) -> None:
    """Refuses an `x` that lacks one of the side inputs `names`."""
    for name in names:
        pick(x, name)


def warn_of_unread(x: Any, names: Iterable[str], declared: Any) -> None:
    """Warns of entries of `x` that are neither inputs of the network nor side inputs.

    Args:
        x: The `x` of a batch.
        names: The side inputs.
        declared: The structure of inputs that a Functional model declares.
    """
    if not isinstance(x, Mapping):
        return
    paths = keras.tree.flatten_with_path(declared)
    inputs = {path[0] if path and isinstance(path[0], str) else t.name for path, t in paths}
    unread = sorted(map(str, set(x) - set(names) - inputs))
    if unread and inputs <= set(x):  # what is missing is refused, or is the only other entry
        warnings.warn(
            f"`x` has entries {unread} that nothing reads: they are neither inputs of the "
            f"network, {sorted(inputs)}, nor side inputs of a loss or metric. Leave them out, or "
            "name them in `side_inputs`, or in the loss or metric that is to read them.",
            stacklevel=2,
        )


def network_inputs(x: Any, names: Iterable[str], declared: Any, single: bool) -> Any:
    """What of `x` the network is called with.

    Args:
        x: The `x` of a batch; anything but a dict is passed on as it is.
        names: The side inputs.
        declared: The structure of inputs that a Functional model declares, or `None`.
        single: Whether an only entry left is passed on by itself (a Sequential model).
    """
    if not isinstance(x, Mapping):
        return x
    names = set(names)
    rest = {key: value for key, value in x.items() if key not in names}
    if declared is not None:
        return _declared_inputs(x, rest, declared)
    return next(iter(rest.values())) if single and len(rest) == 1 else rest


def _declared_inputs(x: Mapping[str, Any], rest: dict[str, Any], declared: Any) -> Any:
    """The entries of `x` by the names of the declared inputs, in their structure.

    Keras takes the entries of a dict with extra keys in alphabetical order, whatever
    their names (keras#23258).
    """
    if isinstance(declared, keras.KerasTensor) or len(keras.tree.flatten(declared)) == 1:
        wanted = keras.tree.flatten(declared)[0]
        if wanted.name not in x and len(rest) == 1:
            return keras.tree.pack_sequence_as(declared, list(rest.values()))

    def entry(path: tuple[Any, ...], tensor: keras.KerasTensor) -> Any:
        key = path[0] if path and isinstance(path[0], str) else tensor.name
        if key in x:
            nested = path[1:] if path and path[0] == key else ()
            return functools.reduce(lambda value, step: value[step], nested, x[key])
        if getattr(compat.layer_of(tensor), "optional", False):
            return None
        raise ValueError(
            f"`x` must have an entry for the input {key!r} of the network. "
            f"Received: keys {sorted(map(str, x))}."
        )

    flat = [entry(path, tensor) for path, tensor in keras.tree.flatten_with_path(declared)]
    return keras.tree.pack_sequence_as(declared, flat)
