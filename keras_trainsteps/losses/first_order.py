"""Gradients written by hand are first derivatives: a second one must raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import tensorflow as tf


def first_order(gradient: tf.Tensor) -> tf.Tensor:
    """`gradient` itself; to differentiate it again raises instead of being wrong."""

    @tf.custom_gradient
    def final(value: tf.Tensor) -> tuple[tf.Tensor, Callable[..., NoReturn]]:
        def second(*_: Any) -> NoReturn:
            raise NotImplementedError(
                "This loss has a first derivative only: its gradient is written by hand. "
                "Received: a request for the derivative of that gradient (nested tapes, a "
                "Hessian, a gradient penalty)."
            )

        return tf.identity(value), second

    return final(gradient)
