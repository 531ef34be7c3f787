"""`LossAwareModel`: a Keras model whose losses see the whole batch."""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import keras
import tensorflow as tf

from keras_trainsteps import compat, replicas
from keras_trainsteps.added.additions import Additions
from keras_trainsteps.added.parts import AddedParts
from keras_trainsteps.keras2 import own_steps
from keras_trainsteps.keras2 import record as step_record
from keras_trainsteps.keras2.names import Migration
from keras_trainsteps.step import batch as batches
from keras_trainsteps.step import names as log_names
from keras_trainsteps.step import side_inputs
from keras_trainsteps.step.batch import Batch
from keras_trainsteps.step.compiled import CompiledLosses
from keras_trainsteps.step.log import TermLog, TotalLoss
from keras_trainsteps.step.terms import LossTerm, StepTerm, reduce_returned
from keras_trainsteps.step.total import LossParts


@keras.saving.register_keras_serializable("keras_trainsteps")
class LossAwareModel(Additions, Migration):
    """A `keras.Model` whose losses see more than `(y_true, y_pred)`.

    Subclass it and return named losses from `compute_losses`, or compile it with losses
    that name their side inputs; then call `fit` as usual. Functional models
    (`Ranker(inputs, outputs)`) and models that define `call` both work;
    `LossAwareSequential` is a `keras.Sequential`.

    The loss of a batch is
    `sum(weight[k] * term[k].value for k in terms) + sum(self.losses)`.
    `fit` and `evaluate` log it as `loss`, each term under its name, and
    `sum(self.losses)` as `regularization`. Over an epoch a `LossTerm` is logged as the sum
    of its totals over the sum of its counts; everything else is averaged by rows, as in
    Keras. `loss` is the weighted sum of what is logged. Several replicas train on the
    loss, and log the numbers, of a single device.

    Attributes:
        side_inputs: Names of the entries of the `x` dict that losses and metrics read and
            the network never sees. Those named by compiled losses and metrics are added.

    Example:

    >>> class Scorer(LossAwareModel):
    ...     side_inputs = ("cost",)
    ...     def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
    ...         return {"costly_error": x["cost"] * keras.ops.square(y_pred - y)}
    >>> inputs = keras.Input((3,), name="features")
    >>> model = Scorer(inputs, keras.layers.Dense(1)(inputs))
    >>> model.compile("adam")
    >>> x = {"features": np.ones((8, 3)), "cost": np.ones((8, 1))}
    >>> history = model.fit(x, np.ones((8, 1)), verbose=0)
    >>> sorted(history.history)
    ['costly_error', 'loss']
    """

    side_inputs: ClassVar[tuple[str, ...]] = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> LossAwareModel:
        if compat.makes_functional(cls, args, kwargs):
            cls = compat.functional_twin(cls)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if compat.makes_functional(type(self), args, kwargs):  # from a subclass's `__init__`
            self.__class__ = compat.functional_twin(type(self))
        super().__init__(*args, **kwargs)
        self._compiled_losses = CompiledLosses()
        self._metric_side_inputs: tuple[str, ...] = ()
        self._metric_names: set[str] = set()

    # What a subclass fills

    def compute_losses(
        self,
        x: Any,
        y: Any,
        y_pred: Any,
        sample_weight: tf.Tensor | None = None,
        training: bool = True,
    ) -> Mapping[str, Any]:
        """The named losses of a batch. The hook that a subclass fills.

        Args:
            x: The whole `x` of the batch, side inputs included.
            y: Targets as given, floats in Keras's `floatx`.
            y_pred: Output of the network, in float32 or wider whatever the dtype policy.
            sample_weight: One weight a row, or `None`. Values returned one a row are
                weighted by the library; a `LossTerm` or a scalar is taken as it is.
            training: Whether the step trains or evaluates.

        Returns:
            A dict of name to `LossTerm`, to a tensor of one value (or more) a row,
            reduced as `sum(sample_weight * values) / size(values)`, or to a scalar, which
            weighs as the rows of its batch. The names must be the same in every step.
        """
        return {}

    # What Keras calls

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`; losses and metrics may name side inputs.

        Args:
            optimizer: As in Keras.
            loss: As in Keras, or losses that name side inputs, beside or instead of
                `compute_losses`. A list on a single output trains every loss in it.
            loss_weights: As in Keras, or a dict that also names terms of `compute_losses`.
                Values are numbers, or a `keras.Variable` to be changed during training;
                it is saved as the number it holds.
            metrics: As in Keras; may name side inputs.
            weighted_metrics: As in Keras; may name side inputs.
            **kwargs: As in Keras.
        """
        losses = CompiledLosses(loss, loss_weights)
        given = [m for m in keras.tree.flatten([metrics, weighted_metrics]) if m is not None]
        names = {log_names.of_metric(metric) for metric in given}
        log_names.require_metrics(names | self._own_metric_names())
        super().compile(
            optimizer=optimizer,
            loss=loss,
            loss_weights=_as_numbers(loss_weights),
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            **kwargs,
        )
        self._compiled_losses = losses
        self._start_logs()
        named = [name for metric in given for name in getattr(metric, "side_inputs", ())]
        self._metric_side_inputs = tuple(named)
        readers = [*given, *losses.objects]
        ids = [getattr(reader, "query_ids", None) for reader in readers]
        self._query_ids = {name for name in ids if isinstance(name, str)}
        self._whole_queries = [
            (metric.query_ids, metric.mask)
            for metric in given
            if getattr(metric, "split_queries", None) == "error" and metric.query_ids is not None
        ]
        self._metric_names = names

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model as the saved one was."""
        if type(self).compile is not LossAwareModel.compile:
            super().compile_from_config(config)  # says that `compile()` must be called
            return
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the network on what of the inputs is its own, never on side inputs."""
        if args and isinstance(args[0], Mapping):
            args = (self._network_inputs(args[0]), *args[1:])
        elif isinstance(kwargs.get("inputs"), Mapping):
            kwargs = {**kwargs, "inputs": self._network_inputs(kwargs["inputs"])}
        return super().__call__(*args, **kwargs)

    def make_train_function(self, force: bool = False) -> Any:
        """Creates the function that `fit` runs; a `train_step` of a subclass is checked."""
        with own_steps.in_place(self, "train_step", LossAwareModel.train_step):
            return super().make_train_function(force)

    def make_test_function(self, force: bool = False) -> Any:
        """Creates the function that `evaluate` runs; a `test_step` of a subclass is checked."""
        with own_steps.in_place(self, "test_step", LossAwareModel.test_step):
            return super().make_test_function(force)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One optimizer step on a batch.

        A subclass may override it, and `test_step`, to do more around `super().train_step`
        or all by hand. `fit` then refuses what Keras would log as 0 or as the last batch:
        each value returned must be the result of a metric in `metrics` that the step
        updated, or a variable. A number given to a `Mean` of the model weighs as the rows
        of its batch.
        """
        batch = Batch.of(data)
        step_record.note_use(self, "step")
        with self._step(batch, training=True):
            with tf.GradientTape() as tape:
                y_pred = self._forward(batch.x, training=True)
                loss = self._track_loss(batch, y_pred, training=True)
                if self.optimizer is not None:
                    loss = self.optimizer.scale_loss(loss)
            weights = self.trainable_weights
            if weights:
                gradients = tape.gradient(loss, weights)
                with compat.after_loss(loss):
                    self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
            else:
                warnings.warn("The model does not have any trainable weights.", stacklevel=2)
            return self._log(batch, y_pred)

    def test_step(self, data: Any) -> dict[str, Any]:
        """The losses and metrics of a batch, without a step."""
        batch = Batch.of(data)
        step_record.note_use(self, "step")
        own_steps.require_loss_of_training(self)
        with self._step(batch, training=False):
            y_pred = self._forward(batch.x, training=False)
            self._track_loss(batch, y_pred, training=False)
            return self._log(batch, y_pred)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """The loss of a batch: weighted terms and `sum(self.losses)`.

        On one of several replicas, the replica's share: the shares add up to the loss.
        A subclass may override it, as in `keras.Model`; then what it returns is trained
        on and logged as `loss`, and terms are not logged one by one.
        """
        batch = Batch.of((x, y, sample_weight))
        parts = self._parts(batch, batches.tensors(y_pred), training)
        counted = [term.name for term in parts.terms if not term.by_rows]
        step_record.note_use(self, "loss", counted)
        return parts.loss

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Updates the compiled metrics, which may read side inputs, and returns the logs."""
        if self._compile_metrics is not None:
            batches.require_one_target(y, y_pred)
            own_steps.require_listed(self, self._compile_metrics)
        side_inputs.require(x, self._metric_side_inputs)
        with side_inputs.visible(x):
            return super().compute_metrics(x, y, y_pred, sample_weight)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The tracker of the loss, one of each term, and the metrics."""
        metrics = super().metrics
        if not self.compiled:
            return metrics
        return [*metrics[:1], *self._term_log.trackers.values(), *metrics[1:]]

    def get_metrics_result(self) -> dict[str, Any]:
        """Values of all metrics; inside a replica, those of all replicas together."""
        log = self._term_log
        if replicas.num_replicas() > 1:
            state = [v for v in self.metrics_variables if v.aggregation == "sum"]
            sums = replicas.sum_each_over_replicas([tf.convert_to_tensor(v) for v in state])
            with keras.StatelessScope(state_mapping=list(zip(state, sums, strict=True))):
                result = super().get_metrics_result()
        else:
            result = super().get_metrics_result()
            if not log.in_step and tf.executing_eagerly():
                log.end_epoch()
        logs = {name: value for name, value in result.items() if name not in log.unlogged}
        return {**logs, **self._coefficient_logs()} if log.training else logs

    @property
    def loss_weight_variables(self) -> dict[str, keras.Variable]:
        """The variables among `loss_weights`, by name: state of a training beside the weights."""
        return self._compiled_losses.weight_variables

    @property
    def term_weights(self) -> dict[str, Any]:
        """The loss weight of each logged term, by name, once a step has run.

        A number, or the variable that `compile` was given. `regularization` weighs 1, and a
        single compiled loss is no term of its own: it is logged as `loss`. A weight that is
        trained is not in here: it is logged as `<term>_weight`, and multiplies the given one.
        """
        given = {
            name: self._compiled_losses.weight_of(name) if isinstance(w, tf.Tensor) else w
            for name, w in self._term_log.weights.items()
            if name not in self._term_log.hidden
        }
        return {name: 1.0 if weight is None else weight for name, weight in given.items()}

    # The pieces of a step

    @contextlib.contextmanager
    def _step(self, batch: Batch, *, training: bool) -> Iterator[None]:
        side_inputs.require(batch.x, self._side_input_names())
        batches.require_xla_inputs(batch.x)
        needed: list[Any] = batches.runtime_checks(batch)
        if not self._lengths_known and self.steps_per_execution == 1:
            needed += batch
        with self._term_log.step(training), compat.after(needed):
            yield

    def _forward(self, x: Any, *, training: bool) -> Any:
        if "training" in inspect.signature(self.call).parameters:
            return self(x, training=training)
        return self(x)

    def _track_loss(self, batch: Batch, y_pred: Any, *, training: bool) -> tf.Tensor:
        """This replica's share of the loss, to train on; the trackers are updated."""
        rows = batch.rows(y_pred)
        own_steps.require_listed(self, self._loss_tracker)
        if type(self).compute_loss is not LossAwareModel.compute_loss:
            loss = self._overridden_loss(batch, y_pred, training)
            local = loss * tf.cast(replicas.num_replicas(), loss.dtype)
            self._loss_tracker.track(local, rows)
            return loss
        parts = self._parts(batch, y_pred, training)
        parts.declare(self._term_log, training)
        parts.track(self._term_log, self._loss_tracker)
        return parts.loss

    def _parts(self, batch: Batch, y_pred: Any, training: bool) -> LossParts:
        """The terms of a batch and `self.losses`."""
        terms = self._compiled_terms(batch, y_pred)
        rows = batch.rows(y_pred)
        added = AddedParts.of(self.losses, self._all_added_terms(), rows)
        taken = {term.name for term in terms} | {*log_names.RESERVED, *self._metric_names}
        taken |= self._own_metric_names()
        added.require_free(taken)
        taken |= added.names
        if self._fills_hook:
            terms += self._hook_terms(batch, y_pred, training, taken)
        weight_of = self._compiled_losses.weight_of
        terms += [term._replace(weight=weight_of(term.name)) for term in added.terms]
        self._compiled_losses.require_known_weights(
            (term.name for term in terms), getattr(self, "output_names", None)
        )
        return LossParts.of(added.weigh(terms), added.unnamed, rows, added.metrics)

    @property
    def _fills_hook(self) -> bool:
        return type(self).compute_losses is not LossAwareModel.compute_losses

    def _compiled_terms(self, batch: Batch, y_pred: Any) -> list[StepTerm]:
        return self._compiled_losses.terms(
            batch.x,
            batch.y,
            y_pred,
            batch.sample_weight,
            rows=batch.rows(y_pred),
            output_names=getattr(self, "output_names", None),
        )

    def _hook_terms(
        self, batch: Batch, y_pred: Any, training: bool, taken: set[str]
    ) -> list[StepTerm]:
        x, y, wide, sample_weight = batch.for_hook(y_pred)
        returned = self.compute_losses(x, y, wide, sample_weight, training=training)
        if not isinstance(returned, Mapping) or isinstance(returned, LossTerm):
            raise TypeError(
                "`compute_losses` must return a dict of name to loss. Received: "
                f"{type(returned).__name__}. Return `{{'my_loss': ...}}`."
            )
        rows = batch.rows(y_pred)
        terms = []
        for name, value in returned.items():
            log_names.require_free(name, taken)
            batches.require_rowwise(name, value, batch, y_pred)
            weight = self._compiled_losses.weight_of(name)
            terms.append(
                reduce_returned(
                    name, value, rows=rows, sample_weight=sample_weight, weight=weight
                )
            )
        return terms

    def _start_logs(self) -> None:
        """New trackers: what was logged before may not be logged any more."""
        self._term_log = TermLog()
        # Past `__setattr__`, which would list the tracker once more among the metrics.
        self.__dict__["_loss_tracker"] = TotalLoss(self._term_log)

    def _terms_changed(self) -> None:
        super()._terms_changed()
        if self.compiled:
            self._start_logs()

    def _own_metric_names(self) -> set[str]:
        """Names of the metrics that belong to the model and its layers."""
        return {metric.name for metric in super().metrics if metric is not self._loss_tracker}

    def _overridden_loss(self, batch: Batch, y_pred: Any, training: bool) -> tf.Tensor:
        if "training" in inspect.signature(self.compute_loss).parameters:
            return self.compute_loss(*batch[:2], y_pred, batch.sample_weight, training=training)
        return self.compute_loss(*batch[:2], y_pred, batch.sample_weight)

    def _log(self, batch: Batch, y_pred: Any) -> dict[str, Any]:
        logs = self.compute_metrics(batch.x, batch.y, y_pred, sample_weight=batch.sample_weight)
        return compat.reducible_logs(logs, self.distribute_strategy)

    def _network_inputs(self, x: Mapping[str, Any]) -> Any:
        functional = isinstance(self, compat.functional_class())
        return side_inputs.network_inputs(
            x,
            self._side_input_names(),
            declared=self.input if functional else None,
            single=isinstance(self, keras.Sequential),
        )

    def _side_input_names(self) -> set[str]:
        named = (*self.side_inputs, *self._metric_side_inputs)
        return {*named, *self._compiled_losses.side_inputs}

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Called by Keras under a strategy, before the step is traced in the replicas,
        # where no variable can be created any more.
        strategy = self.distribute_strategy
        if strategy.num_replicas_in_sync == 1:
            super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)
            return
        if iterator is not None:
            data_batch = compat.first_local_batch(iterator, strategy)
        super()._maybe_symbolic_build(data_batch=data_batch)
        with strategy.scope():
            compat.trace(self._declare_terms, data_batch)

    def _declare_terms(self, data: Any) -> None:
        batch = Batch.of(data)
        for training in (True, False):
            y_pred = self._forward(batch.x, training=training)
            if type(self).compute_loss is LossAwareModel.compute_loss:
                self._parts(batch, y_pred, training).declare(self._term_log, training)


@keras.saving.register_keras_serializable("keras_trainsteps")
class LossAwareSequential(LossAwareModel, keras.Sequential):
    """A `keras.Sequential` that is a `LossAwareModel`.

    `keras.models.clone_model` gives a plain `keras.Sequential`, as for every subclass of it;
    `LossAwareSequential.from_config(model.get_config())` is a copy of this class.

    Example:

    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("sgd", loss="mse")
    >>> history = model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    >>> sorted(history.history)
    ['loss']
    """


def _as_numbers(weights: Any) -> Any:
    """Loss weights with variables as the numbers they hold."""
    return keras.tree.map_structure(
        lambda weight: (
            float(weight) if isinstance(weight, keras.Variable | tf.Variable) else weight
        ),
        weights,
    )
