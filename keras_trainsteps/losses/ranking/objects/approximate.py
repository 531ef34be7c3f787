"""Differentiable ranking metrics as objects for `compile`."""

from __future__ import annotations

import keras

from keras_trainsteps.losses.ranking import approximate
from keras_trainsteps.losses.ranking.lists import Normalize, Weigh
from keras_trainsteps.losses.ranking.objects.base import RankingLoss
from keras_trainsteps.queries import Gains


@keras.saving.register_keras_serializable("keras_trainsteps")
class ApproxNDCG(RankingLoss):
    """Minus the NDCG of soft ranks (ApproxNDCG).

    For graded labels, not negative, where NDCG itself is the goal. Between -1 and 0.

    ```
    loss(query) = -sum_i (2 ** y_i - 1) / log2(1 + rank_i) / max_dcg
    rank_i = 1 + sum_{j != i} sigmoid((s_j - s_i) / temperature)
    ```

    where `max_dcg` is the DCG of the best order. Weights of rows multiply `2 ** y_i - 1`.
    Time grows with the squares of the list sizes.

    Args:
        query_ids: Name of the side input with the query ids: integers or strings, shape
            `(rows,)`. `None` for padded lists `(queries, list_size)`. Default `"query_id"`.
        mask: Name of the side input with the mask, bool, of the shape of the labels; rows
            where it is `False` are ignored. Default: all count.
        query_weight: Name of the side input with the weights of queries, not negative: one
            per row, the same for all rows of a query; for padded lists one per list. Default:
            1 each.
        weigh: What the weights of rows weigh: `"rows"` (default), or `"relevant"`: the query, by
            `sum w * y / sum y` of its rows, as TF-Ranking and Keras-RS weigh lists; labels must
            then not be negative.
        gains: `"exponential"` (default), `2**y - 1`; `"linear"`, `y`; a table with the gain of
            each label from 0 up (LightGBM's `label_gain`); or a function of the labels.
        temperature: Width of the sigmoid, in units of the scores, above 0: smaller is closer
            to the metric, and flatter between steps. Default 0.1, as in TF-Ranking.
        normalize: What the sum is divided by: the weights of the `"queries"` with a relevant
            row (default), of all `"lists"` with a row, as RAX divides, or of the `"rows"`.
        name: Name of the loss in logs. Default `"approx_ndcg"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an unknown choice, a temperature that is not above 0. In training, for
            what `losses.approx_ndcg` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((2,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("adam", loss=ApproxNDCG(temperature=0.5))
    >>> x = {"features": np.eye(4, 2), "query_id": np.array([7, 7, 8, 8])}
    >>> list(model.fit(x, np.array([1.0, 0.0, 2.0, 0.0]), verbose=0).history)
    ['loss']

    Reference:
        Qin, Liu and Li, "A General Approximation Framework for Direct Optimization of
        Information Retrieval Measures", 2010.
    """

    function = staticmethod(approximate.approx_ndcg)

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        query_weight: str | None = None,
        weigh: Weigh = "rows",
        gains: Gains = "exponential",
        temperature: float = 0.1,
        normalize: Normalize = "queries",
        name: str | None = None,
    ) -> None:
        self.bind(locals())


@keras.saving.register_keras_serializable("keras_trainsteps")
class ApproxMRR(RankingLoss):
    """Minus the mean reciprocal soft rank of the relevant rows (ApproxMRR).

    For queries with one relevant row. Between -1 and 0.

    ```
    loss(query) = -sum_i (y_i / sum_j y_j) / rank_i
    rank_i = 1 + sum_{j != i} sigmoid((s_j - s_i) / temperature)
    ```

    with labels that are not negative, times the weights of rows. Time grows with the squares
    of the list sizes.

    Args:
        query_ids: Name of the side input with the query ids: integers or strings, shape
            `(rows,)`. `None` for padded lists `(queries, list_size)`. Default `"query_id"`.
        mask: Name of the side input with the mask, bool, of the shape of the labels; rows
            where it is `False` are ignored. Default: all count.
        query_weight: Name of the side input with the weights of queries, not negative: one
            per row, the same for all rows of a query; for padded lists one per list. Default:
            1 each.
        weigh: What the weights of rows weigh: `"rows"` (default), or `"relevant"`: the query, by
            `sum w * y / sum y` of its rows, as TF-Ranking and Keras-RS weigh lists; labels must
            then not be negative.
        temperature: Width of the sigmoid, in units of the scores, above 0: smaller is closer
            to the metric, and flatter between steps. Default 0.1, as in TF-Ranking.
        normalize: What the sum is divided by: the weights of the `"queries"` with a relevant
            row (default), of all `"lists"` with a row, as RAX divides, or of the `"rows"`.
        name: Name of the loss in logs. Default `"approx_mrr"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an unknown choice, a temperature that is not above 0. In training, for
            what `losses.approx_mrr` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((2,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("adam", loss=ApproxMRR())
    >>> x = {"features": np.eye(4, 2), "query_id": np.array([7, 7, 8, 8])}
    >>> list(model.fit(x, np.array([1.0, 0.0, 2.0, 0.0]), verbose=0).history)
    ['loss']

    Reference:
        Qin, Liu and Li, "A General Approximation Framework for Direct Optimization of
        Information Retrieval Measures", 2010.
    """

    function = staticmethod(approximate.approx_mrr)

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        query_weight: str | None = None,
        weigh: Weigh = "rows",
        temperature: float = 0.1,
        normalize: Normalize = "queries",
        name: str | None = None,
    ) -> None:
        self.bind(locals())
