"""What is checked and prepared before Keras takes over, and what surrounds a run of steps."""

from __future__ import annotations

import contextlib
import inspect
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.step import checks, whole_queries
from keras_trainsteps.step.compiled import CompiledLosses
from keras_trainsteps.step.log import Log
from keras_trainsteps.step.plan import Plan
from keras_trainsteps.step.trained import trained_weights
from keras_trainsteps.step.whole_queries import Arrays


def require_batch_size(batch_size: Any) -> None:
    """Refuses a batch size below 1, for which Keras takes its default or worse."""
    if batch_size is not None and batch_size < 1:
        raise ValueError(
            f"`batch_size` must be an integer of at least 1, or `None` for 32. "
            f"Received: {batch_size!r}."
        )


def require_targets_of_weights(y: Any, sample_weight: Any) -> None:
    """Refuses weights without targets, which Keras drops on the way to the step."""
    if sample_weight is not None and y is None:
        raise ValueError(
            "`sample_weight` weighs the loss of targets. Received: weights without `y`, which "
            "Keras would drop. Pass the weights as an entry of `x`, and name it in the loss."
        )


def require_supported_strategy(model: keras.Model) -> None:
    """Refuses what Keras fails on, or runs on one device, under a strategy (seen in 3.15.1)."""
    strategy = model.distribute_strategy
    current, own = tf.distribute.get_strategy(), compat.strategy_of(model)
    if tf.distribute.has_strategy() and current is not own:
        made = "outside of any" if own is None else "under another"
        raise ValueError(
            "A model must be made under the strategy that it is fitted under. Received: a model "
            f"made {made}, within the scope of a {type(current).__name__}. Make it and compile "
            "it in `with strategy.scope():` of that one, or call `fit` outside of the scope."
        )
    if strategy.num_replicas_in_sync == 1:
        return
    if model.steps_per_execution > 1:
        raise ValueError(
            "`steps_per_execution` must be 1 with several replicas: Keras fails on "
            f"more (seen in 3.15.1). Received: {model.steps_per_execution}. "
            "Compile with `steps_per_execution=1`."
        )
    if model.jit_compile is True:
        raise ValueError(
            "`jit_compile` must be `False` with several replicas: XLA cannot exchange numbers "
            "between them. Received: True. Compile with `jit_compile=False`."
        )


def build_optimizer(model: Any) -> None:
    """Makes the state of the optimizer before the first step is traced.

    A `tf.function` that creates variables is traced a second time.
    """
    optimizer = model.optimizer
    one_replica = model.distribute_strategy.num_replicas_in_sync == 1
    if one_replica and model.built and optimizer is not None and not optimizer.built:
        optimizer.build(trained_weights(model, model.trains))


def require_not_fitting(log: Log) -> None:
    """Refuses to add or remove terms while `fit` runs."""
    if log.fitting:
        raise ValueError(
            "Losses and metrics must be added and removed before or after `fit`. "
            "Received: a call while it runs. To switch a term during training, give it a "
            "`keras.Variable` in `loss_weights`."
        )


def as_metric_objects(metrics: Any) -> Any:
    """Metrics with an object for each class that is given, as Keras makes them."""
    return keras.tree.map_structure(
        lambda metric: metric() if inspect.isclass(metric) else metric, metrics
    )


def warn_of_unmasked(losses: Iterable[Any], metrics: Iterable[Any]) -> None:
    """Warns of metrics that count what the mask of the losses beside them leaves out."""
    losses = list(losses)
    for metric in metrics:
        kind = _masked_kind(metric)
        beside = [loss for loss in losses if kind is not None and _masked_kind(loss) == kind]
        if not beside or _mask_of(metric) or not all(map(_mask_of, beside)):
            continue
        given = ", ".join(f"{name}={value!r}" for name, value in _mask_of(beside[0]).items())
        warnings.warn(
            f"{metric!r} counts what {beside[0]!r} leaves out: the metric is of other "
            f"{kind} than the loss. Give it {given}, too; or, if that is meant, the name "
            "of an entry of `x` that is all ones.",
            stacklevel=3,
        )


def _no_plain_array(value: Any, *, text: bool, dense: bool) -> str | None:
    """What a value is, if it is no array of numbers (or strings) that Keras can read."""
    if value is None:
        return "None"
    if isinstance(value, (list, tuple)):
        leaves = keras.tree.flatten(value)
        is_plain = any(isinstance(leaf, (int, float, str, bytes)) for leaf in leaves)
        return f"a {type(value).__name__} of Python's own" if is_plain else None
    if isinstance(value, (tf.RaggedTensor, tf.SparseTensor)) or hasattr(value, "tocsr"):
        return f"a {type(value).__name__}" if dense else None
    array = value if isinstance(value, np.ndarray) else getattr(value, "values", None)
    if not isinstance(array, np.ndarray):
        return None
    if array.dtype.kind in ("mMSV" if text else "mMSVU"):
        return f"dtype {array.dtype}"
    if array.dtype.kind == "O":
        kinds = sorted({type(entry).__name__ for entry in array.flat} - {"str"})
        return f"an array of objects ({', '.join(kinds[:4])})" if kinds else None
    return None


def _compares_targets(reader: Any) -> bool:
    """Whether a loss or metric compares targets with each other: of a query, or by label."""
    by_label = "y_true" in getattr(reader, "reads", ())
    return hasattr(reader, "query_ids") or (by_label and reader.given["y_true"] is None)


def _masked_kind(reader: Any) -> str | None:
    """What the mask of a loss or metric leaves out."""
    if hasattr(reader, "pad_id"):
        return "tokens"
    return "rows" if hasattr(reader, "query_ids") else None


def _mask_of(reader: Any) -> dict[str, Any]:
    given = {name: getattr(reader, name, None) for name in ("mask", "pad_id")}
    return {name: value for name, value in given.items() if value is not None}


class QueryReaders:
    """The losses and metrics of `compile` that read query ids, to look at arrays for them.

    Args:
        losses: The compiled losses.
        metrics: The compiled metrics.
    """

    def __init__(self, losses: Iterable[Any] = (), metrics: Iterable[Any] = ()) -> None:
        metrics, losses = list(metrics), list(losses)
        self.compare_targets = any(map(_compares_targets, (*metrics, *losses)))
        self.of_losses = _names_of_ids(losses)
        self.query_ids = self.of_losses | _names_of_ids(metrics)
        self.whole = [
            (metric.query_ids, metric.mask)
            for metric in metrics
            if getattr(metric, "split_queries", None) == "error" and metric.query_ids is not None
        ]

    def require_readable(self, x: Any, y: Any, sample_weight: Any) -> None:
        """Refuses, by name, ids that are no array of integers or strings, and such targets.

        Keras, which reads them first, says of most that their dtype is invalid.
        """
        ids = sorted(self.query_ids & set(x)) if isinstance(x, Mapping) else []
        given = {f"Entry {name!r} of `x`": x[name] for name in ids}
        given |= {
            name: value
            for name, value in (("`y`", y), ("`sample_weight`", sample_weight))
            if value is not None and not isinstance(value, Mapping)
        }
        for name, value in given.items():
            are_ids = name.startswith("Entry")
            received = _no_plain_array(value, text=are_ids, dense=name != "`y`")
            if received is not None:
                of = "integers or strings" if are_ids else "numbers"
                raise TypeError(
                    f"{name} must be an array of {of}. Received: {received}. Pass e.g. "
                    "`np.asarray(values)`, `values.astype('int64')` or `values.toarray()`."
                )

    def require_exact(self, *targets: Any) -> None:
        """Refuses float64 arrays of targets to compare, of which Keras makes others in float32.

        It does so on the way in: `1700000000.0` and `1700000050.0` become the same number.
        """
        if not self.compare_targets or keras.config.floatx() == "float64":
            return
        for leaf in keras.tree.flatten(targets):
            values = leaf if isinstance(leaf, np.ndarray) else getattr(leaf, "values", None)
            if not isinstance(values, np.ndarray) or values.dtype != np.float64:
                continue
            large = values[np.abs(values) > 2**24]
            lost = large[np.isfinite(large) & (large.astype(np.float32) != large)]
            if lost.size:
                raise ValueError(
                    "`y` must hold labels that float32 tells apart: Keras makes it of float64 "
                    f"arrays, on the way in. Received: {float(lost[0])!r}, of which it makes "
                    f"{float(np.float32(lost[0]))!r}. Pass whole numbers as int64, subtract the "
                    "smallest label, or pass float32."
                )

    def require_whole(self, arrays: Arrays, validation_data: Any = None) -> None:
        """Refuses arrays whose batches would cut queries of which a metric is the mean."""
        whole_queries.require_whole_queries(self.whole, arrays)
        if isinstance(validation_data, (tuple, list)):
            size = arrays.validation_batch_size or arrays.batch_size
            whole_queries.require_whole_queries(self.whole, Arrays(validation_data[0], size))


def _names_of_ids(readers: Iterable[Any]) -> set[str]:
    found = (getattr(reader, "query_ids", None) for reader in readers)
    return {name for name in found if isinstance(name, str)}


class Training:
    """What a model knows of its training that Keras neither saves nor tracks.

    Attributes:
        losses: The losses of `compile`.
        metric_names: The names of the metrics of `compile`.
        metric_side_inputs: The side inputs that these read.
        side_inputs: Those of the metrics and the losses of `compile`.
        readers: What of `compile` reads query ids.
        log: Where the losses of batches are entered.
        plan: What is decided before the first batch, once it is.
        added: The layers of added terms, of the model and of those inside it.
        call_metrics: What `call` has passed to `add_metric` in its last forward pass.
        waits: The kinds of step, training or not, held back until their batch is there.
        begin_again: The kinds of step whose data may begin again within an epoch.
        thread: The thread that trains or evaluates now; `None` if none does.
        config_was_read: Whether the config was read since the build config was.
        warned: The layers that the hook alone calls and trains, as far as this was said.
    """

    def __init__(self) -> None:
        self.losses = CompiledLosses()
        self.metric_names: set[str] = set()
        self.metric_side_inputs: set[str] = set()
        self.side_inputs: set[str] = set()
        self.readers = QueryReaders()
        self.log = Log()
        self.plan: Plan | None = None
        self.added: list[Any] = []
        self.call_metrics: dict[str, tf.Tensor] = {}
        self.waits: set[bool] = set()
        self.begin_again: set[bool] = set()
        self.thread: int | None = None
        self.config_was_read = False
        self.warned: set[str] = set()


_asking = threading.Lock()


@contextlib.contextmanager
def of_one_thread(training: Training, method: str) -> Iterator[None]:
    """While `method` runs, which counts into the metrics of the model.

    Raises:
        ValueError: While another thread trains or evaluates the model.
    """
    own = threading.get_ident()
    with _asking:
        before = training.thread
        if before not in (None, own):
            raise ValueError(
                "A model must be trained and evaluated by one thread at a time: all count into "
                "the same metrics, and each would log what the other has counted. Received: "
                f"`{method}` while another thread trains or evaluates the model. Call it from "
                "a callback of `fit`, or when the other has ended."
            )
        training.thread = own
    try:
        yield
    finally:
        training.thread = before


@contextlib.contextmanager
def fit_running(log: Log) -> Iterator[None]:
    """Marks that `fit` runs."""
    before, log.fitting = log.fitting, True
    try:
        yield
    finally:
        log.fitting = before


@contextlib.contextmanager
def epoch_kept(model: keras.Model, log: Log) -> Iterator[None]:
    """Within `fit`, puts the running metrics of the epoch back afterwards."""
    if not log.fitting:
        yield
        return
    variables = [*model.metrics_variables, *log.cuts.variables]
    state = [(variable, variable.numpy()) for variable in variables]
    training, epoch_runs = log.training, log.epoch_runs
    try:
        yield
    finally:
        for variable in [*model.metrics_variables, *log.cuts.variables]:
            variable.assign(tf.zeros(variable.shape, variable.dtype))
        for variable, value in state:
            variable.assign(value)
        log.training, log.epoch_runs = training, epoch_runs


def guarded_runs(
    function: Callable[[Any], Any], log: Log, *, training: bool, forget: Callable[[], None]
) -> Callable[[Any], Any]:
    """What runs steps for Keras, with failed checks of values raised as `ValueError`.

    After any error `forget` is called: a function that was traced by half cannot be called
    again, since it creates variables in its first call alone.
    """

    def run(iterator: Any) -> Any:
        log.training = training
        log.epoch_runs = True
        try:
            logs = function(iterator)
            log.cuts.look(training)
            return logs
        except (StopIteration, tf.errors.OutOfRangeError):  # no batch is left
            raise
        except tf.errors.InvalidArgumentError as error:
            forget()
            refused = checks.as_value_error(error)
            if refused is None:
                raise
            raise refused from error
        except Exception:
            forget()
            raise

    return run
