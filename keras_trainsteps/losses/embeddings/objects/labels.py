"""Losses of labelled embeddings as objects for `compile`."""

from __future__ import annotations

import keras

from keras_trainsteps.losses.embeddings.geometry import Distance
from keras_trainsteps.losses.embeddings.mined_triplet import Mining, mined_triplet
from keras_trainsteps.losses.embeddings.multi_similarity import multi_similarity
from keras_trainsteps.losses.embeddings.objects.base import LabelLoss
from keras_trainsteps.losses.embeddings.supervised_contrastive import supervised_contrastive
from keras_trainsteps.losses.embeddings.triplet import Normalize


@keras.saving.register_keras_serializable("keras_trainsteps")
class MinedTriplet(LabelLoss):
    """Triplet loss of the triplets that the labels of a batch make.

    For labelled examples: every row is an anchor `a`, rows of its label are its positives
    `p`, rows of other labels its negatives `n`.

    ```
    loss(a, p, n) = max(0, d(a, p) - d(a, n) + margin), or log(1 + exp(d(a, p) - d(a, n)))
    ```

    Args:
        y_true: Name of the side input with the labels, integers or strings of any size, shape
            `(rows,)`. Default: the targets `y` are the labels; Keras casts these to float32,
            which holds whole numbers up to 2**24 only.
        mask: Name of the side input with the mask, bool, shape `(rows,)`; rows where it is
            `False` are ignored. Default: all count.
        sample_weight: Name of the side input with the weights of anchors, shape `(rows,)`.
            Default: the `sample_weight` of `fit`, which Keras passes on only together with
            targets.
        mining: Which triplets are taken. `"hard"`: for each anchor its farthest positive and
            its nearest negative. `"semihard"` (default): for each anchor and positive the
            nearest negative that is farther than the positive, or else the farthest one.
            `"all"`.
        distance: `"cosine"` (default), `"euclidean"` or `"squared_euclidean"`; a cosine
            distance is `1 - cos`.
        margin: How much nearer the positive must be, in units of the distance, above 0.
            Default 0.1, which suits cosines.
        soft_margin: Whether to use the smooth form, which has no margin. Default: not.
        normalize: What the sum is divided by: the weights of the mined `"triplets"` (default),
            or of those of a loss above 0, `"active"`.
        name: Name of the loss in logs. Default `"mined_triplet"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an unknown choice, a margin that is not above 0 or comes with
            `soft_margin`. In training, for what `losses.mined_triplet` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((4,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(2)(inputs))
    >>> model.compile("adam", loss=MinedTriplet(y_true="label", mining="hard"))
    >>> x = {"features": np.eye(4), "label": np.array(["a", "a", "b", "b"])}
    >>> list(model.fit(x, verbose=0).history)
    ['loss']

    Reference:
        Schroff, Kalenichenko and Philbin, "FaceNet: A Unified Embedding for Face
        Recognition and Clustering", 2015 (semihard); Hermans, Beyer and Leibe, "In Defense
        of the Triplet Loss for Person Re-Identification", 2017 (hard, all, soft margin).
    """

    function = staticmethod(mined_triplet)

    def __init__(
        self,
        y_true: str | None = None,
        *,
        mask: str | None = None,
        sample_weight: str | None = None,
        mining: Mining = "semihard",
        distance: Distance = "cosine",
        margin: float | None = None,
        soft_margin: bool = False,
        normalize: Normalize = "triplets",
        name: str | None = None,
    ) -> None:
        self.bind(locals())


@keras.saving.register_keras_serializable("keras_trainsteps")
class SupervisedContrastive(LabelLoss):
    """Softmax over the batch with all rows of the anchor's label as positives (SupCon).

    For labelled examples, two views or several rows per label in each batch.

    ```
    loss(i) = -mean_p log(exp(S_ip / temperature) / sum_{j != i} exp(S_ij / temperature))
    ```

    with cosines `S` and the positives `p` of `i`, averaged over the anchors that have one.

    Args:
        y_true: Name of the side input with the labels, integers or strings of any size, shape
            `(rows,)`. Default: the targets `y` are the labels; Keras casts these to float32,
            which holds whole numbers up to 2**24 only.
        mask: Name of the side input with the mask, bool, shape `(rows,)`; rows where it is
            `False` are ignored. Default: all count.
        sample_weight: Name of the side input with the weights of anchors, shape `(rows,)`.
            Default: the `sample_weight` of `fit`, which Keras passes on only together with
            targets.
        temperature: Divides the cosines, above 0. Default 0.1, the paper's.
        name: Name of the loss in logs. Default `"supervised_contrastive"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For a temperature that is not above 0. In training, for what
            `losses.supervised_contrastive` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((4,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(2)(inputs))
    >>> model.compile("adam", loss=SupervisedContrastive(y_true="label", temperature=0.5))
    >>> x = {"features": np.eye(4), "label": np.array(["a", "a", "b", "b"])}
    >>> list(model.fit(x, verbose=0).history)
    ['loss']

    Reference:
        Khosla et al., "Supervised Contrastive Learning", 2020.
    """

    function = staticmethod(supervised_contrastive)

    def __init__(
        self,
        y_true: str | None = None,
        *,
        mask: str | None = None,
        sample_weight: str | None = None,
        temperature: float = 0.1,
        name: str | None = None,
    ) -> None:
        self.bind(locals())


@keras.saving.register_keras_serializable("keras_trainsteps")
class MultiSimilarity(LabelLoss):
    """Multi-similarity loss of a batch: hard pairs dominate smoothly.

    ```
    loss(i) = log(1 + sum_p exp(-alpha * (S_ip - base))) / alpha
            + log(1 + sum_n exp(beta * (S_in - base))) / beta
    ```

    with cosines `S`, the positives `p` that are less similar than the most similar negative
    plus `epsilon`, and the negatives `n` that are more similar than the least similar positive
    minus `epsilon`; averaged over the anchors that have both.

    Args:
        y_true: Name of the side input with the labels, integers or strings of any size, shape
            `(rows,)`. Default: the targets `y` are the labels; Keras casts these to float32,
            which holds whole numbers up to 2**24 only.
        mask: Name of the side input with the mask, bool, shape `(rows,)`; rows where it is
            `False` are ignored. Default: all count.
        sample_weight: Name of the side input with the weights of anchors, shape `(rows,)`.
            Default: the `sample_weight` of `fit`, which Keras passes on only together with
            targets.
        alpha: Sharpness of the positives' part, above 0. Default 2.
        beta: Sharpness of the negatives' part, above 0. Default 50, the paper's.
        base: The similarity at which a pair's loss turns (lambda in the paper). Default 0.5.
        epsilon: Slack of the mining, in units of similarity, or `None` for no mining. Default
            0.1, the paper's.
        name: Name of the loss in logs. Default `"multi_similarity"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an `alpha` or `beta` that is not above 0, a negative `epsilon`. In
            training, for what `losses.multi_similarity` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((4,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(2)(inputs))
    >>> model.compile("adam", loss=MultiSimilarity(y_true="label", beta=40.0))
    >>> x = {"features": np.eye(4), "label": np.array(["a", "a", "b", "b"])}
    >>> list(model.fit(x, verbose=0).history)
    ['loss']

    Reference:
        Wang et al., "Multi-Similarity Loss with General Pair Weighting for Deep Metric
        Learning", 2019.
    """

    function = staticmethod(multi_similarity)

    def __init__(
        self,
        y_true: str | None = None,
        *,
        mask: str | None = None,
        sample_weight: str | None = None,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        epsilon: float | None = 0.1,
        name: str | None = None,
    ) -> None:
        self.bind(locals())
