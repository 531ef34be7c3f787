"""Pointwise losses of ranking rows as objects for `compile`."""

from __future__ import annotations

import keras

from keras_trainsteps.losses.ranking import pointwise
from keras_trainsteps.losses.ranking.objects.base import RankingLoss


@keras.saving.register_keras_serializable("keras_trainsteps")
class SigmoidCrossentropy(RankingLoss):
    """Sigmoid cross-entropy of each row.

    For scores that should also be calibrated log-odds.

    ```
    loss(row) = log(1 + exp(s)) - y * s
    ```

    with labels `y` in [0, 1], which is not checked.

    Args:
        query_ids: Name of the side input with the query ids: integers or strings, shape
            `(rows,)`. `None` for padded lists `(queries, list_size)`. Default `"query_id"`.
        mask: Name of the side input with the mask, bool, of the shape of the labels; rows
            where it is `False` are ignored. Default: all count.
        query_weight: Name of the side input with the weights of queries, not negative: one
            per row, the same for all rows of a query; for padded lists one per list. Default:
            1 each.
        normalize: `"rows"` (default): the sum is divided by the weights of the rows, so that
            weight 2 equals the row twice. `"queries"`: each query weighs the same, by the
            weighted mean of its rows.
        name: Name of the loss in logs. Default `"sigmoid_crossentropy"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an unknown choice. In training, for what `losses.sigmoid_crossentropy`
            refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((2,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("adam", loss=SigmoidCrossentropy())
    >>> x = {"features": np.eye(4, 2), "query_id": np.array([7, 7, 8, 8])}
    >>> list(model.fit(x, np.array([1.0, 0.0, 1.0, 0.0]), verbose=0).history)
    ['loss']
    """

    function = staticmethod(pointwise.sigmoid_crossentropy)

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        query_weight: str | None = None,
        normalize: pointwise.Normalize = "rows",
        name: str | None = None,
    ) -> None:
        self.bind(locals())


@keras.saving.register_keras_serializable("keras_trainsteps")
class MeanSquaredError(RankingLoss):
    """Squared error of each row.

    For labels that are quantities, not only an order.

    ```
    loss(row) = (s - y) ** 2
    ```

    Args:
        query_ids: Name of the side input with the query ids: integers or strings, shape
            `(rows,)`. `None` for padded lists `(queries, list_size)`. Default `"query_id"`.
        mask: Name of the side input with the mask, bool, of the shape of the labels; rows
            where it is `False` are ignored. Default: all count.
        query_weight: Name of the side input with the weights of queries, not negative: one
            per row, the same for all rows of a query; for padded lists one per list. Default:
            1 each.
        normalize: `"rows"` (default): the sum is divided by the weights of the rows, so that
            weight 2 equals the row twice. `"queries"`: each query weighs the same, by the
            weighted mean of its rows.
        name: Name of the loss in logs. Default `"mean_squared_error"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an unknown choice. In training, for what `losses.mean_squared_error`
            refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((2,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("adam", loss=MeanSquaredError(normalize="queries"))
    >>> x = {"features": np.eye(4, 2), "query_id": np.array([7, 7, 8, 8])}
    >>> list(model.fit(x, np.array([1.0, 0.0, 2.0, 0.0]), verbose=0).history)
    ['loss']
    """

    function = staticmethod(pointwise.mean_squared_error)

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        query_weight: str | None = None,
        normalize: pointwise.Normalize = "rows",
        name: str | None = None,
    ) -> None:
        self.bind(locals())
