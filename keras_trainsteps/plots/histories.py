"""What a training logged, as curves, and what each term contributed to the loss."""

from __future__ import annotations

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
        training: By name, one value an epoch.
        validation: By the name without `val_`, one value for each epoch with validation.
        weights: The loss weight of each term: a number, one an epoch, or `None` for what
            the other parts leave of `loss`.
        trained: The terms whose weight was trained, so that it changed within epochs.
    """

    training: dict[str, Curve]
    validation: dict[str, Curve]
    weights: dict[str, Any]
    trained: tuple[str, ...]

    @property
    def terms(self) -> list[str]:
        """The logged parts of the loss."""
        return [name for name in self.weights if name in self.training]

    def parts(self) -> dict[str, Array]:
        """What each term adds to `loss`, epoch by epoch: its weight times its value.

        Raises:
            ValueError: When the parts do not add up to the logged `loss`.
        """
        with np.errstate(invalid="ignore"):  # what has diverged stays so, without a warning
            return self._parts()

    def _parts(self) -> dict[str, Array]:
        loss = self.training["loss"].values
        parts = {
            name: self.training[name].values * np.asarray(weight, float)
            for name, weight in self.weights.items()
            if weight is not None
        }
        rest = [name for name in self.weights if name not in parts]
        known = np.sum(list(parts.values()), axis=0) if parts else np.zeros_like(loss)
        size = np.abs(loss) + np.sum([np.abs(part) for part in parts.values()], axis=0)
        left = np.where(np.abs(loss - known) <= 1e-5 * size, 0.0, loss - known)
        if rest:
            parts[rest[0]] = left
        elif self.weights and not self.trained and np.any(np.abs(loss - known) > 1e-3 * size):
            worst = int(np.nanargmax(np.abs(loss - known)))
            raise ValueError(
                "`loss_weights` must name every term of the loss, so that the weighted terms "
                "and the regularization add up to `loss`. Received: weights of "
                f"{list(parts)}, which make {known[worst]:.6g} of a loss of {loss[worst]:.6g} "
                f"in epoch {self.training['loss'].epochs[worst]:.0f}. For a weight that "
                "changed during training, pass a list with one weight an epoch."
            )
        return {name: parts[name] for name in self.weights}

    def shares(self) -> dict[str, Array]:
        """Each part over the sum of the absolute parts; 0 where that is 0."""
        parts = self.parts()
        whole = np.sum([np.abs(part) for part in parts.values()], axis=0)
        with np.errstate(invalid="ignore"):
            return {
                name: np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)
                for name, part in parts.items()
            }


def read(
    history: keras.callbacks.History | Mapping[str, Any],
    loss_weights: Mapping[str, Any] | None,
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
    weights = _weights(model, training, loss_weights)
    trained = tuple(name for name in weights if f"{name}_weight" in training)
    for name in trained:
        if weights[name] is not None:
            weights[name] = weights[name] * training[f"{name}_weight"].values
    return Curves(training, validation, weights, trained)


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
            f"`history` must have one number an epoch. Received: {name!r} with {values!r}."
        ) from error


def _each_epoch(name: str, epochs: Array, values: Array) -> Curve:
    if len(values) != len(epochs):
        raise ValueError(
            "`history` must have one value an epoch. "
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


def _weights(
    model: Any, training: Mapping[str, Any], loss_weights: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The weights of the terms; empty where the terms are not known."""
    weights: dict[str, Any] = {}
    if isinstance(model, LossAwareModel):
        weights = {n: w for n, w in model.term_weights.items() if n in training}
    varying = [name for name, weight in weights.items() if isinstance(weight, keras.Variable)]
    for name, weight in (loss_weights or {}).items():
        found = next((n for n in (name, f"{name}_loss") if n in training), None)
        if found is None or found == "loss":
            raise ValueError(
                "`loss_weights` must name terms that the history has. "
                f"Received: {name!r}, where it has {sorted(training)}."
            )
        weights[found] = _by_epoch(name, weight, len(training["loss"].values))
    unknown = [name for name in varying if isinstance(weights[name], keras.Variable)]
    for name in unknown:  # one is what the others leave; of several, the value of now
        weights[name] = None if len(unknown) == 1 else float(weights[name])
    known = isinstance(model, LossAwareModel) or loss_weights is not None
    if known and REGULARIZATION in training:
        weights[REGULARIZATION] = 1.0
        if len(weights) == 1:
            weights = {COMPILED: None, **weights}
    return weights


def _by_epoch(name: str, weight: Any, epochs: int) -> Any:
    value = np.asarray(weight, float)
    if value.ndim and value.shape != (epochs,):
        raise ValueError(
            "`loss_weights` must hold numbers, or lists with one number an epoch. Received: "
            f"shape {value.shape} for {name!r} and {epochs} epochs."
        )
    return value if value.ndim else float(value)
