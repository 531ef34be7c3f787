"""`Queue`: the last rows of a tensor, over batches, as a weight of the model."""

from __future__ import annotations

import keras
import tensorflow as tf

from keras_trainsteps import compat, replicas
from keras_trainsteps.step.after import Passed, Steps, taken


class Queue:
    """After each step, puts the rows of a tensor into a weight, in the place of the oldest.

    For negatives of earlier batches, and for sets of neighbours. An entry of the class
    attribute `after_step`. The weight is an attribute of the model, the newest rows first;
    a hook reads it, and passes on the rows by `self.pass_on("key", rows)`.

    Args:
        name: The attribute that is the weight.
        of: The name under which a hook passes on the rows. Default: `name`.
        size: How many rows are kept.
        shape: The shape of a row. The weight is then made when the model is, of random
            rows of length 1. Default: the model makes it by `self.add_weight`.

    Raises:
        ValueError: For a `size` below 1; when a step begins, for a weight that is missing
            or has another size, or rows of another shape.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> class Remembering(LossAwareModel):
    ...     after_step = [Queue("seen", size=3, shape=(2,))]
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.network = keras.layers.Dense(1)
    ...     def call(self, x):
    ...         return self.network(x)
    ...     def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
    ...         self.pass_on("seen", x)
    ...         return {"squares": keras.ops.square(y_pred - y)}
    >>> model = Remembering()
    >>> model.compile("sgd")
    >>> x = np.arange(4.0).reshape(2, 2)
    >>> history = model.fit(x, np.ones((2, 1)), batch_size=1, shuffle=False, verbose=0)
    >>> model.seen.numpy()[:2].tolist()
    [[2.0, 3.0], [0.0, 1.0]]

    Reference:
        [He et al., 2020](https://arxiv.org/abs/1911.05722)
    """

    reads_batch = True

    def __init__(
        self,
        name: str,
        *,
        size: int,
        of: str | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"`size` must be an integer of at least 1. Received: {size!r}.")
        self.name, self.of, self.size = name, name if of is None else of, size
        self.shape = None if shape is None else tuple(shape)

    def prepare(self, model: keras.Model) -> None:
        """Makes the weight, if the shape of a row was told."""
        if self.shape is not None:
            weight = model.add_weight(
                shape=(self.size, *self.shape),
                initializer=_unit_rows,
                trainable=False,
                aggregation="only_first_replica",
                name=self.name,
            )
            setattr(model, self.name, weight)

    def require(self, model: keras.Model) -> None:
        """Refuses a model without the weight, or with one of another size."""
        weight = getattr(model, self.name, None)
        if not isinstance(weight, keras.Variable) or weight.shape[:1] != (self.size,):
            raise ValueError(
                f"`{self.name}` must be a weight of {self.size} rows, for a `Queue`. Received: "
                f"{getattr(weight, 'shape', weight)!r}. Tell the `shape` of a row in the "
                "`Queue`, or make it by `self.add_weight(..., trainable=False)`."
            )

    def follow(self, model: keras.Model, steps: Steps, passed: Passed) -> None:
        """Puts the rows of a step in."""
        weight = getattr(model, self.name)
        rows = tf.convert_to_tensor(taken(passed, self.of, f"Queue({self.name!r})"))
        if rows.shape.rank is None or rows.shape[1:] != weight.shape[1:]:
            raise ValueError(
                f"`{self.of}` must have rows as those of the `Queue` {self.name!r}. Received: "
                f"shape {tuple(rows.shape)} for rows of shape {tuple(weight.shape[1:])}."
            )
        rows = replicas.gather_rows(tf.stop_gradient(tf.cast(rows, weight.dtype)))
        every = tf.concat([rows, tf.convert_to_tensor(weight)], axis=0)
        compat.assign_on_replicas([(weight, every[: self.size])])


def _unit_rows(shape: tuple[int, ...], dtype: str | None = None) -> tf.Tensor:
    """Random rows of length 1."""
    rows = keras.random.normal(shape, dtype=dtype)
    axes = list(range(1, len(shape)))
    return rows / keras.ops.sqrt(keras.ops.sum(keras.ops.square(rows), axes, keepdims=True))
