"""Batches of rows that never cut a query."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_trainsteps.data.arrays import Arrays, as_arrays, checked_ids
from keras_trainsteps.data.batch_order import ByQuery
from keras_trainsteps.data.filling import filled, fixed_sizes, with_row_mask
from keras_trainsteps.data.gathering import Pass, gathered_batches
from keras_trainsteps.data.order import WholeQueries, remember
from keras_trainsteps.data.rows import queries_of


def query_batches(
    x: Mapping[str, npt.ArrayLike],
    y: Arrays | None = None,
    sample_weight: Arrays | None = None,
    *,
    query_ids: str,
    batch_size: int = 1024,
    shuffle: bool = True,
    seed: int | None = None,
    pad: bool = False,
) -> tf.data.Dataset:
    """A dataset whose batches hold whole queries, for `fit`, `evaluate` and `predict`.

    `fit(shuffle=True)` on arrays draws rows, which scatters a query over batches: most of
    its pairs are never seen, and metrics by query are wrong. Here every epoch has the same
    number of batches, `ceil(rows / batch_size)` (or one per query, if these are fewer),
    and each ends with the query that comes nearest to its share of the rows.

    `LossAwareModel.predict` gives its outputs in the order of the arrays, whatever that of the
    batches, and refuses what was made of them by `map`, `take` and the like. A `keras.Model`
    does not know of it: there, predict on the arrays.

    Args:
        x: A dict of arrays of one entry per row, the query ids among them. A list of numbers
            or texts is taken as an array.
        y: Targets: an array, or a dict, list or tuple of arrays, of one entry per row.
        sample_weight: Weights, one per row.
        query_ids: The name of the entry of `x` with the ids, integers or strings, in any
            order, not necessarily contiguous.
        batch_size: Rows of a batch, on average at most: whole queries make batches differ.
        shuffle: Whether each epoch draws the order of the queries anew. If not, queries
            come in the order of their first rows. Rows keep their order within a query.
        seed: Makes the orders of the epochs repeatable. Default: they are not.
        pad: Whether batches are filled up to one number of rows (two, where queries differ so
            much that this saves a fifth), so that XLA compiles a step once. What fills a batch
            up is copies of its first row. `x["query_batches_row_mask"]` (`data.ROW_MASK`) is
            `False` there, by which a `LossAwareModel` leaves them out of every loss, metric,
            weight and log: all numbers are those without `pad`. No other model does.
            `data.padding_of(batches)` says what share of the rows is for nothing.
            Default: `False`.

    Returns:
        A `tf.data.Dataset` of `x`, `(x, y)` or `(x, y, sample_weight)`. Floats are cast to
        Keras's `floatx`, as `fit` does with arrays. What needs no cast is not copied: leave
        the arrays as they are while the batches are used.

    Raises:
        ValueError: For a `batch_size` below 1, a missing id entry, arrays of different
            lengths, no rows, an entry of the name `data.ROW_MASK` with `pad`.
        TypeError: For an `x` that is no dict, ids that are neither integers nor strings, and
            what is no dense array of numbers or texts: sparse and ragged values, dates,
            missing values.

    Example:

    >>> x = {"features": np.eye(5), "query_id": np.array([7, 8, 7, 9, 8])}
    >>> batches = query_batches(x, query_ids="query_id", batch_size=3, shuffle=False)
    >>> [batch["query_id"].numpy().tolist() for batch in batches]
    [[7, 7], [8, 8, 9]]
    """
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(
            f"`batch_size` must be an integer of at least 1. Received: {batch_size!r}."
        )
    if not isinstance(x, Mapping):
        raise TypeError(
            "`x` must be a dict of arrays with the query ids among them. "
            f"Received: {type(x).__name__}. Pass `{{'features': ..., {query_ids!r}: ...}}`."
        )
    if query_ids not in x:
        raise ValueError(
            f"`query_ids` must name an entry of `x`. Received: {query_ids!r}, "
            f"where `x` has {sorted(x)}."
        )
    if y is None and sample_weight is not None:
        raise ValueError(
            "`sample_weight` weighs the loss of targets. Received: weights without `y`. Pass "
            "the weights as an entry of `x`."
        )
    data = as_arrays(x, y, sample_weight)
    queries = queries_of(checked_ids(data[0][query_ids], f"x[{query_ids!r}]"))
    sizes = fixed_sizes(queries, batch_size, shuffle=shuffle) if pad else None
    if pad:
        data = with_row_mask(data, len(queries.rows))
    order = ByQuery(queries, batch_size)
    epoch_seeds = np.random.SeedSequence(seed)

    def pass_of(number: int, shuffle: bool = shuffle) -> Pass:
        if shuffle:
            passed = order.drawn(np.random.default_rng(epoch_seeds.spawn(1)[0]))
        else:
            passed = queries.in_batches(np.arange(len(queries.sizes)), batch_size)
        return passed if sizes is None else filled(passed, sizes)

    def dataset(pass_of: Callable[[int], Pass]) -> tf.data.Dataset:
        made = gathered_batches(data, pass_of, order.batches, sizes=sizes)
        return made.apply(tf.data.experimental.assert_cardinality(order.batches))

    rows, _ = pass_of(0, shuffle=False)
    is_order_of_arrays = not (shuffle or pad) and bool((rows == np.arange(len(rows))).all())
    in_order = functools.partial(dataset, functools.partial(pass_of, shuffle=False))
    made_of = WholeQueries(in_order, rows, is_order_of_arrays, sizes)
    return remember(dataset(pass_of), made_of)
