"""`Ranker` within scikit-learn: its own checks, searches, pipelines, routing."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from keras_trainsteps.sklearn import Ranker
from tests.sklearn.toy import toy

X, Y, QID = toy()
FRAME = pd.DataFrame(X, columns=list("abcd"))


class OfOneQuery(Ranker):
    """What scikit-learn's checks fit knows no queries: all of its rows are one."""

    def fit(self, X, y, *, qid=None, sample_weight=None):
        return super().fit(X, y, qid=one_query(X), sample_weight=sample_weight)

    def partial_fit(self, X, y, *, qid=None, sample_weight=None):
        return super().partial_fit(X, y, qid=one_query(X), sample_weight=sample_weight)

    def score(self, X, y, *, qid=None):
        return super().score(X, y, qid=one_query(X))


def one_query(X):
    rows = X.shape[0] if hasattr(X, "shape") else len(np.asarray(X))
    return np.zeros(rows, int)


CANNOT_PASS = {
    "check_sample_weight_equivalence_on_dense_data": (
        "a row of softmax competes with the others of its query whatever its weight, and a copy "
        "of it competes, too"
    )
}
WITHOUT_QUERIES = {  # all that fit: a ranker needs to know which rows belong together
    "check_all_zero_sample_weights_error",
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_estimators_dtypes",
    "check_estimators_fit_returns_self",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit2d_predict1d",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weights_list",
    "check_sample_weights_not_an_array",
    "check_sample_weights_not_overwritten",
    "check_sample_weights_pandas_series",
    "check_sample_weights_shape",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore:.*does not have a .*:UserWarning")
@pytest.mark.parametrize(
    ("kind", "expected"), [(OfOneQuery, CANNOT_PASS), (Ranker, WITHOUT_QUERIES)]
)
def test_checks_of_scikit_learn(kind, expected):
    results = check_estimator(kind(epochs=1), on_fail=None, on_skip=None)
    failed = {one["check_name"]: one["exception"] for one in results if one["status"] == "failed"}
    assert set(failed) == set(expected), failed
    skipped = {one["check_name"] for one in results if one["status"] == "skipped"}
    assert skipped <= {"check_array_api_input"}  # where SCIPY_ARRAY_API is not set
    assert len(results) > 40


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.slow
def test_a_search_by_whole_queries(routing):
    search = GridSearchCV(
        Ranker(epochs=3, random_state=0),
        {"learning_rate": [1e-6, 0.05]},
        cv=GroupKFold(3),
    )
    search.fit(X, Y, qid=QID, groups=QID)
    assert search.best_params_["learning_rate"] == 0.05
    assert search.best_score_ > 0.85
    assert search.best_estimator_.score(X, Y, qid=QID) > 0.85


@pytest.mark.slow
def test_a_pipeline_passes_queries_on(routing):
    pipe = make_pipeline(StandardScaler(), Ranker(epochs=3, learning_rate=0.05, random_state=0))
    pipe.fit(X, Y, qid=QID)
    assert pipe.score(X, Y, qid=QID) > 0.85
    plain = Ranker(epochs=3, learning_rate=0.05, random_state=0).fit(X, Y, qid=QID)
    np.testing.assert_allclose(pipe.predict(X), plain.predict(X), atol=0.2)  # scaled twice
    scores = cross_val_score(pipe, X, Y, cv=GroupKFold(3), params={"qid": QID, "groups": QID})
    assert scores.min() > 0.8


@pytest.mark.slow
def test_without_routing_a_column_holds_the_queries():
    ranker = Ranker(epochs=3, learning_rate=0.05, random_state=0)
    scores = cross_val_score(ranker, FRAME.assign(qid=QID), Y, cv=GroupKFold(3), groups=QID)
    assert scores.min() > 0.8
    ranker.fit(FRAME.assign(qid=QID), Y)
    assert ranker.feature_names_in_.tolist() == list("abcd")
    by_argument = Ranker(epochs=3, learning_rate=0.05, random_state=0).fit(FRAME, Y, qid=QID)
    np.testing.assert_allclose(ranker.predict(FRAME), by_argument.predict(FRAME), atol=1e-6)
    search = GridSearchCV(ranker, {"k": [5]}, cv=GroupKFold(3), error_score="raise")
    with pytest.raises(ValueError, match=r"enable_metadata_routing=True"):
        search.fit(FRAME, Y, qid=QID, groups=QID)


def test_queries_are_asked_for_by_default(routing):
    requests = Ranker().get_metadata_routing()
    for method in ("fit", "partial_fit", "score"):
        assert getattr(requests, method).requests["qid"] is True
    tags = sklearn.utils.get_tags(Ranker())
    assert (tags.estimator_type, tags.input_tags.allow_nan) == ("ranker", True)
    assert tags.target_tags.required


@pytest.mark.slow
def test_the_page_runs():
    page = Path(__file__).parents[2] / "docs" / "which_loss.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    names = {}
    exec(compile(blocks[0], str(page), "exec"), names)
    assert names["ranker"].score(names["X"], names["y"], qid=names["qid"]) > 0.8
