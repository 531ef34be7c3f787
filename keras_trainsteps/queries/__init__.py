"""Rows grouped by query: what ranking losses and metrics start from."""

from keras_trainsteps.queries.gains import Discount as Discount
from keras_trainsteps.queries.gains import Gains as Gains
from keras_trainsteps.queries.gains import as_discount as as_discount
from keras_trainsteps.queries.gains import as_gains as as_gains
from keras_trainsteps.queries.gains import checked_gain_labels as checked_gain_labels
from keras_trainsteps.queries.gains import discounts_of as discounts_of
from keras_trainsteps.queries.gains import gain_rule as gain_rule
from keras_trainsteps.queries.gains import gains_of as gains_of
from keras_trainsteps.queries.gains import grow_with_labels as grow_with_labels
from keras_trainsteps.queries.gains import have_gains as have_gains
from keras_trainsteps.queries.gains import relative_gains_of as relative_gains_of
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
from keras_trainsteps.queries.term import owned_term as owned_term
from keras_trainsteps.queries.weights import checked_weights as checked_weights
from keras_trainsteps.queries.weights import widen as widen
