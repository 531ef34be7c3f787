"""The losses given to `compile`, as terms of the step.

Keras sums these inside one object that keeps neither their denominators nor right
epoch means of each. Here each becomes a term. Which loss reads which output, target and
weight is decided once for each structure of a batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_trainsteps.step import padding, running, side_inputs
from keras_trainsteps.step.batch import Batch
from keras_trainsteps.step.keras_loss import as_loss_object, keras_term, require_lists
from keras_trainsteps.step.outputs import (
    Outputs,
    Places,
    require_one_view,
    takes_all_outputs,
    term_names,
)
from keras_trainsteps.step.side_input_loss import SideInputLoss
from keras_trainsteps.step.terms import StepTerm, as_loss
from keras_trainsteps.step.weights import LossWeights


class Route(NamedTuple):
    """A loss and what it reads: places among the flat outputs, targets and weights.

    Attributes:
        name: What its term is logged as.
        loss: The loss.
        weight: Its loss weight, or `None` for 1.
        y_pred: The place of its output, or a structure of places for a group.
        y_true: Those of its target; `None` without one.
        sample_weight: Those of its sample weight; `None` without one.
    """

    name: str
    loss: keras.losses.Loss
    weight: Any
    y_pred: Places
    y_true: Places
    sample_weight: Places


class CompiledLosses:
    """The `loss` of `compile`.

    Args:
        loss: As in Keras: a loss, its name or a function, one for each output in a list
            or dict, `None` for an output without one. Beyond Keras, a list of losses on
            one output trains all of them.
        weights: The loss weights.
    """

    def __init__(self, loss: Any = None, weights: LossWeights | None = None) -> None:
        self.loss = keras.tree.map_structure(as_loss_object, loss)
        self.weights = weights or LossWeights()
        require_one_view(self.loss)
        self.output_names: set[str] = set()
        self.shares_targets = False  # whether a hook reads them, too
        self._routes: dict[Any, list[Route]] = {}

    @property
    def objects(self) -> list[keras.losses.Loss]:
        """All losses."""
        return [loss for loss in keras.tree.flatten(self.loss) if loss is not None]

    @property
    def side_inputs(self) -> set[str]:
        """The side inputs that the losses read."""
        readers = [loss for loss in self.objects if isinstance(loss, SideInputLoss)]
        return {name for loss in readers for name in loss.side_inputs}

    def terms(
        self,
        batch: Batch,
        y_pred: Any,
        *,
        rows: tf.Tensor,
        num_replicas: int,
        output_names: Sequence[str] | None,
    ) -> list[StepTerm]:
        """The terms of one batch, in the order of the outputs."""
        if self.loss is None:
            return []
        whole = (y_pred, batch.y, batch.sample_weight)
        flat = [keras.tree.flatten(part) for part in whole]
        terms = []
        for route in self._routes_of(whole, output_names):
            y_pred, y_true, weight = (
                _taken(places, part)
                for places, part in zip(
                    (route.y_pred, route.y_true, route.sample_weight), flat, strict=True
                )
            )
            terms.append(_term(route, y_true, y_pred, batch.x, weight, rows, num_replicas))
        return terms

    def expect(self, y_pred: Any, output_names: Sequence[str] | None) -> None:
        """Decides ahead for outputs like these, targets to match and no weights.

        Raises:
            ValueError: For losses of outputs that the model does not have.
        """
        if self.loss is not None:
            Outputs(_places(y_pred), output_names).reads(self.loss)
            with contextlib.suppress(ValueError):  # of other targets: said with the first batch
                self._routes_of((y_pred, y_pred, None), output_names)

    def _routes_of(
        self, whole: tuple[Any, Any, Any], output_names: Sequence[str] | None
    ) -> list[Route]:
        paths = [keras.tree.flatten_with_path(part) for part in whole]
        key = tuple(tuple((path, leaf is None) for path, leaf in part) for part in paths)
        if key not in self._routes:
            self._routes[key] = self._decide(whole, output_names)
        return self._routes[key]

    def _decide(
        self, whole: tuple[Any, Any, Any], output_names: Sequence[str] | None
    ) -> list[Route]:
        """Who reads what, by the structures of outputs, targets and weights alone."""
        y_pred, y, sample_weight = (_places(part) for part in whole)
        outputs = Outputs(y_pred, output_names)
        reads = sorted(outputs.reads(self.loss), key=lambda read: _first(read.output.places))
        if any(takes_all_outputs(loss) for loss in self.objects):
            first = next(iter(keras.tree.flatten(sample_weight)), None)
            read = [(y_pred, y, first) for _ in reads]
            names = term_names(reads, 1)
        else:
            by_output = [
                outputs.aligned(y, "`y`", reads, shared=self.shares_targets),
                outputs.aligned(
                    sample_weight,
                    "`sample_weight`",
                    reads,
                    shared=self.shares_targets,
                    one_for_all=True,
                ),
            ]
            read = [
                (
                    each.output.places,
                    _taken(each.output.places, by_output[0]),
                    _one(_taken(each.output.places, by_output[1])),
                )
                for each in reads
            ]
            names = term_names(reads, len(outputs.each))
        self.output_names |= {*outputs.names, *outputs.groups}
        weights = self.weights.of_losses(names, [each.output for each in reads])
        return [
            Route(name, each.loss, weight, *places)
            for name, each, weight, places in zip(names, reads, weights, read, strict=True)
        ]


def _places(structure: Any) -> Places:
    """The structure with the place of each leaf among the flat ones; `None` stays."""
    flat = keras.tree.flatten(structure)
    places = [None if leaf is None else place for place, leaf in enumerate(flat)]
    return keras.tree.pack_sequence_as(structure, places)


def _taken(places: Places, flat: Sequence[Any]) -> Any:
    """What stands at these places."""
    if places is None or isinstance(places, int):
        return None if places is None else flat[places]
    return keras.tree.map_structure(lambda place: _taken(place, flat), places)


def _one(places: Places) -> Places:
    """The only place in a structure, where there is but one: a weight for a whole group."""
    distinct = set(keras.tree.flatten(places))
    return distinct.pop() if len(distinct) == 1 else places


def _first(places: Places) -> int:
    return min(place for place in keras.tree.flatten(places) if place is not None)


def _term(
    route: Route,
    y_true: Any,
    y_pred: Any,
    x: Any,
    sample_weight: Any,
    rows: tf.Tensor,
    num_replicas: int,
) -> StepTerm:
    if isinstance(route.loss, SideInputLoss):
        side_inputs.require(x, route.loss.side_inputs)
        term = route.loss.term(y_true, y_pred, x, sample_weight)
        require_lists(route.loss, term, y_pred)
        padding.require_reads_mask(f"The loss {route.name!r}", term.total, running.current())
        value, by_rows = as_loss(term.value), False
    else:
        term, value, by_rows = keras_term(
            route.loss, y_true, y_pred, sample_weight, rows=rows, num_replicas=num_replicas
        )
    return StepTerm(route.name, term, value, by_rows, route.weight, "compile")
