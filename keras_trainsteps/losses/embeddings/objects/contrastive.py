"""Losses of pairs by label as objects for `compile`."""

from __future__ import annotations

import keras

from keras_trainsteps.losses.embeddings.contrastive import Normalize, contrastive, margin_loss
from keras_trainsteps.losses.embeddings.geometry import Distance
from keras_trainsteps.losses.embeddings.objects.base import LabelLoss


@keras.saving.register_keras_serializable("keras_trainsteps")
class Contrastive(LabelLoss):
    """Contrastive loss of all pairs of a batch.

    For labelled examples: rows of one label should coincide, rows of different labels should
    be at least a margin apart.

    ```
    loss(i, j) = d(i, j) ** 2                    labels equal
    loss(i, j) = max(0, margin - d(i, j)) ** 2   labels different
    ```

    over all ordered pairs `i != j`.

    Args:
        y_true: Name of the side input with the labels, integers or strings of any size, shape
            `(rows,)`. Default: the targets `y` are the labels; Keras casts these to float32,
            which holds whole numbers up to 2**24 only.
        mask: Name of the side input with the mask, bool, shape `(rows,)`; rows where it is
            `False` are ignored. Default: all count.
        sample_weight: Name of the side input with the weights of rows, shape `(rows,)`: a
            pair `(i, j)` has that of row i. Default: the `sample_weight` of `fit`, which
            Keras passes on only together with targets.
        distance: `"euclidean"` (default), `"squared_euclidean"` or `"cosine"`; a cosine
            distance is `1 - cos`.
        margin: How far apart rows of different labels must be, in units of the distance,
            above 0. Default 1.
        normalize: What the sum is divided by: the weights of all ordered `"pairs"` (default),
            or of those of a loss above 0, `"active"`.
        name: Name of the loss in logs. Default `"contrastive"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an unknown choice or a margin that is not above 0. In training, for
            what `losses.contrastive` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((4,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(2)(inputs))
    >>> model.compile("adam", loss=Contrastive(y_true="label", margin=0.5))
    >>> x = {"features": np.eye(4), "label": np.array(["a", "a", "b", "b"])}
    >>> list(model.fit(x, verbose=0).history)
    ['loss']

    Reference:
        Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant
        Mapping", 2006.
    """

    function = staticmethod(contrastive)

    def __init__(
        self,
        y_true: str | None = None,
        *,
        mask: str | None = None,
        sample_weight: str | None = None,
        distance: Distance = "euclidean",
        margin: float = 1.0,
        normalize: Normalize = "pairs",
        name: str | None = None,
    ) -> None:
        self.bind(locals())


@keras.saving.register_keras_serializable("keras_trainsteps")
class MarginLoss(LabelLoss):
    """Margin loss of all pairs of a batch, with a boundary that stays as it is.

    For labelled examples whose embeddings have length 1.

    ```
    loss(i, j) = max(0, margin + d(i, j) - beta)   labels equal
    loss(i, j) = max(0, margin - d(i, j) + beta)   labels different
    ```

    over all ordered pairs `i != j`. To train `beta`, make it a weight of the model and call
    `losses.margin_loss` in the hook; Keras would never train a weight of a loss object.

    Args:
        y_true: Name of the side input with the labels, integers or strings of any size, shape
            `(rows,)`. Default: the targets `y` are the labels; Keras casts these to float32,
            which holds whole numbers up to 2**24 only.
        mask: Name of the side input with the mask, bool, shape `(rows,)`; rows where it is
            `False` are ignored. Default: all count.
        sample_weight: Name of the side input with the weights of rows, shape `(rows,)`: a
            pair `(i, j)` has that of row i. Default: the `sample_weight` of `fit`, which
            Keras passes on only together with targets.
        beta: The boundary between positive and negative pairs, in units of the distance. The
            paper starts at 1.2.
        margin: Half the width of the strip around the boundary, above 0. Default 0.2, the
            paper's.
        distance: `"euclidean"` (default), `"squared_euclidean"` or `"cosine"`; a cosine
            distance is `1 - cos`.
        normalize: What the sum is divided by: the weights of all ordered `"pairs"`, or of
            those of a loss above 0, `"active"` (default, as in the paper's code).
        name: Name of the loss in logs. Default `"margin_loss"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an unknown choice or a margin that is not above 0. In training, for
            what `losses.margin_loss` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((4,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(2)(inputs))
    >>> model.compile("adam", loss=MarginLoss(y_true="label", beta=1.2))
    >>> x = {"features": np.eye(4), "label": np.array(["a", "a", "b", "b"])}
    >>> list(model.fit(x, verbose=0).history)
    ['loss']

    With a trained boundary:

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

    Reference:
        Wu, Manmatha, Smola and Krähenbühl, "Sampling Matters in Deep Embedding Learning",
        2017.
    """

    function = staticmethod(margin_loss)

    def __init__(
        self,
        y_true: str | None = None,
        *,
        mask: str | None = None,
        sample_weight: str | None = None,
        beta: float,
        margin: float = 0.2,
        distance: Distance = "euclidean",
        normalize: Normalize = "active",
        name: str | None = None,
    ) -> None:
        self.bind(locals())
