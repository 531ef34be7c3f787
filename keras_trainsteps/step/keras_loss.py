"""One loss of Keras on one output, as a sum with its denominator.

On one replica its value is what the Keras loss returns, to the bit.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step import running
from keras_trainsteps.step.side_input_loss import CLASSES, SideInputLoss
from keras_trainsteps.step.terms import LossTerm, QueryTerm, as_loss, weights_like


class FunctionLoss(keras.losses.Loss):
    """A plain function `(y_true, y_pred)` as a loss. Without targets `y_true` is `None`."""

    def __init__(self, function: Callable[[Any, Any], Any], name: str) -> None:
        # Keras opens a name scope of that name, which cannot be `<lambda>`.
        super().__init__(name=re.sub(r"\W", "", name) or "function")
        self.function = function

    def call(self, y_true: Any, y_pred: Any) -> Any:
        values = self.function(y_true, y_pred)
        if isinstance(values, LossTerm):
            raise TypeError(
                f"The function {self.name!r} in `loss` must return values or a scalar. Received: "
                "a `LossTerm`. Say that it does by the annotation `-> LossTerm`, or return the "
                "term from `compute_losses`."
            )
        return values

    def without_target(self) -> FunctionLoss | None:
        """The loss of the output alone; `None` for a function of Keras, which needs targets."""
        module = getattr(self.function, "__module__", None) or ""
        if module.split(".")[0] in ("keras", __package__.split(".")[0]):
            return None
        return FunctionLoss(lambda _, y_pred: self.function(None, y_pred), self.name)


class TermFunction(SideInputLoss):
    """A function `(y_true, y_pred, sample_weight=None)` that returns a `LossTerm`, as a loss."""

    def __init__(self, function: Callable[..., LossTerm], name: str) -> None:
        super().__init__(name=name)
        self.function = function

    def term(
        self, y_true: Any, y_pred: Any, x: Mapping[str, tf.Tensor], sample_weight: Any
    ) -> LossTerm:
        if y_true is None:
            raise ValueError(
                f"`y` must be given: {self.name!r} compares an output with a target. Received: "
                "a batch without one. Pass `y` to `fit`."
            )
        if y_pred.shape.rank == 1:
            y_pred = y_pred[:, None]
        y_true, y_pred = _aligned(y_true, y_pred)
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        return self.function(y_true, y_pred, **weights)


def require_lists(loss: SideInputLoss, term: LossTerm, y_pred: Any) -> None:
    """Refuses a loss that compares the rows of a query where each row is a list of its own."""
    if not isinstance(term, QueryTerm) or keras.tree.is_nested(y_pred):
        return
    given = getattr(loss, "function", None)
    named = isinstance(given, functools.partial) and "query_ids" in given.keywords
    if isinstance(loss, TermFunction):
        has_ids, cls = named, CLASSES.get(_plain(given))
    else:
        has_ids, cls = getattr(loss, "query_ids", "") is not None, type(loss).__name__
    in_rows = y_pred.shape.rank == 1 or y_pred.shape[-1] == 1
    if has_ids or not in_rows:
        return
    way_out = (
        "Call it in `compute_losses`, with `query_ids=x[...]`"
        if cls is None
        else f"Compile with `losses.{cls}(query_ids=...)`, by the name of the ids in `x`"
    )
    raise ValueError(
        f"The loss {loss.name!r} compares the rows of a query, and needs to know which belong "
        f"together. Received: an output of shape {tuple(y_pred.shape)}, one score per row, and "
        f"no ids: it would train nothing. {way_out}; padded lists are an output of shape "
        "(queries, list_size)."
    )


def as_loss_object(leaf: Any) -> keras.losses.Loss | None:
    """What `compile` was given for one loss, as an object; `None` stays."""
    if leaf is None:
        return None
    if isinstance(leaf, str) and leaf.lower() in ("crossentropy", "ce"):
        return FunctionLoss(_crossentropy, leaf)
    found = keras.losses.get(leaf)
    if isinstance(found, keras.losses.Loss):
        return found
    plain = _plain(found)
    name = leaf if isinstance(leaf, str) else getattr(plain, "__name__", type(plain).__name__)
    if _returns_term(plain):
        return TermFunction(found, name)
    return FunctionLoss(found, name)


def keras_term(
    loss: keras.losses.Loss,
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    *,
    rows: tf.Tensor,
    num_replicas: int,
) -> tuple[LossTerm, tf.Tensor, bool]:
    """Sum and denominator of a loss, its value, and whether epochs average it by rows."""
    if y_true is None:
        loss, y_true = _without_target(loss), y_pred  # Keras takes no `None` for a target
    y_true, y_pred = _aligned(y_true, y_pred)
    sample_weight = _aligned_weight(loss, y_true, y_pred, sample_weight)
    if running.is_padded():
        _require_values(loss, y_true, y_pred)
    count = _own_count(loss, y_true, y_pred, sample_weight)
    # What fills a batch up is masked, and leaves a mean over rows one.
    by_rows = count is None or (
        running.is_padded() and loss.reduction != "mean_with_sample_weight"
    )
    if num_replicas == 1:
        value = as_loss(loss(y_true, y_pred, sample_weight))
        counted = tf.cast(rows, value.dtype) if by_rows else count
        return LossTerm(value * counted, counted), value, by_rows
    term = _replica_term(loss, y_true, y_pred, sample_weight, rows, count, num_replicas)
    return term, as_loss(term.value), by_rows


def _plain(function: Any) -> Any:
    """The function within partial ones."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _returns_term(function: Any) -> bool:
    """Whether a function says that it returns a `LossTerm`, as those of the library do."""
    returned = getattr(function, "__annotations__", {}).get("return")
    if isinstance(returned, str):
        return returned.split(".")[-1] in ("LossTerm", "QueryTerm")
    return isinstance(returned, type) and issubclass(returned, LossTerm)


def _crossentropy(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """The cross-entropy that the shapes ask for, as in Keras."""
    if y_pred.shape[-1] == 1:
        return keras.losses.binary_crossentropy(y_true, y_pred)
    if y_true.shape.rank < y_pred.shape.rank or y_true.shape[-1] == 1:
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred)
    return keras.losses.categorical_crossentropy(y_true, y_pred)


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

    Keras does so inside its own losses only, and takes the axis away, over which they then
    reduce another one; a subclass of `Loss` would broadcast.
    """
    if y_true is None or keras.tree.is_nested(y_true) or keras.tree.is_nested(y_pred):
        return y_true, y_pred
    axes = y_true.shape.rank, y_pred.shape.rank
    if None in axes or 0 in axes or abs(axes[0] - axes[1]) != 1:
        return y_true, y_pred
    if axes[0] < axes[1] and y_pred.shape[-1] == 1:
        return y_true[..., None], y_pred
    if axes[1] < axes[0] and y_true.shape[-1] == 1:
        return y_true, compat.with_mask_of(y_pred, y_pred[..., None])
    return y_true, y_pred


def _aligned_weight(loss: keras.losses.Loss, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
    """Weights with the axes of the values they weigh, where Keras would broadcast them."""
    if sample_weight is None or keras.tree.is_nested(y_pred):
        return sample_weight
    rows = (sample_weight.shape[:1], y_pred.shape[:1])
    one_per_row = sample_weight.shape.rank == 1 and y_pred.shape.rank in (1, 2)
    if (
        (one_per_row and rows[0].is_compatible_with(rows[1]))
        or sample_weight.shape.rank == 0
        or _has_own_call(loss)
    ):
        return sample_weight
    values = _values(loss, y_true, y_pred)
    mask = compat.mask_of(y_pred)
    if values.shape.rank == 0 and mask is None:
        return sample_weight
    # Keras multiplies what has reduced itself by the weights and the mask alone.
    shape = values.shape if values.shape.rank else mask.shape
    weights = weights_like(sample_weight, shape, f"the loss {loss.name!r}")
    if loss.reduction == "mean_with_sample_weight" and values.shape.rank:
        return tf.broadcast_to(weights, tf.shape(values))  # it divides by their sum as they are
    return weights


def _has_own_call(loss: keras.losses.Loss) -> bool:
    """Whether a loss reduces in a `__call__` of its own, and need not have a `call`."""
    return type(loss).__call__ is not keras.losses.Loss.__call__


def _own_count(
    loss: keras.losses.Loss, y_true: Any, y_pred: Any, sample_weight: Any
) -> tf.Tensor | None:
    """What a Keras loss divides by where that is not the number of values.

    It is the number of values under a mask, or the sum of their weights. Keras averages
    the epoch of such losses by rows; here their sums are added up.
    """
    weighted_mean = loss.reduction == "mean_with_sample_weight"
    masked = compat.mask_of(y_pred) is not None
    if loss.reduction in (None, "none", "sum") or not (weighted_mean or masked):
        return None
    if _has_own_call(loss) or _values(loss, y_true, y_pred).shape.rank == 0:
        return None  # it reduces by itself
    ones = FunctionLoss(
        lambda y_true, y_pred: tf.ones_like(_values(loss, y_true, y_pred)), "ones"
    )
    weights = sample_weight if weighted_mean else None
    return tf.reduce_sum(_each(ones, y_true, y_pred, weights))


def _require_values(loss: keras.losses.Loss, y_true: Any, y_pred: Any) -> None:
    """Refuses a loss of rows of which some do not count, unless Keras can leave these out."""
    nested = keras.tree.is_nested(y_pred)
    if nested or _has_own_call(loss) or loss.reduction in (None, "none"):
        by_row = False
    else:
        values = _values(loss, y_true, y_pred)
        by_row = values.shape.rank != 0 and values.shape[:1].is_compatible_with(y_pred.shape[:1])
    if not by_row:
        raise ValueError(
            f"The loss {loss.name!r} must be reduced by Keras from one value per row where "
            "batches are filled up by `pad=True`. Received: a loss that reduces by itself, not "
            "at all, or several outputs. Fit without `pad=True`."
        )


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
    num_replicas: int,
) -> LossTerm:
    """Sum and denominator of a Keras loss on this replica, for a sum over all replicas."""
    values = _each(loss, y_true, y_pred, sample_weight)
    if values.shape.rank == 0:  # a function that reduces by itself
        counted = tf.cast(rows, values.dtype)
        return LossTerm(values * counted, counted)
    total = tf.reduce_sum(values)
    if loss.reduction in (None, "none", "sum"):
        return LossTerm(total, tf.constant(1 / num_replicas, total.dtype))
    return LossTerm(total, tf.cast(tf.size(values) if count is None else count, total.dtype))
