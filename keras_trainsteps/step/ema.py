"""`Ema`: a network that follows another one as a moving average of its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.after import Passed, Steps
from keras_trainsteps.step.trained import layers_of, trained_weights


class Ema:
    """After each step, moves the weights of a network towards those of another one.

    For teachers, momentum encoders and the networks that samples are drawn from. All
    weights follow, the statistics of normalization among them:

    `weight_into = momentum * weight_into + (1 - momentum) * weight`

    An entry of the class attribute `after_step`. Nothing trains the network that follows,
    though the hook may call it. It begins as it was made: give it the weights of the other
    one by `set_weights` if it shall begin there. Where the gradients of several steps make
    one update (`accumulate_steps`), it follows updates.

    Args:
        network: The network that is followed: the name of an attribute, or several.
        into: The network that follows, of the same weights; or as many.
        momentum: A number from 0 to 1, a variable, or a function of the number of steps
            before, as a `keras.optimizers.schedules.LearningRateSchedule`. Default: 0.999.

    Raises:
        ValueError: For a number outside of 0 to 1; when a step begins, for networks whose
            weights do not match.

    Example:

    >>> from keras_trainsteps import LossAwareModel
    >>> class Averaged(LossAwareModel):
    ...     after_step = [Ema("network", into="average", momentum=0.5)]
    ...     def __init__(self):
    ...         super().__init__()
    ...         make = lambda: keras.layers.Dense(1, kernel_initializer="zeros")
    ...         self.network, self.average = make(), make()
    ...         self.average.build((None, 2))
    ...     def call(self, x):
    ...         return self.network(x)
    >>> model = Averaged()
    >>> model.compile(keras.optimizers.SGD(0.5), loss="mse")
    >>> history = model.fit(np.ones((8, 2)), np.ones((8, 1)), batch_size=8, verbose=0)
    >>> [float(net.bias[0]) for net in (model.network, model.average)]
    [1.0, 0.5]

    Reference:
        [Tarvainen and Valpola, 2017](https://arxiv.org/abs/1703.01780)
    """

    reads_batch = False

    def __init__(
        self,
        network: str | Sequence[str],
        *,
        into: str | Sequence[str],
        momentum: float | keras.Variable | Callable[[Any], Any] = 0.999,
    ) -> None:
        if isinstance(momentum, (int, float)) and not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must be from 0 to 1. Received: {momentum!r}.")
        self.network = (network,) if isinstance(network, str) else tuple(network)
        self.into = (into,) if isinstance(into, str) else tuple(into)
        self.momentum = momentum

    def prepare(self, model: keras.Model) -> None:
        """Needs nothing made."""

    def require(self, model: keras.Model) -> None:
        """Refuses networks whose weights do not match, once these are there."""
        networks = [layers_of(model, each) for each in (self.network, self.into)]
        if all(network.built for each in networks for network in each):
            self._pairs(model)
        trains = model.trains
        trained = [] if trains is None else trained_weights(model, trains)
        into = {id(weight) for layer in networks[1] for weight in layer.weights}
        if any(id(weight) in into for weight in trained):
            raise ValueError(
                "`trains` must not name what follows another network. Received: "
                f"{model.trains!r}, of which `Ema` sets {list(self.into)}."
            )

    def follow(self, model: keras.Model, steps: Steps, passed: Passed) -> None:
        """Moves the weights, after a step."""
        momentum: Any = self.momentum
        if callable(momentum) and not isinstance(momentum, keras.Variable | tf.Variable):
            momentum = momentum(steps)
        assigned = []
        for weight, follower in self._pairs(model):
            value, other = tf.convert_to_tensor(weight), tf.convert_to_tensor(follower)
            if value.dtype.is_floating:  # counters are taken as they are
                share = momentum if isinstance(momentum, (int, float)) else None
                if share is None:
                    share = keras.ops.convert_to_tensor(momentum, dtype=value.dtype)
                value = share * other + (1 - share) * value
            assigned.append((follower, value))
        compat.assign_on_replicas(assigned)

    def _pairs(self, model: Any) -> list[tuple[keras.Variable, keras.Variable]]:
        leading, following = (
            [weight for layer in layers_of(model, each) for weight in layer.weights]
            for each in (self.network, self.into)
        )
        shapes = [[tuple(w.shape) for w in weights] for weights in (leading, following)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"`into` of `Ema` must name networks with the weights of {list(self.network)}. "
                f"Received: {list(self.into)} with weights of shapes {shapes[1]}, where these "
                f"have {shapes[0]}. Build both, and make one as a copy of the other."
            )
        if {id(w) for w in leading} & {id(w) for w in following}:
            raise ValueError(
                "`into` of `Ema` must name another network than the one that it follows. "
                f"Received: {list(self.into)}, which shares weights with {list(self.network)}."
            )
        return list(zip(leading, following, strict=True))
