"""What can be decided before the first batch: a step only follows it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_trainsteps import compat, replicas
from keras_trainsteps.step import checks, padding, running, total
from keras_trainsteps.step.aims import Aim
from keras_trainsteps.step.batch import Batch
from keras_trainsteps.step.compiled import CompiledLosses
from keras_trainsteps.step.hook import hook_terms
from keras_trainsteps.step.log import Log
from keras_trainsteps.step.running import Running
from keras_trainsteps.step.terms import LossTerm, StepTerm
from keras_trainsteps.step.total import Losses


class Added(NamedTuple):
    """What was added to a model or its layers, in one batch.

    Attributes:
        terms: The losses that have a name.
        regularization: The other ones, and those of regularizers.
        metrics: Sum and count of each added metric, by name.
        weights: Trained weights of terms, by name of term.
        logged: The names of trained coefficients in the logs.
    """

    terms: list[StepTerm]
    regularization: list[tf.Tensor]
    metrics: Mapping[str, LossTerm]
    weights: Mapping[str, tf.Tensor]
    logged: frozenset[str]


class Plan(NamedTuple):
    """What does not change between the batches of a model.

    Attributes:
        side_inputs: The entries of `x` that the network never sees.
        row_mask: The entry of `x` that says which rows count, where it is there.
        compiled: The losses of `compile`; the first source of terms.
        aims: The objectives, in the order in which they run: one in most models. Each has the
            second source, a hook as `compute_losses`, and the third, what was added.
        losses_of_calls: Gives what layers have added in calls so far, those of the hook too.
        own_loss: A subclass's own `compute_loss`, instead of all three.
        output_names: What the model calls its outputs.
        waits: The kinds of step, training or not, held back until their batch is there.
        begin_again: The kinds of step whose data may begin again within an epoch.
        log: Where the losses of batches are entered.
    """

    side_inputs: frozenset[str]
    row_mask: str
    compiled: CompiledLosses
    aims: tuple[Aim, ...]
    losses_of_calls: Callable[[], list[tf.Tensor]]
    own_loss: Callable[..., tf.Tensor] | None
    output_names: Sequence[str] | None
    waits: frozenset[bool]
    begin_again: frozenset[bool]
    log: Log

    def running(self, batch: Batch, *, training: bool, by_hand: bool = False) -> Running:
        """A step on `batch`: nothing of it runs before the checks, and the batch, are there."""
        needed: list[Any] = checks.of_batch(batch, self.side_inputs, weights=not by_hand)
        if training in self.waits:
            needed += batch
        self.log.training = training
        if compat.in_xla():
            self.log.compilations.see(batch, training=training)
        held_back = compat.after(needed) if needed else None
        row_mask = self.row_mask_of(batch)
        return Running(
            batch.x,
            functools.partial(batch.rows, row_mask=row_mask),
            self.log,
            by_hand,
            replicas.num_replicas(),
            training in self.begin_again,
            held_back,
            batch.y,
            row_mask,
        )

    def row_mask_of(self, batch: Batch) -> tf.Tensor | None:
        """Which rows of a batch count; `None` where all do.

        Raises:
            ValueError: For batches that are filled up, on several replicas.
        """
        mask = batch.x.get(self.row_mask) if isinstance(batch.x, Mapping) else None
        if mask is not None and replicas.num_replicas() > 1:
            raise ValueError(
                "Batches must not be filled up for several replicas, which XLA cannot compile. "
                "Received: batches of `pad=True`. Fit without it."
            )
        return mask

    def losses(
        self, aim: Aim, batch: Batch, y_pred: Any, *, training: bool, repeat: int = 0
    ) -> list[Losses]:
        """Every term of an objective for a batch, and the total of each of its parts."""
        step = running.current(self.log)
        row_mask = self.row_mask_of(batch)
        if row_mask is not None and step is None and not compat.only_shapes():
            raise ValueError(
                "Batches of `pad=True` must come to a step, which leaves out the rows that do "
                "not count. Received: one in a call of `compute_loss`. Call `train_step`."
            )
        rows = batch.rows(y_pred, row_mask)
        shape = {"rows": rows, "num_replicas": replicas.num_replicas()}
        if self.own_loss is not None:
            takes = inspect.signature(self.own_loss).parameters
            told = {"training": training} if "training" in takes else {}
            own = self.own_loss(batch.x, batch.y, y_pred, batch.sample_weight, **told)
            padding.require_reads_mask("`compute_loss`", own, step)
            return [total.of_own(own, step.computed if step else [], **shape)]
        # First: a loss may wait for other replicas, whose layers pass on losses meanwhile.
        added = aim.added(rows)
        terms = self.compiled.terms(batch, y_pred, **shape, output_names=self.output_names)
        _require_counted(added, step)
        regularization = list(added.regularization)
        if aim.hook is not None:
            # Several replicas share the layers: what is new may be another's.
            alone = shape["num_replicas"] == 1
            before = self.losses_of_calls() if alone else []
            terms += hook_terms(
                aim.hook, batch, y_pred, rows, training, repeat, hook_name=aim.hook_name
            )
            regularization += _new_of(self.losses_of_calls(), before) if alone else []
        aim.require_terms(terms)
        found, seen = [], set[str]()
        for part in aim.parts:
            if aim.added_by is not None:
                self._require_no_losses_of_calls(shape["num_replicas"])
                added = aim.added_by(part, rows)
                _require_counted(added, step)
                regularization = added.regularization
            of_part = self.compiled.weights.given_to(
                [*part.of(terms), *added.terms],
                self.compiled.output_names,
                complete=len(self.aims) == len(aim.parts) == 1,
            )
            losses = total.total(
                _times(added.weights, of_part),
                regularization,
                added.metrics,
                also_logged=added.logged,
                name=part.name,
                **shape,
            )
            tracked = [term for term in losses.tracked if term.name not in seen]
            seen |= {term.name for term in tracked}
            found.append(losses._replace(tracked=tracked))
        return found

    def _require_no_losses_of_calls(self, num_replicas: int) -> None:
        """Refuses them of networks on several replicas, which share the layers."""
        if num_replicas > 1 and self.losses_of_calls():
            raise ValueError(
                "Layers must not add losses in calls, on several replicas, where there are "
                "`objectives`. Received: a layer that calls `add_loss`, or has an "
                "`activity_regularizer`. Return its loss from the hook."
            )

    @property
    def hook(self) -> Callable[..., Any] | None:
        """The hook of the one objective of most models; `None` for none."""
        return self.aims[0].hook

    @property
    def is_whole(self) -> bool:
        """Whether there is one objective for the whole model, which says nothing of it."""
        return self.aims[0].added_by is None

    def compiled_losses(
        self, batch: Batch, y_pred: Any, regularization: Iterable[tf.Tensor]
    ) -> Losses:
        """The losses of `compile` alone, and what is given as regularization."""
        shape = {"rows": batch.rows(y_pred), "num_replicas": replicas.num_replicas()}
        terms = self.compiled.terms(batch, y_pred, **shape, output_names=self.output_names)
        return total.total(terms, regularization, {}, **shape)


def _require_counted(added: Added, step: Running | None) -> None:
    """Refuses what was added to a model of rows of which some do not count."""
    values = [(f"The added loss {term.name!r}", term.value) for term in added.terms]
    values += [
        ("A loss of `add_loss` or `activity_regularizer`", v) for v in added.regularization
    ]
    values += [(f"The added metric {name!r}", m.total) for name, m in added.metrics.items()]
    for what, value in values:
        padding.require_reads_mask(what, value, step)


def _new_of(losses: list[tf.Tensor], before: list[tf.Tensor]) -> list[tf.Tensor]:
    """The losses that were not there before: of layers that the hook has called."""
    known = {id(loss) for loss in before}
    return [loss for loss in losses if id(loss) not in known]


def _times(trained: Mapping[str, tf.Tensor], terms: list[StepTerm]) -> list[StepTerm]:
    """The terms with their trained weights times the given ones."""
    if not trained:
        return terms
    known = {term.name for term in terms}
    unknown = sorted(set(trained) - known)
    if unknown:
        raise ValueError(
            "`terms` of `UncertaintyWeighting` must be terms of the loss. Received: "
            f"{unknown}, where the terms are {sorted(known)}."
        )

    def weight(term: StepTerm) -> tf.Tensor:
        value = trained[term.name]
        if term.weight is None:
            return value
        return value * keras.ops.convert_to_tensor(term.weight, dtype=value.dtype)

    return [
        term._replace(weight=weight(term)) if term.name in trained else term for term in terms
    ]
