"""Pairwise ranking losses: sums over pairs of rows of one query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import keras
import tensorflow as tf

from keras_trainsteps.arguments import require_choice, require_positive
from keras_trainsteps.losses.side_input_loss import SideInputLoss
from keras_trainsteps.pairs import LOGISTIC, PairKernel, pair_sums
from keras_trainsteps.queries import owned_term, ranking_rows
from keras_trainsteps.side_inputs import pick
from keras_trainsteps.terms import LossTerm

Pairs = Literal["preference", "all"]
PairWeight = Literal["product", "preferred"]
Normalize = Literal["pairs", "queries", "rows"]


def pairwise_logistic(
    y_true: Any,
    y_pred: Any,
    *,
    query_ids: Any = None,
    mask: Any = None,
    sample_weight: Any = None,
    pairs: Pairs = "preference",
    pair_weight: PairWeight = "product",
    normalize: Normalize = "pairs",
    temperature: float = 1.0,
    epsilon: float = 0.0,
) -> LossTerm:
    """Pairwise logistic loss (RankNet) over the rows of each query.

    With `d = (s_i - s_j) / temperature` and pair weights `w_ij`:

    - `pairs="preference"`: `sum of w_ij * softplus(-d)` over pairs of one query with
      `y_i > y_j` (Burges et al. 2005; the convention of RAX, TF-Ranking and Keras-RS).
    - `pairs="all"`: over all ordered pairs `i != j` of one query the cross-entropy of
      `sigmoid(d)` with the soft target `t = (1 + clip(y_i - y_j, -1, 1)) / 2`, which is
      `sum of w_ij * (softplus(-d) + (1 - t) * d)`. Ties pull scores together.

    Args:
        y_true: Labels, any real numbers, shape `(rows,)` or `(rows, 1)`; or padded lists
            `(queries, list_size)` when there are no `query_ids`.
        y_pred: Scores, same number of entries. float16 and bfloat16 are computed in
            float32, float64 in float64.
        query_ids: Integer or string ids, one a row, in any order, not necessarily
            contiguous. `None` for padded lists.
        mask: Bool, of the shape of the labels: `False` leaves a row out. Default: all rows.
        sample_weight: Weights, one a row, not negative. Default: 1.
        pairs: `"preference"` or `"all"`.
        pair_weight: What a pair weighs: `"product"` of its rows' weights, so that weight 2
            equals the row twice, or the weight of the `"preferred"` row, the one with
            the higher label (the convention of TF-Ranking, Keras-RS and RAX). In a pair
            of equal labels (`pairs="all"`) the latter is the mean of both.
        normalize: The denominator. `"pairs"`, the default because it is the one that no
            batch composition changes: the sum of the pair weights (RAX divides by the
            number of pairs, also with weights). `"queries"`: each query's mean over its
            pairs, averaged over queries that have a pair (compare XGBoost and LightGBM).
            `"rows"`: the number of rows (Keras-RS and TF-Ranking, which count padding).
        temperature: Divides the scores. Default 1.
        epsilon: Added to the denominator of a batch. Default 0.

    Returns:
        A `LossTerm`; its total and count are 0 when no pair exists.

    Raises:
        TypeError: For ids that are neither integers nor strings.
        ValueError: For shapes that do not fit, unknown options, a temperature that is not
            positive.

    Example:

    >>> term = pairwise_logistic(
    ...     [1.0, 0.0, 1.0], [2.0, 1.0, 5.0], query_ids=["a", "a", "b"]
    ... )
    >>> round(float(term.value), 6) == round(float(np.log1p(np.exp(-1.0))), 6)
    True
    >>> float(term.count)
    1.0

    Reference:
        Burges et al., Learning to Rank using Gradient Descent, ICML 2005.
    """
    return _pairwise(
        LOGISTIC,
        y_true,
        y_pred,
        query_ids=query_ids,
        mask=mask,
        sample_weight=sample_weight,
        pairs=pairs,
        pair_weight=pair_weight,
        normalize=normalize,
        temperature=temperature,
        epsilon=epsilon,
    )


def _pairwise(
    kernel: PairKernel,
    y_true: Any,
    y_pred: Any,
    *,
    query_ids: Any,
    mask: Any,
    sample_weight: Any,
    pairs: Pairs,
    pair_weight: PairWeight,
    normalize: Normalize,
    temperature: float,
    epsilon: float,
) -> LossTerm:
    """The one routine of all pairwise losses."""
    require_choice("pairs", pairs, Pairs)
    require_choice("pair_weight", pair_weight, PairWeight)
    require_choice("normalize", normalize, Normalize)
    require_positive("temperature", temperature)
    if not epsilon >= 0:
        raise ValueError(f"`epsilon` must not be negative. Received: {epsilon}.")
    rows = ranking_rows(
        y_true, y_pred, query_ids=query_ids, mask=mask, sample_weight=sample_weight
    )
    totals, counts = pair_sums(
        kernel,
        rows.y_true,
        rows.y_pred / tf.constant(temperature, rows.y_pred.dtype),
        rows.query,
        rows.num_queries,
        pairs=pairs,
        row_weight=rows.weight,
        pair_weight=pair_weight,
    )
    if normalize == "queries":
        totals = tf.math.divide_no_nan(totals, counts)
        counts = tf.cast(counts > 0, totals.dtype)
    elif normalize == "rows":
        ones = tf.ones_like(rows.y_pred)
        counts = tf.math.unsorted_segment_sum(ones, rows.query, rows.num_queries)
    term = owned_term(totals, counts, rows.owned)
    if epsilon:
        # Spread over the replicas as the count is, so that it is added once.
        share = tf.math.divide_no_nan(tf.constant(epsilon, counts.dtype), tf.reduce_sum(counts))
        term = LossTerm(term.total, term.count * (1 + share))
    return term


@keras.saving.register_keras_serializable("keras_trainsteps")
class PairwiseLogistic(SideInputLoss):
    """`pairwise_logistic` for `LossAwareModel.compile(loss=...)`.

    Args:
        query_ids: The name of the side input with the query ids; `None` for padded lists.
        mask: The name of the side input with the mask. Default: none.
        name: The name of the loss.
        **options: The options of `pairwise_logistic`.

    Example:

    >>> loss = PairwiseLogistic(query_ids="query_id", normalize="queries")
    >>> loss.side_inputs
    ('query_id',)
    """

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        pairs: Pairs = "preference",
        pair_weight: PairWeight = "product",
        normalize: Normalize = "pairs",
        temperature: float = 1.0,
        epsilon: float = 0.0,
        name: str = "pairwise_logistic",
    ) -> None:
        super().__init__(name=name)
        require_choice("pairs", pairs, Pairs)
        require_choice("pair_weight", pair_weight, PairWeight)
        require_choice("normalize", normalize, Normalize)
        require_positive("temperature", temperature)
        self.query_ids, self.mask = query_ids, mask
        self.options = {
            "pairs": pairs,
            "pair_weight": pair_weight,
            "normalize": normalize,
            "temperature": temperature,
            "epsilon": epsilon,
        }

    @property
    def side_inputs(self) -> tuple[str, ...]:
        return tuple(name for name in (self.query_ids, self.mask) if name is not None)

    def term(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, x: Mapping[str, Any], sample_weight: Any
    ) -> LossTerm:
        return pairwise_logistic(
            y_true,
            y_pred,
            query_ids=None if self.query_ids is None else pick(x, self.query_ids),
            mask=None if self.mask is None else pick(x, self.mask),
            sample_weight=sample_weight,
            **self.options,
        )

    def get_config(self) -> dict[str, Any]:
        named = {"query_ids": self.query_ids, "mask": self.mask, "name": self.name}
        return {**named, **self.options}
