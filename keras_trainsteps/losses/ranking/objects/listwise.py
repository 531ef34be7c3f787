"""The listwise ranking losses as objects for `compile`."""

from __future__ import annotations

import keras

from keras_trainsteps.losses.ranking import list_mle, listwise
from keras_trainsteps.losses.ranking.lists import Normalize, Weigh
from keras_trainsteps.losses.ranking.objects.base import RankingLoss
from keras_trainsteps.losses.ranking.ties import Seed
from keras_trainsteps.queries import Discount, Gains


@keras.saving.register_keras_serializable("keras_trainsteps")
class Softmax(RankingLoss):
    """Softmax cross-entropy of the scores of each query (ListNet).

    For queries in which few rows are relevant, and as a fast, stable first choice.

    ```
    loss(query) = -sum_i p_i * log(exp(s_i) / sum_j exp(s_j))
    ```

    with scores `s` divided by `temperature`, and `p` from the labels, which must not be
    negative, times the weights of rows.

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
        labels: How labels become `p`: `"given"` (default): as they are, as in RAX and
            TF-Ranking. `"normalized"`: over their sum. `"softmax"`: their softmax, the
            top-one probabilities of the paper, of any real labels. `lambda_weights.DCG(...)` or
            `NDCG(...)`: what a row adds to the metric at its rank by score.
        normalize: What the sum is divided by: the weights of the `"queries"` with a relevant
            row (default), of all `"lists"` with a row, as RAX divides, or of the `"rows"`.
        temperature: Divides the scores, above 0. Default 1.
        name: Name of the loss in logs. Default `"softmax"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an unknown choice, a temperature that is not above 0. In training, for
            what `losses.softmax` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((2,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("adam", loss=Softmax(labels="normalized"))
    >>> x = {"features": np.eye(4, 2), "query_id": np.array([7, 7, 8, 8])}
    >>> list(model.fit(x, np.array([1.0, 0.0, 2.0, 0.0]), verbose=0).history)
    ['loss']

    Reference:
        Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", 2007.
    """

    function = staticmethod(listwise.softmax)

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        query_weight: str | None = None,
        weigh: Weigh = "rows",
        labels: listwise.Labels | listwise.RowWorth = "given",
        normalize: Normalize = "queries",
        temperature: float = 1.0,
        name: str | None = None,
    ) -> None:
        self.bind(locals())


@keras.saving.register_keras_serializable("keras_trainsteps")
class UniqueSoftmax(RankingLoss):
    """Softmax loss in which each row competes with the less relevant ones only.

    For graded labels, not negative: relevant rows do not push each other down.

    ```
    loss(query) = -sum_i (2 ** y_i - 1) * log(exp(s_i) / (exp(s_i) + lower_i))
    lower_i = sum_{j: y_j < y_i} exp(s_j)
    ```

    with scores `s` divided by `temperature`. Weights of rows multiply `2 ** y_i - 1`.

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
        normalize: What the sum is divided by: the weights of the `"queries"` with a relevant
            row (default), of all `"lists"` with a row, as RAX divides, or of the `"rows"`.
        temperature: Divides the scores, above 0. Default 1.
        name: Name of the loss in logs. Default `"unique_softmax"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an unknown choice, a temperature that is not above 0. In training, for
            what `losses.unique_softmax` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((2,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("adam", loss=UniqueSoftmax())
    >>> x = {"features": np.eye(4, 2), "query_id": np.array([7, 7, 8, 8])}
    >>> list(model.fit(x, np.array([1.0, 0.0, 2.0, 0.0]), verbose=0).history)
    ['loss']

    Reference:
        Zhu and Klabjan, "Listwise Learning to Rank by Exploring Unique Ratings", 2020.
    """

    function = staticmethod(listwise.unique_softmax)

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        query_weight: str | None = None,
        weigh: Weigh = "rows",
        gains: Gains = "exponential",
        normalize: Normalize = "queries",
        temperature: float = 1.0,
        name: str | None = None,
    ) -> None:
        self.bind(locals())


@keras.saving.register_keras_serializable("keras_trainsteps")
class ListMLE(RankingLoss):
    """The negative log-likelihood of the order of the labels (ListMLE, Plackett-Luce).

    For full rankings: the whole order counts, not only its head. With the rows of a query in
    descending order of label, any real numbers,

    ```
    loss(query) = sum_i (log(sum_{j >= i} exp(s_j)) - s_i)
    ```

    with scores `s` divided by `temperature`. Weights of rows multiply their summand, and so does
    `position_discount`, of its place `i` from 1.

    Args:
        query_ids: Name of the side input with the query ids: integers or strings, shape
            `(rows,)`. `None` for padded lists `(queries, list_size)`. Default `"query_id"`.
        mask: Name of the side input with the mask, bool, of the shape of the labels; rows
            where it is `False` are ignored. Default: all count, and padded lists must have
            no negative label, as a -1 for padding.
        query_weight: Name of the side input with the weights of queries, not negative: one
            per row, the same for all rows of a query; for padded lists one per list. Default:
            1 each.
        weigh: What the weights of rows weigh: `"rows"` (default), or `"relevant"`: the query, by
            `sum w * y / sum y` of its rows, as TF-Ranking and Keras-RS weigh lists; labels must
            then not be negative.
        position_discount: What a place leaves of its summand: `"log2"`, `1 / log2(1 + i)`;
            `"reciprocal"`, `1 / i`; or a function of the places. Default: all count the same.
        ties: The order of equal labels: `"stable"` (default), that of the rows, or `"random"`,
            drawn for each batch, so that the order of the file is not learned.
        seed: For `ties="random"`: an integer (the same draw for each batch), a
            `keras.random.SeedGenerator` (new draws, reproducible), or `None` (default), the
            global generator of `keras.random`.
        normalize: What the sum is divided by: the weights of the `"queries"` of two rows or
            more (default), of all `"lists"` with a row, as Keras-RS and TF-Ranking divide, or
            of the `"rows"`.
        temperature: Divides the scores, above 0. Default 1.
        name: Name of the loss in logs. Default `"list_mle"`.

    Raises:
        TypeError: For an argument that is a variable or a tensor.
        ValueError: For an unknown choice, a temperature that is not above 0. In training, for
            what `losses.list_mle` refuses.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((2,), name="features")
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("adam", loss=ListMLE())
    >>> x = {"features": np.eye(4, 2), "query_id": np.array([7, 7, 8, 8])}
    >>> list(model.fit(x, np.array([1.0, 0.0, 2.0, 0.0]), verbose=0).history)
    ['loss']

    Reference:
        Xia et al., "Listwise Approach to Learning to Rank: Theory and Algorithm", 2008.
    """

    function = staticmethod(list_mle.list_mle)

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        query_weight: str | None = None,
        weigh: Weigh = "rows",
        position_discount: Discount | None = None,
        ties: list_mle.Ties = "stable",
        seed: Seed = None,
        normalize: Normalize = "queries",
        temperature: float = 1.0,
        name: str | None = None,
    ) -> None:
        self.bind(locals())
