"""The gate: whom it blesses, and what it refuses."""

import math

import keras
import numpy as np
import pytest

from keras_trainsteps.metrics import NDCG, PairAccuracy
from keras_trainsteps.rolling import (
    Blessing,
    ChangeThreshold,
    ModelRegistry,
    Stability,
    ValueThreshold,
    evaluate_candidate,
    fingerprint,
)
from tests.rolling.gate.linear_models import BAD, GOOD, QUERIES, X, Y, gate, linear


def test_a_better_model_is_blessed_and_a_worse_one_is_not():
    change = ChangeThreshold("pair_accuracy", max_loss=0.01)
    better = gate(BAD, GOOD, change)
    assert better.blessed
    assert better.queries == 30
    assert better.champion == fingerprint(linear(*BAD))
    worse = gate(GOOD, BAD, change)
    assert not worse.blessed
    assert [check.name for check in worse.failed] == ["pair_accuracy gain"]
    assert "FAIL  pair_accuracy gain" in str(worse)


def test_the_same_model_passes_a_loss_bound_but_is_no_gain():
    assert gate(GOOD, GOOD, ChangeThreshold("ndcg", max_loss=0.0)).blessed
    assert not gate(GOOD, GOOD, ChangeThreshold("ndcg", min_gain=0.01)).blessed
    assert gate(BAD, GOOD, ChangeThreshold("ndcg", min_gain=0.1, relative=True)).blessed


def test_lower_can_be_better():
    error = ChangeThreshold("squared_error", direction="lower")
    assert gate((5.0, 5.0), (0.5, 0.0), error).blessed
    assert not gate((0.5, 0.0), (5.0, 5.0), error).blessed


def test_values_must_lie_within_bounds():
    assert gate(None, GOOD, ValueThreshold("pair_accuracy", lower=0.7)).blessed
    assert not gate(None, GOOD, ValueThreshold("pair_accuracy", lower=0.999)).blessed
    assert not gate(None, GOOD, ValueThreshold("pair_accuracy", upper=0.1)).blessed


def test_a_missing_champion_is_not_passed_over():
    change, value = ChangeThreshold("ndcg"), ValueThreshold("ndcg", lower=0.1)
    assert "there is no champion" in str(gate(None, GOOD, change, value))
    assert not gate(None, GOOD, change, value).blessed
    assert gate(None, GOOD, change, value, on_missing_champion="value_only").blessed
    with pytest.raises(ValueError, match="must hold a `ValueThreshold`"):
        gate(None, GOOD, change, on_missing_champion="value_only")


def test_broken_scores_are_never_blessed():
    value = ValueThreshold("squared_error", lower=0)
    assert [c.name for c in gate(None, (math.nan, 0), value).failed] == ["finite scores"]
    assert [c.name for c in gate(None, (0, 0), value).failed] == ["scores differ"]
    assert not gate(None, (math.inf, 1), value).blessed


def test_churn_drift_and_new_ids():
    strict = Stability(min_overlap=0.9, min_kendall=0.9, max_drift=0.1, k=3)
    value = ValueThreshold("ndcg", lower=0)
    assert gate(GOOD, (1.0, 0.01), value, stability=strict).blessed
    failed = [check.name for check in gate(GOOD, BAD, value, stability=strict).failed]
    assert failed[:2] == ["top-3 overlap", "Kendall tau"]
    drifted = gate(GOOD, (3.0, 0.0), value, stability=strict)
    assert [check.name for check in drifted.failed] == ["score drift"]
    half = np.arange(240) % 2 == 0
    limit = Stability(max_new=0.4)
    assert not gate(GOOD, GOOD, value, stability=limit, new=half).blessed
    assert gate(GOOD, GOOD, value, stability=limit, new=half & (Y > 0)).blessed
    with pytest.raises(ValueError, match="`new` must be given"):
        gate(GOOD, GOOD, value, stability=limit)


def test_own_metrics_and_named_ids():
    worst = evaluate_candidate(
        None,
        linear(*GOOD),
        ({"f": X, "q": QUERIES.astype(str)}, Y),
        query_ids="q",
        thresholds=[ValueThreshold("least", lower=-10)],
        metrics={"least": lambda labels, scores: scores.min()},
    )
    assert worst.blessed
    assert worst.queries == 30


@pytest.mark.parametrize("as_dict", [True, False])
def test_side_inputs_do_not_reach_the_network(as_dict):
    inputs = {name: keras.Input((1,), name=name) for name in ("b", "c")}
    difference = keras.layers.Subtract()([inputs["b"], inputs["c"]])
    model = keras.Model(inputs if as_dict else list(inputs.values()), difference)
    x = {"a": QUERIES, "b": X[:, :1], "c": np.zeros((240, 1), "float32")}
    found = evaluate_candidate(
        None,
        model,
        (x, Y),
        query_ids="a",
        thresholds=[ValueThreshold("pair_accuracy", lower=0.7)],
    )
    assert found.blessed, found


@pytest.mark.parametrize(
    ("thresholds", "options", "match"),
    [
        ([], {}, "`thresholds` must demand something"),
        ([ValueThreshold("auc", lower=0)], {}, "must name known metrics"),
        ([ValueThreshold("ndcg", lower=0)], {"query_ids": QUERIES[:5]}, "one id per row"),
        ([ValueThreshold("ndcg", lower=0)], {"on_missing_champion": "x"}, "must be 'refuse'"),
        (
            [ValueThreshold("ndcg", lower=0)],
            {"data": (X[:0], Y[:0]), "query_ids": QUERIES[:0]},
            "An empty window is not a test",
        ),
    ],
)
def test_bad_arguments_are_refused(thresholds, options, match):
    with pytest.raises(ValueError, match=match):
        gate(None, GOOD, *thresholds, **options)


def test_a_blessing_survives_json_and_promotes_its_model_alone(tmp_path):
    registry = ModelRegistry(tmp_path / "r")
    for weights in (GOOD, BAD):
        registry.publish(
            lambda stage: (stage / "w").write_text("w"), fingerprint=fingerprint(linear(*weights))
        )
    blessing = gate(None, GOOD, ValueThreshold("ndcg", lower=0.1))
    assert Blessing.from_json(blessing.to_json()) == blessing
    with pytest.raises(ValueError, match="must be of the weights of version 2"):
        registry.promote(2, blessing)
    registry.promote(1, blessing)


def checks_of(blessing):
    return {check.name: check for check in blessing.checks}


def level(labels, scores):
    """The mean score of a query: what a metric of one's own may be."""
    return float(np.mean(scores))


def test_queries_without_a_value_of_either_model_are_left_out():
    def own(labels, scores):
        return np.nan if scores[0] > 1 else scores[0]

    found = gate(BAD, GOOD, ChangeThreshold("own", max_loss=9), metrics={"own": own})
    gain = checks_of(found)["own gain"]
    first = X[::8]
    both = (first <= 1).all(axis=1)
    assert not both.all()
    assert gain.value == pytest.approx((first[:, 0] - first[:, 1])[both].mean(), rel=1e-5)
    assert np.isfinite([gain.low, gain.high]).all()
    never = gate(GOOD, BAD, ChangeThreshold("own"), metrics={"own": lambda y, s: np.nan})
    assert checks_of(never)["own gain"].rule == "no query has a value"
    assert not never.blessed


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (NDCG(k=10), "; 10 of 30 queries, without a relevant row, count 0"),
        (NDCG(k=10, no_relevant="one"), "; 10 of 30 queries, without a relevant row, count 1"),
        (NDCG(k=10, no_relevant="skip"), "; 10 of 30 queries are left out"),
        (PairAccuracy(), "; 10 of 30 queries are left out"),
        (lambda labels, scores: 1.0, ""),
    ],
)
def test_what_becomes_of_queries_without_a_relevant_row_is_said(metric, said):
    labels = np.where(QUERIES < 10, 0.0, Y)
    without = 30 - len(np.unique(QUERIES[labels > 0]))
    assert without >= 10
    said = said.replace("10 of", f"{without} of")
    for champion in (None, GOOD):
        found = gate(
            champion,
            GOOD,
            ValueThreshold("own", lower=0),
            metrics={"own": metric},
            data=(X, labels),
        )
        check = checks_of(found)["own"]
        assert check.rule == f"within [0, inf]{said}"


def test_relative_bounds_are_fractions_of_the_champions_mean():
    x = np.ones((240, 2), "float32") + X / 100
    champion, challenger = (1.0, 0.0), (3.0, 0.0)  # means of about 1 and 3
    options = {"data": (x, Y), "metrics": {"level": level}}
    half = ChangeThreshold("level", min_gain=0.5, relative=True)
    found = gate(champion, challenger, half, **options)
    mean = float(x[:, 0].mean(dtype="float64"))
    assert checks_of(found)["level gain"].rule == f"gain surely above {0.5 * mean:.6g}"
    assert found.blessed
    more = ChangeThreshold("level", min_gain=1.5, relative=True)  # 1.5 < 2 < 1.5 * 3
    assert gate(champion, challenger, more, **options).blessed
    most = ChangeThreshold("level", min_gain=2.1)
    assert not gate(champion, challenger, most, **options).blessed


def test_a_window_of_one_row_can_be_blessed():
    data = {"data": (X[:1], Y[:1]), "query_ids": QUERIES[:1]}
    assert gate(None, GOOD, ValueThreshold("squared_error", upper=9), **data).blessed


def test_the_share_of_new_ids_may_be_as_large_as_said():
    new = np.arange(240) < 60
    value, quarter = ValueThreshold("ndcg", lower=0), Stability(max_new=0.25)
    assert gate(GOOD, GOOD, value, stability=quarter, new=new).blessed
    less = Stability(max_new=0.249)
    assert not gate(GOOD, GOOD, value, stability=less, new=new).blessed


def test_queries_without_an_order_are_left_out_of_kendalls_mean():
    ids = np.concatenate([np.arange(8), QUERIES[8:] + 100])  # eight queries of one row
    value = ValueThreshold("squared_error", lower=0)
    found = gate(GOOD, GOOD, value, stability=Stability(min_kendall=0.99), query_ids=ids)
    assert checks_of(found)["Kendall tau"].value == pytest.approx(1)
    assert found.blessed
    alone = gate(
        GOOD, GOOD, value, stability=Stability(min_kendall=0.0), query_ids=np.arange(240)
    )
    assert math.isnan(checks_of(alone)["Kendall tau"].value)
    assert not alone.blessed


# Keras warns of names that differ from the keys; it goes by the keys (3.15.1).
@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
def test_entries_of_a_dict_are_those_of_its_keys():
    inputs = {key: keras.Input((1,), name=f"tensor_{key}") for key in ("b", "c")}
    difference = keras.layers.Subtract()([inputs["b"], inputs["c"]])
    model = keras.Model(inputs, difference)
    x = {"a": QUERIES, "b": X[:, :1], "c": np.zeros((240, 1), "float32")}
    value = ValueThreshold("pair_accuracy", lower=0.7)
    assert evaluate_candidate(None, model, (x, Y), query_ids="a", thresholds=[value]).blessed


def test_more_confidence_makes_a_wider_interval():
    change = ChangeThreshold("squared_error", max_loss=9)
    found = [
        checks_of(gate(BAD, GOOD, change, confidence=share))["squared_error gain"]
        for share in (0.5, 0.99)
    ]
    assert found[0].value == found[1].value
    assert found[1].high - found[1].low > 2 * (found[0].high - found[0].low)
