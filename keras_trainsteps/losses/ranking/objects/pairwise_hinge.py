"""The pairwise hinge losses as objects for `compile`."""

from __future__ import annotations

import keras

from keras_trainsteps.losses.lambda_weights import LambdaWeight
from keras_trainsteps.losses.ranking import pair_term, pairwise
from keras_trainsteps.losses.ranking.objects.base import RankingLoss


@keras.saving.register_keras_serializable("keras_trainsteps")
class PairwiseHinge(RankingLoss):
    """Pairwise hinge loss (RankSVM).

    For an order that only needs a margin: pairs that have it do not matter any more.

    ```
    loss = sum of w_ij * max(0, 1 - d),    d = (s_i - s_j) / temperature
    ```

    over the pairs with `y_i > y_j` of each query.

    Args:
        query_ids: Name of the side input with the query ids: integers or strings, shape
            `(rows,)`. `None` for padded lists `(queries, list_size)`. Default `"query_id"`.
        mask: Name of the side input with the mask, bool, of the shape of the labels; rows
            where it is `False` are ignored. Default: all count, and padded lists must have
            no negative label, as a -1 for padding.
        query_weight: Name of the side input with the weights of queries, not negative: one
            per row, the same for all rows of a query; for padded lists one per list. Default:
            1 each.
        pair_weight: What a pair weighs: the `"product"` of the weights of its rows (default),
            so that weight 2 equals the row twice, or the weight of the `"preferred"` row, the
            one with the higher label, as in RAX, TF-Ranking and Keras-RS.
        lambda_weight: A further factor on each pair's term, from `losses.lambda_weights`.
            Default: none.
        normalize: What the sum is divided by: the weights of the `"pairs"` (default), or the
            number of `"rows"`. `"queries"`: the mean of each query, averaged over the queries
            that have a pair.
        temperature: Divides the scores, above 0. Default 1.
        method: `"exact"` visits every pair, `"linear"` takes time linear in the rows,
            `"auto"` (default) what is faster for each query.
        name: Name of the loss in logs. Default `"pairwise_hinge"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an unknown choice, a temperature that is not above 0. In training, for
            what `losses.pairwise_hinge` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((2,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("adam", loss=PairwiseHinge())
    >>> x = {"features": np.eye(4, 2), "query_id": np.array([7, 7, 8, 8])}
    >>> list(model.fit(x, np.array([1.0, 0.0, 2.0, 0.0]), verbose=0).history)
    ['loss']

    Reference:
        Herbrich, Graepel and Obermayer, Large Margin Rank Boundaries for Ordinal Regression,
        2000.
    """

    function = staticmethod(pairwise.pairwise_hinge)

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        query_weight: str | None = None,
        pair_weight: pair_term.PairWeight = "product",
        lambda_weight: LambdaWeight | None = None,
        normalize: pair_term.Normalize = "pairs",
        temperature: float = 1.0,
        method: pair_term.Method = "auto",
        name: str | None = None,
    ) -> None:
        self.bind(locals())


@keras.saving.register_keras_serializable("keras_trainsteps")
class PairwiseSquaredHinge(RankingLoss):
    """Squared pairwise hinge loss, which is smooth at the margin.

    ```
    loss = sum of w_ij * max(0, 1 - d) ** 2,    d = (s_i - s_j) / temperature
    ```

    over the pairs with `y_i > y_j` of each query.

    Args:
        query_ids: Name of the side input with the query ids: integers or strings, shape
            `(rows,)`. `None` for padded lists `(queries, list_size)`. Default `"query_id"`.
        mask: Name of the side input with the mask, bool, of the shape of the labels; rows
            where it is `False` are ignored. Default: all count, and padded lists must have
            no negative label, as a -1 for padding.
        query_weight: Name of the side input with the weights of queries, not negative: one
            per row, the same for all rows of a query; for padded lists one per list. Default:
            1 each.
        pair_weight: What a pair weighs: the `"product"` of the weights of its rows (default),
            so that weight 2 equals the row twice, or the weight of the `"preferred"` row, the
            one with the higher label, as in RAX, TF-Ranking and Keras-RS.
        lambda_weight: A further factor on each pair's term, from `losses.lambda_weights`.
            Default: none.
        normalize: What the sum is divided by: the weights of the `"pairs"` (default), or the
            number of `"rows"`. `"queries"`: the mean of each query, averaged over the queries
            that have a pair.
        temperature: Divides the scores, above 0. Default 1.
        method: `"exact"` visits every pair, `"linear"` takes time linear in the rows,
            `"auto"` (default) what is faster for each query.
        name: Name of the loss in logs. Default `"pairwise_squared_hinge"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an unknown choice, a temperature that is not above 0. In training, for
            what `losses.pairwise_squared_hinge` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((2,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("adam", loss=PairwiseSquaredHinge(normalize="queries"))
    >>> x = {"features": np.eye(4, 2), "query_id": np.array([7, 7, 8, 8])}
    >>> list(model.fit(x, np.array([1.0, 0.0, 2.0, 0.0]), verbose=0).history)
    ['loss']

    Reference:
        Chapelle and Keerthi, Efficient Algorithms for Ranking with SVMs, 2010.
    """

    function = staticmethod(pairwise.pairwise_squared_hinge)

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        query_weight: str | None = None,
        pair_weight: pair_term.PairWeight = "product",
        lambda_weight: LambdaWeight | None = None,
        normalize: pair_term.Normalize = "pairs",
        temperature: float = 1.0,
        method: pair_term.Method = "auto",
        name: str | None = None,
    ) -> None:
        self.bind(locals())
