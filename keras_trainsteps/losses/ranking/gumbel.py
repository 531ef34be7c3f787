"""Scores perturbed by Gumbel noise: a ranking loss in expectation over rankings."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_trainsteps import replicas
from keras_trainsteps.losses.ranking.ties import Seed, draw_seed
from keras_trainsteps.queries import widen
from keras_trainsteps.step.terms import LossTerm
from keras_trainsteps.validation import TensorLike, as_count, as_tensor, require_positive

Loss = Callable[..., LossTerm]


def gumbel(
    scores: TensorLike, *, samples: int = 8, temperature: float = 1.0, seed: Seed = None
) -> tf.Tensor:
    """Scores with Gumbel noise added, several times over.

    Sorting perturbed scores draws a ranking from the Plackett-Luce model of the scores;
    a loss averaged over the samples is smooth in them. `with_gumbel` does the averaging.

    ```
    perturbed[k] = scores + temperature * g,    g = -log(-log(u)), u uniform in (0, 1)
    ```

    Args:
        scores: Float tensor of any shape. Narrower than float32 is widened to float32.
        samples: The number of perturbed copies, at least 1. Default 8, as in RAX.
        temperature: The scale of the noise (RAX's `beta`), above 0. Default 1: the
            Plackett-Luce model of the scores as they are. TF-Ranking divides the
            perturbed scores by its `gumbel_temperature` as well.
        seed: An integer (the same noise at each call), a `keras.random.SeedGenerator`
            (new noise at each call, reproducible), or `None` (drawn from the
            global generator of `keras.random`).

    Returns:
        Tensor of shape `(samples, *scores.shape)`. The gradient is that of a sum: noise
        is a constant.

    Raises:
        TypeError: For a `seed` of another type.
        ValueError: For `samples` below 1 or a `temperature` that is not positive.

    Example:

    >>> gumbel([1.0, 2.0, 3.0], samples=4, seed=1).shape
    TensorShape([4, 3])

    Reference:
        Bruch et al., "A Stochastic Treatment of Learning to Rank Scoring Functions", 2020.
    """
    require_positive("temperature", temperature)
    samples = as_count("samples", samples)
    scores = widen(as_tensor("scores", scores))
    shape = tf.concat([[samples], tf.shape(scores)], 0)
    drawn = draw_seed(seed)
    if replicas.num_replicas() > 1:  # their rows differ, and so must their noise
        first = replicas.first_own_row(tf.shape(scores)[0])
        drawn += tf.stack([tf.zeros_like(drawn[0]), tf.cast(first, drawn.dtype)])
    tiny = 2.0**-126  # u = 0 would be infinite noise
    uniform = tf.random.stateless_uniform(shape, drawn, tiny, 1, scores.dtype, alg="philox")
    # Rounding can carry u up to 1, whose noise is infinite as well.
    noise = -tf.math.log(tf.maximum(-tf.math.log(uniform), tiny))
    return scores + temperature * noise


def with_gumbel(
    loss: Loss, *, samples: int = 8, temperature: float = 1.0, seed: Seed = None
) -> Loss:
    """A ranking loss averaged over Gumbel-perturbed scores.

    For losses that are flat or rough in the scores, as `approx_ndcg`: noise lets them
    see neighbouring rankings.

    ```
    value = mean over samples k of loss(y_true, scores + temperature * g_k)
    ```

    Args:
        loss: A function `(y_true, y_pred, **options) -> LossTerm`.
        samples: The number of perturbed copies, at least 1. Default 8, as in RAX.
        temperature: The scale of the noise, above 0. Default 1.
        seed: As in `gumbel`.

    Returns:
        A function of the same arguments as `loss`. Its totals and counts are the sums
        over the samples, so that its value is their mean.

    Raises:
        TypeError: For a `loss` that is not callable.
        ValueError: When called, as `gumbel`.

    Example:

    >>> from keras_trainsteps.losses.ranking.listwise import softmax
    >>> loss = with_gumbel(softmax, samples=4, seed=1)
    >>> term = loss([1.0, 0.0], [0.0, 0.0], query_ids=[3, 3])
    >>> float(term.count)
    4.0

    Reference:
        Bruch et al., "A Stochastic Treatment of Learning to Rank Scoring Functions", 2020.
    """
    if not callable(loss):
        raise TypeError(
            "`loss` must be a function that returns a `LossTerm`. "
            f"Received: {type(loss).__name__}."
        )

    def perturbed(y_true: Any, y_pred: Any, **options: Any) -> LossTerm:
        copies = gumbel(y_pred, samples=samples, temperature=temperature, seed=seed)
        terms = [loss(y_true, copies[k], **options) for k in range(samples)]
        return functools.reduce(operator.add, terms)

    return perturbed
