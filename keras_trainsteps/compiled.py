"""The losses given to `compile`, as terms of the step.

Keras sums these inside one object that keeps neither their denominators nor right
epoch means of each. Here each becomes a term. On one replica its value is what the Keras
loss returns, to the bit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_trainsteps import replicas, side_inputs
from keras_trainsteps.losses.side_input_loss import SideInputLoss
from keras_trainsteps.terms import LossTerm, StepTerm, as_loss


class FunctionLoss(keras.losses.Loss):
    """A plain function `(y_true, y_pred)` as a loss."""

    def __init__(self, function: Callable[[Any, Any], Any], name: str) -> None:
        super().__init__(name=name)
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.function(y_true, y_pred)


class Output(NamedTuple):
    """One output of the network and where it stands in a structure of outputs."""

    path: tuple[Any, ...]
    name: str | None
    y_pred: tf.Tensor


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
        self.loss = loss
        self.loss_weights = loss_weights
        flat = keras.tree.flatten(loss) if loss is not None else []
        self._losses = {id(leaf): _loss_object(leaf) for leaf in flat if leaf is not None}

    @property
    def side_inputs(self) -> set[str]:
        """The side inputs that the losses read."""
        losses = self._losses.values()
        return {
            n
            for loss in losses
            if isinstance(loss, SideInputLoss)
            for n in loss.side_inputs
        }

    def weight_of(self, name: str) -> Any:
        """The weight given by name to a logged term, or `None`."""
        weights = self.loss_weights
        return weights.get(name) if isinstance(weights, Mapping) else None

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
        """The terms of one batch, in the order of `loss`."""
        if self.loss is None:
            return []
        outputs = _outputs(y_pred, output_names)
        wanted = self._assign(outputs)
        targets = _targets(y, outputs, wanted)
        weights = _weights_of_rows(sample_weight, y, outputs, targets)
        named = _names(outputs, wanted)
        flat_weights = self._flat_weights(named)
        terms = []
        for (index, loss, name), weight in zip(named, flat_weights, strict=True):
            term = _term(
                loss, targets[index], outputs[index].y_pred, x, weights[index], rows
            )
            terms.append(StepTerm(name, *term, weight, compiled=True))
        return terms

    def _assign(self, outputs: list[Output]) -> list[list[keras.losses.Loss]]:
        """For each output the losses on it."""
        loss = self.loss
        if not keras.tree.is_nested(loss):
            return [[self._losses[id(loss)]] for _ in outputs]
        single = len(outputs) == 1
        if isinstance(loss, (list, tuple)) and single:
            loss = [loss] if len(loss) != 1 or not keras.tree.is_nested(loss[0]) else loss
        if isinstance(loss, (list, tuple)):
            if len(loss) != len(outputs):
                raise ValueError(
                    "`loss` must be one loss, or one (or `None`) for each output. "
                    f"Received: {len(loss)} for {len(outputs)} outputs."
                )
            chosen = list(loss)
        else:
            chosen = [_entry(loss, output) for output in outputs]
            _require_known(loss, outputs)
        return [self._flat(entry) for entry in chosen]

    def _flat(self, entry: Any) -> list[keras.losses.Loss]:
        leaves = keras.tree.flatten(entry) if entry is not None else []
        return [self._losses[id(leaf)] for leaf in leaves if leaf is not None]

    def _flat_weights(self, named: list[tuple[int, keras.losses.Loss, str]]) -> list[Any]:
        weights = self.loss_weights
        if weights is None:
            return [None] * len(named)
        if isinstance(weights, Mapping):
            return [
                weights.get(name, weights.get(name.removesuffix("_loss")))
                for *_, name in named
            ]
        flat = keras.tree.flatten(weights)
        if len(flat) == 1 and not keras.tree.is_nested(weights):
            return flat * len(named)
        if len(flat) != len(named):
            raise ValueError(
                "`loss_weights` must match the number of losses. "
                f"Received: {len(flat)} weights for {len(named)} losses."
            )
        return flat


def _loss_object(leaf: Any) -> keras.losses.Loss:
    if isinstance(leaf, str) and leaf.lower() in ("crossentropy", "ce"):
        return FunctionLoss(_crossentropy, leaf)
    found = keras.losses.get(leaf)
    if isinstance(found, keras.losses.Loss):
        return found
    if isinstance(leaf, str):
        return FunctionLoss(found, leaf)
    return FunctionLoss(found, getattr(found, "__name__", type(found).__name__))


def _crossentropy(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """The cross-entropy that the shapes ask for, as in Keras."""
    if y_pred.shape[-1] == 1:
        return keras.losses.binary_crossentropy(y_true, y_pred)
    if y_true.shape.rank < y_pred.shape.rank or y_true.shape[-1] == 1:
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred)
    return keras.losses.categorical_crossentropy(y_true, y_pred)


def _outputs(y_pred: Any, output_names: Sequence[str] | None) -> list[Output]:
    flat = keras.tree.flatten_with_path(y_pred)
    names: list[str | None] = [None] * len(flat)
    if not isinstance(y_pred, Mapping) and output_names and len(output_names) == len(flat):
        names = list(output_names)
    elif keras.tree.is_nested(y_pred):
        names = ["/".join(map(str, path)) for path, _ in flat]
    return [
        Output(path, name, value) for (path, value), name in zip(flat, names, strict=True)
    ]


def _entry(structure: Any, output: Output) -> Any:
    """What a dict (nested as the outputs, or by name) holds for an output."""
    if output.name in structure:
        return structure[output.name]
    for key in output.path:
        inside = isinstance(structure, Mapping) and key in structure
        if isinstance(structure, (list, tuple)) and isinstance(key, int):
            inside = key < len(structure)
        if not inside:
            return None
        structure = structure[key]
    return structure if output.path else None


def _require_known(loss: Mapping[str, Any], outputs: list[Output]) -> None:
    known = {name for output in outputs for name in (output.name, *output.path[:1])}
    unknown = [key for key in loss if key not in known]
    if unknown:
        raise ValueError(
            f"`loss` names outputs that the model does not have: {unknown}. "
            f"The outputs are {[output.name for output in outputs]}."
        )


def _targets(y: Any, outputs: list[Output], wanted: list[list[Any]]) -> list[Any]:
    """The targets of each output; `None` for one without a loss."""
    if not keras.tree.is_nested(y):
        if len(outputs) == 1:
            return [y]
        flat = [y]
    elif isinstance(y, Mapping) and all(
        _entry(y, output) is not None or not losses
        for output, losses in zip(outputs, wanted, strict=True)
    ):
        return [_entry(y, output) for output in outputs]
    else:
        if isinstance(y, Mapping) and len(outputs) == 1 and len(y) > 1:
            raise ValueError(
                f"`y` has the entries {sorted(map(str, y))}, but the model has one output: "
                "which one the compiled loss should read is not said. Pass the target "
                "alone and the others as entries of `x`, or fill `compute_losses`."
            )
        flat = keras.tree.flatten(y)
    if len(flat) == len(outputs):
        return flat
    with_loss = [index for index, losses in enumerate(wanted) if losses]
    if len(flat) == len(with_loss):
        targets: list[Any] = [None] * len(outputs)
        for index, target in zip(with_loss, flat, strict=True):
            targets[index] = target
        return targets
    raise ValueError(
        "`y` must have one target for each output that has a loss. "
        f"Received: {len(flat)} targets for {len(with_loss)} outputs with a loss."
    )


def _weights_of_rows(
    sample_weight: Any, y: Any, outputs: list[Output], targets: list[Any]
) -> list[Any]:
    if not keras.tree.is_nested(sample_weight):
        return [sample_weight] * len(outputs)
    if isinstance(sample_weight, Mapping) and len(outputs) > 1:
        return [_entry(sample_weight, output) for output in outputs]
    flat = keras.tree.flatten(sample_weight)
    given = [target is not None for target in targets]
    if len(flat) == sum(given) != len(outputs):
        rest = iter(flat)
        return [next(rest) if is_given else None for is_given in given]
    return flat if len(flat) == len(outputs) else [flat[0]] * len(outputs)


def _names(
    outputs: list[Output], wanted: list[list[keras.losses.Loss]]
) -> list[tuple[int, keras.losses.Loss, str]]:
    """Each loss with the index of its output and a name of its own."""
    named: list[tuple[int, keras.losses.Loss, str]] = []
    taken: set[str] = set()
    for index, losses in enumerate(wanted):
        for loss in losses:
            parts = [outputs[index].name] if len(outputs) > 1 else []
            if len(losses) > 1 or len(outputs) == 1:
                parts.append(loss.name)
            base = "_".join(part for part in parts if part)
            name, number = f"{base}_loss", 1
            while name in taken:
                name, number = f"{base}_{number}_loss", number + 1
            taken.add(name)
            named.append((index, loss, name))
    return named


def _term(
    loss: keras.losses.Loss, y_true: Any, y_pred: Any, x: Any, sample_weight: Any, rows: Any
) -> tuple[LossTerm, tf.Tensor, bool]:
    """Term, value and whether it is averaged by rows."""
    if isinstance(loss, SideInputLoss):
        side_inputs.require(x, loss.side_inputs)
        term = loss.term(y_true, y_pred, x, sample_weight)
        return term, as_loss(term.value), False
    y_true, y_pred = _aligned(y_true, y_pred)
    if replicas.num_replicas() == 1:
        value = keras.ops.cast(loss(y_true, y_pred, sample_weight), as_loss(0.0).dtype)
        counted = tf.cast(rows, value.dtype)
        return LossTerm(value * counted, counted), value, True
    term = _replica_term(loss, y_true, y_pred, sample_weight, rows)
    return term, as_loss(term.value), True


def _aligned(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """`(rows,)` beside `(rows, 1)` as `(rows, 1)` both; Keras does so for its own losses only."""
    if y_true is None or keras.tree.is_nested(y_true) or keras.tree.is_nested(y_pred):
        return y_true, y_pred
    if y_true.shape.rank == 1 and y_pred.shape.rank == 2 and y_pred.shape[1] == 1:
        return tf.expand_dims(y_true, -1), y_pred
    if y_pred.shape.rank == 1 and y_true.shape.rank == 2 and y_true.shape[1] == 1:
        return y_true, tf.expand_dims(y_pred, -1)
    return y_true, y_pred


def _replica_term(
    loss: keras.losses.Loss, y_true: Any, y_pred: Any, sample_weight: Any, rows: Any
) -> LossTerm:
    """Sum and denominator of a Keras loss on this replica.

    The denominator is what the loss's reduction divides by on one device: all values,
    those under a mask, their weights, or nothing.
    """
    each = copy.copy(loss)
    each.reduction = None
    values = as_loss(each(y_true, y_pred, sample_weight))
    if values.shape.rank == 0:  # a function that reduces by itself
        counted = tf.cast(rows, values.dtype)
        return LossTerm(values * counted, counted)
    total = tf.reduce_sum(values)
    if loss.reduction in (None, "none", "sum"):
        share = tf.cast(1 / replicas.num_replicas(), total.dtype)
        return LossTerm(total, share)
    mask = getattr(y_pred, "_keras_mask", None)
    weighted_mean = loss.reduction == "mean_with_sample_weight"
    if mask is None and not (weighted_mean and sample_weight is not None):
        return LossTerm(total, tf.cast(tf.size(values), total.dtype))
    ones = FunctionLoss(lambda _, __: tf.ones_like(values), "ones")
    ones.reduction = None
    counted = ones(y_true, y_pred, sample_weight if weighted_mean else None)
    return LossTerm(total, tf.reduce_sum(as_loss(counted)))
