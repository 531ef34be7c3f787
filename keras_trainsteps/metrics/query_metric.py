"""The base of metrics that are means over queries."""

from __future__ import annotations

import functools
from typing import Any, ClassVar, Literal

import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.metrics.relevance import Relevance
from keras_trainsteps.metrics.relevant_weights import RelevantWeights
from keras_trainsteps.metrics.split_queries import SplitQueries, refuse_split
from keras_trainsteps.pairs.reduce import count_by_group, sum_by_group
from keras_trainsteps.queries import RankingRows, ranking_rows
from keras_trainsteps.step import running, side_inputs
from keras_trainsteps.step.epoch_metric import EpochMetric
from keras_trainsteps.step.query_watch import QueryWatch
from keras_trainsteps.validation import TensorLike, refuse, repr_of, require_choice

NoRelevant = Literal["zero", "one", "skip"]


class QueryMetric(EpochMetric):
    """A mean over the queries of an epoch: the base of ranking metrics.

    A subclass fills `query_values`, and may say its `default_name`, its `label_rule` and,
    where smaller is `better`, that. `v_q` is the value of query `q`; `w_q` is 1, or 0 for
    a query that does not count:

    ```
    metric = sum over queries of w_q * v_q / sum over queries of w_q
    ```

    The state is a sum and a count, over queries and not over batches, in float64. A query
    must come whole in one batch (`data.query_batches`): a value of its parts would be
    another metric.

    As one of `metrics=[...]` every query counts the same. As one of
    `weighted_metrics=[...]` a query weighs the mean of its rows' `sample_weight`, or, of metrics
    with `weigh="relevant"`, that of its relevant rows.

    Metrics of ranks take a row whose score is minus infinity for one that was not retrieved: it
    has a label, and no rank. So a run and its judgements, with such a row for each judged
    document that the run does not list, have the values of trec_eval. Of equal scores trec_eval
    takes the later name first: with rows by descending name `ties="stable"` does.

    A query that counts and has a NaN score makes the metric NaN. Labels that are NaN, or
    otherwise have no meaning (`label_rule`), are refused; under XLA, which cannot raise,
    they make the metric NaN.

    Args:
        query_ids: The name of the side input with the query ids, integers or strings, shape
            `(rows,)` or `(rows, 1)`. Default `"query_id"`. `None` for padded lists, shape
            `(queries, list_size)`.
        mask: The name of the side input with the mask, bool, of the shape of the labels:
            rows where it is `False` are ignored. Default: none, and padded lists must have no
            negative label, as a -1 for padding.
        split_queries: What a query is whose rows are in two batches of an epoch. `"error"`
            (default) refuses it; under XLA, which cannot raise, the metric is NaN. The
            check remembers the 16 queries that began last: it finds every query that a
            batch border cuts in rows that are sorted by query, and practically every epoch
            of shuffled rows. It does not see one query that is cut in two parts with 16
            others or more in between, in an epoch that is whole otherwise. In data that begin
            again within an epoch (`repeat()`, generators with `steps_per_epoch`), a query
            that comes back with other labels is cut, one with the same is whole.
            `"count_parts"` counts each part as a query: for data in which a query comes
            several times per epoch, each time whole.
        name: Default: the class's.

    Raises:
        ValueError: For an unknown option; from `update_state`, see there.

    Example:

    >>> class BestScore(QueryMetric):
    ...     def query_values(self, rows):
    ...         best = tf.math.unsorted_segment_max(rows.y_pred, rows.query, rows.num_queries)
    ...         return best, tf.ones_like(best)
    >>> metric = BestScore()
    >>> metric.update_state([0, 1, 1], [3.0, 2.0, 1.0], query_ids=[5, 5, 6])
    >>> float(metric.result())
    2.0
    >>> from keras_trainsteps import LossAwareSequential
    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", metrics=[BestScore(query_ids="user", mask="kept")])
    """

    default_name: ClassVar[str | None] = None
    row_weight: str | None = None
    weighs_rows: ClassVar[bool] = False
    better: ClassVar[Literal["up", "down"]] = "up"
    label_rule: tuple[str, str] = (
        "`y_true` must hold numbers in every row that is not masked",
        "Leave unlabelled rows out with the mask.",
    )

    def __init__(
        self,
        query_ids: str | None = "query_id",
        *,
        mask: str | None = None,
        split_queries: SplitQueries = "error",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name or self.default_name, dtype="float64")
        require_choice("split_queries", split_queries, SplitQueries)
        self.query_ids, self.mask, self.split_queries = query_ids, mask, split_queries
        compat.set_direction(self, self.better)
        self.total = self.add_variable((), "zeros", dtype="float64", name="total")
        self.count = self.add_variable((), "zeros", dtype="float64", name="count")
        self._watch = QueryWatch(self.add_variable) if split_queries == "error" else None
        self.relevance: Relevance | None = None  # of metrics that know no grades
        self.relevant_weights: RelevantWeights | None = None  # of `weigh="relevant"`

    def __repr__(self) -> str:
        """The call that makes the metric."""
        standard = name_at(self.default_name, vars(self).get("k"))
        name = None if self.name == standard else self.name
        return repr_of(self, {**vars(self), "name": name})

    @property
    def side_inputs(self) -> tuple[str, ...]:
        """The names of the entries of `x` that the metric reads."""
        names = self.query_ids, self.mask, self.row_weight
        return tuple(name for name in names if name is not None)

    def query_values(self, rows: RankingRows) -> tuple[tf.Tensor, tf.Tensor]:
        """The value of each query, and what it weighs: mostly 1, or 0 if it does not count."""
        raise NotImplementedError(f"{type(self).__name__} must define `query_values`.")

    def valid_labels(self, y_true: tf.Tensor) -> tf.Tensor:
        """Which labels keep the `label_rule`; one that is NaN never does."""
        return ~tf.math.is_nan(y_true)

    def worth(self, rows: RankingRows) -> tf.Tensor:
        """What each row is worth where a query weighs as its relevant rows do; float64."""
        return tf.cast((rows.y_true > 0) & (rows.query >= 0), tf.float64)

    def update_state(
        self,
        y_true: TensorLike,
        y_pred: TensorLike,
        sample_weight: TensorLike | None = None,
        *,
        query_ids: TensorLike | None = None,
        mask: TensorLike | None = None,
        row_weight: TensorLike | None = None,
    ) -> None:
        """Adds the queries of a batch.

        Args:
            y_true: Labels, shape `(rows,)` or `(rows, 1)`, or padded lists.
            y_pred: Scores, same number of entries.
            sample_weight: Weights, one per row.
            query_ids: Ids, one per row. Default: the side input that the metric names.
            mask: Bool, one per row. Default: the side input that the metric names.
            row_weight: Weights of rows within their query, of metrics that take them. Default:
                the side input that the metric names.

        Raises:
            TypeError: For ids that are neither integers nor strings, and what is no dense
                array of numbers.
            ValueError: For shapes that do not fit each other, a side input that is not
                there, labels that break the `label_rule`, a query of an earlier batch
                (see `split_queries`), and, except under XLA, for weights that are negative,
                infinite or not numbers, masks of other numbers than 0 and 1, and negative
                labels in padded lists without a mask.
        """
        if query_ids is None and self.query_ids is not None:
            query_ids = side_inputs.current(self.query_ids)
        if mask is None and self.mask is not None:
            mask = side_inputs.current(self.mask)
        if row_weight is None and self.row_weight is not None:
            row_weight = side_inputs.current(self.row_weight)
        if row_weight is not None and not self.weighs_rows:
            raise TypeError(
                f"`row_weight` must be None for `{type(self).__name__}`, which has no use for "
                "weights within a query. Received: weights. `sample_weight` weighs queries."
            )
        read = functools.partial(ranking_rows, y_true, y_pred, query_ids=query_ids, mask=mask)
        with running.unnoted():
            rows = read(sample_weight=sample_weight)
            if row_weight is not None:
                rows = rows._replace(row_weight=read(sample_weight=row_weight).weight)
        rows = rows._replace(y_true=self._checked_labels(rows))
        nan, zero = tf.constant(float("nan"), tf.float64), tf.constant(0.0, tf.float64)
        # State is touched by no batch that is refused.
        with tf.control_dependencies([rows.y_true]):
            masked = mask is not None or running.is_padded()
            split = self._refused_split(rows, masked=masked)
        if self.relevance is not None:
            self.relevance.note(rows)
        values, counts = self.query_values(rows)
        values, counts = tf.cast(values, tf.float64), tf.cast(counts, tf.float64)
        unknown = tf.math.is_nan(rows.y_pred)
        if compat.in_xla():  # which cannot refuse a label
            # A query with an unknown label counts: whether it has a relevant row is unknown.
            unlabelled = tf.math.is_nan(rows.y_true)
            counts = tf.where(_any(unlabelled, rows), tf.maximum(counts, 1), counts)
            unknown |= unlabelled
        values += sum_by_group(tf.where(unknown, nan, zero), rows.query, rows.num_queries)
        if rows.owned is not None:
            counts = tf.where(rows.owned, counts, 0)
        if rows.weight is not None and self.relevant_weights is not None:
            counts = self.relevant_weights.weigh(rows, self.worth(rows), values, counts)
        elif rows.weight is not None:
            counts *= tf.math.unsorted_segment_mean(
                tf.cast(rows.weight, tf.float64), rows.query, rows.num_queries
            )
        values = tf.where(counts > 0, values, tf.zeros_like(values))
        total = tf.reduce_sum(values * counts)
        with tf.control_dependencies([split, rows.y_true]):
            self.total.assign_add(tf.where(split, nan, total))
            self.count.assign_add(tf.reduce_sum(counts))

    def result(self) -> tf.Tensor:
        if self.relevance is not None and tf.executing_eagerly() and running.current() is None:
            self.relevance.warn_of_grades()
        total, count = (tf.convert_to_tensor(each) for each in (self.total, self.count))
        if self.relevant_weights is not None:
            return self.relevant_weights.mean(total, count)
        return tf.math.divide_no_nan(total, count)

    def end_epoch(self) -> None:
        """Refuses an epoch of which nothing could be relevant; a model calls it at its end."""
        if self.relevance is not None:
            self.relevance.require_reached()

    def get_config(self) -> dict[str, Any]:
        return {
            "query_ids": self.query_ids,
            "mask": self.mask,
            "split_queries": self.split_queries,
            "name": self.name,
        }

    def _refused_split(self, rows: RankingRows, *, masked: bool) -> tf.Tensor:
        """Whether a query of an earlier batch is in this one, if that could not be refused."""
        if self._watch is None or rows.ids is None:
            return tf.constant(False)
        step = running.current()
        begin_again = step is not None and step.begin_again
        grouped = running.QueryRows(rows.ids, rows.query, rows.num_queries, rows.y_true, masked)
        seen = self._watch.look(grouped, begin_again=begin_again)
        with tf.control_dependencies(refuse_split(seen.again)):
            self._watch.remember(seen)
            return tf.identity(seen.again)

    def _checked_labels(self, rows: RankingRows) -> tf.Tensor:
        labels = rows.y_true
        broken = (rows.query >= 0) & ~(self.valid_labels(labels) & ~tf.math.is_nan(labels))
        return refuse(labels, broken, "label", *self.label_rule)


def name_at(name: str | None, k: int | None) -> str | None:
    """The default name of a metric: `name`, or `name@k`."""
    return name if k is None else f"{name}@{k}"


def has_rows(rows: RankingRows) -> tf.Tensor:
    """Whether each query index has a row."""
    if not rows.masked:
        return tf.ones((rows.num_queries,), tf.bool)
    return count_by_group(rows.query, rows.num_queries) > 0


def _any(condition: tf.Tensor, rows: RankingRows) -> tf.Tensor:
    group = tf.where(condition, rows.query, -1)
    return count_by_group(group, rows.num_queries) > 0
