"""The loss weights of `compile`: one object that knows what each belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.loss_schedules import (
    is_schedule,
    require_untrained,
    scheduled_variable,
)
from keras_trainsteps.step.outputs import Output, entry_of
from keras_trainsteps.step.terms import StepTerm


class LossWeights:
    """What `compile(loss_weights=...)` was given.

    Args:
        given: A number for every compiled loss, a list of one weight per loss or per output,
            or a dict by name of output or logged term. Values may be variables, and functions
            of the number of steps, which become variables that follow them.

    Attributes:
        given: What was given, with variables for schedules.
        scheduled: These variables, each with its schedule.
    """

    def __init__(self, given: Any = None) -> None:
        self.original = given
        self.scheduled: list[tuple[keras.Variable, Callable[[Any], Any]]] = []
        flat = [self._as_weight(*each) for each in keras.tree.flatten_with_path(given)]
        self.given = keras.tree.pack_sequence_as(given, flat)

    def _as_weight(self, path: tuple[Any, ...], weight: Any) -> Any:
        name = "/".join(map(str, path))
        require_untrained(name, weight)
        if not is_schedule(weight):
            return weight
        variable = scheduled_variable(name, weight)
        self.scheduled.append((variable, weight))
        return variable

    @property
    def variables(self) -> dict[str, keras.Variable]:
        """The weights that are variables, by where they stand; those of TensorFlow as Keras's."""
        flat = keras.tree.flatten_with_path(self.given)
        named = {"/".join(map(str, path)): weight for path, weight in flat}
        return {
            name: compat.as_weight(weight, name) if isinstance(weight, tf.Variable) else weight
            for name, weight in named.items()
            if isinstance(weight, keras.Variable | tf.Variable)
        }

    def as_numbers(self) -> Any:
        """The weights as Keras takes them: variables as the numbers they hold."""
        return keras.tree.map_structure(
            lambda weight: (
                float(weight) if isinstance(weight, keras.Variable | tf.Variable) else weight
            ),
            self.given,
        )

    def as_saved(self) -> Any:
        """The weights as a file holds them: schedules, and variables as their numbers."""
        return keras.tree.map_structure(
            lambda weight: (
                float(weight) if isinstance(weight, keras.Variable | tf.Variable) else weight
            ),
            self.original,
        )

    def of_term(self, name: str) -> Any:
        """The weight that is given to a term by its name; `None` for 1."""
        return self.given.get(name) if isinstance(self.given, Mapping) else None

    def of_losses(self, names: Sequence[str], outputs: Sequence[Output]) -> list[Any]:
        """The weight of each compiled loss, of which `outputs` holds the output it is on."""
        given = self.given
        if isinstance(given, Mapping):
            on_output: dict[Any, int] = {}
            weights = []
            for name, output in zip(names, outputs, strict=True):
                keys = [name, name.removesuffix("_loss"), output.name]
                weight = next((given[key] for key in keys if key in given), None)
                weight = entry_of(given, output) if weight is None else weight
                number = on_output.get(output.path, 0)
                on_output[output.path] = number + 1
                weights.append((output.path, number, weight))
            return [self._of_number(*each, on_output) for each in weights]
        if not keras.tree.is_nested(given):
            return [given] * len(names)
        flat = keras.tree.flatten(given)
        if len(flat) == len(names):
            return flat
        distinct = list(dict.fromkeys(output.path for output in outputs))
        if len(flat) == len(distinct):
            return [flat[distinct.index(output.path)] for output in outputs]
        raise ValueError(
            "`loss_weights` must match the number of losses. "
            f"Received: {len(flat)} weights for {len(names)} losses."
        )

    def _of_number(
        self, path: Any, number: int, weight: Any, on_output: Mapping[Any, int]
    ) -> Any:
        """The weight of one of the losses on an output, from that of all of them."""
        if not isinstance(weight, (list, tuple)):
            return weight
        if len(weight) != on_output[path]:
            raise ValueError(
                "`loss_weights` must match the number of losses. "
                f"Received: {len(weight)} weights for {on_output[path]} losses on one output."
            )
        return weight[number]

    def require_terms(self, terms: Iterable[str]) -> None:
        """Refuses weights of what is no term of any objective.

        Raises:
            ValueError: For such weights.
        """
        terms = set(terms)
        unknown = sorted(set(self.given) - terms) if isinstance(self.given, Mapping) else []
        if unknown:
            raise ValueError(
                "`loss_weights` must name terms of the objectives. "
                f"Received: {unknown}, where the terms are {sorted(terms)}."
            )

    def given_to(
        self, terms: Iterable[StepTerm], output_names: Iterable[str], *, complete: bool = True
    ) -> list[StepTerm]:
        """The terms with their weights; those of `compile` have theirs already.

        Args:
            terms: The terms.
            output_names: What else weights may name.
            complete: Whether these are all terms of the model, and not those of one objective.

        Raises:
            ValueError: For weights of what is neither a term nor an output.
        """
        terms = list(terms)
        if self.given is None:
            return terms
        names = [term.name for term in terms]
        if isinstance(self.given, Mapping):
            known = {*names, *(name.removesuffix("_loss") for name in names), *output_names}
            unknown = [name for name in _names_in(self.given) if name not in known]
            if unknown and complete:
                raise ValueError(
                    "`loss_weights` must name terms or outputs. "
                    f"Received: {unknown}, where the terms are {sorted(names)}."
                )
        elif all(term.source != "compile" for term in terms):
            raise ValueError(
                "`loss_weights` must be a dict by name when there is no compiled loss. "
                f"Received: {self.given!r}, where the terms are {sorted(names)}."
            )
        return [
            term if term.source == "compile" else term._replace(weight=self.of_term(term.name))
            for term in terms
        ]


def _names_in(given: Mapping[str, Any]) -> Iterator[str]:
    """The names in a dict of weights, those in a dict inside it by their path."""
    for name, weight in given.items():
        if isinstance(weight, Mapping):
            yield from (f"{name}/{inner}" for inner in _names_in(weight))
        else:
            yield name
