"""Losses of several outputs as objects for `compile`."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from keras_trainsteps.losses.embeddings.geometry import Distance, Similarity
from keras_trainsteps.losses.embeddings.info_nce import info_nce
from keras_trainsteps.losses.embeddings.objects.base import OutputsLoss
from keras_trainsteps.losses.embeddings.supervised_contrastive import nt_xent
from keras_trainsteps.losses.embeddings.triplet import Normalize, triplet


@keras.saving.register_keras_serializable("keras_trainsteps")
class Triplet(OutputsLoss):
    """Triplet loss of three outputs: the positive must be nearer to the anchor by a margin.

    For matching, as of questions with a right and a wrong answer.

    ```
    loss(row) = max(0, d(anchor, positive) - d(anchor, negative) + margin)
    loss(row) = log(1 + exp(d(anchor, positive) - d(anchor, negative)))    # soft margin
    ```

    Outputs are embeddings, shape `(rows, dimensions)`.

    Args:
        outputs: Names of the outputs that are `anchor`, `positive` and `negative`, in a dict
            of outputs; a tuple or list of outputs is taken in order. Default: these.
        mask: Name of the side input with the mask, bool, shape `(rows,)`; rows where it is
            `False` are ignored. Default: all count.
        sample_weight: Name of the side input with the weights of triplets, shape `(rows,)`.
            Default: the `sample_weight` of `fit`, which Keras passes on only together with
            targets.
        distance: `"cosine"` (default), `"euclidean"` or `"squared_euclidean"`; a cosine
            distance is `1 - cos`.
        margin: How much nearer the positive must be, in units of the distance, above 0.
            Default 0.1, which suits cosines.
        soft_margin: Whether to use the smooth form, which has no margin. Default: not.
        normalize: What the sum is divided by: the weights of the `"triplets"` (default), or
            of those of a loss above 0, `"active"`.
        name: Name of the loss in logs. Default `"triplet"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For another number of outputs, an unknown choice, a margin that is not
            above 0 or comes with `soft_margin`. In training, for what `losses.triplet`
            refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> names = ("anchor", "positive", "negative")
    >>> inputs = {name: keras.Input((4,), name=name) for name in names}
    >>> tower = keras.layers.Dense(2)
    >>> model = LossAwareModel(inputs, {name: tower(each) for name, each in inputs.items()})
    >>> model.compile("adam", loss=Triplet(margin=0.5))
    >>> x = {name: np.eye(4) for name in names}
    >>> list(model.fit(x, verbose=0).history)
    ['loss']

    Reference:
        Schroff, Kalenichenko and Philbin, "FaceNet: A Unified Embedding for Face
        Recognition and Clustering", 2015; soft margin: Hermans, Beyer and Leibe, "In
        Defense of the Triplet Loss for Person Re-Identification", 2017.
    """

    function = staticmethod(triplet)
    takes = ("anchor", "positive", "negative")

    def __init__(
        self,
        *,
        outputs: Sequence[str] | None = None,
        mask: str | None = None,
        sample_weight: str | None = None,
        distance: Distance = "cosine",
        margin: float | None = None,
        soft_margin: bool = False,
        normalize: Normalize = "triplets",
        name: str | None = None,
    ) -> None:
        self.bind(locals())


@keras.saving.register_keras_serializable("keras_trainsteps")
class InfoNCE(OutputsLoss):
    """Softmax over in-batch candidates of two outputs (InfoNCE).

    For retrieval with pairs of a query and its item: the items of other rows are the
    negatives.

    ```
    loss(i) = -log(exp(z_ii) / sum_j exp(z_ij))
    z_ij = sim(anchor_i, positive_j) / temperature - log q_j
    ```

    Outputs are embeddings, shape `(rows, dimensions)`.

    Args:
        outputs: Names of the outputs that are `anchor` and `positive`, in a dict of outputs;
            a tuple or list of outputs is taken in order. Default: these.
        mask: Name of the side input with the mask, bool, shape `(rows,)`; rows where it is
            `False` are ignored. Default: all count.
        sample_weight: Name of the side input with the weights of anchors, shape `(rows,)`.
            Default: the `sample_weight` of `fit`, which Keras passes on only together with
            targets.
        ids: Name of the side input with the ids of the candidates, integers or strings, shape
            `(rows,)`. A candidate with the id of the anchor's own is an accidental hit and no
            negative. Default: all candidates differ.
        sampling_probability: Name of the side input with `q`: how likely a batch holds each
            candidate, in (0, 1], shape `(rows,)`; corrects for popular items being negatives
            more often. Default: 1 each.
        temperature: Divides the similarities, above 0. Default 0.1.
        similarity: `"cosine"` (default) or `"dot"`.
        name: Name of the loss in logs. Default `"info_nce"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For another number of outputs, an unknown choice, a temperature that is
            not above 0. In training, for what `losses.info_nce` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> names = ("query", "item")
    >>> inputs = {name: keras.Input((4,), name=name) for name in names}
    >>> tower = keras.layers.Dense(2)
    >>> model = LossAwareModel(inputs, {name: tower(each) for name, each in inputs.items()})
    >>> model.compile("adam", loss=InfoNCE(outputs=("query", "item"), ids="item_id"))
    >>> x = {name: np.eye(4) for name in names} | {"item_id": np.array([7, 8, 9, 7])}
    >>> list(model.fit(x, verbose=0).history)
    ['loss']

    Reference:
        van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive
        Coding", 2018; correction: Yi et al., "Sampling-Bias-Corrected Neural Modeling for
        Large Corpus Item Recommendations", 2019.
    """

    function = staticmethod(info_nce)
    takes = ("anchor", "positive")
    reads = (*OutputsLoss.reads, "ids", "sampling_probability")

    def __init__(
        self,
        *,
        outputs: Sequence[str] | None = None,
        mask: str | None = None,
        sample_weight: str | None = None,
        ids: str | None = None,
        sampling_probability: str | None = None,
        temperature: float = 0.1,
        similarity: Similarity = "cosine",
        name: str | None = None,
    ) -> None:
        self.bind(locals())


@keras.saving.register_keras_serializable("keras_trainsteps")
class NTXent(OutputsLoss):
    """Normalised, temperature-scaled cross-entropy of two views of each row (SimCLR).

    For self-supervision: row i of one view must find row i of the other among all other rows
    of both.

    ```
    loss(i) = -log(exp(S_ij / temperature) / sum_{k != i} exp(S_ik / temperature))
    ```

    over the `2 * rows` anchors `i` with their other view `j` and cosines `S`. Outputs are
    embeddings, shape `(rows, dimensions)`.

    Args:
        outputs: Names of the outputs that are `first` and `second`: the views, in a dict of
            outputs; a tuple or list of outputs is taken in order. Default: these.
        mask: Name of the side input with the mask, bool, shape `(rows,)`; rows where it is
            `False` are ignored. Default: all count.
        sample_weight: Name of the side input with the weights of rows, shape `(rows,)`.
            Default: the `sample_weight` of `fit`, which Keras passes on only together with
            targets.
        temperature: Divides the cosines, above 0. Default 0.1, SimCLR's on ImageNet.
        name: Name of the loss in logs. Default `"nt_xent"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For another number of outputs or a temperature that is not above 0. In
            training, for what `losses.nt_xent` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> names = ("first", "second")
    >>> inputs = {name: keras.Input((4,), name=name) for name in names}
    >>> tower = keras.layers.Dense(2)
    >>> model = LossAwareModel(inputs, {name: tower(each) for name, each in inputs.items()})
    >>> model.compile("adam", loss=NTXent(temperature=0.5))
    >>> x = {name: np.eye(4) for name in names}
    >>> list(model.fit(x, verbose=0).history)
    ['loss']

    Reference:
        Chen et al., "A Simple Framework for Contrastive Learning of Visual
        Representations", 2020.
    """

    function = staticmethod(nt_xent)
    takes = ("first", "second")

    def __init__(
        self,
        *,
        outputs: Sequence[str] | None = None,
        mask: str | None = None,
        sample_weight: str | None = None,
        temperature: float = 0.1,
        name: str | None = None,
    ) -> None:
        self.bind(locals())
