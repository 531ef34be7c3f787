"""The losses given to `compile`, as terms of the step.

Keras sums these inside one object that keeps neither their denominators nor right
epoch means of each. Here each becomes a term. On one replica its value is what the Keras
loss returns, to the bit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import replicas
from keras_trainsteps.step import side_inputs
from keras_trainsteps.step.outputs import (
    Output,
    losses_by_output,
    outputs_of,
    require_one_view,
    sample_weights_by_output,
    takes_all_outputs,
    targets_by_output,
    term_names,
)
from keras_trainsteps.step.side_input_loss import SideInputLoss
from keras_trainsteps.step.terms import LossTerm, StepTerm, as_loss


class FunctionLoss(keras.losses.Loss):
    """A plain function `(y_true, y_pred)` as a loss. Without targets `y_true` is `None`."""

    def __init__(self, function: Callable[[Any, Any], Any], name: str) -> None:
        # Keras opens a name scope of that name, which cannot be `<lambda>`.
        super().__init__(name=re.sub(r"\W", "", name) or "function")
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.function(y_true, y_pred)

    def without_target(self) -> FunctionLoss | None:
        """The loss of the output alone; `None` for a function of Keras, which needs targets."""
        module = getattr(self.function, "__module__", None) or ""
        if module.split(".")[0] in ("keras", __package__):
            return None
        return FunctionLoss(lambda _, y_pred: self.function(None, y_pred), self.name)


class CompiledLosses:
    """The `loss` and `loss_weights` of `compile`.

    Args:
        loss: As in Keras: a loss, its name or a function, one for each output in a list
            or dict, `None` for an output without one. Beyond Keras, a list of losses on
            one output trains all of them.
        loss_weights: A number, a list, or a dict by name of output or logged term; values
            may be variables.
    """

    def __init__(self, loss: Any = None, loss_weights: Any = None) -> None:
        self.loss = keras.tree.map_structure(_loss_object, loss)
        self.loss_weights = loss_weights
        require_one_view(self.loss)

    @property
    def objects(self) -> list[keras.losses.Loss]:
        """All losses."""
        return [loss for loss in keras.tree.flatten(self.loss) if loss is not None]

    @property
    def side_inputs(self) -> set[str]:
        """The side inputs that the losses read."""
        readers = [loss for loss in self.objects if isinstance(loss, SideInputLoss)]
        return {name for loss in readers for name in loss.side_inputs}

    @property
    def reads_all_outputs(self) -> bool:
        """Whether the losses take all outputs together, and not one each."""
        return any(takes_all_outputs(loss) for loss in self.objects)

    @property
    def weight_variables(self) -> dict[str, keras.Variable]:
        """The loss weights that are variables, by where they stand in `loss_weights`."""
        flat = keras.tree.flatten_with_path(self.loss_weights)
        return {
            "/".join(map(str, path)): weight
            for path, weight in flat
            if isinstance(weight, keras.Variable)
        }

    def weight_of(self, name: str) -> Any:
        """The weight given by name to a logged term, or `None`."""
        weights = self.loss_weights
        return weights.get(name) if isinstance(weights, Mapping) else None

    def require_known_weights(self, names: Iterable[str], output_names: Any) -> None:
        """Refuses weights of what is neither a term nor an output."""
        weights, names = self.loss_weights, list(names)
        if weights is None:
            return
        if isinstance(weights, Mapping):
            known = {*names, *(name.removesuffix("_loss") for name in names)}
            known |= set(output_names or ())
            unknown = [name for name in weights if name not in known]
            if unknown:
                raise ValueError(
                    "`loss_weights` must name terms or outputs. "
                    f"Received: {unknown}, where the terms are {sorted(names)}."
                )
        elif self.loss is None:
            raise ValueError(
                "`loss_weights` must be a dict by name when there is no compiled loss. "
                f"Received: {weights!r}, where the terms are {sorted(names)}."
            )

    def terms(
        self,
        x: Any,
        y: Any,
        y_pred: Any,
        sample_weight: Any,
        *,
        rows: tf.Tensor,
        output_names: Sequence[str] | None,
    ) -> list[StepTerm]:
        """The terms of one batch, in the order of the outputs."""
        if self.loss is None:
            return []
        if self.reads_all_outputs:
            outputs, targets = [Output((), None, y_pred)], [y]
            losses = losses_by_output(self.loss, outputs)
        else:
            outputs = outputs_of(y_pred, output_names)
            losses = losses_by_output(self.loss, outputs)
            targets = targets_by_output(y, outputs, losses)
        row_weights = sample_weights_by_output(sample_weight, outputs, targets)
        names = iter(term_names(outputs, losses))
        weights = iter(self._weights(outputs, losses))
        return [
            _term(next(names), loss, target, output.y_pred, x, row_weight, rows, next(weights))
            for output, on_output, target, row_weight in zip(
                outputs, losses, targets, row_weights, strict=True
            )
            for loss in on_output
        ]

    def _weights(self, outputs: list[Output], losses: list[list[Any]]) -> list[Any]:
        """The loss weight of each loss."""
        weights = self.loss_weights
        by_output = [
            out for out, on_output in zip(outputs, losses, strict=True) for _ in on_output
        ]
        if weights is None:
            return [None] * len(by_output)
        if isinstance(weights, Mapping):
            names = term_names(outputs, losses)
            keys = [
                (name, name.removesuffix("_loss"), output.name, *output.path[:1])
                for name, output in zip(names, by_output, strict=True)
            ]
            return [next((weights[k] for k in key if k in weights), None) for key in keys]
        flat = keras.tree.flatten(weights)
        if not keras.tree.is_nested(weights):
            return flat * len(by_output)
        if len(flat) == len(by_output):
            return flat
        if len(flat) == len(outputs):
            return [flat[outputs.index(output)] for output in by_output]
        raise ValueError(
            "`loss_weights` must match the number of losses. "
            f"Received: {len(flat)} weights for {len(by_output)} losses."
        )


def _loss_object(leaf: Any) -> keras.losses.Loss | None:
    if leaf is None:
        return None
    if isinstance(leaf, str) and leaf.lower() in ("crossentropy", "ce"):
        return FunctionLoss(_crossentropy, leaf)
    found = keras.losses.get(leaf)
    if isinstance(found, keras.losses.Loss):
        return found
    name = leaf if isinstance(leaf, str) else getattr(found, "__name__", type(found).__name__)
    return FunctionLoss(found, name)


def _crossentropy(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """The cross-entropy that the shapes ask for, as in Keras."""
    if y_pred.shape[-1] == 1:
        return keras.losses.binary_crossentropy(y_true, y_pred)
    if y_true.shape.rank < y_pred.shape.rank or y_true.shape[-1] == 1:
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred)
    return keras.losses.categorical_crossentropy(y_true, y_pred)


def _term(
    name: str,
    loss: keras.losses.Loss,
    y_true: Any,
    y_pred: Any,
    x: Any,
    sample_weight: Any,
    rows: tf.Tensor,
    weight: Any,
) -> StepTerm:
    if isinstance(loss, SideInputLoss):
        side_inputs.require(x, loss.side_inputs)
        term = loss.term(y_true, y_pred, x, sample_weight)
        return StepTerm(name, term, as_loss(term.value), False, weight, compiled=True)
    if y_true is None:
        loss, y_true = _without_target(loss), y_pred  # Keras takes no `None` for a target
    y_true, y_pred = _aligned(y_true, y_pred)
    count = _own_count(loss, y_true, y_pred, sample_weight)
    if replicas.num_replicas() == 1:
        value = keras.ops.cast(loss(y_true, y_pred, sample_weight), as_loss(0.0).dtype)
        counted = tf.cast(rows, value.dtype) if count is None else count
        term = LossTerm(value * counted, counted)
    else:
        term = _replica_term(loss, y_true, y_pred, sample_weight, rows, count)
        value = as_loss(term.value)
    return StepTerm(name, term, value, count is None, weight, compiled=True)


def _without_target(loss: keras.losses.Loss) -> keras.losses.Loss:
    alone = loss.without_target() if isinstance(loss, FunctionLoss) else None
    if alone is None:
        raise ValueError(
            f"`y` must be given: the compiled loss {loss.name!r} compares an output with a "
            "target. Received: a batch without one. Pass `y` to `fit`, or compile with a "
            "function `(y_true, y_pred)` that takes `None` for `y_true`."
        )
    return alone


def _aligned(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Target and output with the same number of axes, where one has a last axis of 1 more.

    Keras does so inside its own losses only; a subclass of `Loss` would broadcast.
    """
    if y_true is None or keras.tree.is_nested(y_true) or keras.tree.is_nested(y_pred):
        return y_true, y_pred
    axes = y_true.shape.rank, y_pred.shape.rank
    if axes in ((1, 2), (2, 1)) and (y_true, y_pred)[axes[1] - 1].shape[-1] == 1:
        return tf.reshape(y_true, (-1, 1)), _reshaped(y_pred, (-1, 1))
    if None in axes or 0 in axes or abs(axes[0] - axes[1]) != 1:
        return y_true, y_pred
    if axes[0] > axes[1] and y_true.shape[-1] == 1:
        return tf.squeeze(y_true, -1), y_pred
    if axes[1] > axes[0] and y_pred.shape[-1] == 1:
        return y_true, _reshaped(y_pred, tf.shape(y_pred)[:-1])
    return y_true, y_pred


def _reshaped(y_pred: tf.Tensor, shape: Any) -> tf.Tensor:
    reshaped = tf.reshape(y_pred, shape)
    mask = getattr(y_pred, "_keras_mask", None)
    if mask is not None:
        reshaped._keras_mask = mask
    return reshaped


def _own_count(
    loss: keras.losses.Loss, y_true: Any, y_pred: Any, sample_weight: Any
) -> tf.Tensor | None:
    """What a Keras loss divides by where that is not the number of values.

    It is the number of values under a mask, or the sum of their weights. Keras averages
    the epoch of such losses by rows; here their sums are added up.
    """
    mask = getattr(y_pred, "_keras_mask", None)
    weighted_mean = loss.reduction == "mean_with_sample_weight"
    if loss.reduction in (None, "none", "sum") or not (weighted_mean or mask is not None):
        return None
    ones = FunctionLoss(
        lambda y_true, y_pred: tf.ones_like(_values(loss, y_true, y_pred)), "ones"
    )
    weights = sample_weight if weighted_mean else None
    return tf.reduce_sum(_each(ones, y_true, y_pred, weights))


def _values(loss: keras.losses.Loss, y_true: Any, y_pred: Any) -> tf.Tensor:
    return tf.convert_to_tensor(loss.call(y_true, y_pred))


def _each(loss: keras.losses.Loss, y_true: Any, y_pred: Any, sample_weight: Any) -> tf.Tensor:
    """The weighted and masked values of a Keras loss, before its reduction."""
    each = object.__new__(type(loss))  # `copy.copy` goes through Keras's serialization
    each.__dict__.update(loss.__dict__, reduction=None)
    return as_loss(each(y_true, y_pred, sample_weight))


def _replica_term(
    loss: keras.losses.Loss,
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    rows: tf.Tensor,
    count: tf.Tensor | None,
) -> LossTerm:
    """Sum and denominator of a Keras loss on this replica, for a sum over all replicas."""
    values = _each(loss, y_true, y_pred, sample_weight)
    if values.shape.rank == 0:  # a function that reduces by itself
        counted = tf.cast(rows, values.dtype)
        return LossTerm(values * counted, counted)
    total = tf.reduce_sum(values)
    if loss.reduction in (None, "none", "sum"):
        return LossTerm(total, tf.constant(1 / replicas.num_replicas(), total.dtype))
    return LossTerm(total, tf.cast(tf.size(values) if count is None else count, total.dtype))
