"""The methods that users call, and what is checked and prepared before Keras takes over."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step import batch as batches
from keras_trainsteps.step.log import TermLog


class EntryPoints(keras.Model):
    """`keras.Model` whose `fit`, `evaluate` and the others check their input first."""

    train_function: Any
    test_function: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._term_log = TermLog()
        self._query_ids: set[str] = set()
        self._whole_queries: list[tuple[str, str | None]] = []
        self._lengths_known = True

    def make_train_function(self, force: bool = False) -> Any:
        """Creates the function that `fit` runs."""
        if self.train_function is None or force:
            self._require_supported_strategy()
            super().make_train_function(force)
            self.train_function = self._checked(self.train_function, training=True)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        """Creates the function that `evaluate` runs."""
        if self.test_function is None or force:
            self._require_supported_strategy()
            super().make_test_function(force)
            self.test_function = self._checked(self.test_function, training=False)
        return self.test_function

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """As `keras.Model.fit`."""
        batches.require_batch_size(batch_size)
        batches.require_targets_of_weights(y, kwargs.get("sample_weight"))
        if isinstance(x, tf.data.Dataset) and len(args) < 6:
            kwargs.setdefault("shuffle", False)  # Keras warns of its own default
        if "validation_data" in kwargs:
            kwargs["validation_data"] = compat.readable(kwargs["validation_data"])
        shuffle = bool(kwargs.get("shuffle", True))
        batches.require_whole_queries(self._whole_queries, x, batch_size, shuffle)
        held_out = kwargs.get("validation_data")
        if isinstance(held_out, (tuple, list)):
            size = kwargs.get("validation_batch_size") or batch_size
            batches.require_whole_queries(self._whole_queries, held_out[0], size, False)
        if isinstance(x, Mapping):
            for name in self._query_ids & set(x):
                batches.warn_of_cut_queries(name, x[name], batch_size or 32, shuffle)
        self._guard_against_phantom_steps(x)
        self._term_log.fitting = True
        try:
            return super().fit(compat.readable(x), y, batch_size, *args, **kwargs)
        finally:
            self._term_log.fitting = False

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """As `keras.Model.evaluate`; called within `fit`, the epoch's metrics go on after it."""
        batches.require_batch_size(batch_size)
        batches.require_targets_of_weights(y, kwargs.get("sample_weight"))
        batches.require_whole_queries(self._whole_queries, x, batch_size, False)
        self._guard_against_phantom_steps(x)
        with self._metrics_kept(unless="_use_cached_eval_dataset" in kwargs):
            return super().evaluate(compat.readable(x), y, batch_size, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.predict`; side inputs may be there and are not read."""
        return super().predict(compat.readable(x), *args, **kwargs)

    def train_on_batch(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.train_on_batch`; arrays are read as in `fit`."""
        with self._metrics_kept():
            return super().train_on_batch(
                *compat.as_in_fit((x, *args)), **compat.as_in_fit(kwargs)
            )

    def test_on_batch(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.test_on_batch`; arrays are read as in `fit`."""
        with self._metrics_kept():
            return super().test_on_batch(
                *compat.as_in_fit((x, *args)), **compat.as_in_fit(kwargs)
            )

    def _guard_against_phantom_steps(self, x: Any) -> None:
        """Traces steps anew, each held back until its batch is there, once that is needed."""
        if self._lengths_known and not compat.length_is_known(x):
            self._lengths_known = False
            self.train_function = self.test_function = None

    def _checked(self, function: Callable[[Any], Any], *, training: bool) -> Callable[[Any], Any]:
        """`function`, with failed checks of values raised as `ValueError`."""

        def run(iterator: Any) -> Any:
            self._term_log.training = training
            self._term_log.epoch_runs = True
            try:
                return function(iterator)
            except tf.errors.InvalidArgumentError as error:
                refused = batches.as_value_error(error)
                if refused is None:
                    raise
                raise refused from error

        return run

    @contextlib.contextmanager
    def _metrics_kept(self, unless: bool = False) -> Iterator[None]:
        """Within `fit`, puts the running metrics of the epoch back afterwards."""
        log = self._term_log
        if unless or not log.fitting:
            yield
            return
        state = [(variable, variable.numpy()) for variable in self.metrics_variables]
        training, epoch_runs = log.training, log.epoch_runs
        try:
            yield
        finally:
            for variable in self.metrics_variables:
                variable.assign(tf.zeros(variable.shape, variable.dtype))
            for variable, value in state:
                variable.assign(value)
            log.training, log.epoch_runs = training, epoch_runs

    def _require_supported_strategy(self) -> None:
        if self.distribute_strategy.num_replicas_in_sync > 1 and self.steps_per_execution > 1:
            raise ValueError(
                "`steps_per_execution` must be 1 with several replicas: Keras fails on "
                f"more (seen in 3.15.1). Received: {self.steps_per_execution}. "
                "Compile with `steps_per_execution=1`."
            )
