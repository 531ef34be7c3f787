"""What is checked and prepared before Keras takes over, and what surrounds a run of steps."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
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


class QueryReaders:
    """The losses and metrics of `compile` that read query ids, to look at arrays for them.

    Args:
        losses: The compiled losses.
        metrics: The compiled metrics.
    """

    def __init__(self, losses: Iterable[Any] = (), metrics: Iterable[Any] = ()) -> None:
        metrics = list(metrics)
        self.of_losses = _names_of_ids(losses)
        self.query_ids = self.of_losses | _names_of_ids(metrics)
        self.whole = [
            (metric.query_ids, metric.mask)
            for metric in metrics
            if getattr(metric, "split_queries", None) == "error" and metric.query_ids is not None
        ]

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
