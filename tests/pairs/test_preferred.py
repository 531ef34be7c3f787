"""Pairs that weigh what their preferred row weighs, in linear time."""

import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.pairs import HINGE, LOGISTIC
from tests.pairs.test_linear import LABELS, LIMIT, RULES, SCORES, assert_accurate, batch, check
from tests.pairs.test_static import eagerly, static_rule
from tests.reference.pairs import pair_sums_by_blocks

SPREADS = ("normal", "spread-to-50", "integers", "learned", "well-separated")


def by_rule(default, kinds=lambda kernel: True):
    """Every rule that has a linear method; those that are not the default in the slow run."""
    return pytest.mark.parametrize(
        ("kernel", "pairs"),
        [
            pytest.param(
                kernel,
                pairs,
                id=f"{kernel.name.lower()}-{pairs}",
                marks=() if (kernel.name, pairs) in default else pytest.mark.slow,
            )
            for kernel, pairs in RULES
            if kinds(kernel) and (kernel.name, pairs) != ("SQUARED_ERROR", "all")
        ],
    )


@by_rule({("LOGISTIC", "all"), ("HINGE", "preference")})
@pytest.mark.parametrize(
    "labels",
    [pytest.param(name, marks=() if name == "graded" else pytest.mark.slow) for name in LABELS],
)
def test_float32_holds_1e_6(kernel, pairs, labels):
    for scores in SCORES:
        arrays = batch(labels, scores, 500, tf.float32)
        check(kernel, pairs, tf.float32, "linear", arrays, pair_weight="preferred")


@by_rule((), lambda kernel: "HINGE" not in kernel.name)
@pytest.mark.parametrize("labels", ["graded", pytest.param("real", marks=pytest.mark.slow)])
def test_float64_holds_1e_12(kernel, pairs, labels):
    for scores in SPREADS:
        arrays = batch(labels, scores, 400, tf.float64)
        check(kernel, pairs, tf.float64, "linear", arrays, pair_weight="preferred")


@by_rule({("LOGISTIC", "all"), ("SQUARED_ERROR", "preference")})
@pytest.mark.parametrize("labels", ["graded", pytest.param("real", marks=pytest.mark.slow)])
def test_static_shapes_hold_1e_6(kernel, pairs, labels):
    rule = static_rule(kernel, pairs, weighted=True, by_preferred=True)
    for scores in SCORES:
        arrays = batch(labels, scores, 300, tf.float32)
        y_true, y_pred, query, number, weight = arrays
        expected = pair_sums_by_blocks(
            *(kernel.name, y_true, y_pred, query, number),
            pairs=pairs,
            row_weight=weight,
            pair_weight="preferred",
        )
        ties = kernel is LOGISTIC and pairs == "all"
        assert_accurate(eagerly(rule, "linear", arrays), expected, LIMIT[tf.float32], ties)


@by_rule(())
def test_compiled_holds_1e_6(kernel, pairs):
    for labels in ("graded", "real"):
        for scores in ("normal", "spread-to-50", "outlier"):
            arrays = batch(labels, scores, 500, tf.float32)
            check(
                *(kernel, pairs, tf.float32, "linear", arrays),
                mode="xla",
                pair_weight="preferred",
            )


@pytest.mark.parametrize("pair_weight", ["product", "preferred"])
def test_an_outlier_of_one_query_hides_no_pair_of_another(pair_weight):
    for seed in range(4):
        arrays = batch("graded", "outlier", 500, tf.float32, seed=seed)
        assert np.max(np.abs(arrays[1])) > 1e14
        check(HINGE, "preference", tf.float32, "linear", arrays, pair_weight=pair_weight)
