"""The pairwise ranking losses as objects for `compile`."""

from __future__ import annotations

import keras

from keras_trainsteps.losses.lambda_weights import LambdaWeight
from keras_trainsteps.losses.ranking import pair_term, pairwise
from keras_trainsteps.losses.ranking.objects.base import RankingLoss


@keras.saving.register_keras_serializable("keras_trainsteps")
class PairwiseLogistic(RankingLoss):
    """Pairwise logistic loss (RankNet); with a lambda weight LambdaRank.

    For graded or binary labels whose order is what counts.

    ```
    loss = sum of w_ij * log(1 + exp(-d)),    d = (s_i - s_j) / temperature
    ```

    over the pairs with `y_i > y_j` of each query, or over all ordered pairs the
    cross-entropy of `sigmoid(d)` with the target `(1 + clip(y_i - y_j, -1, 1)) / 2`. Time is
    linear in the rows of large queries.

    Args:
        query_ids: Name of the side input with the query ids: integers or strings, shape
            `(rows,)`. `None` for padded lists `(queries, list_size)`. Default `"query_id"`.
        mask: Name of the side input with the mask, bool, of the shape of the labels; rows
            where it is `False` are ignored. Default: all count, and padded lists must have
            no negative label, as a -1 for padding.
        query_weight: Name of the side input with the weights of queries, not negative: one
            per row, the same for all rows of a query; for padded lists one per list. Default:
            1 each.
        pairs: `"preference"` (default): pairs with `y_i > y_j` of one query. `"all"`: all
            ordered pairs `i != j`. `"ordered"`: these, each as if `i` were preferred, for
            lambda weights of the first row of a pair (`DCG1`, `NDCG1`, `ARP1`).
        pair_weight: What a pair weighs: the `"product"` of the weights of its rows (default),
            so that weight 2 equals the row twice, or the weight of the `"preferred"` row, the
            one with the higher label, as in RAX, TF-Ranking and Keras-RS. Or of the `"first"`
            row `i`: with `pairs="all"` `w_i` and `w_j` in turn, as in the pairwise mean squared
            error of TF-Ranking and Keras-RS; else that of the preferred row.
        lambda_weight: A further factor on each pair's term, from `losses.lambda_weights`.
            Default: none.
        normalize: What the sum is divided by: the weights of the `"pairs"` (default), or the
            number of `"rows"`. `"queries"`: the mean of each query, averaged over the queries
            that have a pair.
        temperature: Divides the scores, above 0. Default 1.
        epsilon: Added to the denominator of a batch, not negative. Default 0.
        method: `"exact"` visits every pair, `"linear"` takes time linear in the rows,
            `"auto"` (default) what is faster for each query.
        name: Name of the loss in logs. Default `"pairwise_logistic"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an unknown choice, a temperature that is not above 0 or a negative
            `epsilon`. In training, for what `losses.pairwise_logistic` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> from keras_trainsteps.losses.lambda_weights import NDCG
    >>> inputs = keras.Input((2,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("adam", loss=PairwiseLogistic(lambda_weight=NDCG(k=10)))
    >>> x = {"features": np.eye(4, 2), "query_id": np.array([7, 7, 8, 8])}
    >>> list(model.fit(x, np.array([1.0, 0.0, 2.0, 0.0]), verbose=0).history)
    ['loss']

    Reference:
        Burges et al., Learning to Rank using Gradient Descent, ICML 2005.
    """

    function = staticmethod(pairwise.pairwise_logistic)

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        query_weight: str | None = None,
        pairs: pair_term.Pairs = "preference",
        pair_weight: pair_term.PairWeight = "product",
        lambda_weight: LambdaWeight | None = None,
        normalize: pair_term.Normalize = "pairs",
        temperature: float = 1.0,
        epsilon: float = 0.0,
        method: pair_term.Method = "auto",
        name: str | None = None,
    ) -> None:
        self.bind(locals())


@keras.saving.register_keras_serializable("keras_trainsteps")
class PairwiseSoftZeroOne(RankingLoss):
    """Soft zero-one loss: a smooth count of the pairs in the wrong order.

    For labels with outliers: no pair counts more than its weight, however wrong it is.

    ```
    loss = sum of w_ij * sigmoid(-d),    d = (s_i - s_j) / temperature
    ```

    over the pairs with `y_i > y_j` of each query, as in RAX, TF-Ranking and Keras-RS.

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
        name: Name of the loss in logs. Default `"pairwise_soft_zero_one"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an unknown choice, a temperature that is not above 0. In training, for
            what `losses.pairwise_soft_zero_one` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((2,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("adam", loss=PairwiseSoftZeroOne(temperature=0.5))
    >>> x = {"features": np.eye(4, 2), "query_id": np.array([7, 7, 8, 8])}
    >>> list(model.fit(x, np.array([1.0, 0.0, 2.0, 0.0]), verbose=0).history)
    ['loss']
    """

    function = staticmethod(pairwise.pairwise_soft_zero_one)

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
        name: str | None = None,
    ) -> None:
        self.bind(locals())


@keras.saving.register_keras_serializable("keras_trainsteps")
class PairwiseMeanSquaredError(RankingLoss):
    """Squared error of the differences of scores.

    For labels whose distances count, but not their level.

    ```
    loss = sum of w_ij * (d - (y_i - y_j)) ** 2,    d = (s_i - s_j) / temperature
    ```

    by default over all ordered pairs of each query, as in RAX, TF-Ranking and Keras-RS.

    Args:
        query_ids: Name of the side input with the query ids: integers or strings, shape
            `(rows,)`. `None` for padded lists `(queries, list_size)`. Default `"query_id"`.
        mask: Name of the side input with the mask, bool, of the shape of the labels; rows
            where it is `False` are ignored. Default: all count, and padded lists must have
            no negative label, as a -1 for padding.
        query_weight: Name of the side input with the weights of queries, not negative: one
            per row, the same for all rows of a query; for padded lists one per list. Default:
            1 each.
        pairs: `"all"` (default): all ordered pairs `i != j` of one query. `"preference"`:
            pairs with `y_i > y_j`.
        pair_weight: What a pair weighs: the `"product"` of the weights of its rows (default),
            so that weight 2 equals the row twice, or the weight of the `"preferred"` row, the
            one with the higher label, as in RAX, TF-Ranking and Keras-RS. Or of the `"first"`
            row `i`: with `pairs="all"` `w_i` and `w_j` in turn, as in the pairwise mean squared
            error of TF-Ranking and Keras-RS; else that of the preferred row.
        lambda_weight: A further factor on each pair's term, from `losses.lambda_weights`.
            Default: none.
        normalize: What the sum is divided by: the weights of the `"pairs"` (default), or the
            number of `"rows"`. `"queries"`: the mean of each query, averaged over the queries
            that have a pair.
        temperature: Divides the scores, above 0. Default 1.
        method: `"exact"` visits every pair, `"linear"` takes time linear in the rows,
            `"auto"` (default) what is faster for each query.
        name: Name of the loss in logs. Default `"pairwise_mean_squared_error"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an unknown choice, a temperature that is not above 0. In training, for
            what `losses.pairwise_mean_squared_error` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((2,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("adam", loss=PairwiseMeanSquaredError())
    >>> x = {"features": np.eye(4, 2), "query_id": np.array([7, 7, 8, 8])}
    >>> list(model.fit(x, np.array([1.0, 0.0, 2.0, 0.0]), verbose=0).history)
    ['loss']
    """

    function = staticmethod(pairwise.pairwise_mean_squared_error)

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        query_weight: str | None = None,
        pairs: pair_term.Pairs = "all",
        pair_weight: pair_term.PairWeight = "product",
        lambda_weight: LambdaWeight | None = None,
        normalize: pair_term.Normalize = "pairs",
        temperature: float = 1.0,
        method: pair_term.Method = "auto",
        name: str | None = None,
    ) -> None:
        self.bind(locals())
