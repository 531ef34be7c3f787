"""What all ranking losses for `compile` read of a batch."""

from __future__ import annotations

import tensorflow as tf

from keras_trainsteps.losses.bound_loss import BoundLoss


class RankingLoss(BoundLoss):
    """Base of ranking losses that read query ids, mask and query weights from side inputs.

    A subclass names a function of `(y_true, y_pred)` that takes `query_ids`, `mask`,
    `query_weight` and `sample_weight`, and returns a `LossTerm`. A constructor of its own adds
    options, which the function takes too.

    Args:
        query_ids: Name of the side input with the query ids: integers or strings, shape
            `(rows,)`. `None` for padded lists `(queries, list_size)`. Default `"query_id"`.
        mask: Name of the side input with the mask, bool, of the shape of the labels; rows
            where it is `False` are ignored. Default: all count.
        query_weight: Name of the side input with the weights of queries, not negative: one
            per row, the same for all rows of a query; for padded lists one per list. Default:
            1 each.
        name: Name of the loss in logs. Default: that of its function.

    Raises:
        TypeError: For an option that the function does not have, or that is a variable.
        ValueError: For an option that the function refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel, losses
    >>> def tempered(y_true, y_pred, *, power=1.0, **reads):
    ...     return losses.softmax(y_true ** power, y_pred, **reads)
    >>> @keras.saving.register_keras_serializable("mine")
    ... class Tempered(RankingLoss):
    ...     function = staticmethod(tempered)
    ...     def __init__(
    ...         self, query_ids=None, *, mask=None, query_weight=None, power=1.0, name=None
    ...     ):
    ...         self.bind(locals())
    >>> Tempered("user", power=0.5)
    Tempered(query_ids='user', power=0.5)
    >>> inputs = keras.Input((2,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("adam", loss=Tempered("user", power=0.5))
    >>> x = {"features": np.eye(4, 2), "user": np.array(["a", "a", "b", "b"])}
    >>> list(model.fit(x, np.array([1.0, 0.0, 2.0, 0.0]), verbose=0).history)
    ['loss']
    """

    reads = ("query_ids", "mask", "query_weight")

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        query_weight: str | None = None,
        name: str | None = None,
    ) -> None:
        self.bind(locals())

    @property
    def query_ids(self) -> str | None:
        """The name of the side input with the query ids."""
        return self.given["query_ids"]

    def example(self) -> dict[str, tf.Tensor]:
        if self.query_ids is None:
            return {"y_true": tf.zeros((0, 2)), "y_pred": tf.zeros((0, 2))}
        return {**super().example(), "query_ids": tf.zeros((0,), tf.int32)}
