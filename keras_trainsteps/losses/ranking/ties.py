"""Random numbers per row that are the same on every replica."""

from __future__ import annotations

from typing import TypeAlias

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps import replicas

Seed: TypeAlias = int | keras.random.SeedGenerator | None
"""What makes random numbers repeatable, or `None` for Keras's global generator."""


def tie_keys(shape: tf.Tensor, seed: Seed) -> tf.Tensor:
    """Uniform random keys, float64; every replica that asks gets the same ones."""
    return tf.random.stateless_uniform(shape, draw_seed(seed), dtype=tf.float64, alg="philox")


def draw_seed(seed: Seed) -> tf.Tensor:
    """Two int64 numbers for TensorFlow's stateless random functions.

    Args:
        seed: An integer (fixed numbers), a `keras.random.SeedGenerator` (new numbers at
            each call), or `None` (drawn from the global generator of `keras.random`).
    """
    if isinstance(seed, keras.random.SeedGenerator):
        drawn = tf.cast(seed.next(), tf.int64)
    elif seed is None:
        drawn = _unseeded()
    elif isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        seed = int(seed)
        return tf.constant([seed & 2**63 - 1, seed >> 63 & 2**63 - 1], tf.int64)
    else:
        raise TypeError(
            "`seed` must be an integer, a `keras.random.SeedGenerator` or None. "
            f"Received: {type(seed).__name__}."
        )
    return replicas.gather_rows(drawn)[:2]


def _unseeded() -> tf.Tensor:
    """Two numbers that differ at each call, and that `keras.utils.set_random_seed` repeats."""
    if replicas.num_replicas() > 1:  # Keras's generator cannot be drawn from in a replica
        return tf.random.uniform((2,), 0, 2**63 - 1, tf.int64)
    # Its state is a variable, which a resumable job saves.
    return tf.cast(keras.random.randint((2,), 0, 2**31 - 1, "int32"), tf.int64)
