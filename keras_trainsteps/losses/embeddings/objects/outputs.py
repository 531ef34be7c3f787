"""Losses of several outputs as objects for `compile`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_trainsteps.losses.embeddings.geometry import Distance, Similarity
from keras_trainsteps.losses.embeddings.info_nce import info_nce
from keras_trainsteps.losses.embeddings.objects.base import OutputsLoss
from keras_trainsteps.losses.embeddings.supervised_contrastive import nt_xent
from keras_trainsteps.losses.embeddings.triplet import Normalize, triplet
from keras_trainsteps.step.side_input_loss import Tensors


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
    loss(i) = mean_{p in P(i)} -log(exp(z_ip) / (exp(z_ip) + sum_{n in N(i)} exp(z_in)))
    z_ij = sim(anchor_i, positive_j) / temperature - log q_j
    ```

    with the positives `P(i)`, which are row i alone unless `positives_by` tells more, and the
    negatives `N(i)`: all other candidates, but for those that `ids` or `positives_by` tell
    are none, and the given `negatives`. Outputs are embeddings, shape `(rows, dimensions)`.

    Args:
        outputs: Names of the outputs that are `anchor` and `positive`, in a dict of outputs;
            a tuple or list of outputs is taken in order. Default: these.
        mask: Name of the side input with the mask, bool, shape `(rows,)`; rows where it is
            `False` are ignored. Default: all count.
        sample_weight: Name of the side input with the weights of anchors, shape `(rows,)`.
            Default: the `sample_weight` of `fit`, which Keras passes on only together with
            targets.
        ids: Name of the side input with the ids of the candidates, as of items, integers or
            strings, shape `(rows,)`. A candidate with the id of a positive of the anchor is
            an accidental hit: no negative, and no positive either. Default: all candidates
            differ.
        positives_by: Name of the side input with the ids of the anchors, as of queries,
            integers or strings, shape `(rows,)`. The candidates of all rows of one id are
            positives of each of these rows: each counts, and none is a negative. Default:
            each row has its own candidate alone.
        negatives: Name of the output with hard negatives, in a dict of outputs, embeddings:
            one of each row for all anchors, shape `(rows, dimensions)`, or some for their own
            anchor alone, `(rows, K, dimensions)`. For a `Queue`, call `losses.info_nce` in
            `compute_losses`. Default: the batch's own.
        negative_ids: Name of the side input with ids of the `negatives`, comparable with
            `ids`: those with the id of a positive are accidental hits, too.
        negative_mask: Name of the side input that tells which `negatives` count, bool. Shared
            negatives of rows that `mask` leaves out count, unless this names it, too.
            Default: all.
        negative_expected_count: Name of the side input with `q` of the `negatives`. Default:
            1, which is right for those that are there whenever their anchor is.
        sampling_probability: Name of the side input with `q`: how likely a batch holds each
            candidate, in (0, 1], shape `(rows,)`; corrects for popular items being negatives
            more often. Default: 1 each.
        expected_count: Name of the side input with the same `q`, as how often a batch holds
            each candidate, which may be more than once: above 0, shape `(rows,)`.
        temperature: Divides the similarities, above 0. Default 0.1.
        similarity: `"cosine"` (default), `"dot"`, or `"squared_euclidean"`: minus the squared
            distance.
        symmetric: Whether each row of `positive` must also find its anchor among the anchors,
            as in CLIP. The given `negatives` compete with `positive` alone. Default: not.
        decoupled: Whether `exp(z_ip)` is left out of the sum, so that the pull of a positive
            does not fade as it becomes likely. Default: not.
        name: Name of the loss in logs. Default `"info_nce"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For another number of outputs, an unknown choice, a temperature that is
            not above 0. In training, for `negatives` that are no output, and what
            `losses.info_nce` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> names = ("query", "item")
    >>> inputs = {name: keras.Input((4,), name=name) for name in names}
    >>> tower = keras.layers.Dense(2)
    >>> model = LossAwareModel(inputs, {name: tower(each) for name, each in inputs.items()})
    >>> loss = InfoNCE(outputs=("query", "item"), ids="item_id", positives_by="user_id")
    >>> model.compile("adam", loss=loss)
    >>> x = {name: np.eye(4) for name in names}
    >>> x |= {"item_id": np.array([7, 8, 9, 7]), "user_id": np.array([1, 1, 2, 3])}
    >>> list(model.fit(x, verbose=0).history)
    ['loss']

    Reference:
        van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive
        Coding", 2018; correction: Yi et al., "Sampling-Bias-Corrected Neural Modeling for
        Large Corpus Item Recommendations", 2019; decoupled: Yeh et al., "Decoupled
        Contrastive Learning", 2022.
    """

    function = staticmethod(info_nce)
    takes = ("anchor", "positive")
    reads = (
        *OutputsLoss.reads,
        "ids",
        "positives_by",
        "negative_ids",
        "negative_mask",
        "negative_expected_count",
        "sampling_probability",
        "expected_count",
    )
    not_options = (*OutputsLoss.not_options, "negatives")

    def __init__(
        self,
        *,
        outputs: Sequence[str] | None = None,
        mask: str | None = None,
        sample_weight: str | None = None,
        ids: str | None = None,
        positives_by: str | None = None,
        negatives: str | None = None,
        negative_ids: str | None = None,
        negative_mask: str | None = None,
        negative_expected_count: str | None = None,
        sampling_probability: str | None = None,
        expected_count: str | None = None,
        temperature: float = 0.1,
        similarity: Similarity = "cosine",
        symmetric: bool = False,
        decoupled: bool = False,
        name: str | None = None,
    ) -> None:
        self.bind(locals())

    def arguments(self, y_true: Tensors | None, y_pred: Tensors) -> dict[str, Any]:
        found, name = super().arguments(y_true, y_pred), self.given["negatives"]
        if name is None:
            return found
        if not isinstance(y_pred, Mapping) or name not in y_pred:
            outputs = sorted(map(str, y_pred)) if isinstance(y_pred, Mapping) else "no dict"
            raise ValueError(
                f"`negatives` must name an entry of a dict of outputs. Received: {name!r} "
                f"for {outputs}. Give the network a dict of outputs with that entry."
            )
        return {**found, "negatives": y_pred[name]}


@keras.saving.register_keras_serializable("keras_trainsteps")
class NTXent(OutputsLoss):
    """Normalised, temperature-scaled cross-entropy of two views of each row (SimCLR).

    For self-supervision: row i of one view must find row i of the other among all other rows
    of both.

    ```
    loss(i) = mean_{p in P(i)} -log(exp(z_ip) / (exp(z_ip) + sum_{n in N(i)} exp(z_in)))
    z_ij = sim(x_i, x_j) / temperature
    ```

    over the `2 * rows` anchors `i`, with the other view of the same row as the one positive
    unless `positives_by` tells more, and all views of other rows (of other classes) as
    negatives `N(i)`. Outputs are embeddings, shape `(rows, dimensions)`.

    Args:
        outputs: Names of the outputs that are `first` and `second`: the views, in a dict of
            outputs; a tuple or list of outputs is taken in order. Default: these.
        mask: Name of the side input with the mask, bool, shape `(rows,)`; rows where it is
            `False` are ignored. Default: all count.
        sample_weight: Name of the side input with the weights of rows, shape `(rows,)`.
            Default: the `sample_weight` of `fit`, which Keras passes on only together with
            targets.
        positives_by: Name of the side input with ids of rows, as of classes, integers or
            strings, shape `(rows,)`. All other views of the rows of one id are positives, and
            none is a negative. Default: a row has its own views alone.
        temperature: Divides the similarities, above 0. Default 0.1, SimCLR's on ImageNet.
        similarity: `"cosine"` (default), `"dot"`, or `"squared_euclidean"`: minus the squared
            distance.
        decoupled: Whether `exp(z_ip)` is left out of the sum, so that the pull of a positive
            does not fade as it becomes likely. Default: not.
        name: Name of the loss in logs. Default `"nt_xent"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For another number of outputs, an unknown choice or a temperature that is not
            above 0. In training, for what `losses.nt_xent` refuses.

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
    reads = (*OutputsLoss.reads, "positives_by")

    def __init__(
        self,
        *,
        outputs: Sequence[str] | None = None,
        mask: str | None = None,
        sample_weight: str | None = None,
        positives_by: str | None = None,
        temperature: float = 0.1,
        similarity: Similarity = "cosine",
        decoupled: bool = False,
        name: str | None = None,
    ) -> None:
        self.bind(locals())
