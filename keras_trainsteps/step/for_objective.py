"""`ForObjective`: a callback that acts on the optimizer of one of several objectives."""

from __future__ import annotations

from typing import Any

import keras

_HOOKS = [name for name in dir(keras.callbacks.Callback) if name.startswith("on_")]
_RATE = "learning_rate"


class ForObjective(keras.callbacks.Callback):
    """Has a callback act on the optimizer of one objective.

    For all that use `self.model.optimizer`: those of Keras (`LearningRateScheduler`,
    `ReduceLROnPlateau`, `SwapEMAWeights`, `TensorBoard`) and your own. To the callback,
    `model.optimizer` is the optimizer of that name; the model is otherwise as it is. A
    learning rate that it logs is logged as `<name>_learning_rate`.

    Args:
        objective: The name of the objective, or of the network in its `trains`, as in
            `compile`.
        callback: The callback.

    Raises:
        TypeError: For a callback that is none.
        ValueError: For a name that is none, once it is used with a model.

    Example:

    >>> from keras_trainsteps import LossAwareModel, Objective
    >>> class Ladder(LossAwareModel):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.low = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    ...         self.high = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    ...     def objectives(self):
    ...         return {
    ...             "small": Objective(self.small, trains=self.low),
    ...             "close": Objective(self.close, trains=self.high),
    ...         }
    ...     def small(self, x):
    ...         return {"size": keras.ops.square(self.low(x))}
    ...     def close(self, x, y):
    ...         return {"gap": keras.ops.square(self.high(self.low(x)) - y)}
    >>> model = Ladder()
    >>> model.compile(keras.optimizers.SGD(0.5))
    >>> halved = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    >>> history = model.fit(
    ...     np.ones((8, 2)), np.ones((8, 1)), epochs=2, verbose=0,
    ...     callbacks=[ForObjective("close", halved)],
    ... )
    >>> history.history["close_learning_rate"]
    [0.25, 0.125]
    >>> [float(model.optimizer[name].learning_rate) for name in ("small", "close")]
    [0.5, 0.125]
    """

    def __init__(self, objective: str, callback: keras.callbacks.Callback) -> None:
        super().__init__()
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(
                "`callback` must be a `keras.callbacks.Callback`. Received: "
                f"{type(callback).__name__}. Wrap several one by one."
            )
        self.objective, self.callback = objective, callback
        for name in _HOOKS:  # as they are: Keras asks of each whether it is empty
            if name != "on_epoch_end":
                setattr(self, name, getattr(callback, name))

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        self.callback.set_params(params)

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        names = getattr(model.optimizer, "names", ())
        if self.objective not in names:
            found = f"{list(names)}" if names else "an optimizer for all, or none"
            raise ValueError(
                "`objective` must name an objective of the model, or a network of its `trains`. "
                f"Received: {self.objective!r} for a model with {found}. "
                + ("Take one of these." if names else "Give it the callback as it is.")
            )
        self.callback.set_model(_SeenByCallback(model, self.objective))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        before = set(logs)
        self.callback.on_epoch_end(epoch, logs)
        for name in [key for key in logs if key.startswith(_RATE) and key not in before]:
            logs[f"{self.objective}_{name}"] = logs.pop(name)


class _SeenByCallback:
    """A model, with the optimizer of one objective for its own."""

    def __init__(self, model: Any, objective: str) -> None:
        vars(self).update(_seen=model, _objective=objective)

    @property
    def __class__(self) -> Any:
        return type(self._seen)  # what asks for a `keras.Model` finds one

    @__class__.setter
    def __class__(self, kind: Any) -> None:
        self._seen.__class__ = kind

    @property
    def optimizer(self) -> Any:
        return self._seen.optimizer[self._objective]

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_seen"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._seen, name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._seen(*args, **kwargs)
