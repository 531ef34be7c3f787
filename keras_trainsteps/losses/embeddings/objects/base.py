"""What losses of embeddings for `compile` read: labels of one output, or several outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import tensorflow as tf

from keras_trainsteps.losses.bound_loss import BoundLoss
from keras_trainsteps.step.side_input_loss import Tensors


class LabelLoss(BoundLoss):
    """Base of losses of one output, the embeddings, whose pairs are made by label.

    A subclass names a function of `(y_true, y_pred)` that takes `mask` and `sample_weight`,
    and returns a `LossTerm`. A constructor of its own adds options, which the function takes
    too, as in `RankingLoss`.

    Args:
        y_true: Name of the side input with the labels, integers or strings of any size, shape
            `(rows,)`. Default: the targets `y` are the labels; Keras casts these to float32,
            which holds whole numbers up to 2**24 only.
        mask: Name of the side input with the mask, bool, shape `(rows,)`; rows where it is
            `False` are ignored. Default: all count.
        sample_weight: Name of the side input with the weights of rows. Default: the
            `sample_weight` of `fit`, which Keras passes on only together with targets.
        name: Name of the loss in logs. Default: that of its function.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an option that the function refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel, losses
    >>> def distinct(y_true, y_pred, **reads):
    ...     return losses.contrastive(y_true, y_pred, margin=0.5, **reads)
    >>> class Distinct(LabelLoss):
    ...     function = staticmethod(distinct)
    >>> inputs = keras.Input((4,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(2)(inputs))
    >>> model.compile("adam", loss=Distinct(y_true="label"))
    >>> x = {"features": np.eye(4), "label": np.array(["a", "a", "b", "b"])}
    >>> list(model.fit(x, verbose=0).history)
    ['loss']
    """

    reads = ("y_true", "mask", "sample_weight")

    def __init__(
        self,
        y_true: str | None = None,
        *,
        mask: str | None = None,
        sample_weight: str | None = None,
        name: str | None = None,
    ) -> None:
        self.bind(locals())

    def example(self) -> dict[str, tf.Tensor]:
        return {"y_true": tf.zeros((0,), tf.int64), "y_pred": tf.zeros((0, 1))}


class OutputsLoss(BoundLoss):
    """Base of losses of several outputs, which need no targets: `fit(x)` trains them.

    A subclass names a function of some outputs that takes `mask` and `sample_weight`, and
    returns a `LossTerm`. A constructor of its own adds options, which the function takes too,
    as in `RankingLoss`.

    Args:
        outputs: Names of the outputs that the function takes, in its order: they are looked
            up in a dict of outputs; a tuple or list of outputs is taken in order. Default:
            the names of its arguments.
        mask: Name of the side input with the mask, bool, shape `(rows,)`; rows where it is
            `False` are ignored. Default: all count.
        sample_weight: Name of the side input with the weights of rows. Default: the
            `sample_weight` of `fit`, which Keras passes on only together with targets.
        name: Name of the loss in logs. Default: that of its function.

    Attributes:
        takes: The arguments of the function that are outputs.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an option that the function refuses, another number of outputs than
            the function takes, and, in training, for outputs that are not there.

    Example:

    >>> from keras_trainsteps import LossAwareModel, losses
    >>> def both_ways(query, item, **reads):
    ...     there = losses.info_nce(query, item, **reads)
    ...     return there + losses.info_nce(item, query, **reads)
    >>> class BothWays(OutputsLoss):
    ...     function = staticmethod(both_ways)
    ...     takes = ("query", "item")
    >>> inputs = {name: keras.Input((4,), name=name) for name in ("query", "item")}
    >>> tower = keras.layers.Dense(2)
    >>> model = LossAwareModel(inputs, {name: tower(each) for name, each in inputs.items()})
    >>> model.compile("adam", loss=BothWays())
    >>> list(model.fit({"query": np.eye(4), "item": np.eye(4)}, verbose=0).history)
    ['loss']
    """

    reads_all_outputs = True
    reads: ClassVar[tuple[str, ...]] = ("mask", "sample_weight")
    not_options: ClassVar[tuple[str, ...]] = ("outputs", "name")
    takes: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        *,
        outputs: Sequence[str] | None = None,
        mask: str | None = None,
        sample_weight: str | None = None,
        name: str | None = None,
    ) -> None:
        self.bind(locals())

    def bind(self, arguments: Mapping[str, Any]) -> None:
        outputs = arguments["outputs"]
        if outputs is not None and len(outputs) != len(self.takes):
            raise ValueError(
                f"`outputs` must name the {len(self.takes)} outputs that are taken as "
                f"{self.takes}. Received: {outputs}."
            )
        super().bind(arguments)

    def example(self) -> dict[str, tf.Tensor]:
        return {argument: tf.zeros((0, 1)) for argument in self.takes}

    def arguments(self, y_true: Tensors | None, y_pred: Tensors) -> dict[str, Any]:
        names = tuple(self.given["outputs"] or self.takes)
        if isinstance(y_pred, Mapping):
            if all(name in y_pred for name in names):
                found = [y_pred[name] for name in names]
                return dict(zip(self.takes, found, strict=True))
            received = f"a dict of {sorted(map(str, y_pred))}"
        else:
            found = list(y_pred) if isinstance(y_pred, tuple | list) else [y_pred]
            if len(found) == len(names):
                return dict(zip(self.takes, found, strict=True))
            received = f"{len(found)} in order"
        raise ValueError(
            f"The network's outputs must be a dict with the entries {names}, or "
            f"{len(names)} in that order: `{type(self).__name__}` takes them as "
            f"{self.takes}. Received: {received}. Name other entries with `outputs`."
        )
