"""From the losses of batches to what is logged for an epoch."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping, Sequence, Set
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import replicas
from keras_trainsteps.step import names, running
from keras_trainsteps.step.compilations import Compilations
from keras_trainsteps.step.query_cuts import QueryCuts
from keras_trainsteps.step.total import Losses
from keras_trainsteps.step.trackers import TermTracker, TotalLoss, new_trackers, track


class Log:
    """The trackers of one `compile`, and which names each kind of step logs.

    A plain object: Keras neither saves it nor takes its trackers for model state.

    Args:
        totals: What sums of terms are logged as: `loss`, or the names of objectives.
        conditional: Those of them that some epochs may have nothing of.
        of_terms: Whether they are sums of their terms alone, and not means as Keras's.

    Attributes:
        taken: The names that no term may have.
        own: The trackers of terms with a denominator of their own.
        totals: The tracker of the loss, or one for each objective, by name.
        trackers: The other trackers, by name.
        weights: The loss weight of each term, by name.
        training: Whether the step that ran last trains.
        epoch_runs: Whether a step has run since the last look at the end of an epoch.
        fitting: Whether `fit` runs.
        updated_by_hand: The metrics that each step of a subclass has updated so far.
        not_updated: Names of metrics of the model that each kind of step, training or not,
            leaves alone.
        cuts: The queries that batches cut.
        compilations: How often XLA compiles a step.
        trains_own_loss: Whether a `train_step` of a subclass trains on a loss of its own.
        loss_is_users: Whether a subclass logs what its `compute_loss` gives by a metric of its
            own, named `loss`.
    """

    def __init__(
        self,
        totals: Sequence[str] = ("loss",),
        conditional: Set[str] = frozenset(),
        *,
        of_terms: bool = False,
    ) -> None:
        self.taken: Set[str] = names.RESERVED | names.of_parts(totals)
        self.trackers: dict[str, TermTracker] = {}
        self.own: list[TermTracker] = []
        self.totals = {name: TotalLoss(self, name, of_terms=of_terms) for name in totals}
        self.weights: dict[str, Any] = {}
        self.training = True
        self.epoch_runs = False
        self.fitting = False
        self.trains_own_loss = False
        self.loss_is_users = False
        self.updated_by_hand: dict[str, set[str]] = {}
        self.not_updated: dict[bool, set[str]] = {}
        self.cuts = QueryCuts()
        self.compilations = Compilations()
        self._hidden: set[str] = set()
        self._conditional = conditional
        self._parts: dict[str, set[str]] = {}
        self._names: dict[tuple[bool, str], tuple[str, ...]] = {}
        self._warned: set[str] = set()
        self._entered: set[bool] = set()

    @property
    def loss(self) -> TotalLoss:
        """The tracker of the loss; of several objectives, that of the first."""
        return next(iter(self.totals.values()))

    def track(self, losses: Sequence[Losses], training: bool) -> None:
        """Enters the losses of a batch: of the parts of one objective."""
        self.declare(losses, training)
        self._entered.add(training)
        for each in losses:
            track(each, self.totals[each.name], self.trackers)
            if each.name in self._conditional:
                self.totals[each.name].note(each.rows)

    def reset(self) -> None:
        """Forgets what is remembered of the epoch beside the trackers."""
        self.cuts.reset()
        self.compilations.reset()

    @property
    def remembered(self) -> list[keras.Variable]:
        """What is remembered of the epoch beside the trackers. No checkpoint needs it."""
        return [*self.cuts.variables, *self.compilations.variables]

    def watch(self, step: running.Running) -> None:
        """Takes in the queries of a batch that its losses have grouped rows by."""
        self.cuts.see(step)

    def declare(self, losses: Sequence[Losses], training: bool) -> None:
        """Creates the trackers of an objective's terms; the names must stay the same.

        Raises:
            ValueError: For names that are taken, or that an earlier step did not have.
        """
        own = losses[0].name
        taken = self.taken | self._names_of(training, beside=own)
        logged: list[str] = []
        for each in losses:
            shown = each if len(losses) == 1 else each._replace(terms=each.tracked)
            names.require_distinct(shown, taken | set(logged))
            logged += [term.name for term in each.tracked]
            logged += [names.regularization_of(each.name)] if each.regularization else []
            logged += each.metrics
        known = self._names.get((training, own))
        if known is not None and set(known) != set(logged):
            raise ValueError(
                "`compute_losses` must return the same names in every step. Received: "
                f"{sorted(logged)} after {sorted(known)}. Return a term that does not "
                "apply as `LossTerm(0.0, 0.0)`, or compile again."
            )
        self._names[training, own] = tuple(logged)
        self._parts |= {each.name: set(logged) for each in losses}
        terms = {term.name: term for each in losses for term in each.tracked}
        new = {name: terms.get(name) for name in logged if name not in self.trackers}
        if new:
            self.trackers |= new_trackers(new)
            self.own += [self.trackers[name] for name in new if self.trackers[name].is_own]
        for name, term in terms.items():
            self.trackers[name].weight = None if self.trackers[name].varies else term.weight
        for each in losses:
            total = self.totals[each.name]
            added = [t.name for t in each.terms]
            added += [names.regularization_of(each.name)] if each.regularization else []
            trackers = [self.trackers[name] for name in added if name in self.trackers]
            total.own_terms += [
                t for t in trackers if (t.is_own or total.of_terms) and t not in total.own_terms
            ]
        parts = {names.weighted(name) for name in terms if self.trackers[name].varies}
        names.require_parts_free(parts, taken | set(logged))
        if losses[0].is_single:
            self._hidden |= set(terms)
        self.weights.update({name: term.weight for name, term in terms.items()})

    def forget(self, training: bool) -> None:
        """Drops the names of a kind of step, and their trackers, after a step that failed."""
        kept = self._names_of(not training)
        for name in self._names_of(training) - kept:
            tracker = self.trackers.pop(name)
            self.weights.pop(name, None)
            if tracker.is_own:
                self.own.remove(tracker)
            for total in self.totals.values():
                total.own_terms[:] = [each for each in total.own_terms if each is not tracker]
        self._names = {key: each for key, each in self._names.items() if key[0] != training}

    def _names_of(self, training: bool, beside: str | None = None) -> set[str]:
        """What a kind of step logs, of all objectives or of those beside one."""
        of_kind = {own: each for (kind, own), each in self._names.items() if kind == training}
        return {name for own, each in of_kind.items() if own != beside for name in each}

    def require_loss_updated(self, training: bool) -> None:
        """Refuses a metric of the user that logs the loss, and that no step updates."""
        if self.loss_is_users and self.loss.name in self.not_updated[training]:
            raise TypeError(
                "`compute_loss` must update the metric of the model that logs the loss. "
                "Received: one named 'loss', not updated, which would be logged as 0. Call its "
                "`update_state(loss)` there, or delete it: the loss is logged without it."
            )

    def of_all_replicas(
        self, variables: Sequence[keras.Variable]
    ) -> contextlib.AbstractContextManager[None]:
        """Inside a replica, lets the state of metrics read as that of all replicas together."""
        return replicas.summed([v for v in variables if v.aggregation == "sum"])

    def logged(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """What of the results of metrics is logged, and the weighted parts of the loss."""
        if running.current(self) is None and tf.executing_eagerly():
            self.end_epoch()
        unlogged = self.unlogged
        # Also where a metric of the user has its name, unless it logs what `compute_loss` gives.
        if self.training in self._entered and not (self.loss_is_users or self.loss.of_terms):
            results = {**results, self.loss.name: self.loss.result()}
        parts = {
            names.weighted(name): tracker.weighted_result()
            for name, tracker in self.trackers.items()
            if tracker.varies and name not in unlogged
        }
        results = self._without_idle({**results, **parts})
        return {n: value for n, value in results.items() if n not in unlogged}

    def _without_idle(self, results: dict[str, Any]) -> dict[str, Any]:
        """Results with NaN for those of objectives that no step has pursued so far."""
        for part in self._conditional if self.training else ():
            ran = tf.convert_to_tensor(self.totals[part].count) > 0
            for name in {part, *self._parts.get(part, ())} & set(results):
                nothing = tf.constant(float("nan"), results[name].dtype)
                results[name] = tf.where(ran, results[name], nothing)
        return results

    @property
    def unlogged(self) -> set[str]:
        """Names that this kind of step does not log: hidden, or not of this kind."""
        of_other_kind = set(self.trackers) - self._names_of(self.training)
        return self._hidden | of_other_kind | self.not_updated.get(self.training, set())

    @property
    def logged_weights(self) -> dict[str, Any]:
        """The loss weights of the terms that are logged by name."""
        return {name: each for name, each in self.weights.items() if name not in self._hidden}

    def end_epoch(self) -> None:
        """Warns once of each term that had nothing to count in the epoch that ends.

        Raises:
            ValueError: In `fit`, for a term that compares rows of a query, where every
                query of the epoch had one row.
        """
        if not self.epoch_runs:
            return
        self.epoch_runs = False
        self.cuts.end_epoch(self.training)
        self.compilations.end_epoch(self.training)
        idle = [part for part in self._conditional if float(self.totals[part].count.numpy()) == 0]
        spoken_of = self._names_of(self.training).difference(
            *(self._parts.get(part, ()) for part in idle)
        )
        for tracker in self.own:
            if tracker.name not in spoken_of:
                continue
            if self.fitting and self.training and tracker.has_lone_rows_only:
                raise ValueError(
                    f"Loss term {tracker.name!r} compares the rows of a query. Received: an "
                    "epoch in which every query had one row, so that nothing was learned. "
                    "`query_ids` must be the same for the rows of a query."
                )
            if tracker.name not in self._warned and float(tracker.count.numpy()) == 0.0:
                self._warned.add(tracker.name)
                warnings.warn(
                    f"Loss term {tracker.name!r} had nothing to count in the whole "
                    "epoch: no pair, token or triplet. It is logged as 0 and trained "
                    "nothing. Do batches hold whole queries (`data.query_batches`), "
                    "with labels that differ?",
                    stacklevel=4,
                )
