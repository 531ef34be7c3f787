"""`Ranker`: a ranking network as an estimator of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Self

import keras
import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from keras_trainsteps.data import query_batches
from keras_trainsteps.losses import RankingLoss
from keras_trainsteps.metrics import NDCG
from keras_trainsteps.model import LossAwareModel
from keras_trainsteps.sklearn.best_epoch import BestEpoch, scores_of
from keras_trainsteps.sklearn.given import as_float32, features_of, held_out_of, rows_of
from keras_trainsteps.sklearn.losses import FEATURES, as_ranking_loss
from keras_trainsteps.sklearn.network import as_batch_size, network_scores
from keras_trainsteps.sklearn.rows import Rows, require_comparable
from keras_trainsteps.sklearn.scaling import Scaling
from keras_trainsteps.validation import as_count, require_positive

SEEDS = 2**30


class Ranker(BaseEstimator):
    """Ranks rows within their queries: beside `LGBMRanker` and `XGBRanker`, a network.

    Features are brought to one scale, missing values (NaN) become their mean and are marked. The
    default network is a linear score and that of a hidden layer, added up; it trains on whole
    queries, with a learning rate that falls to 0, in seconds. `fit` draws weights and batches
    by `random_state` alone.

    ```
    learning rate of epoch e = learning_rate * (1 - (e - 1) / epochs),  e = 1, ..., epochs
    score(X, y) = mean over queries of NDCG@k
    ```

    Under `sklearn.set_config(enable_metadata_routing=True)` searches, pipelines and
    cross-validation pass `qid` on to `fit` and `score`; without it, a column `qid` of a data
    frame is what they cut together with the rows.

    Args:
        loss: What is trained on: a name, that of a function in `losses` or `"lambdarank"`
            (pairwise logistic, pairs weighing what swapping them changes in NDCG@k), or an
            object, as `losses.Softmax(temperature=0.5)`. Default `"unique_softmax"`, on
            none of three data sets far behind the best (`docs/which_loss.md`).
        hidden: Units of each hidden layer; `()` for a linear score. Default `(32,)`.
        dropout: The share of its inputs that a hidden layer does without, in training.
            `"auto"` (default) is `features / (features + queries)`, at most 0.5: much where
            there are more features than queries to learn from.
        network: Another network than that of `hidden` and `dropout`: a function
            `(features, seed)` of a `KerasTensor` of scaled features that returns one of scores,
            `(rows, 1)` or `(rows,)`. Hand `seed` to initializers and dropout, or `random_state`
            does not reach them. Default: none.
        learning_rate: Of Adam, in the first epoch, above 0. Default 0.003.
        epochs: Passes over the data, at least 1. Default 20.
        batch_size: Rows of a batch, on average at most; queries are never cut. `"auto"`
            (default) makes 32 batches an epoch, of at least 32 rows and at most 512.
        k: The ranks that NDCG looks at, at least 1, and `"lambdarank"`; `None` for all.
            Default 10.
        gains: What a grade is worth to NDCG, and to losses by name that know gains:
            `"exponential"` (default), `2**y - 1`; `"linear"`; or a table with the gain of each
            grade from 0 up, as LightGBM's `label_gain`.
        early_stopping_rounds: Epochs without a better NDCG on the last `eval_set` after which
            `fit` stops; the best weights are then kept. `None` for all epochs and the last
            weights. Without `eval_set` nothing stops. Default 5.
        random_state: A number, `RandomState` or `None`, as in scikit-learn. The same number
            gives the same scores. Default `None`.
        verbose: As in `keras.Model.fit`. Default 0.

    Attributes:
        model_: The trained `LossAwareModel`, which takes features as they are given to `fit`.
        n_features_in_: How many.
        feature_names_in_: Their names, of a data frame.
        n_iter_: Epochs trained.
        history_: The loss of each epoch, as `keras.callbacks.History.history`.
        evals_result_: NDCG after each epoch by set of `eval_set`, as LightGBM's:
            `{"valid_0": {"ndcg@10": [...]}}`.
        best_iteration_: The epoch, from 1, whose weights are kept, with `eval_set`.
        best_score_: Its NDCG on the last set.

    Example:

    >>> from keras_trainsteps.sklearn import Ranker
    >>> rng = np.random.default_rng(0)
    >>> X, qid = rng.normal(size=(300, 4)), np.repeat(np.arange(30), 10)
    >>> y = (X[:, 0] + 0.5 * rng.normal(size=300)).clip(0, 2).round()
    >>> ranker = Ranker(epochs=5, random_state=0).fit(X, y, qid=qid)
    >>> ranker.predict(X).shape
    (300,)
    >>> bool(ranker.score(X, y, qid=qid) > 0.8)
    True

    Reference:
        Qin et al., Are Neural Rankers still Outperformed by Gradient Boosted Decision Trees?,
        ICLR 2021.
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"qid": True}
    __metadata_request__partial_fit: ClassVar[dict[str, bool]] = {"qid": True}
    __metadata_request__score: ClassVar[dict[str, bool]] = {"qid": True}

    def __init__(
        self,
        loss: str | RankingLoss = "unique_softmax",
        *,
        hidden: Sequence[int] = (32,),
        dropout: float | Literal["auto"] = "auto",
        network: Callable[[Any, int], Any] | None = None,
        learning_rate: float = 0.003,
        epochs: int = 20,
        batch_size: int | Literal["auto"] = "auto",
        k: int | None = 10,
        gains: Literal["exponential", "linear"] | Sequence[float] = "exponential",
        early_stopping_rounds: int | None = 5,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        # As they are: scikit-learn copies estimators by what is kept here.
        self.loss = loss
        self.hidden = hidden
        self.dropout = dropout
        self.network = network
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch_size = batch_size
        self.k = k
        self.gains = gains
        self.early_stopping_rounds = early_stopping_rounds
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        qid: npt.ArrayLike | None = None,
        group: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        eval_set: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]] | None = None,
        eval_qid: Sequence[npt.ArrayLike] | None = None,
        eval_group: Sequence[npt.ArrayLike] | None = None,
    ) -> Self:
        """Trains a new network.

        Args:
            X: Features, shape `(rows, features)`, numbers; NaN is missing. A data frame may hold
                a column `qid` in place of the argument, here and in all methods.
            y: Grades, at least 0, more for a better row, shape `(rows,)`.
            qid: The query of each row, integers or strings, in any order.
            group: In place of `qid`: the number of rows of each query, which lie together.
            sample_weight: Weights, one per row, not negative. What they weigh is up to the
                loss. One a query becomes one a row by `data.of_rows`.
            eval_set: A list of `(X, y)`, to be evaluated after each epoch.
            eval_qid: For each of them its `qid`.
            eval_group: In place of `eval_qid`: for each its `group`.

        Raises:
            TypeError: For ids that are neither integers nor strings, a sparse `X`.
            ValueError: For both or neither of `qid` and `group`, columns of different lengths,
                negative or missing grades, infinite features, rows of which no two can be
                compared, and parameters that are not as they must be.
        """
        rows = rows_of(self, X, y, qid, group, sample_weight, reset=True)
        require_comparable(rows)
        stop = self.early_stopping_rounds
        patience = None if stop is None else as_count("early_stopping_rounds", stop)
        epochs = as_count("epochs", self.epochs)
        held_out = held_out_of(self, eval_set, eval_qid, eval_group)
        self._begin(rows)
        watch = BestEpoch(held_out, self._metric(), patience)
        falling = keras.callbacks.LearningRateScheduler(
            lambda epoch, _: self.learning_rate * (1 - epoch / epochs)
        )
        self._train(rows, epochs, [falling, watch] if held_out else [falling])
        self.model_.optimizer.learning_rate = self.learning_rate  # of `partial_fit`
        if held_out:
            name = self._metric().name
            self.evals_result_ = {
                f"valid_{number}": {name: values} for number, values in enumerate(watch.values)
            }
            self.best_iteration_ = watch.best
            self.best_score_ = watch.values[-1][watch.best - 1]
        return self

    def partial_fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        qid: npt.ArrayLike | None = None,
        group: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
    ) -> Self:
        """Trains on for one epoch, on further queries: what `fit` or the first call began.

        Scales of features, marks of missing ones and the dropout are those of the first rows. The
        learning rate does not fall. Arguments and errors are those of `fit`.
        """
        begun = hasattr(self, "model_")
        rows = rows_of(self, X, y, qid, group, sample_weight, reset=not begun)
        require_comparable(rows)
        if not begun:
            self._begin(rows)
        self._train(rows, 1, [])
        return self

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Scores, one per row, in the order of the rows: the higher, the better within a query.

        Args:
            X: Features as in `fit`. No query ids are needed; a column `qid` is not read.
        """
        check_is_fitted(self, "model_")
        return scores_of(self.model_, features_of(self, X))

    def score(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        qid: npt.ArrayLike | None = None,
        group: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
    ) -> float:
        """The mean over queries of NDCG@k, 0 of a query whose grades are all 0.

        Args:
            X: Features, as in `fit`.
            y: Grades, at least 0.
            qid: The query of each row.
            group: In place of `qid`: the number of rows of each query.
            sample_weight: Weights, one per row: a query weighs their mean. Default: 1.
        """
        check_is_fitted(self, "model_")
        rows = rows_of(self, X, y, qid, group, sample_weight, reset=False)
        metric = self._metric()
        scores = scores_of(self.model_, as_float32(rows.features))
        metric.update_state(rows.labels, scores, rows.weights, query_ids=rows.ids)
        return float(metric.result())

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "ranker"
        tags.target_tags.required = True
        tags.input_tags.allow_nan = True
        return tags

    def _begin(self, rows: Rows) -> None:
        """A network for these rows, not yet trained."""
        require_positive("learning_rate", self.learning_rate)
        self._metric()
        loss, query_ids = as_ranking_loss(self.loss, self.k, self.gains)
        seeds = check_random_state(self.random_state).randint(SEEDS, size=2)
        as_float32(rows.features)
        inputs = keras.Input(rows.features.shape[1:], name=FEATURES)
        as_batch_size(self.batch_size, len(rows.labels))
        scores = network_scores(
            Scaling.of(rows.features)(inputs),
            network=self.network,
            hidden=self.hidden,
            dropout=self.dropout,
            queries=len(np.unique(rows.ids)),
            seed=int(seeds[1]),
        )
        model = LossAwareModel(inputs, keras.layers.Reshape(())(scores))
        model.compile(keras.optimizers.Adam(self.learning_rate), loss=loss)
        self.model_, self._query_ids = model, query_ids
        self._seed, self.n_iter_ = int(seeds[0]), 0
        self.history_: dict[str, list[float]] = {"loss": []}
        for name in ("evals_result_", "best_iteration_", "best_score_"):  # of an earlier `fit`
            self.__dict__.pop(name, None)

    def _train(self, rows: Rows, epochs: int, callbacks: list[keras.callbacks.Callback]) -> None:
        """Trains on the rows, each time in another order."""
        batches = query_batches(
            {FEATURES: as_float32(rows.features), self._query_ids: rows.ids},
            rows.labels,
            rows.weights,
            query_ids=self._query_ids,
            batch_size=as_batch_size(self.batch_size, len(rows.labels)),
            seed=self._seed + self.n_iter_,
        )
        done = self.model_.fit(batches, epochs=epochs, verbose=self.verbose, callbacks=callbacks)
        self.history_["loss"] += done.history["loss"]
        self.n_iter_ += len(done.history["loss"])

    def _metric(self) -> NDCG:
        return NDCG("query_id", k=self.k, gains=self.gains)
