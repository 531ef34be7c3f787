"""What a `Ranker` refuses, before anything is trained."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import keras_trainsteps
from keras_trainsteps import losses
from keras_trainsteps.sklearn import Ranker, installed
from keras_trainsteps.sklearn.scaling import Scaling

X = np.arange(12.0).reshape(6, 2)
Y = np.array([0, 1, 2, 0, 1, 0])
QID = [1, 1, 1, 2, 2, 2]
FRAME = pd.DataFrame({"a": range(6), "qid": QID})

DATA = {
    "neither": ({"qid": None}, r"`qid` or `group` must say .* Received: neither"),
    "both": ({"group": [3, 3]}, r"`qid` or `group` must say .* Received: both"),
    "twice": ({"X": FRAME}, r"`qid` must be given once\. Received: `qid`, and a column"),
    "ids": ({"qid": [1, 1, 2]}, r"`qid` must have one id per row\. Received: 3 for 6 rows\."),
    "sizes as ids": ({"qid": [3, 3]}, r"2 for 6 rows\. Sizes of groups are `group`"),
    "sum": ({"qid": None, "group": [3, 2]}, r"`group` must add up .* Received: 5 for 6 rows"),
    "ids as sizes": ({"qid": None, "group": QID}, r"9 for 6 rows\. Ids of rows are `qid`"),
    "sizes": ({"qid": None, "group": [7, -1]}, r"`group` must be whole numbers of at least 0"),
    "grades": ({"y": Y - 1}, r"`y` must hold grades of at least 0.* Received: -1"),
    "one row": ({"X": X[:1], "y": Y[:1], "qid": [1]}, r"`y` must differ .* 1 rows in 1 .*sample"),
    "alone": (
        {"qid": range(6)},
        r"`y` must differ within a query.* 6 queries of one sample each",
    ),
    "equal": ({"y": np.ones(6)}, r"`y` must differ within a query.* 2 queries of equal grades"),
    "weighed off": ({"sample_weight": [0, 0, 1, 0, 0, 1]}, r"Received: 2 rows in 2 queries"),
    "weights": (
        {"sample_weight": [1, 2]},
        r"`sample_weight` must have one weight .*`data.of_rows",
    ),
    "negative": ({"sample_weight": -np.ones(6)}, r"`sample_weight` must hold finite weights"),
    "zero": ({"sample_weight": np.zeros(6)}, r"none negative and not all zero"),
    "infinite": ({"X": np.where(X > 3, np.inf, X)}, r"contains infinity"),
    "too large": ({"X": X * 1e300}, r"`X` must hold numbers up to 3\.4e\+38"),
    "too close": ({"X": X / 9 + 1e9}, r"`X` must hold features that float32 tells apart"),
    "no set": ({"eval_qid": [QID]}, r"`eval_qid` must be a list with .* Received: 1 for 0"),
    "set": ({"eval_set": [(X, Y)]}, r"`eval_qid` or `eval_group` must say .* neither"),
    "pairs": ({"eval_set": [X, Y], "eval_qid": [QID] * 2}, r"`eval_set` must be a list of pairs"),
}


@pytest.mark.parametrize(("given", "message"), DATA.values(), ids=DATA)
def test_data(given, message):
    data = {"X": X, "y": Y, "qid": QID} | given
    ranker = Ranker(epochs=1)
    with pytest.raises(ValueError, match=message):
        ranker.fit(**data)
    assert not hasattr(ranker, "model_")


PARAMETERS = {
    "loss": ("hinge", r"`loss` must be one of 'approx_mrr', .*'hinge'"),
    "loss of masks": (losses.Softmax(mask="m"), r"`loss` must read query ids and nothing else"),
    "loss of lists": (losses.Softmax(None), r"`loss` must read query ids and nothing else"),
    "loss of features": (losses.Softmax("features"), r"`loss` must not name its query ids as"),
    "hidden": (32, r"`hidden` must be the units of each hidden layer"),
    "hidden units": ((0,), r"`hidden` must be an integer of at least 1"),
    "dropout": (1.0, r"`dropout` must be 'auto', or a share"),
    "network": (lambda features, seed: features, r"`network` must return one score per row"),
    "learning_rate": (0.0, r"`learning_rate` must be a finite number above 0"),
    "epochs": (0, r"`epochs` must be an integer of at least 1"),
    "batch_size": (0, r"`batch_size` must be an integer of at least 1"),
    "early_stopping_rounds": (0, r"`early_stopping_rounds` must be an integer of at least 1"),
    "k": (0, r"`k` must be"),
    "gains": ("log", r"`gains` must be one of"),
}


@pytest.mark.parametrize(("case", "value", "message"), [(c, *v) for c, v in PARAMETERS.items()])
def test_parameters(case, value, message):
    ranker = Ranker(**{case.split()[0]: value})
    with pytest.raises(ValueError, match=message):
        ranker.fit(X, Y, qid=QID)


def test_ids_that_are_floats():
    with pytest.raises(TypeError, match=r"`qid` must be integers or strings"):
        Ranker().fit(X, Y, qid=np.array(QID, float))


def test_scaling_is_that_of_scikit_learn():
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 4)) * [1, 1e3, 1e-3, 1] + [0, 5e3, 0, 0]
    values[:, 3] = 0.1  # whose deviation is rounding
    values[::7, 1] = np.nan
    expected = np.nan_to_num(StandardScaler().fit_transform(values))
    found = np.asarray(Scaling.of(values)(values.astype("float32")))
    np.testing.assert_allclose(found[:, :3], expected[:, :3], atol=1e-5)
    np.testing.assert_array_equal(found[:, 3], 0)
    np.testing.assert_array_equal(found[:, 4], np.isnan(values[:, 1]))


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.utils.validation", None)
    with pytest.raises(ImportError, match=r"pip install 'keras-trainsteps\[sklearn\]'"):
        importlib.reload(installed)
    monkeypatch.undo()
    importlib.reload(installed)


def test_nothing_else_imports_scikit_learn():
    package = Path(keras_trainsteps.__file__).parent
    line = re.compile(r"^\s*(from|import) (keras_trainsteps\.)?sklearn\b", re.MULTILINE)
    found = {
        path.relative_to(package).parts[0]
        for path in package.rglob("*.py")
        if line.search(path.read_text(encoding="utf-8"))
    }
    assert found == {"sklearn"}
