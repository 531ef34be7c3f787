"""A penalty on how fast a network's output changes with its input: for critics of GANs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import replicas
from keras_trainsteps.losses.ranking.ties import Seed, draw_seed
from keras_trainsteps.queries import widen
from keras_trainsteps.step.terms import LossTerm
from keras_trainsteps.validation import TensorLike, as_tensor


def gradient_penalty(
    network: Callable[[tf.Tensor], Any],
    real: TensorLike,
    fake: TensorLike | None = None,
    *,
    seed: Seed = None,
) -> LossTerm:
    """How far the slope of a network is from 1 between real and fake rows, or from 0.

    For the critic of a Wasserstein GAN, a factor of 10 before it (Gulrajani et al.):

    ```
    point[i] = real[i] + u[i] * (fake[i] - real[i]), u uniform in [0, 1)
    penalty[i] = (norm(gradient of network(point)[i] by point[i]) - 1) ** 2
    ```

    Without `fake`, at real rows alone, with a factor of `gamma / 2` before it (R1 of
    Mescheder et al.): `penalty[i] = norm(gradient of network(real)[i] by real[i]) ** 2`.

    The network must treat each row by itself, as without batch normalization. The term is
    differentiated again while the step trains.

    Args:
        network: A layer, model or function of a tensor like `real`; of its outputs the sum
            over each row is taken. To call it as in training, pass
            `lambda x: network(x, training=True)`.
        real: Float tensor of shape `(rows, ...)`.
        fake: Float tensor of the same shape, or `None` for R1.
        seed: An integer (the same points at each call), a `keras.random.SeedGenerator`, or
            `None`, for Keras's global generator.

    Returns:
        A `LossTerm`: the sum over rows and their number.

    Raises:
        TypeError: For a `network` that cannot be called.
        ValueError: For shapes that differ, or an output that does not depend on the input.

    Example:

    >>> slope = keras.layers.Dense(1, kernel_initializer="ones")
    >>> float(gradient_penalty(slope, np.ones((4, 9)), np.zeros((4, 9))).value)
    4.0
    >>> float(gradient_penalty(slope, np.ones((4, 9))).value)
    9.0

    Reference:
        - [Gulrajani et al., 2017](https://arxiv.org/abs/1704.00028)
        - [Mescheder et al., 2018](https://arxiv.org/abs/1801.04406)
    """
    if not callable(network):
        raise TypeError(
            "`network` must be a layer, model or function of a tensor. "
            f"Received: {type(network).__name__}."
        )
    point = widen(as_tensor("real", real))
    if fake is not None:
        point = _between(point, widen(as_tensor("fake", fake)), seed)
    with tf.GradientTape() as tape:
        tape.watch(point)
        output = tf.convert_to_tensor(network(point))
    slope = tape.gradient(output, point)
    if slope is None:
        raise ValueError(
            "`network` must give what depends on its input. Received: an output without a "
            "gradient by it. Does it round, or stop gradients?"
        )
    slope = widen(slope)
    squared = tf.reduce_sum(tf.square(slope), axis=list(range(1, slope.shape.rank)))
    if fake is not None:
        some = squared > 0  # the slope of a root is infinite at 0
        norm = tf.where(some, tf.sqrt(tf.where(some, squared, 1.0)), 0.0)
        squared = tf.square(norm - 1.0)
    return LossTerm(tf.reduce_sum(squared), tf.cast(tf.size(squared), squared.dtype))


def _between(real: tf.Tensor, fake: tf.Tensor, seed: Seed) -> tf.Tensor:
    """A random point between each two rows."""
    if not real.shape.is_compatible_with(fake.shape):
        raise ValueError(
            "`fake` must have the shape of `real`. Received: shapes "
            f"{tuple(fake.shape)} and {tuple(real.shape)}."
        )
    shape = (tf.shape(real)[0], *[1] * (real.shape.rank - 1))
    if replicas.num_replicas() == 1:
        drawn = keras.random.uniform(shape, dtype=real.dtype.name, seed=seed)
    else:  # their rows differ, and so must what is drawn
        first = replicas.first_own_row(tf.shape(real)[0])
        numbers = draw_seed(seed)
        numbers += tf.stack([tf.zeros_like(numbers[0]), tf.cast(first, numbers.dtype)])
        drawn = tf.random.stateless_uniform(shape, numbers, dtype=real.dtype, alg="philox")
    return real + drawn * (fake - real)
