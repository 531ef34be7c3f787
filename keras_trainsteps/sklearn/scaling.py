"""Features on one scale, with missing values: the first layer of a `Ranker`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

RESOLUTION = 1e-6  # of float32, a little more than half of its last digit


@keras.saving.register_keras_serializable("keras_trainsteps")
class Scaling(keras.layers.Layer):
    """Features less their mean, over their standard deviation; a mark for each missing one.

    ```
    z = (x - mean) / deviation,  0 where x is NaN, and for a feature of one value only
    ```

    followed by a column for each feature of `missing`: 1 where it is NaN, otherwise 0. A
    feature that was never missing before is taken for its mean where it is.

    Args:
        missing: The numbers of the features that have a mark.
        name: Name of the layer. Default: made by Keras.

    Example:

    >>> layer = Scaling.of(np.array([[1.0, 5.0], [3.0, np.nan]]))
    >>> layer(np.array([[3.0, 5.0], [np.nan, np.nan]])).numpy().tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """

    def __init__(self, missing: Sequence[int] = (), *, name: str | None = None) -> None:
        super().__init__(name=name, trainable=False, dtype="float32")
        self.missing = list(missing)

    @classmethod
    def of(cls, features: npt.NDArray[np.float64]) -> Scaling:
        """The layer with means and deviations of `features`, as scikit-learn computes them.

        Raises:
            ValueError: For a feature whose values float32 does not tell apart.
        """
        known = ~np.isnan(features)
        counts = np.maximum(known.sum(0), 1)
        values = np.where(known, features, 0)
        mean = values.sum(0) / counts
        centered = np.where(known, values - mean, 0)
        deviation = np.sqrt(np.square(centered).sum(0) / counts)
        largest = np.abs(values).max(0, initial=0)
        differs = deviation > 1e-12 * largest  # what is less is rounding of a single value
        lost = np.flatnonzero(differs & (deviation < RESOLUTION * largest))
        if len(lost):
            column = lost[0]
            raise ValueError(
                "`X` must hold features that float32 tells apart. Received: feature "
                f"{column} with values of {largest[column]:.6g}, which differ by "
                f"{deviation[column]:.2g}. Subtract their mean, as by a `StandardScaler` before "
                "the `Ranker` in a pipeline."
            )
        layer = cls(np.flatnonzero(~known.all(0)).tolist())
        layer.build((None, features.shape[1]))
        scale = np.where(differs, 1 / np.where(differs, deviation, 1), 0)
        layer.set_weights([mean.astype("float32"), scale.astype("float32")])
        return layer

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates means and scales, one per feature, which no step trains."""
        self.mean = self.add_weight(shape=input_shape[1:], initializer="zeros", name="mean")
        self.scale = self.add_weight(shape=input_shape[1:], initializer="ones", name="scale")
        self.built = True

    def call(self, inputs: Any) -> Any:
        unknown = keras.ops.isnan(inputs)
        scaled = (inputs - self.mean) * self.scale
        scaled = keras.ops.where(unknown, keras.ops.zeros_like(scaled), scaled)
        if not self.missing:
            return scaled
        marks = keras.ops.take(unknown, self.missing, axis=1)
        return keras.ops.concatenate([scaled, keras.ops.cast(marks, scaled.dtype)], axis=1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        columns = input_shape[1]
        return input_shape[0], None if columns is None else columns + len(self.missing)

    def get_config(self) -> dict[str, Any]:
        return {"missing": self.missing, "name": self.name}
