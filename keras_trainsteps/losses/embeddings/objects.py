"""The losses of embeddings as objects for `LossAwareModel.compile(loss=...)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from keras_trainsteps.losses.bound_loss import BoundLoss
from keras_trainsteps.losses.embeddings.contrastive import contrastive, margin_loss
from keras_trainsteps.losses.embeddings.info_nce import info_nce
from keras_trainsteps.losses.embeddings.mined_triplet import mined_triplet
from keras_trainsteps.losses.embeddings.multi_similarity import multi_similarity
from keras_trainsteps.losses.embeddings.supervised_contrastive import (
    nt_xent,
    supervised_contrastive,
)
from keras_trainsteps.losses.embeddings.triplet import triplet


class LabelLoss(BoundLoss):
    """A loss of one output, the embeddings, whose pairs are made by label.

    Args:
        y_true: The name of the side input with the labels, integers or strings of any
            size. Default: the targets `y` are the labels; Keras casts these to float32,
            which holds whole numbers up to 2**24 only.
        mask: The name of the side input with the mask. Default: none.
        sample_weight: The name of the side input with the weights of rows. Default: the
            `sample_weight` of `fit`, which Keras passes on only beside targets.
        name: The name of the loss. Default: that of its function.
        **options: The options of the function, by name.

    Raises:
        TypeError: For an option that the function does not have, or that is a variable.
        ValueError: For an option that the function refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((4,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(2)(inputs))
    >>> model.compile("adam", loss=SupervisedContrastive(y_true="label", temperature=0.5))
    >>> x = {"features": np.eye(4), "label": np.array(["a", "a", "b", "b"])}
    >>> sorted(model.fit(x, verbose=0).history)
    ['loss']
    """

    def __init__(
        self,
        y_true: str | None = None,
        *,
        mask: str | None = None,
        sample_weight: str | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        reads = {"y_true": y_true, "mask": mask, "sample_weight": sample_weight}
        super().__init__(reads, options, name=name)

    def example(self) -> dict[str, tf.Tensor]:
        return {"y_true": tf.zeros((0,), tf.int64), "y_pred": tf.zeros((0, 1))}


class OutputsLoss(BoundLoss):
    """A loss of several outputs, read from the whole structure of the network's outputs.

    It needs no targets: `fit(x)` trains it.

    Args:
        outputs: The names of the outputs that the function takes, in its order. Default: the
            names of its arguments. They are looked up in a dict of outputs; a tuple or list
            of outputs is taken in order.
        mask: The name of the side input with the mask. Default: none.
        sample_weight: The name of the side input with the weights of rows. Default: the
            `sample_weight` of `fit`, which Keras passes on only beside targets.
        name: The name of the loss. Default: that of its function.
        **options: The options of the function, by name.

    Raises:
        TypeError: For an option that the function does not have, or that is a variable.
        ValueError: For an option that the function refuses, another number of outputs than
            the function takes, and, in training, for outputs that are not there.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = {name: keras.Input((4,), name=name) for name in ("query", "item")}
    >>> tower = keras.layers.Dense(2)
    >>> outputs = {name: tower(tensor) for name, tensor in inputs.items()}
    >>> model = LossAwareModel(inputs, outputs)
    >>> model.compile("adam", loss=InfoNCE(outputs=("query", "item"), ids="item_id"))
    >>> x = {"query": np.eye(4), "item": np.eye(4), "item_id": np.array([7, 8, 9, 7])}
    >>> sorted(model.fit(x, verbose=0).history)
    ['loss']
    """

    reads_all_outputs = True
    takes: ClassVar[tuple[str, ...]]
    also_reads: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        outputs: Sequence[str] | None = None,
        mask: str | None = None,
        sample_weight: str | None = None,
        name: str | None = None,
        **options: Any,
    ) -> None:
        self.outputs = self.takes if outputs is None else tuple(outputs)
        if len(self.outputs) != len(self.takes):
            raise ValueError(
                f"`outputs` must name the {len(self.takes)} outputs that are taken as "
                f"{self.takes}. Received: {self.outputs}."
            )
        reads = {"mask": mask, "sample_weight": sample_weight}
        also = {argument: options.pop(argument, None) for argument in self.also_reads}
        super().__init__({**reads, **also}, options, name=name)

    def example(self) -> dict[str, tf.Tensor]:
        return {argument: tf.zeros((0, 1)) for argument in self.takes}

    def arguments(self, y_true: Any, y_pred: Any) -> dict[str, Any]:
        if isinstance(y_pred, Mapping):
            missing = [name for name in self.outputs if name not in y_pred]
            if not missing:
                found = [y_pred[name] for name in self.outputs]
                return dict(zip(self.takes, found, strict=True))
            received = f"a dict of {sorted(map(str, y_pred))}"
        else:
            found = list(y_pred) if isinstance(y_pred, tuple | list) else [y_pred]
            if len(found) == len(self.takes):
                return dict(zip(self.takes, found, strict=True))
            received = f"{len(found)} in order"
        raise ValueError(
            f"The network's outputs must be a dict with the entries {self.outputs}, or "
            f"{len(self.takes)} in that order: `{type(self).__name__}` takes them as "
            f"{self.takes}. Received: {received}. Name other entries with `outputs`."
        )

    def get_config(self) -> dict[str, Any]:
        return {"outputs": list(self.outputs), **super().get_config()}


@keras.saving.register_keras_serializable("keras_trainsteps")
class Triplet(OutputsLoss):
    """`triplet` as an object, for outputs `anchor`, `positive` and `negative`."""

    function = staticmethod(triplet)
    takes = ("anchor", "positive", "negative")


@keras.saving.register_keras_serializable("keras_trainsteps")
class InfoNCE(OutputsLoss):
    """`info_nce` as an object, for outputs `anchor` and `positive`.

    Beside the arguments of `OutputsLoss` it takes `ids` and `sampling_probability`, the
    names of the side inputs with the candidates' ids and sampling probabilities.
    """

    function = staticmethod(info_nce)
    takes = ("anchor", "positive")
    also_reads = ("ids", "sampling_probability")


@keras.saving.register_keras_serializable("keras_trainsteps")
class NTXent(OutputsLoss):
    """`nt_xent` as an object, for outputs `first` and `second`: two views of each row."""

    function = staticmethod(nt_xent)
    takes = ("first", "second")


@keras.saving.register_keras_serializable("keras_trainsteps")
class MinedTriplet(LabelLoss):
    """`mined_triplet` as an object."""

    function = staticmethod(mined_triplet)


@keras.saving.register_keras_serializable("keras_trainsteps")
class Contrastive(LabelLoss):
    """`contrastive` as an object."""

    function = staticmethod(contrastive)


@keras.saving.register_keras_serializable("keras_trainsteps")
class MarginLoss(LabelLoss):
    """`margin_loss` as an object, with a boundary that stays as it is.

    `beta`, a number, must be given. To train it, make it a weight of the model and call the
    function in the hook; Keras would never train a weight of a loss object.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> class Embedder(LossAwareModel):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.embed = keras.layers.Dense(2)
    ...         self.beta = self.add_weight(
    ...             shape=(), initializer=keras.initializers.Constant(1.2), name="beta"
    ...         )
    ...     def call(self, inputs):
    ...         return self.embed(inputs)
    ...     def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
    ...         return {"margin": margin_loss(y, y_pred, beta=self.beta)}
    >>> model = Embedder()
    >>> model.compile(keras.optimizers.SGD(0.1))
    >>> history = model.fit(np.eye(4), np.array([0, 0, 1, 1]), verbose=0)
    >>> float(model.beta.numpy()) == float(np.float32(1.2))  # it was trained
    False
    """

    function = staticmethod(margin_loss)


@keras.saving.register_keras_serializable("keras_trainsteps")
class SupervisedContrastive(LabelLoss):
    """`supervised_contrastive` as an object."""

    function = staticmethod(supervised_contrastive)


@keras.saving.register_keras_serializable("keras_trainsteps")
class MultiSimilarity(LabelLoss):
    """`multi_similarity` as an object."""

    function = staticmethod(multi_similarity)
