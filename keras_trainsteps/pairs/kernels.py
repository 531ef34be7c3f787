"""What one pair of rows contributes to a pairwise loss.

For rows `i` and `j` of one query let `d = s_i - s_j` be the difference of their scores
and `D = y_i - y_j` that of their labels. A kernel gives the term `phi(d, D)` and its
slope `d phi / d d`.

Over preference pairs a term is asked for only where `D > 0`. Over all ordered pairs the
terms of `(i, j)` and `(j, i)` are equal, so a term is asked for only where `D >= 0` and
counted twice where `D > 0`. That is more than a saving: written for the pair with the
higher label first, the terms of well-separated rows are small numbers in their own
right. Written the other way round, as `softplus(-d) + d` with a large negative `d`,
they would be the difference of two large ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

Term = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""`(score difference, label difference) -> (term, slope)`."""

TermOfOdds = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
"""`exp(-score difference) -> (term, slope)`: of the odds that the pair is misordered."""


class PairKernel(NamedTuple):
    """One kind of pairwise loss.

    Attributes:
        name: The kind, as it is named in errors.
        preference: The term of a pair whose first row has the higher label.
        all_pairs: The term of a pair of all ordered pairs, or `None` where the kind has
            no meaning for rows of equal labels.
        preference_of_odds: The same as `preference` for kinds that are functions of
            `exp(-d)`, else `None`.
        preference_of_decay: The same of `d` and `exp(-abs(d))`, which no difference of scores
            takes out of float32.
    """

    name: str
    preference: Term
    all_pairs: Term | None = None
    preference_of_odds: TermOfOdds | None = None
    preference_of_decay: Term | None = None


def _logistic(d: tf.Tensor, label_d: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.nn.softplus(-d), -tf.sigmoid(-d)


def _logistic_of_odds(odds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.math.log1p(odds), -odds / (1.0 + odds)


def _logistic_of_decay(d: tf.Tensor, decay: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    # log(1 + z) = 2 artanh(z / (2 + z)), the series to 1e-8: a third of the time of `log1p`.
    u = decay / (2.0 + decay)
    square, log1p = u * u, 1.0 / 13.0
    for k in (11, 9, 7, 5, 3, 1):
        log1p = log1p * square + 1.0 / k
    return tf.nn.relu(-d) + 2.0 * u * log1p, -tf.where(d > 0, decay, 1.0) / (1.0 + decay)


def _soft_logistic(d: tf.Tensor, label_d: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    # Cross-entropy with target t = (1 + min(D, 1)) / 2; `rest` is 1 - t.
    rest = 0.5 - 0.5 * tf.minimum(label_d, 1.0)
    return tf.nn.softplus(-d) + rest * d, rest - tf.sigmoid(-d)


def _hinge(d: tf.Tensor, label_d: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.nn.relu(1.0 - d), -tf.cast(d < 1.0, d.dtype)


def _squared_hinge(d: tf.Tensor, label_d: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    margin = tf.nn.relu(1.0 - d)
    return tf.square(margin), -2.0 * margin


def _squared_error(d: tf.Tensor, label_d: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    error = d - label_d
    return tf.square(error), 2.0 * error


def _soft_zero_one(d: tf.Tensor, label_d: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    wrong = tf.sigmoid(-d)
    return wrong, -wrong * tf.sigmoid(d)


def _soft_zero_one_of_odds(odds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    wrong = odds / (1.0 + odds)
    return wrong, -wrong / (1.0 + odds)


def _soft_zero_one_of_decay(d: tf.Tensor, decay: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    share = 1.0 / (1.0 + decay)
    return tf.where(d > 0, decay, 1.0) * share, -decay * share * share


LOGISTIC = PairKernel(
    "LOGISTIC", _logistic, _soft_logistic, _logistic_of_odds, _logistic_of_decay
)
HINGE = PairKernel("HINGE", _hinge)
SQUARED_HINGE = PairKernel("SQUARED_HINGE", _squared_hinge)
SQUARED_ERROR = PairKernel("SQUARED_ERROR", _squared_error, _squared_error)
SOFT_ZERO_ONE = PairKernel(
    "SOFT_ZERO_ONE", _soft_zero_one, None, _soft_zero_one_of_odds, _soft_zero_one_of_decay
)
