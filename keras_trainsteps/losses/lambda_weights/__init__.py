"""Lambda weights: what a pair weighs by how much a metric cares for its order.

With `r` the rank of a row by score within its query (from 1), `G = 2**y - 1` its gain and
`D(r) = 1 / log2(1 + r)` its discount, 0 beyond `k`, a pair of rows i, j weighs

- `LabelDifference()`: `abs(y_i - y_j)`.
- `DCG(k)`: `abs(G_i - G_j) * abs(D(r_i) - D(r_j))`, what swapping both changes in DCG.
- `NDCG(k)`: the same over the best DCG@k of the query.
- `DCG2(k)`: `abs(G_i - G_j) * (D(n) - D(n + 1))`, `n = abs(r_i - r_j)`.
- `NDCG2(k)`: the same over the best DCG@k of the query.
- `YetiDCG(k)`: `abs(G_i - G_j) * (D(1) - D(2))` of rows with neighbouring ranks, else 0.
- `DCG1(k)`: `G_i * D(r_i)`, for `pairs="ordered"`.
- `NDCG1(k)`: the same over the best DCG@k of the query.
- `ARP1()`: `y_i`, for `pairs="ordered"`.
- `Precision(k)`: `1 / k` if one row is relevant (`y > 0`), the other is not, and only one
  of them is in the first `k` ranks.

`gains` and `discount` are those of the metrics `NDCG` and `DCG`. To the gradient the weights are
constants. They weigh the total and not the count, so a query's loss depends on that query alone.
A weight of one's own is a subclass of `LambdaWeight`.
"""

from keras_trainsteps.losses.lambda_weights.base import LabelDifference, LambdaWeight
from keras_trainsteps.losses.lambda_weights.bounds import ARP1, DCG1, NDCG1
from keras_trainsteps.losses.lambda_weights.distance import DCG2, NDCG2
from keras_trainsteps.losses.lambda_weights.neighbours import YetiDCG
from keras_trainsteps.losses.lambda_weights.swaps import DCG, NDCG, Precision
from keras_trainsteps.pairs import PairFactor
from keras_trainsteps.queries import RankingRows, ranks

__all__ = [
    "ARP1",
    "DCG",
    "DCG1",
    "DCG2",
    "NDCG",
    "NDCG1",
    "NDCG2",
    "LabelDifference",
    "LambdaWeight",
    "PairFactor",
    "Precision",
    "RankingRows",
    "YetiDCG",
    "ranks",
]
