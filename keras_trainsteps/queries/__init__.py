"""Rows grouped by query: what ranking losses and metrics start from."""

from keras_trainsteps.queries.labels import checked_labels as checked_labels
from keras_trainsteps.queries.labels import exponential as exponential
from keras_trainsteps.queries.labels import gain_limit as gain_limit
from keras_trainsteps.queries.labels import gain_shift as gain_shift
from keras_trainsteps.queries.labels import relative_gains as relative_gains
from keras_trainsteps.queries.order import places as places
from keras_trainsteps.queries.order import query_order as query_order
from keras_trainsteps.queries.rows import RankingRows as RankingRows
from keras_trainsteps.queries.rows import dense_queries as dense_queries
from keras_trainsteps.queries.rows import query_sizes as query_sizes
from keras_trainsteps.queries.rows import ranking_rows as ranking_rows
from keras_trainsteps.queries.rows import ranks as ranks
from keras_trainsteps.queries.term import count_scale as count_scale
from keras_trainsteps.queries.term import owned_term as owned_term
from keras_trainsteps.queries.weights import checked_weights as checked_weights
from keras_trainsteps.queries.weights import widen as widen
