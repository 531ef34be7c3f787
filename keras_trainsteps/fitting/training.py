"""What a model knows of its training, and what surrounds a run of steps."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps.fitting.readers import QueryReaders
from keras_trainsteps.step import checks
from keras_trainsteps.step.accumulation import Accumulation
from keras_trainsteps.step.compiled import CompiledLosses
from keras_trainsteps.step.log import Log
from keras_trainsteps.step.micro_batches import MicroBatches
from keras_trainsteps.step.plan import Plan


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
        jit_compile_auto: Whether each run decides by its data whether XLA compiles the step.
        compiled: Whether the function of that name was made for XLA.
        waits: The kinds of step, training or not, held back until their batch is there.
        begin_again: The kinds of step whose data may begin again within an epoch.
        micro_batches: How the network sees a batch; `None`: whole.
        accumulation: The gradients of a group of steps; `None` where each step updates.
        thread: The thread that trains or evaluates now; `None` if none does.
        config_was_read: Whether the config was read since the build config was.
        parts: The names of the objectives, and of the networks of one.
        conditional: Those of them that steps may pass over.
        rehearsed: The plan whose step was traced before an eager one.
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
        self.jit_compile_auto = False
        self.compiled: dict[str, bool] = {}
        self.waits: set[bool] = set()
        self.begin_again: set[bool] = set()
        self.micro_batches: MicroBatches | None = None
        self.accumulation: Accumulation | None = None
        self.thread: int | None = None
        self.config_was_read = False
        self.parts: tuple[str, ...] = ("loss",)
        self.conditional: frozenset[str] = frozenset()
        self.rehearsed: Plan | None = None
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
    variables = [*model.metrics_variables, *log.remembered]
    state = [(variable, variable.numpy()) for variable in variables]
    training, epoch_runs = log.training, log.epoch_runs
    try:
        yield
    finally:
        for variable in [*model.metrics_variables, *log.remembered]:
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
