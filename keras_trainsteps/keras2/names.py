"""What bodies written for Keras 2 call: right, or refused with the replacement.

Keras 3 kept `compiled_loss` and `compiled_metrics`, but in a step they log nonsense: every
`Mean` among the metrics, also the one of the loss, is fed with `y_pred` (seen in 3.15.1).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step import checks, running
from keras_trainsteps.step.batch import Batch, tensors


class Removed:
    """A name of Keras 2 that says what replaces it. Subclasses may use the name."""

    def __init__(self, replacement: str) -> None:
        self.replacement = replacement

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, model: Any, owner: type | None = None) -> Any:
        if model is None:
            return self
        raise AttributeError(
            f"`{self.name}` is of Keras 2. Received: a read of it in Keras 3. "
            f"Replace it by {self.replacement}."
        )


class CompiledLoss:
    """Keras 2's `model.compiled_loss`: computes the compiled loss, and logs it.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> inputs = keras.Input((2,))
    >>> model = LossAwareModel(inputs, keras.layers.Dense(1, kernel_initializer="ones")(inputs))
    >>> model.compile(loss="mse")
    >>> float(model.compiled_loss(np.zeros((4, 1)), model(np.ones((4, 2)))))
    4.0
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any = None,
        regularization_losses: Iterable[Any] | None = None,
    ) -> tf.Tensor:
        """The weighted sum of the compiled losses, and of `regularization_losses`.

        The trackers of `loss` and of each term are updated, as in the library's own step.

        Args:
            y_true: Targets.
            y_pred: Output of the network.
            sample_weight: One weight a row, or `None`.
            regularization_losses: `self.losses`; `[]` leaves them out.

        Raises:
            ValueError: When the model has added losses and nothing says what to do with
                them, or has losses of `compute_losses` or trained weights of terms, which
                this would leave out.
        """
        model = self._model
        if regularization_losses is None and model.losses:
            raise ValueError(
                "`regularization_losses` must be given for a model with added losses. "
                f"Received: None, where `self.losses` holds {len(model.losses)}. Pass "
                "`regularization_losses=self.losses` and add nothing by hand; pass `[]` to "
                "leave them out."
            )
        plan = model._plan
        if plan.hook is not None:
            raise ValueError(
                "`compiled_loss` has the losses of `compile` only. Received: a model that fills "
                "`compute_losses`, which would be left out. Call `self.compute_loss(x, y, "
                "y_pred, sample_weight)`, or delete the step."
            )
        y_true, y_pred, sample_weight = tensors((y_true, y_pred, sample_weight))
        step = running.current()
        batch = Batch(None if step is None else step.x, y_true, sample_weight)
        checks.value_checks(sample_weight)
        weighed = list(plan.aims[0].added(batch.rows(y_pred)).weights)
        if weighed:
            raise ValueError(
                "`compiled_loss` has no trained weights. Received: a model whose terms "
                f"{weighed} have some. Call `self.compute_loss(x, y, y_pred, sample_weight)`, "
                "or delete the step."
            )
        checks.require_listed(model.metrics, plan.log.loss)
        losses = plan.compiled_losses(batch, y_pred, regularization_losses or ())
        plan.log.track([losses], plan.log.training)
        if step is not None:
            step.called.add("loss")
        return losses.loss


class CompiledMetrics:
    """Keras 2's `model.compiled_metrics`: the metrics of `compile`, and only these."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics of `compile`."""
        compiled = compat.compile_metrics(self._model)
        return [] if compiled is None else compiled.metrics

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Updates the compiled metrics; `sample_weight` is for the weighted ones."""
        compiled = compat.compile_metrics(self._model)
        if compiled is not None:
            checks.require_listed(self._model.metrics, compiled)
            checks.require_one_target(y_true, y_pred)
            compiled.update_state(y_true, y_pred, sample_weight=sample_weight)


def reset_states(metrics: Iterable[keras.metrics.Metric]) -> None:
    """Resets metrics that have `reset_states`, its name in Keras 2, by that.

    Keras 3 sets their variables to 0, whatever `reset_states` would.
    """
    for metric in metrics:
        by_default = type(metric).reset_state is keras.metrics.Metric.reset_state
        if by_default and hasattr(metric, "reset_states"):
            metric.reset_states()
