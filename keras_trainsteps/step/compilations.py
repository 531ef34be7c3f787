"""How often XLA compiles a step: once for each shape of a batch."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat

REMEMBERED = 64
_MIX = -0x61C8864680B583EB  # odd, so that what is multiplied by it stays distinct


class Compilations:
    """The shapes of the batches of an epoch, of a step that XLA compiles.

    The program of XLA is one of fixed shapes: each new number of rows, or length of sequences,
    compiles the whole step anew, in seconds. Only a step that is compiled keeps this count.
    """

    def __init__(self) -> None:
        self._shapes: dict[bool, keras.Variable] = {}
        self._of_batches: dict[bool, set[int]] = {}
        self._said = False

    def see(self, batch: Any, *, training: bool) -> None:
        """Takes in the shapes of a batch, within its step."""
        if training not in self._shapes:
            self._shapes |= compat.created_outside(lambda: {training: _no_shapes()})
        variable = self._shapes[training]
        key = tf.constant(1, tf.int64)
        for leaf in keras.tree.flatten(batch):
            if tf.is_tensor(leaf):
                for size in tf.unstack(tf.shape(leaf, out_type=tf.int64), num=leaf.shape.rank):
                    key = key * _MIX + size + 1
        seen = tf.convert_to_tensor(variable)
        pushed = tf.concat([key[None], seen[:-1]], axis=0)
        variable.assign(tf.where(tf.reduce_any(seen == key), seen, pushed))

    def end_epoch(self, training: bool) -> None:
        """Warns once of an epoch whose batches had more shapes than whole ones and a rest."""
        self._warn(len(self._seen(training)), "in this epoch", stacklevel=6)

    def end_batch(self, training: bool) -> None:
        """Warns once of more shapes than these in a loop of the user's own.

        Each of its batches is an epoch to Keras, which forgets what came before.
        """
        seen = self._of_batches.setdefault(training, set())
        seen |= self._seen(training)
        self._warn(len(seen), "up to now", stacklevel=4)

    def _seen(self, training: bool) -> set[int]:
        if training not in self._shapes:
            return set()
        return set(self._shapes[training].numpy().tolist()) - {0}

    def _warn(self, number: int, when: str, stacklevel: int) -> None:
        if number > 2 and not self._said:
            self._said = True
            of_these = f"{number} or more" if number >= REMEMBERED else f"{number}"
            warnings.warn(
                "`jit_compile=True` compiles a step for each shape of its batches. Received: "
                f"batches of {of_these} different shapes {when}, and as many "
                "compilations. Compile with `jit_compile='auto'`, which leaves such data to "
                "the graph, or give all batches one shape: by `data.query_batches(..., "
                "pad=True)`, or `batch(..., drop_remainder=True)`.",
                stacklevel=stacklevel,
            )

    def reset(self) -> None:
        """Forgets the epoch."""
        for variable in self._shapes.values():
            variable.assign([0] * REMEMBERED)

    @property
    def variables(self) -> list[keras.Variable]:
        """What is remembered of the epoch. No checkpoint needs it."""
        return list(self._shapes.values())


def _no_shapes() -> keras.Variable:
    return keras.Variable("zeros", shape=(REMEMBERED,), dtype="int64", trainable=False)
