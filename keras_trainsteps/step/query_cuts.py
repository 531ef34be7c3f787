"""Warnings of queries whose rows come in different batches, where no loss sees their pairs."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.query_watch import REMEMBERED, QueryWatch
from keras_trainsteps.step.running import QueryRows, Running
from keras_trainsteps.step.whole_queries import Arrays

_LOST = {True: ("fit", "trained on"), False: ("evaluate", "counted")}


class QueryCuts:
    """The queries of losses that the batches of an epoch cut.

    Arrays are looked at as soon as the names of the ids are known: before the first step for
    those of `compile`, after it for those that `compute_losses` passes to a loss. Other data
    are watched in the step, with a state of a few bytes for each entry of ids, and spoken of
    at the end of the epoch. A run of `fit` or `evaluate` speaks of each name once.
    """

    def __init__(self) -> None:
        self._watched: dict[tuple[str | None, int], _Watched] = {}
        self._arrays = Arrays(None)
        self._looked_at: dict[str, bool] = {}
        self._said: set[tuple[bool, str | None]] = set()

    @contextlib.contextmanager
    def of_run(
        self, arrays: Arrays, names: Iterable[str], *, training: bool, inner: bool
    ) -> Iterator[None]:
        """While `fit` or `evaluate` runs.

        Args:
            arrays: What it puts into batches.
            names: The entries of ids that are known beforehand.
            training: Whether it trains.
            inner: Whether it runs within `fit`.
        """
        before = self._arrays, self._looked_at
        self._arrays, self._looked_at = arrays, {}
        if not inner:
            self._said = set()
        try:
            self.look(training, names)
            yield
        finally:
            self._arrays, self._looked_at = before

    def look(self, training: bool, names: Iterable[str] = ()) -> None:
        """Looks at arrays for the entries of ids that have become known."""
        known = {*names, *(name for name, _ in self._watched if name is not None)}
        for name in sorted(known - set(self._looked_at)):
            found = self._arrays.cut(name)
            self._looked_at[name] = found is not None
            cut, queries = found or (0, 0)
            if cut:
                caller, lost = _LOST[training]
                self._say(
                    training,
                    name,
                    f"{cut} of {queries} queries of `{name}` have rows that `{caller}` puts "
                    f"into different batches: pairs between these are not {lost}. Pass "
                    "`data.query_batches` instead.",
                )

    def declare(self, step: Running) -> list[tuple[_Watched, QueryRows]]:
        """Makes the state for what the losses of a step group rows by.

        Ids that are not made of `x` or `y` are left out: those of a batch alone, as zeros
        for all of its rows, are the same in every batch.
        """
        leaves = [leaf for leaf in keras.tree.flatten((step.x, step.y)) if tf.is_tensor(leaf)]
        seen = [
            (_name_in(step.x, one.query_ids), one.rows)
            for one in step.queries
            if compat.values_flow(leaves, one.query_ids)
        ]
        names = [name for name, _ in seen]
        keys = [(name, names[:place].count(name)) for place, name in enumerate(names)]
        new = [key for key in keys if key not in self._watched]
        if new:
            self._watched |= compat.created_outside(lambda: {key: _Watched() for key in new})
        return [(self._watched[key], rows) for key, (_, rows) in zip(keys, seen, strict=True)]

    def see(self, step: Running) -> None:
        """Takes in the batch of a step, within it."""
        for watched, rows in self.declare(step):
            watched.see(rows, begin_again=step.begin_again)

    def end_epoch(self, training: bool) -> None:
        """Warns of the queries that came back."""
        for (name, _), watched in self._watched.items():
            if name is not None and self._looked_at.get(name, False):
                continue
            batches = int(watched.batches.numpy())
            if batches:
                ids = "`query_ids` of a loss" if name is None else f"`{name}`"
                self._say(
                    training,
                    name,
                    f"At least {batches} batches of the epoch had rows of queries of {ids} that "
                    "an earlier batch had begun: pairs of rows in different batches are not "
                    f"{_LOST[training][1]}. Pass `data.query_batches` instead.",
                )

    def reset(self) -> None:
        """Forgets the epoch."""
        for watched in self._watched.values():
            watched.reset()

    @property
    def variables(self) -> list[keras.Variable]:
        """What is remembered of the epoch. No checkpoint needs it."""
        return [variable for one in self._watched.values() for variable in one.variables]

    def _say(self, training: bool, name: str | None, text: str) -> None:
        if (training, name) not in self._said:
            self._said.add((training, name))
            warnings.warn(text, stacklevel=4)


class _Watched:
    """How many batches hold a query of an earlier one, by one entry of ids."""

    def __init__(self) -> None:
        self.variables: list[keras.Variable] = []
        self.watch = QueryWatch(self._add_variable)
        self.batches = self._add_variable((), "zeros", name="batches", **_OF_ALL)

    def see(self, rows: QueryRows, *, begin_again: bool) -> None:
        seen = self.watch.look(rows, begin_again=begin_again)
        self.batches.assign_add(tf.cast(seen.again, tf.int64))
        self.watch.remember(seen)

    def reset(self) -> None:
        self.watch.last.assign(np.zeros(REMEMBERED, "int64"))  # the labels are read with these
        self.batches.assign(0)

    def _add_variable(self, shape: Any, initializer: str, **options: Any) -> keras.Variable:
        variable = keras.Variable(initializer, shape=shape, trainable=False, **options)
        self.variables.append(variable)
        return variable


_OF_ALL = {"dtype": "int64", "aggregation": "only_first_replica"}


def _name_in(x: Any, query_ids: Any) -> str | None:
    """The name of the entry of `x` that these ids are."""
    if not isinstance(x, Mapping):
        return None
    return next((name for name, value in x.items() if value is query_ids), None)
