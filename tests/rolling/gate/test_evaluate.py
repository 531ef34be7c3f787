"""The gate: statistics against plain loops, error rates by simulation, what it refuses."""

import math

import keras
import numpy as np
import pytest

from keras_trainsteps.rolling import (
    Blessing,
    ChangeThreshold,
    ModelRegistry,
    Stability,
    ValueThreshold,
    evaluate_candidate,
    fingerprint,
)
from keras_trainsteps.rolling.gate import statistics

RNG = np.random.default_rng(0)
QUERIES = np.repeat(np.arange(30), 8)
X = RNG.normal(size=(240, 2)).astype("float32")
Y = (X[:, 0] + 0.3 * RNG.normal(size=240) > 0).astype("float32")


def linear(*weights, bias=0.0):
    model = keras.Sequential([keras.Input((2,), name="f"), keras.layers.Dense(1)])
    model.set_weights([np.array(weights, "float32")[:, None], np.array([bias], "float32")])
    return model


GOOD, BAD = (1.0, 0.0), (0.0, 1.0)


def gate(champion, challenger, *thresholds, **options):
    champion = None if champion is None else linear(*champion)
    options = {"query_ids": QUERIES, **options}
    return evaluate_candidate(
        champion, linear(*challenger), (X, Y), thresholds=thresholds, **options
    )


# Statistics


def test_ndcg_of_a_list_worked_out_by_hand():
    labels, scores = np.array([0.0, 2.0, 1.0]), np.array([3.0, 2.0, 1.0])
    dcg = 3 / math.log2(3) + 1 / math.log2(4)
    best = 3 / math.log2(2) + 1 / math.log2(3)
    assert statistics.ndcg(labels, scores) == pytest.approx(dcg / best)
    assert statistics.ndcg(labels, scores, k=1) == 0
    assert math.isnan(statistics.ndcg(np.zeros(3), scores))
    tied = statistics.ndcg(np.array([1.0, 0.0]), np.zeros(2))
    assert tied == pytest.approx((1 + 1 / math.log2(3)) / 2)  # both orders, half each


def test_pair_statistics_against_plain_loops():
    labels, old, new = RNG.integers(0, 3, 9), RNG.integers(0, 5, 9), RNG.integers(0, 5, 9)
    pairs = [(i, j) for i in range(9) for j in range(9) if labels[i] > labels[j]]
    right = sum(1.0 * (old[i] > old[j]) + 0.5 * (old[i] == old[j]) for i, j in pairs)
    assert statistics.pair_accuracy(labels, old) == pytest.approx(right / len(pairs))
    assert math.isnan(statistics.pair_accuracy(np.ones(3), np.arange(3)))
    agree = left = both = 0
    for i in range(9):
        for j in range(i):
            a, b = np.sign(old[i] - old[j]), np.sign(new[i] - new[j])
            agree, left, both = agree + a * b, left + (a != 0), both + (b != 0)
    assert statistics.kendall_tau(old, new) == pytest.approx(agree / math.sqrt(left * both))
    assert math.isnan(statistics.kendall_tau(np.zeros(3), np.arange(3)))


def test_overlap_and_drift():
    assert statistics.top_overlap(np.arange(5), np.arange(5), 2) == 1
    assert statistics.top_overlap(np.arange(4), -np.arange(4), 2) == 0
    assert statistics.top_overlap(np.arange(3), -np.arange(3), 9) == 1
    scores = RNG.normal(size=4000)
    assert statistics.stability_index(scores, scores) == 0
    assert statistics.stability_index(scores, RNG.normal(size=4000)) < 0.02
    assert statistics.stability_index(scores, scores + 1) > 0.5


def simulated(rows_as_queries, *, trials=200, effect=0.0):
    """How often a gain is found between two models, with differences shared by a query."""
    generator = np.random.default_rng(5)
    found = 0
    for trial in range(trials):
        shared = generator.normal(effect, 1, 40)
        gains = np.repeat(shared, 10) + generator.normal(0, 0.3, 400)
        values = gains if rows_as_queries else gains.reshape(40, 10).mean(axis=1)
        low, _ = statistics.bootstrap_mean(values, samples=400, confidence=0.95, seed=trial)
        found += low > 0
    return found / trials


def test_the_bootstrap_errs_as_often_as_it_says():
    # One side of a 95 % interval: 2.5 %, binomial standard error 1.1 % in 200 trials.
    assert simulated(rows_as_queries=False) <= 0.025 + 3 * 0.011
    assert simulated(rows_as_queries=True) > 0.15  # rows are not independent
    assert simulated(rows_as_queries=False, effect=1.0) > 0.95


def test_few_queries_decide_nothing():
    interval = statistics.bootstrap_mean(np.ones(1), samples=10, confidence=0.9, seed=0)
    assert interval == (-math.inf, math.inf)


# The gate


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
        ([ValueThreshold("ndcg", lower=0)], {"query_ids": QUERIES[:5]}, "one id a row"),
        ([ValueThreshold("ndcg", lower=0)], {"on_missing_champion": "x"}, "must be 'refuse'"),
    ],
)
def test_bad_arguments_are_refused(thresholds, options, match):
    with pytest.raises(ValueError, match=match):
        gate(None, GOOD, *thresholds, **options)


def test_bad_thresholds_are_refused():
    with pytest.raises(ValueError, match="needs `lower`, `upper` or both"):
        ValueThreshold("ndcg")
    with pytest.raises(ValueError, match="`direction` must be"):
        ChangeThreshold("ndcg", direction="up")
    with pytest.raises(ValueError, match="`max_loss` must not be negative"):
        ChangeThreshold("ndcg", max_loss=-1)


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
