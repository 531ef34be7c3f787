"""The optimizers of several objectives, as one object that Keras saves, loads and finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import keras

from keras_trainsteps import compat

_PREFIX = "of_"

WeightsOf = Callable[[], Mapping[str, list[keras.Variable]]]
"""Gives what each optimizer trains, by name."""


@keras.saving.register_keras_serializable("keras_trainsteps")
class Optimizers(keras.optimizers.Optimizer):
    """The optimizer of each objective of a model, by name.

    It is what `model.optimizer` is for a model with `objectives`; `compile` makes it.
    `model.optimizer["critic"]` is the one of that name, `model.optimizer.names` are all
    names, and `model.optimizer.iterations` counts the steps of the model. A callback acts on
    one of them by `ForObjective`.

    Args:
        optimizers: An optimizer for each name; the same one for several that train the same.
        name: As in `keras.optimizers.Optimizer`.

    Example:

    >>> optimizers = Optimizers({"critic": keras.optimizers.Adam(2e-4), "generator": "sgd"})
    >>> optimizers.names
    ('critic', 'generator')
    >>> optimizers["generator"].name
    'sgd'
    """

    def __init__(self, optimizers: Mapping[str, Any], name: str = "objective_optimizers") -> None:
        # A function, and no number, which would be a variable.
        super().__init__(learning_rate=_no_rate, name=name)
        self.names = tuple(optimizers)
        # Attributes: Keras and TensorFlow save and restore what they find in these, by name.
        for key, optimizer in optimizers.items():
            setattr(self, _PREFIX + key, keras.optimizers.get(optimizer))
        self._weights_of: WeightsOf | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # What is set in it, of any option of an optimizer, would act on none.
        if "_weights_of" in vars(self) and name[0] != "_" and name != "built":
            self._refuse(name)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(self._of_one(name), name=name, obj=self)

    def belongs_to(self, weights_of: WeightsOf) -> None:
        """Says how to find out what each trains."""
        self._weights_of = weights_of

    def __getitem__(self, name: str) -> Any:
        """The optimizer of that name."""
        if name not in self.names:
            raise KeyError(
                f"The name must be that of an objective. Received: {name!r}, of {self.names}."
            )
        return getattr(self, _PREFIX + name)

    def distinct(self) -> list[Any]:
        """The optimizers, each once."""
        return list({id(self[name]): self[name] for name in self.names}.values())

    def build(self, variables: Iterable[keras.Variable]) -> None:
        """Makes the state of each for what it trains, whatever `variables` are."""
        weights = None if self._weights_of is None else self._weights_of()
        if weights is None:
            raise ValueError(
                "The optimizers of objectives are built by the model that was compiled with "
                "them. Received: a call of `build` for none. Call `model.compile(optimizers)`."
            )
        for optimizer in self.distinct():
            own = [weights[name] for name in self.names if self[name] is optimizer]
            trained = list({id(weight): weight for each in own for weight in each}.values())
            if not optimizer.built and trained:
                optimizer.build(trained)
        super().build(list({id(w): w for each in weights.values() for w in each}.values()))

    def count_step(self) -> None:
        """Counts a step of the model."""
        self.iterations.assign_add(1)

    @property
    def variables(self) -> list[keras.Variable]:
        """The number of steps, and the state of each."""
        own: list[keras.Variable] = super().variables
        return [*own, *(v for optimizer in self.distinct() for v in optimizer.variables)]

    def finalize_variable_values(self, var_list: Any) -> None:
        """Ends a `fit` with the averages of each that keeps them (`use_ema`), of its weights."""
        for optimizer in self.distinct():
            optimizer.finalize_variable_values(compat.optimized_weights(optimizer))

    def save_own_variables(self, store: Any) -> None:
        """Saves the number of steps; each optimizer saves its own state."""
        store["0"] = self.iterations.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Loads the number of steps; each optimizer loads its own state."""
        self.iterations.assign(store["0"])

    def apply(self, grads: Any, trainable_variables: Any = None) -> NoReturn:
        self._refuse("apply")

    def scale_loss(self, loss: Any) -> NoReturn:
        self._refuse("scale_loss")

    @property
    def learning_rate(self) -> NoReturn:
        self._refuse("learning_rate")

    @learning_rate.setter
    def learning_rate(self, value: Any) -> NoReturn:
        self._refuse("learning_rate")

    def _refuse(self, what: str) -> NoReturn:
        raise ValueError(self._of_one(what))

    def _of_one(self, what: str) -> str:
        names = vars(self).get("names", ("name",))
        return (
            f"`{what}` must be that of one optimizer: each objective has its own. Received: "
            f"`optimizer.{what}` of a model with {names}. Take that of a named one, as "
            f"`model.optimizer[{names[0]!r}].{what}`; in a callback, fit with "
            f"`ForObjective({names[0]!r}, callback)`."
        )

    def get_config(self) -> dict[str, Any]:
        first: dict[int, str] = {}  # the name under which an optimizer is found
        config: dict[str, Any] = {}
        for name in self.names:
            same = first.setdefault(id(self[name]), name)
            of_its_own = same == name
            config[name] = keras.saving.serialize_keras_object(self[name]) if of_its_own else same
        return {"name": self.name, "optimizers": config}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Optimizers:
        made: dict[str, Any] = {}
        for name, one in config["optimizers"].items():
            is_same = isinstance(one, str)
            made[name] = (
                made[one]
                if is_same
                else keras.saving.deserialize_keras_object(one, custom_objects=custom_objects)
            )
        return cls(made, name=config["name"])


def optimizers_for(names: Sequence[str], given: Any, *, scaled: bool) -> Optimizers | None:
    """What `compile` was given as `optimizer`, as the optimizers of objectives.

    Args:
        names: The names of the objectives.
        given: A dict by these names, one that is copied for each, or `None`.
        scaled: Whether losses are scaled for float16.

    Raises:
        ValueError: For names that are missing or unknown.
    """
    if given is None:
        return None
    if isinstance(given, Optimizers):
        given_by_name = {name: given[name] for name in given.names}
    elif isinstance(given, Mapping) and "class_name" not in given:
        given_by_name = dict(given)
    else:
        one = keras.optimizers.get(given)
        given_by_name = {name: type(one).from_config(one.get_config()) for name in names}
    if set(given_by_name) != set(names):
        raise ValueError(
            "`optimizer` must have one for each objective. Received: "
            f"{sorted(map(str, given_by_name))}, where the objectives are {sorted(names)}. Pass "
            "a dict of these names, or one optimizer, of which each gets a copy."
        )
    made: dict[int, Any] = {}
    for name in names:
        one = given_by_name[name]
        optimizer = made.get(id(one)) or keras.optimizers.get(one)
        if scaled and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        if not isinstance(one, str):
            made[id(one)] = optimizer
        given_by_name[name] = optimizer
    if isinstance(given, Optimizers) and all(given[n] is given_by_name[n] for n in names):
        return given
    return Optimizers({name: given_by_name[name] for name in names})


def _no_rate() -> NoReturn:
    raise ValueError("The optimizers of objectives have learning rates of their own.")
