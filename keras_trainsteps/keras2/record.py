"""What a `train_step` or `test_step` that a subclass wrote itself has done so far."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import replicas

REPLACEMENT = """Delete `{step}` and return the loss from the hook, which is trained on, logged and evaluated:

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        return {{"my_loss": ...}}
"""  # noqa: E501

_thread = threading.local()  # replicas run in threads of their own


class StepRecord:
    """What a step of a subclass has done so far.

    Attributes:
        rows: The rows of its batch.
        used: What of the library it called: "step", "loss", "scale_loss", "apply".
        log: The log of the model whose step it is.
        counted: Names of terms in its loss that epochs do not average by rows.
    """

    def __init__(self, model: Any, rows: tf.Tensor) -> None:
        self.rows = rows
        self.used: set[str] = set()
        self.counted: list[str] = []
        self.log = model._term_log
        self._model = model
        self._known = list(model.metrics)
        self._updated: set[int] = set()
        self._results: dict[int, tuple[Any, keras.metrics.Metric | None]] = {}

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """Notes which metrics are updated and what their results are; weighs `Mean` by rows."""
        if replicas.num_replicas() > 1:  # only a step that calls that of the library is allowed
            yield
            return
        with contextlib.ExitStack() as stack:
            of_layers = {id(m) for layer in self._model.layers for m in layer.metrics}
            for metric in self._known:
                if type(metric) is keras.metrics.Mean and id(metric) not in of_layers:
                    stack.enter_context(replaced(metric, "update_state", self._by_rows(metric)))
                for name in ("update_state", "track"):
                    stack.enter_context(_followed(metric, name, self._update_of(metric)))
                stack.enter_context(_followed(metric, "result", self._result_of(metric)))
            logged = self._result_of(None)  # what the model itself logs beside its metrics
            stack.enter_context(_followed(self._model, "get_metrics_result", logged))
            stack.enter_context(_followed(self._model, "compute_loss", self._use_of("loss")))
            for name in ("scale_loss", "apply"):
                stack.enter_context(_followed(self._model.optimizer, name, self._use_of(name)))
            yield

    def use(self, what: str) -> None:
        """Notes what of the library was called."""
        self.used.add(what)

    def require_results(self, step: str, returned: Any) -> dict[str, Any]:
        """What the step returned, flat, without what it does not log.

        Raises:
            TypeError: For values that are no results of metrics which the step updated.
        """
        if not isinstance(returned, Mapping):
            raise TypeError(
                f"`{step}` must return a dict of results of metrics. Received: "
                f"{type(returned).__name__}. {REPLACEMENT.format(step=step)}"
            )
        flat: dict[str, Any] = {}
        for name, value in returned.items():
            flat.update(value if isinstance(value, Mapping) else {name: value})
        flat = {name: value for name, value in flat.items() if name not in self.log.unlogged}
        for name, value in flat.items():
            self._require_result(step, name, value)
        return flat

    def _require_result(self, step: str, name: str, value: Any) -> None:
        if replicas.num_replicas() > 1 or isinstance(value, keras.Variable | tf.Variable):
            return
        created = [metric for metric in self._model.metrics if metric not in self._known]
        if name in {metric.name for metric in created}:
            return
        if id(value) not in self._results:
            raise TypeError(
                f"`{step}` must return results of the metrics in `metrics`, which are kept "
                f"over an epoch. Received: under {name!r} a value of one batch, for which "
                "Keras would log 0 or the last batch. "
                f"{REPLACEMENT.format(step=step)}\n"
                "Or update a metric in `metrics` and return its `result()`."
            )
        _, metric = self._results[id(value)]
        if metric is not None and id(metric) not in self._updated:
            raise TypeError(
                f"`{step}` must update every metric whose result it returns. Received: "
                f"{name!r}, not updated, which would be logged as 0. "
                f"{REPLACEMENT.format(step=step)}\n"
                f"Or call `update_state`, or leave {name!r} out of what `{step}` returns."
            )

    def _by_rows(self, mean: keras.metrics.Mean) -> Callable[..., None]:
        update_state = mean.update_state

        def update(values: Any, sample_weight: Any = None) -> None:
            values = tf.convert_to_tensor(values)
            if sample_weight is None and values.shape.rank == 0:
                sample_weight = self.rows
            update_state(values, sample_weight=sample_weight)

        return update

    def _use_of(self, what: str) -> Callable[[Any], None]:
        return lambda _: self.use(what)

    def _update_of(self, metric: keras.metrics.Metric) -> Callable[[Any], None]:
        return lambda _: self._updated.add(id(metric))

    def _result_of(self, metric: keras.metrics.Metric | None) -> Callable[[Any], None]:
        def note(result: Any) -> None:
            for leaf in keras.tree.flatten(result):  # kept alive, so that ids stay unique
                self._results.setdefault(id(leaf), (leaf, metric))

        return note


def running(log: Any) -> StepRecord | None:
    """The step that a subclass wrote and that runs now, of the model of this log."""
    step: StepRecord | None = getattr(_thread, "step", None)
    return step if step is not None and step.log is log else None


def note_use(model: Any, what: str, counted: Sequence[str] = ()) -> None:
    """Tells a running step of a subclass what of the library it has called."""
    step = running(model._term_log)
    if step is not None:
        step.use(what)
        step.counted += counted


@contextlib.contextmanager
def as_running(step: StepRecord) -> Iterator[None]:
    """Makes `step` the one that `running` finds."""
    before = getattr(_thread, "step", None)
    _thread.step = step
    try:
        yield
    finally:
        _thread.step = before


@contextlib.contextmanager
def _followed(owner: Any, name: str, note: Callable[[Any], None]) -> Iterator[None]:
    """Calls `note` with what the method `name` of `owner` returns, whenever it is called."""
    method = getattr(owner, name, None)
    if method is None:
        yield
        return

    @functools.wraps(method)
    def follow(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        note(result)
        return result

    with replaced(owner, name, follow):
        yield


@contextlib.contextmanager
def replaced(owner: Any, name: str, function: Any) -> Iterator[None]:
    """Puts `function` in the place of a method of this one object."""
    before = owner.__dict__.get(name)
    owner.__dict__[name] = function
    try:
        yield
    finally:
        del owner.__dict__[name]
        if before is not None:
            owner.__dict__[name] = before
