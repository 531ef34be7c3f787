"""`Ranker`: what it returns, keeps, and stops by."""

import inspect
import pickle

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from keras_trainsteps import LossAwareModel, losses
from keras_trainsteps.data import of_rows
from keras_trainsteps.sklearn import Ranker
from keras_trainsteps.sklearn.losses import LOSSES
from tests.sklearn.toy import mean_ndcg, toy

X, Y, QID = toy()
HELD_OUT, HELD_OUT_Y, HELD_OUT_QID = toy(30, seed=1)
FIT = {"eval_set": [(HELD_OUT, HELD_OUT_Y)], "eval_qid": [HELD_OUT_QID]}


@pytest.fixture(scope="module")
def fitted():
    return Ranker(epochs=4, learning_rate=0.05, k=3, random_state=3).fit(X, Y, qid=QID, **FIT)


def test_scores_are_in_the_order_of_the_rows(fitted):
    scores = fitted.predict(HELD_OUT)
    assert scores.shape == (len(HELD_OUT),)
    assert scores.dtype == "float32"
    np.testing.assert_allclose(fitted.predict(HELD_OUT[::-1]), scores[::-1], atol=1e-5)


def test_score_is_the_mean_ndcg(fitted):
    scores, w = fitted.predict(HELD_OUT), of_rows(np.arange(1, 31), HELD_OUT_QID)
    expected = mean_ndcg(HELD_OUT_Y, scores, HELD_OUT_QID, k=3)
    assert fitted.score(HELD_OUT, HELD_OUT_Y, qid=HELD_OUT_QID) == pytest.approx(expected)
    assert expected > 0.8
    weighted = mean_ndcg(HELD_OUT_Y, scores, HELD_OUT_QID, k=3, weights=w)
    found = fitted.score(HELD_OUT, HELD_OUT_Y, qid=HELD_OUT_QID, sample_weight=w)
    assert found == pytest.approx(weighted)
    assert weighted != pytest.approx(expected)


def test_groups_and_a_column_say_the_same_as_ids(fitted):
    expected = fitted.score(HELD_OUT, HELD_OUT_Y, qid=HELD_OUT_QID)
    order = np.argsort(HELD_OUT_QID, kind="stable")
    of_groups = fitted.score(HELD_OUT[order], HELD_OUT_Y[order], group=[6] * 30)
    assert of_groups == pytest.approx(expected)
    with_column = pd.DataFrame(HELD_OUT).assign(qid=HELD_OUT_QID)
    with_column.columns = with_column.columns.astype(str)
    named = clone(fitted)
    named.model_, named.n_features_in_ = fitted.model_, 4
    named.feature_names_in_ = np.array(["0", "1", "2", "3"], object)
    assert named.score(with_column, HELD_OUT_Y) == pytest.approx(expected)
    np.testing.assert_array_equal(named.predict(with_column), fitted.predict(HELD_OUT))


def test_the_best_epoch_is_kept(fitted):
    values = fitted.evals_result_["valid_0"]["ndcg@3"]
    assert len(values) == fitted.n_iter_ == len(fitted.history_["loss"])
    assert fitted.best_score_ == max(values) == values[fitted.best_iteration_ - 1]
    kept = fitted.score(HELD_OUT, HELD_OUT_Y, qid=HELD_OUT_QID)
    assert kept == pytest.approx(fitted.best_score_)


def test_pickled_with_its_network(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    assert isinstance(again.model_, LossAwareModel)
    np.testing.assert_array_equal(again.predict(HELD_OUT), fitted.predict(HELD_OUT))
    assert again.get_params() == fitted.get_params()


def test_parameters_are_those_of_the_constructor(fitted):
    names = set(inspect.signature(Ranker).parameters)
    assert set(fitted.get_params()) == names
    copy = clone(fitted).set_params(k=5, loss=losses.Softmax(temperature=0.5))
    assert not hasattr(copy, "model_")
    assert (copy.k, copy.epochs) == (5, 4)
    assert clone(copy).loss.given == copy.loss.given


def test_every_loss_by_name_is_a_loss():
    for name, make in LOSSES.items():
        loss = make(5, [0, 1, 3])
        assert loss.query_ids == "query_id"
        assert name in ("lambdarank", loss.name)
        if "gains" in loss.given:
            assert loss.given["gains"] == (0, 1, 3) or loss.given["gains"] == [0, 1, 3]
    assert LOSSES["lambdarank"](5, "linear").given["lambda_weight"].k == 5
    ranking = {
        value.function.__name__
        for name in losses.__all__
        if inspect.isclass(value := getattr(losses, name))
        and issubclass(value, losses.RankingLoss)
        and value is not losses.RankingLoss
    }
    assert ranking == set(LOSSES) - {"lambdarank"}


@pytest.mark.slow
def test_the_same_number_draws_the_same():
    def scores(**options):
        given = {"random_state": 1, "epochs": 2} | options
        return Ranker(**given).fit(X, Y, qid=QID).predict(X)

    keras.utils.set_random_seed(1)
    first = scores()
    keras.utils.set_random_seed(2)
    np.testing.assert_allclose(scores(), first, atol=1e-6)
    state = np.random.RandomState(1)
    np.testing.assert_allclose(scores(random_state=state), first, atol=1e-6)
    assert np.abs(scores(random_state=state) - first).max() > 1e-3
    assert np.abs(scores(random_state=None) - first).max() > 1e-3


@pytest.mark.slow
def test_groups_train_as_ids():
    order = np.argsort(QID, kind="stable")
    by_group = Ranker(random_state=0, epochs=2).fit(X[order], Y[order], group=[6] * 60)
    by_id = Ranker(random_state=0, epochs=2).fit(X[order], Y[order], qid=QID[order].astype(str))
    ids = np.unique(QID[order].astype(str), return_inverse=True)[1]
    by_number = Ranker(random_state=0, epochs=2).fit(X[order], Y[order], qid=ids)
    np.testing.assert_allclose(by_id.predict(X), by_number.predict(X), atol=1e-6)
    numbers = np.repeat(np.arange(60), 6)
    as_number = Ranker(random_state=0, epochs=2).fit(X[order], Y[order], qid=numbers)
    np.testing.assert_allclose(by_group.predict(X), as_number.predict(X), atol=1e-6)


@pytest.mark.slow
def test_stops_after_rounds_without_a_better_one():
    flat = {**FIT, "eval_set": [(HELD_OUT, HELD_OUT_Y), (HELD_OUT * 0, HELD_OUT_Y)]}
    flat["eval_qid"] = [HELD_OUT_QID] * 2
    stopped = Ranker(epochs=9, early_stopping_rounds=2, random_state=0)
    stopped.fit(X, Y, qid=QID, **flat)
    assert (stopped.n_iter_, stopped.best_iteration_) == (3, 1)  # all rows score alike
    assert set(stopped.evals_result_) == {"valid_0", "valid_1"}
    to_the_end = Ranker(epochs=4, early_stopping_rounds=None, random_state=0)
    to_the_end.fit(X, Y, qid=QID, **flat)
    assert (to_the_end.n_iter_, to_the_end.best_iteration_) == (4, 4)
    stopped.set_params(epochs=1).fit(X, Y, qid=QID)
    assert not hasattr(stopped, "best_iteration_")  # that of an earlier `fit`
    unwatched = Ranker(epochs=4, random_state=0).fit(X, Y, qid=QID)
    np.testing.assert_allclose(unwatched.predict(X), to_the_end.predict(X), atol=1e-6)


@pytest.mark.slow
def test_partial_fit_goes_on():
    ranker = Ranker(random_state=0, learning_rate=0.01, dropout=0.0).partial_fit(X, Y, qid=QID)
    model, before = ranker.model_, ranker.score(HELD_OUT, HELD_OUT_Y, qid=HELD_OUT_QID)
    again = pickle.loads(pickle.dumps(ranker))
    for _ in range(8):
        ranker.partial_fit(X, Y, qid=QID)
    assert ranker.model_ is model
    assert ranker.n_iter_ == 9
    assert ranker.score(HELD_OUT, HELD_OUT_Y, qid=HELD_OUT_QID) > before
    for _ in range(8):  # with the optimizer's state, and the same batches
        again.partial_fit(X, Y, qid=QID)
    np.testing.assert_allclose(again.predict(X), ranker.predict(X), atol=1e-4)
    fell = Ranker(random_state=0, epochs=2).fit(X, Y, qid=QID)
    trained = fell.predict(X)
    assert np.abs(fell.partial_fit(X, Y, qid=QID).predict(X) - trained).max() > 1e-3


@pytest.mark.slow
def test_missing_values_are_learned_from():
    rng = np.random.default_rng(0)
    features = rng.normal(size=X.shape)
    features[Y > 0, 2] = np.nan  # better rows are those where it is missing
    ranker = Ranker(random_state=0, learning_rate=0.05).fit(features, Y > 0, qid=QID)
    relevant = (Y > 0).astype(float)
    best = mean_ndcg(relevant, relevant, QID)
    assert ranker.score(features, Y > 0, qid=QID) == pytest.approx(best, abs=0.005)
    assert np.isfinite(ranker.predict(np.full((2, 4), np.nan))).all()


def my_network(features, seed):
    start = keras.initializers.GlorotUniform(seed=seed)
    return keras.layers.Dense(1, kernel_initializer=start)(features)[:, 0]


@pytest.mark.slow
@pytest.mark.parametrize("loss", [*LOSSES, losses.Softmax("other_id", temperature=0.5)])
def test_every_loss_trains(loss):
    ranker = Ranker(loss, network=my_network, learning_rate=0.05, random_state=0)
    ranker.fit(X, Y, qid=QID, sample_weight=np.ones(len(Y)))
    assert ranker.score(HELD_OUT, HELD_OUT_Y, qid=HELD_OUT_QID) > 0.85
    assert len(ranker.model_.trainable_variables) == 2
