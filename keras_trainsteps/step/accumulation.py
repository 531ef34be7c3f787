"""Gradients of several steps, summed up before one update: `compile(accumulate_steps=...)`.

The loss of a batch is a sum of quotients, each a total over a count. The loss of a group of
batches is that of the same quotients with totals and counts summed up first. What later batches
will count is not known, so the gradients of totals are kept apart for each count, and divided
at the update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step.objective import Pairs
from keras_trainsteps.step.terms import StepTerm
from keras_trainsteps.step.total import Losses, added_up, weighed


class Quotient(NamedTuple):
    """A part of the loss of a batch that has one count.

    Attributes:
        terms: The names of its terms; none for regularization alone.
        value: Its total over its count, in one batch.
        count: The count; `None` where it is not asked for.
        weight: The variable that its terms are weighed by at the update. The value has all
            other weights in it.
        is_by_rows: Whether its count are the rows.
    """

    terms: tuple[str, ...]
    value: tf.Tensor
    count: Any = None
    weight: keras.Variable | tf.Variable | None = None
    is_by_rows: bool = True


def quotients_of(losses: Losses) -> list[Quotient]:
    """The loss of a batch, in one part for each count, and for each weight that varies.

    What epochs average by rows is one, with the regularization.
    """
    if not losses.terms and not losses.regularization:  # what a `compute_loss` of the user gives
        return [Quotient((losses.name,), losses.loss, losses.rows)]
    by_rows: tuple[Any, Any] = (None, None)
    alike: dict[tuple[Any, Any], list[StepTerm]] = {by_rows: []} if losses.regularization else {}
    for term in losses.terms:
        varies = isinstance(term.weight, keras.Variable | tf.Variable)
        count = None if term.by_rows else id(term.term.count)
        alike.setdefault((count, id(term.weight) if varies else None), []).append(term)
    found = []
    for (count, weight), terms in alike.items():
        values = [t.value if weight is not None else weighed(t, t.value) for t in terms]
        regularization = losses.regularization if (count, weight) == by_rows else []
        found.append(
            Quotient(
                tuple(term.name for term in terms),
                added_up(values, regularization),
                losses.rows if count is None else tf.convert_to_tensor(terms[0].term.count),
                None if weight is None else terms[0].weight,
                is_by_rows=count is None,
            )
        )
    return found


def require_constant_counts(
    gradient: Callable[..., Any], quotients: Iterable[Quotient], weights: Sequence[keras.Variable]
) -> None:
    """Refuses counts that training changes: their gradients would have to be kept, too."""
    for quotient in quotients:
        if quotient.is_by_rows or not quotient.count.dtype.is_floating:
            continue
        found = gradient(quotient.count, weights)
        if any(gradient is not None for gradient in found):
            raise ValueError(
                "The `count` of a `LossTerm` must not depend on what is trained where gradients "
                f"of several steps are accumulated. Received: that of {list(quotient.terms)}. "
                "Put it through `keras.ops.stop_gradient`, or compile with "
                "`accumulate_steps=1`."
            )


class Accumulation:
    """The gradients of the steps of a group, until they are applied.

    State of a training beside weights and optimizers: a group may be left open.

    Args:
        steps: The number of steps of a group.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._parts: dict[str, _Sums] = {}
        self._done: keras.Variable = compat.created_outside(lambda: _zeros((), "int64"))

    @property
    def steps_done(self) -> int:
        """The steps of the group that is open; 0 for none. Not within a step."""
        return int(self._done.numpy())

    @property
    def variables(self) -> dict[str, keras.Variable]:
        """What it remembers, by name."""
        of_parts = {
            f"{part}/{name}": variable
            for part, sums in self._parts.items()
            for name, variable in sums.variables.items()
        }
        return {"steps": self._done, **of_parts}

    def add(
        self,
        part: str,
        quotients: Sequence[Quotient],
        gradients: Sequence[Sequence[Any]],
        weights: Sequence[keras.Variable],
    ) -> None:
        """Adds the gradients of a batch.

        Args:
            part: The name of what one optimizer trains.
            quotients: The parts of its loss.
            gradients: Those of the values of each of them, by each weight, or `None`.
            weights: What is trained.

        Raises:
            ValueError: For another structure than that of earlier steps.
        """
        if part not in self._parts:
            self._parts[part] = _Sums(quotients, weights)
        sums = self._parts[part]
        sums.prepare(quotients, gradients, weights)
        sums.add(quotients, gradients, weights)

    def pairs(self, part: str) -> Pairs:
        """The gradients of the loss of the group, with the weights of a part."""
        return self._parts[part].pairs() if part in self._parts else []

    def end_step(self, update: Callable[[], None]) -> None:
        """Counts a step; after the last one of a group, updates and begins the next group."""
        self._done.assign_add(1)

        def run() -> tf.Tensor:
            update()
            self.begin()
            return tf.constant(True)

        tf.cond(tf.convert_to_tensor(self._done) >= self.steps, run, lambda: tf.constant(False))

    def begin(self) -> None:
        """Begins a group."""
        for variable in self.variables.values():
            variable.assign(tf.zeros(variable.shape, variable.dtype))


class _Sums:
    """What one part sums up: the counts of quotients, and the gradients of their totals."""

    def __init__(self, quotients: Sequence[Quotient], weights: Sequence[keras.Variable]) -> None:
        self.terms = [quotient.terms for quotient in quotients]
        self.factors = [quotient.weight for quotient in quotients]
        self.weights = list(weights)
        self.counts = compat.created_outside(lambda: _zeros((len(quotients),), "float64"))
        self.gradients: list[dict[int, keras.Variable]] = [{} for _ in quotients]

    @property
    def variables(self) -> dict[str, keras.Variable]:
        of_weights = {
            f"{number}/{index}": found[id(weight)]
            for number, found in enumerate(self.gradients)
            for index, weight in enumerate(self.weights)
            if id(weight) in found
        }
        return {"counts": self.counts, **of_weights}

    def prepare(
        self,
        quotients: Sequence[Quotient],
        gradients: Sequence[Sequence[Any]],
        weights: Sequence[keras.Variable],
    ) -> None:
        """Makes the sums that are missing: of what has a gradient for the first time."""
        terms = [quotient.terms for quotient in quotients]
        if terms != self.terms:
            raise ValueError(
                "Terms must share their counts in all steps of a group as in the first. "
                f"Received: {terms} after {self.terms}. Compile again, or with "
                "`accumulate_steps=1`."
            )
        missing = [
            (number, weight)
            for number, (found, of_quotient) in enumerate(
                zip(self.gradients, gradients, strict=True)
            )
            for weight, gradient in zip(weights, of_quotient, strict=True)
            if gradient is not None and id(weight) not in found
        ]
        if not missing:
            return
        if any(self.gradients) and not tf.executing_eagerly():
            # Updates that are traced already would leave it out.
            number, weight = missing[0]
            raise ValueError(
                "Weights must have a gradient of the same terms in all steps, from the first "
                f"one on, where gradients are accumulated. Received: one of {terms[number]} "
                f"with {weight.path!r}, which had none before. Add `0.0 * "
                "keras.ops.sum(weight)` to such a term, or compile with `run_eagerly=True`."
            )
        overwritten = [w.path for _, w in missing if w.overwrite_with_gradient]
        if overwritten:
            raise ValueError(
                "Weights must be trained by sums of gradients where gradients are accumulated. "
                f"Received: {overwritten} of float8 layers, which Keras overwrites by what it "
                "calls their gradient. Compile with `accumulate_steps=1`."
            )
        known = {id(weight) for weight in self.weights}
        self.weights += [weight for weight in weights if id(weight) not in known]
        made = compat.created_outside(lambda: [_sum_for(weight) for _, weight in missing])
        for (number, weight), variable in zip(missing, made, strict=True):
            self.gradients[number][id(weight)] = variable

    def add(
        self,
        quotients: Sequence[Quotient],
        gradients: Sequence[Sequence[Any]],
        weights: Sequence[keras.Variable],
    ) -> None:
        """Adds the counts of a batch, and the gradients of its totals: count times value."""
        self.counts.assign_add(tf.stack([tf.cast(q.count, tf.float64) for q in quotients]))
        for quotient, found, of_quotient in zip(
            quotients, self.gradients, gradients, strict=True
        ):
            for weight, gradient in zip(weights, of_quotient, strict=True):
                if gradient is not None:
                    _add_times(found[id(weight)], gradient, quotient.count)

    def pairs(self) -> Pairs:
        """Weight by weight, the sum of weighted totals over counts; `None` without a gradient."""
        factors = [1.0 if f is None else _as_double(f) for f in self.factors]
        counts = tf.unstack(tf.convert_to_tensor(self.counts), num=len(factors))
        shares = [
            tf.math.divide_no_nan(tf.cast(factor, tf.float64), count)
            for factor, count in zip(factors, counts, strict=True)
        ]
        return [(self._gradient(weight, shares), weight) for weight in self.weights]

    def _gradient(self, weight: keras.Variable, shares: Iterable[tf.Tensor]) -> tf.Tensor | None:
        found = [
            tf.cast(share, of_weights[id(weight)].dtype)
            * tf.convert_to_tensor(of_weights[id(weight)])
            for share, of_weights in zip(shares, self.gradients, strict=True)
            if id(weight) in of_weights
        ]
        return tf.cast(tf.add_n(found), weight.dtype) if found else None


def _zeros(shape: tuple[int, ...], dtype: str) -> keras.Variable:
    return keras.Variable(tf.zeros(shape, dtype), dtype=dtype, trainable=False)


def _sum_for(weight: keras.Variable) -> keras.Variable:
    """A sum of gradients with a weight, never narrower than float32."""
    dtype = tf.as_dtype(weight.dtype)
    return _zeros(tuple(weight.shape), dtype.name if dtype.size >= 4 else "float32")


def _add_times(total: keras.Variable, gradient: Any, count: Any) -> None:
    """Adds a gradient times a count; that of an embedding is of some rows."""
    factor = tf.cast(count, total.dtype)
    if isinstance(gradient, tf.IndexedSlices):
        values = tf.cast(gradient.values, total.dtype) * factor
        total.value.scatter_add(tf.IndexedSlices(values, gradient.indices))
    else:
        total.value.assign_add(tf.cast(gradient, total.dtype) * factor)


def _as_double(weight: Any) -> tf.Tensor:
    return keras.ops.convert_to_tensor(weight, dtype="float64")
