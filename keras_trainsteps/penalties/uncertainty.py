"""Weights of several terms that are trained with the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps.penalties.base import Penalty
from keras_trainsteps.penalties.coefficients import TrainableCoefficient
from keras_trainsteps.step.terms import as_loss
from keras_trainsteps.validation import repr_of


@keras.saving.register_keras_serializable("keras_trainsteps")
class UncertaintyWeighting(Penalty):
    """Weighs terms by a trained uncertainty of each.

    For several tasks in one model, whose scales are not known:

    ```
    loss = sum_k exp(-s_k) * term_k + s_k
    ```

    with one trained `s_k` per term. Where a term cannot fall further, `s_k` settles at
    `log(term_k)` and its weight at `1 / term_k`. A term that can reach 0 drives its weight
    up without end: bound it. The terms are logged as they are, their weights
    `exp(-s_k)` as `<term>_weight`, and `sum_k s_k` under the name of the added loss.

    The paper's regression form, `term / (2 * sigma ** 2) + log(sigma)`, is half of this
    with `s = log(sigma ** 2)`.

    Args:
        terms: The names of the terms to weigh, as they are logged. A weight in
            `loss_weights` multiplies the trained one.
        initial: Where each `s_k` starts. Default 0: a weight of 1.
        bounds: The lowest and highest `s_k`. Default `None`: unbounded.

    Raises:
        ValueError: For no terms, a term named twice, numbers that are not finite or an
            initial value outside `bounds`; when the model is trained: for a term that it
            does not have.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((3,))
    >>> outputs = {name: keras.layers.Dense(1, name=name)(inputs) for name in ("a", "b")}
    >>> model = LossAwareModel(inputs, outputs)
    >>> model.add_loss(UncertaintyWeighting(["a_loss", "b_loss"]), name="uncertainty")
    >>> model.compile("sgd", loss="mse")
    >>> y = {"a": np.ones((4, 1)), "b": np.ones((4, 1))}
    >>> history = model.fit(np.ones((4, 3)), y, verbose=0)
    >>> sorted(history.history)
    ['a_loss', 'a_loss_weight', 'b_loss', 'b_loss_weight', 'loss', 'uncertainty']

    Reference:
        Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses
        for Scene Geometry and Semantics", 2018.
    """

    def __init__(
        self,
        terms: Sequence[str],
        *,
        initial: float = 0.0,
        bounds: tuple[float, float] | None = None,
    ) -> None:
        self.terms = tuple([terms] if isinstance(terms, str) else terms)
        if not self.terms or len(set(self.terms)) != len(self.terms):
            raise ValueError(
                f"`terms` must name each term to weigh once. Received: {list(self.terms)}."
            )
        self.each = TrainableCoefficient(initial, bounds=bounds)
        self.coefficients = dict.fromkeys(self.terms, self.each)

    def bind(
        self, weights: list[keras.Variable], coefficients: Mapping[str, keras.Variable]
    ) -> Callable[[], tf.Tensor]:
        return lambda: tf.add_n([as_loss(s.value) for s in coefficients.values()])

    def term_weights(self, coefficients: Mapping[str, keras.Variable]) -> dict[str, tf.Tensor]:
        return {term: tf.exp(-as_loss(s.value)) for term, s in coefficients.items()}

    def logs(self, name: str, coefficients: Mapping[str, keras.Variable]) -> dict[str, tf.Tensor]:
        weights = self.term_weights(coefficients)
        return {f"{term}_weight": weight for term, weight in weights.items()}

    def __repr__(self) -> str:
        return repr_of(self, self.get_config())

    def get_config(self) -> dict[str, Any]:
        return {"terms": list(self.terms), **self.each.get_config()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> UncertaintyWeighting:
        """The weighting with these options."""
        bounds = config["bounds"] and tuple(config["bounds"])
        return cls(config["terms"], initial=config["initial"], bounds=bounds)
