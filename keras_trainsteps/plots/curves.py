"""What a training logged, as curves."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

from keras_trainsteps.model import LossAwareModel

Array = npt.NDArray[np.float64]
REGULARIZATION, COMPILED = "regularization", "compiled loss"


class Curve(NamedTuple):
    """Values by epoch, counted from 1."""

    epochs: Array
    values: Array


class Curves(NamedTuple):
    """A history, sorted.

    Attributes:
        training: By name, one value per epoch.
        validation: By the name without `val_`, one value for each epoch with validation.
        weights: The loss weight of each term, `None` where it varied; empty where the terms
            are not known.
        parts: What each term adds to `loss`, epoch by epoch; empty where that is not known.
    """

    training: dict[str, Curve]
    validation: dict[str, Curve]
    weights: dict[str, float | None]
    parts: dict[str, Array]

    @property
    def metrics(self) -> list[str]:
        """What is logged and is no part of the loss."""
        parts = {"loss", *self.weights, *(f"{term}_weighted" for term in self.weights)}
        return [name for name in {**self.training, **self.validation} if name not in parts]

    def shares(self) -> dict[str, Array]:
        """Each part over the sum of the absolute parts; 0 where that is 0."""
        with np.errstate(invalid="ignore"):  # what has diverged stays so, without a warning
            whole = np.sum([np.abs(part) for part in self.parts.values()], axis=0)
            return {
                name: np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)
                for name, part in self.parts.items()
            }


def read(
    history: keras.callbacks.History | Mapping[str, Any],
    weights: Mapping[str, float] | None,
    validation_freq: int | Sequence[int],
) -> Curves:
    """Sorts a history. The arguments are those of `plots.plot_history`."""
    model, logs, first = _opened(history)
    if not len(logs.get("loss", ())):
        raise ValueError(
            "`history` must have the `loss` of at least one epoch. "
            f"Received: the entries {sorted(logs)}."
        )
    begun = range(len(logs["loss"])) if first is None else first
    epochs = _numbers("epoch", begun) + 1
    training, validation = {}, {}
    for name, logged in logs.items():
        there = np.array([value not in ("NA", "") for value in logged])
        values = _numbers(
            name, [v for v, is_there in zip(logged, there, strict=True) if is_there]
        )
        if name.startswith("val_"):
            of_epochs = epochs[there] if len(there) == len(epochs) else epochs
            curve = _validated(name, of_epochs, values, validation_freq)
            validation[name.removeprefix("val_")] = curve
        else:
            training[name] = _each_epoch(name, epochs, values)
    terms = _term_weights(model, training, weights)
    try:
        return Curves(training, validation, terms, _parts(training, terms))
    except ValueError as error:
        if weights is not None:
            raise
        warnings.warn(f"The shares of the loss are not drawn. {error}", stacklevel=3)
        return Curves(training, validation, terms, {})


def _opened(history: Any) -> tuple[Any, Mapping[str, Any], Any]:
    """The model, if it is known, the logs, and the epochs from 0, if they are given.

    `CSVLogger` writes NA, which is dropped, where an epoch had nothing to log.
    """
    if isinstance(history, keras.callbacks.History):
        return history.model, history.history, history.epoch
    if not isinstance(history, Mapping):
        raise TypeError(
            "`history` must be what `fit` returned, its `history` dict, or the columns of a "
            f"`CSVLogger` file as a dict. Received: {type(history).__name__}."
        )
    logs = {name: values for name, values in history.items() if name != "epoch"}
    return None, logs, history.get("epoch")


def _numbers(name: str, values: Any) -> Array:
    try:
        return np.array(list(values), float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`history` must have one number per epoch. Received: {name!r} with {values!r}."
        ) from error


def _each_epoch(name: str, epochs: Array, values: Array) -> Curve:
    if len(values) != len(epochs):
        raise ValueError(
            "`history` must have one value per epoch. "
            f"Received: {len(values)} of {name!r} for {len(epochs)} epochs."
        )
    return Curve(epochs, values)


def _validated(
    name: str, epochs: Array, values: Array, validation_freq: int | Sequence[int]
) -> Curve:
    """The epochs that were validated: all, or those that `validation_freq` says."""
    if len(values) == len(epochs):
        return Curve(epochs, values)
    if isinstance(validation_freq, int):
        chosen = epochs[epochs % validation_freq == 0]
    else:
        chosen = epochs[np.isin(epochs, list(validation_freq))]
    if len(chosen) != len(values):
        raise ValueError(
            "`validation_freq` must be the one that `fit` was called with. Received: "
            f"{validation_freq!r}, with which {len(chosen)} of {len(epochs)} epochs are "
            f"validated, and {len(values)} values of {name!r}."
        )
    return Curve(chosen, values)


def _term_weights(
    model: Any, training: Mapping[str, Curve], weights: Mapping[str, float] | None
) -> dict[str, float | None]:
    known = model.term_weights if isinstance(model, LossAwareModel) else {}
    found = {name: weight for name, weight in known.items() if name in training}
    for name, weight in (weights or {}).items():
        term = next((n for n in (name, f"{name}_loss") if n in training), None)
        if term is None or term == "loss":
            raise ValueError(
                "`weights` must name terms that the history has. "
                f"Received: {name!r}, where it has {sorted(training)}."
            )
        if np.ndim(weight):
            raise ValueError(
                f"`weights` must hold one number per term. Received: {weight!r} for {name!r}. "
                f"Where a weight varies, log the weighted term as `{term}_weighted`."
            )
        found[term] = weight
    if REGULARIZATION in training and (weights is not None or isinstance(model, LossAwareModel)):
        found[REGULARIZATION] = 1.0
    return {
        name: None if f"{name}_weighted" in training else float(weight)
        for name, weight in found.items()
    }


def _parts(
    training: Mapping[str, Curve], weights: Mapping[str, float | None]
) -> dict[str, Array]:
    loss = training["loss"]
    parts = {
        name: training[f"{name}_weighted"].values
        if weight is None
        else training[name].values * weight
        for name, weight in weights.items()
    }
    with np.errstate(invalid="ignore"):
        if list(parts) == [REGULARIZATION]:  # a single compiled loss is logged as `loss`
            return {COMPILED: loss.values - parts[REGULARIZATION], **parts}
        missing = np.abs(loss.values - sum(parts.values()))
        size = np.abs(loss.values) + sum(np.abs(part) for part in parts.values())
        if parts and np.any(missing > 1e-3 * size):
            worst = int(np.nanargmax(missing))
            raise ValueError(
                "`weights` must name every term of the loss: the weighted terms and the "
                f"regularization add up to `loss`. Received: weights of {list(parts)}, which "
                f"leave {missing[worst]:.6g} of a loss of {loss.values[worst]:.6g} in epoch "
                f"{loss.epochs[worst]:.0f}."
            )
    return parts
