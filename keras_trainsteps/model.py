"""`LossAwareModel`: a Keras model whose losses see the whole batch.

Every public method of Keras that works differently here stands in this file, once, in the
order in which Keras calls them; private ones are in `compat.Model`. What a batch goes through
is in `step/`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import keras
import tensorflow as tf

from keras_trainsteps import compat, fitting
from keras_trainsteps.added import additions
from keras_trainsteps.added.source import added_by_networks, added_of, nothing_added
from keras_trainsteps.added.term import AddedLoss, AddedMetric
from keras_trainsteps.data.order import ROW_MASK, has_few_shapes, order_for_predict
from keras_trainsteps.keras2 import own_steps
from keras_trainsteps.keras2.names import CompiledLoss, CompiledMetrics, Removed, reset_states
from keras_trainsteps.keras2.state import StateBefore
from keras_trainsteps.step import after, checks, names, padding, pursuit, running, side_inputs
from keras_trainsteps.step.accumulation import Accumulation
from keras_trainsteps.step.after import AfterStep
from keras_trainsteps.step.aims import (
    WHOLE,
    Aim,
    conditional_parts,
    part_names,
    parts_of,
    require_objectives,
)
from keras_trainsteps.step.batch import Batch, tensors
from keras_trainsteps.step.compiled import CompiledLosses
from keras_trainsteps.step.epoch_metric import end_epoch
from keras_trainsteps.step.log import Log
from keras_trainsteps.step.metric_weights import beside_masks
from keras_trainsteps.step.micro_batches import Passes
from keras_trainsteps.step.objective import Objective, called, require_hook
from keras_trainsteps.step.optimizers import Optimizers, optimizers_for
from keras_trainsteps.step.plan import Plan
from keras_trainsteps.step.trackers import weigh_by_rows
from keras_trainsteps.step.trained import trained_weights
from keras_trainsteps.step.weights import LossWeights
from keras_trainsteps.step.whole_queries import Arrays

Tensors: TypeAlias = Any
"""A tensor or array, or a list, tuple or dict of them, nested as deep as you like."""

Data: TypeAlias = Any
"""`Tensors`, or what gives batches: a `tf.data.Dataset`, a generator, a `PyDataset`."""

OptimizersLike: TypeAlias = Any
"""An optimizer or its name; a dict of them by name of objective; `None`."""

Losses: TypeAlias = Any
"""A loss, its name or a function `(y_true, y_pred)`; one per output in a list or dict."""

LossWeightsLike: TypeAlias = Any
"""A number, a `keras.Variable` or a function of the step; a list or dict of them."""

Metrics: TypeAlias = Any
"""A list of metrics, names or functions; one list per output in a list or dict."""

Callbacks: TypeAlias = Sequence[keras.callbacks.Callback] | keras.callbacks.CallbackList | None
"""What Keras calls while a model is trained, evaluated or predicts."""

Logs: TypeAlias = Any
"""A number, a list of them, or a dict by name with `return_dict=True`."""


@compat.named_in_legacy_files
@keras.saving.register_keras_serializable("keras_trainsteps")
class LossAwareModel(compat.Model):
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
    Keras. `loss` is the weighted sum of what is logged; where the weight of a term varies,
    its part of the loss is logged as `<term>_weighted`. Several replicas train on the
    loss, and log the numbers, of a single device.

    Args:
        inputs: Of a Functional model: its `keras.Input` tensors, alone or in a list or dict.
        outputs: Of a Functional model: the tensors of its graph that it gives.
        name: Name of the model. Default: made by Keras.
        trainable: As in `keras.Model`.
        dtype: As in `keras.Model`, of a model that defines `call`.
        activity_regularizer: As in `keras.Model`, of a model that defines `call`.
        autocast: As in `keras.Model`, of a model that defines `call`.

    Attributes:
        side_inputs: Names of the entries of the `x` dict that losses and metrics read and
            the network never sees. Those named by compiled losses and metrics are added.
        trains: Names of the attributes, or layers, whose weights are trained; one or a
            tuple. `None`, the default, trains all; a layer that only `compute_losses` calls
            is then warned of once.
        after_step: What follows once in a step, after all updates: `Ema`, `Queue`, or a
            function of the model and of what hooks pass on by `pass_on`.

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
    trains: ClassVar[str | tuple[str, ...] | None] = None
    after_step: ClassVar[Sequence[AfterStep]] = ()
    output_names: list[str]
    train_function: Any
    test_function: Any

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if inspect.isfunction(hook := vars(cls).get("compute_losses")):
            require_hook(hook)

    # Names of Keras 2
    metrics_tensors = Removed(
        "`model.add_metric(tensor, name=...)`, or a metric that reads side inputs"
    )
    total_loss = Removed("`model.compute_loss(x, y, y_pred, sample_weight)`")
    fit_generator = Removed("`model.fit(generator)`")
    evaluate_generator = Removed("`model.evaluate(generator)`")
    predict_generator = Removed("`model.predict(generator)`")

    def __init__(
        self,
        inputs: Tensors = None,
        outputs: Tensors = None,
        name: str | None = None,
        *,
        trainable: bool | None = None,
        dtype: str | keras.DTypePolicy | None = None,
        activity_regularizer: keras.Regularizer | None = None,
        autocast: bool | None = None,
    ) -> None:
        network = {"inputs": inputs, "outputs": outputs}
        layer = {"name": name, "trainable": trainable, "dtype": dtype, "autocast": autocast}
        given = {**network, **layer, "activity_regularizer": activity_regularizer}
        given = {key: value for key, value in given.items() if value is not None}
        if {"inputs", "outputs"} <= set(given):  # from a subclass's `__init__`, or not tensors
            self.__class__ = compat.functional_twin(type(self))
        super().__init__(**given)
        self._begin()

    def _begin(self) -> None:
        """What a model of any kind has from the start."""
        # Past `__setattr__`: Keras would look for weights and metrics in these.
        self.__dict__["_training"] = fitting.Training()
        additions.adopt_graph(self)
        after.prepare(self)

    # What a subclass fills

    def compute_losses(
        self,
        x: Data,
        y: Tensors,
        y_pred: Tensors,
        sample_weight: tf.Tensor | None = None,
        training: bool = True,
    ) -> Mapping[str, Any]:
        """The named losses of a batch. The hook that a subclass fills.

        It may name fewer: `def compute_losses(self, y, y_pred)` is given these two.

        Args:
            x: The whole `x` of the batch, side inputs included.
            y: Targets as given, floats in Keras's `floatx`.
            y_pred: Output of the network, in float32 or wider whatever the dtype policy.
            sample_weight: One weight per row, or `None`. Values returned one per row are
                weighted by the library; a `LossTerm` or a scalar is taken as it is.
            training: Whether the step trains or evaluates.

        Returns:
            A dict of name to `LossTerm`, to a tensor of one value (or more) per row,
            reduced as `sum(sample_weight * values) / size(values)`, or to a scalar, which
            weighs as the rows of its batch. The names must be the same in every step.
        """
        return {}

    def objectives(self) -> Mapping[str, Objective]:
        """What each step pursues, by name and in order. A subclass with several returns them.

        The names are those of their optimizers and of their logs: see `Objective`. A model
        has one, named `loss`: its losses are those of `compute_losses`, of `compile` and of
        `add_loss`, and what it trains is what the class attribute `trains` says.
        """
        return {WHOLE: Objective(self.compute_losses, trains=self.trains)}

    def pass_on(self, name: str, value: tf.Tensor) -> None:
        """Hands a tensor of a hook on to what follows the step: `Queue`, a function.

        In an objective with `repeat` the last one counts. Outside of a step, and while it
        evaluates, nothing follows.

        Args:
            name: What it is asked for by.
            value: The tensor.

        Raises:
            ValueError: From a branch or loop, or an objective with `every` or `when`.

        Example: see `Queue`.
        """
        running.pass_on(self._training.log, name, value)

    # Losses and metrics that are added one by one

    def add_loss(self, loss: AddedLoss | Sequence[AddedLoss], *, name: str | None = None) -> None:
        """Adds a loss that does not come from targets: a penalty, a tensor of the graph.

        It is part of the loss from the next step on, is computed once a step from the same
        forward pass, and is not multiplied by `sample_weight`.

        Args:
            loss: One of, or a list of:

                - a function without arguments that computes a scalar from weights, or a
                  `penalties.Penalty`;
                - a `KerasTensor` of a Functional model's graph: a scalar, or values whose
                  mean is taken;
                - a number;
                - within `call`, a tensor, as in `keras.layers.Layer.add_loss`.
            name: The name under which it is logged, and by which `loss_weights` can weigh
                it. Without one it is part of `regularization`.

        Raises:
            TypeError: For anything else; for a tensor outside `call`, which is a constant.
            ValueError: For a name that is taken, a function that returns no scalar or
                trains nothing, a tensor of another graph, or a call while `fit` runs.

        Example:

        >>> from keras_trainsteps import LossAwareModel
        >>> inputs = keras.Input((3,))
        >>> hidden = keras.layers.Dense(2)(inputs)
        >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(hidden))
        >>> model.add_loss(lambda: 0.1 * keras.ops.norm(model.layers[1].kernel), name="norm")
        >>> model.add_loss(0.01 * keras.ops.mean(keras.ops.square(hidden)), name="activity")
        >>> model.compile("sgd", loss="mse")
        >>> history = model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
        >>> sorted(history.history)
        ['activity', 'loss', 'mse_loss', 'norm']
        """
        losses = list(loss) if isinstance(loss, (list, tuple)) else [loss]
        if name is not None and len(losses) != 1:
            raise ValueError(
                f"`name` must name one loss. Received: {name!r} for {len(losses)}. Add them "
                "one by one."
            )
        if compat.in_call():
            additions.add_in_call(self, losses, name)
            return
        for each in losses:
            fitting.require_not_fitting(self._training.log)
            additions.add(self, "loss", each, name)
            self._forget_plan()

    def add_metric(
        self,
        value: AddedMetric,
        *,
        name: str,
        aggregation: str = "mean",
    ) -> None:
        """Adds a metric that does not come from targets and `y_pred`.

        Args:
            value: A `KerasTensor` of a Functional model's graph, a function without
                arguments, or, within `call`, a tensor.
            name: The name under which it is logged.
            aggregation: `"mean"`: over all values of an epoch; a scalar weighs as the rows
                of its batch.

        Raises:
            TypeError: For anything else.
            ValueError: For a name that is taken, another aggregation, a tensor of another
                graph, or a call while `fit` runs.

        Example:

        >>> from keras_trainsteps import LossAwareModel
        >>> inputs = keras.Input((3,))
        >>> scores = keras.layers.Dense(1)(inputs)
        >>> model = LossAwareModel(inputs, scores)
        >>> model.add_metric(keras.ops.abs(scores), name="size")
        >>> model.compile("sgd", loss="mse")
        >>> sorted(model.evaluate(np.ones((4, 3)), np.ones((4, 1)), verbose=0, return_dict=True))
        ['loss', 'size']
        """
        if aggregation != "mean":
            raise ValueError(
                "`aggregation` must be 'mean'. "
                f"Received: {aggregation!r}. For anything else compile with a metric object."
            )
        if compat.in_call():
            self._training.call_metrics[name] = tf.convert_to_tensor(value)
            return
        fitting.require_not_fitting(self._training.log)
        additions.add(self, "metric", value, name)
        self._forget_plan()

    def remove_term(self, name: str) -> None:
        """Removes what `add_loss` or `add_metric` added under `name`.

        Args:
            name: The name it was added under.

        Raises:
            ValueError: For a name under which nothing was added, or a call while `fit` runs.
        """
        fitting.require_not_fitting(self._training.log)
        additions.remove(self, name)
        self._forget_plan()

    # What is trained, and how

    def compile(
        self,
        optimizer: OptimizersLike = "rmsprop",
        loss: Losses = None,
        loss_weights: LossWeightsLike = None,
        metrics: Metrics = None,
        weighted_metrics: Metrics = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
        *,
        micro_batch_size: int | None = None,
        per_micro_batch: str | Sequence[str] = (),
        accumulate_steps: int = 1,
    ) -> None:
        """As `keras.Model.compile`; losses and metrics may name side inputs.

        Args:
            optimizer: As in Keras. Of a model with `objectives`, a dict with one for each, or
                one, of which each gets a copy; `model.optimizer["name"]` is that of a name.
            loss: As in Keras, or losses that name side inputs, together with or instead of
                `compute_losses`. A list on a single output trains every loss in it.
            loss_weights: As in Keras, or a dict that also names terms of `compute_losses`.
                Values are numbers; functions of the number of steps so far, as the schedules
                of `keras.optimizers.schedules`; or variables that a callback changes, as
                `LossWeightScheduler` does by epoch, and that are saved as the number they
                hold. To train a weight, see `penalties.UncertaintyWeighting`.
            metrics: As in Keras; may name side inputs.
            weighted_metrics: As in Keras; may name side inputs.
            run_eagerly: As in Keras.
            steps_per_execution: As in Keras; 1 on several replicas.
            jit_compile: As in Keras, but that `"auto"` compiles a run by XLA only if all of
                its batches have one shape: those of arrays, or of a `tf.data.Dataset` whose
                `element_spec` says so. XLA compiles a step anew for each other shape.
            auto_scale_loss: As in Keras.
            micro_batch_size: The number of rows that the network sees at a time, for batches
                whose activations do not fit into memory. Default: all. Losses, metrics and
                gradients are those of the whole batch: the network runs forward first, and
                once more, some rows at a time, for its gradients. That takes the time of one
                more forward pass, and the memory of one micro-batch and of all outputs.
                `evaluate` runs it once. Layers draw random numbers for each micro-batch, and
                the same both times. What `call` gives to `add_loss` is taken for a mean over
                rows, and a layer of your own that mixes rows cannot be seen. The gradient of an
                embedding has an entry for each id of the batch, as ever. A network that the
                hook calls itself keeps its activations, and the gradient of `y_pred` with the
                inputs is refused.
            per_micro_batch: Names of layers that may see a micro-batch alone, and so compute
                something else: a `BatchNormalization` that is trained. Default: none may.
            accumulate_steps: The number of steps whose gradients make one update: for batches
                that cannot be larger. Default: 1. The gradient is that of the loss that the
                batches have together, `sum_k weight[k] * sum(totals[k]) / sum(counts[k])`, so
                that short and masked ones weigh what they hold; a weight that is a variable is
                that of the update. A short last group of an epoch updates, too, before its
                validation; after `train_on_batch`, `apply_accumulated_gradients` does.
                `optimizer.iterations`, schedules, clipping, `Ema` and functions of
                the model in `after_step` go by updates; logs, `Queue` and functions of what
                hooks pass on by steps. A larger batch differs: it has pairs across these, and
                `BatchNormalization` and metrics see it whole.

                It costs a sum of gradients as large as the weights, and a backward pass, for
                each count: one for all that is averaged by rows, one for each other count, and
                one for each term whose weight is a variable. Gradients of embeddings are
                summed up dense. A file of a model holds no open group.

        Raises:
            ValueError: For losses, metrics, weights or optimizers that do not fit each other or
                the model; a `micro_batch_size` below 1, or where no objective takes `y_pred`;
                an `accumulate_steps` below 1, or above 1 with
                `gradient_accumulation_steps`, several `objectives`, or one that is not updated
                once in each step. `fit` refuses it on several replicas, and with a `train_step`
                that updates by itself.
        """
        weights = LossWeights(loss_weights)
        losses = CompiledLosses(loss, weights)
        metrics = fitting.as_metric_objects(metrics)
        weighted_metrics = fitting.as_metric_objects(weighted_metrics)
        given = [m for m in keras.tree.flatten([metrics, weighted_metrics]) if m is not None]
        metric_names = {names.of_metric(metric) for metric in given}
        several = self._has_objectives
        parts: tuple[str, ...] = (WHOLE,)
        conditional: frozenset[str] = frozenset()
        objectives: Mapping[str, Objective] = {}
        if several:
            objectives = self._objectives()
            fitting.require_only_objectives(self, LossAwareModel, objectives, loss, given)
            parts = tuple(part_names(self, objectives))
            conditional = conditional_parts(self, objectives)
        names.require_metrics(metric_names, parts)
        if several:
            scaled = auto_scale_loss and self.dtype_policy.name == "mixed_float16"
            optimizer = optimizers_for(parts, optimizer, scaled=scaled)
            auto_scale_loss = False  # each is, and not what holds them
        else:
            fitting.require_one_optimizer(optimizer)
        fitting.require_accumulates(accumulate_steps, optimizer, objectives)
        micro_batches = fitting.as_micro_batches(micro_batch_size, per_micro_batch, objectives)
        auto = jit_compile == "auto"
        fitting.warn_of_unmasked(losses.objects, given)
        super().compile(
            optimizer=optimizer,
            loss=loss,
            loss_weights=weights.as_numbers(),
            metrics=metrics,
            weighted_metrics=weighted_metrics,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            jit_compile=False if auto else jit_compile,
            auto_scale_loss=auto_scale_loss,
        )
        if auto:
            compat.save_as_compiled(self, jit_compile="auto")
        if weights.scheduled:
            compat.save_as_compiled(self, loss_weights=weights.as_saved())
        if accumulate_steps > 1:
            compat.save_as_compiled(self, accumulate_steps=accumulate_steps)
        if micro_batches is not None:
            compat.save_as_compiled(
                self, micro_batch_size=micro_batch_size, per_micro_batch=list(micro_batches.alone)
            )
        if isinstance(self.optimizer, Optimizers):
            self.optimizer.belongs_to(
                functools.partial(pursuit.trained_by_part, weakref.ref(self))
            )
        training = self._training
        training.jit_compile_auto, training.micro_batches = auto, micro_batches
        training.parts, training.conditional = parts, conditional
        training.losses = losses
        training.metric_names = metric_names
        training.metric_side_inputs = {
            name for metric in given for name in getattr(metric, "side_inputs", ())
        }
        training.side_inputs = training.metric_side_inputs | losses.side_inputs
        training.readers = fitting.QueryReaders(losses.objects, given)
        self._forget_plan(accumulate_steps)
        training.log.trains_own_loss = False
        pursuit.build_without_call(self)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model as the saved one was."""
        if type(self).compile is not LossAwareModel.compile:
            super().compile_from_config(config)  # says that `compile()` must be called
            return
        self.compile(**keras.saving.deserialize_keras_object(config))
        pursuit.build_without_call(self)
        if self.optimizer is not None and self.built:
            self.optimizer.build(trained_weights(self, self.trains))

    # What users call

    def fit(
        self,
        x: Data = None,
        y: Tensors = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Callbacks = None,
        validation_split: float = 0.0,
        validation_data: Data = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Tensors = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
    ) -> keras.callbacks.History:
        """As `keras.Model.fit`; batches that cut queries are refused or warned of.

        Where a metric by query is a mean over them, they are refused. Where a loss compares
        their rows, a warning says how many: of arrays the exact number, at once; of other data
        the number of batches in which that was seen, at the end of the epoch.

        Raises:
            ValueError: For a batch size below 1, weights without targets, queries that a
                metric needs whole and batches cut, float64 labels to compare that Keras would
                round, or a call while another thread trains or evaluates the model.
        """
        fitting.require_supported_strategy(self)
        fitting.require_no_replicas(self, self._training.accumulation)
        fitting.require_batch_size(batch_size)
        fitting.require_targets_of_weights(y, sample_weight)
        fitting.require_callbacks(callbacks, self._training.parts)
        self._training.readers.require_readable(x, y, sample_weight)
        split = validation_split if validation_data is None else 0.0
        arrays = Arrays(x, batch_size, shuffle, split, validation_batch_size)
        self._training.readers.require_whole(arrays, validation_data)
        validation = validation_data if isinstance(validation_data, (tuple, list)) else ()
        self._training.readers.require_exact(y, *validation[1:2])
        if self.built:
            for layer in additions.all_terms_of(self):
                layer.bind()
        if isinstance(x, tf.data.Dataset):
            shuffle = False  # Keras warns of its own default
        with (
            self._run(arrays, "fit", steps_per_epoch),
            fitting.fit_running(self._training.log),
            compat.averages_of_what_is_trained(self.optimizer),
        ):
            self._begin_group("`fit`")
            # fmt: off
            return super().fit(
                compat.readable(x), y, batch_size, epochs, verbose, callbacks, validation_split,
                compat.readable(validation_data), shuffle, class_weight, sample_weight,
                initial_epoch, steps_per_epoch, validation_steps, validation_batch_size,
                validation_freq,
            )
            # fmt: on

    @compat.called_by_fit
    def evaluate(
        self,
        x: Data = None,
        y: Tensors = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Tensors = None,
        steps: int | None = None,
        callbacks: Callbacks = None,
        return_dict: bool = False,
    ) -> Logs:
        """As `keras.Model.evaluate`; called within `fit`, the epoch's metrics go on after it.

        Raises:
            ValueError: As in `fit`.
        """
        fitting.require_supported_strategy(self)
        fitting.require_batch_size(batch_size)
        fitting.require_targets_of_weights(y, sample_weight)
        fitting.require_named_optimizers(callbacks, self._training.parts)
        self._training.readers.require_readable(x, y, sample_weight)
        self._training.readers.require_exact(y)
        arrays = Arrays(x, batch_size)
        self._training.readers.require_whole(arrays)
        kept = self._epoch_kept(unless=compat.is_evaluation_of_fit())
        with self._run(arrays, "evaluate", steps), kept:
            # fmt: off
            return super().evaluate(
                compat.readable(x), y, batch_size, verbose, sample_weight, steps, callbacks,
                return_dict,
            )
            # fmt: on

    def predict(
        self,
        x: Data,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Callbacks = None,
    ) -> Logs:
        """As `keras.Model.predict`; side inputs may be there and are not read.

        For `data.query_batches`, outputs come in the order of its arrays.

        Raises:
            ValueError: For part of such batches, or for what was made of them.
        """
        fitting.require_supported_strategy(self)
        fitting.require_named_optimizers(callbacks, self._training.parts)
        order = order_for_predict(x, compat.sources_of(x), steps)
        if order is not None:
            x = order.in_order()
        self._compile_by_shapes(x, "predict_function")
        outputs = super().predict(compat.readable(x), batch_size, verbose, steps, callbacks)
        return outputs if order is None else order.restored(outputs)

    def train_on_batch(
        self,
        x: Data,
        y: Tensors = None,
        sample_weight: Tensors = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Logs:
        """As `keras.Model.train_on_batch`; arrays are read as in `fit`.

        With `accumulate_steps` the weights change in the last step of each group, and by
        `apply_accumulated_gradients`.
        """
        self._training.readers.require_exact(y)
        x, y, sample_weight = compat.as_in_fit((x, y, sample_weight))
        with fitting.of_one_thread(self._training, "train_on_batch"), self._epoch_kept():
            logs = super().train_on_batch(x, y, sample_weight, class_weight, return_dict)
        self._plan.log.compilations.end_batch(training=True)
        return logs

    def test_on_batch(
        self, x: Data, y: Tensors = None, sample_weight: Tensors = None, return_dict: bool = False
    ) -> Logs:
        """As `keras.Model.test_on_batch`; arrays are read as in `fit`."""
        self._training.readers.require_exact(y)
        x, y, sample_weight = compat.as_in_fit((x, y, sample_weight))
        with fitting.of_one_thread(self._training, "test_on_batch"), self._epoch_kept():
            logs = super().test_on_batch(x, y, sample_weight, return_dict)
        self._plan.log.compilations.end_batch(training=False)
        return logs

    def apply_accumulated_gradients(self) -> None:
        """Updates by the gradients of a group of steps that is not full, if one is open.

        For loops over `train_on_batch` of a model that was compiled with `accumulate_steps`.
        `fit` does so itself at the end of an epoch.

        Example:

        >>> inputs = keras.Input((3,))
        >>> model = LossAwareModel(inputs, keras.layers.Dense(1)(inputs))
        >>> model.compile("sgd", loss="mse", accumulate_steps=2)
        >>> for rows in (4, 4, 1):
        ...     loss = model.train_on_batch(np.ones((rows, 3)), np.ones((rows, 1)))
        >>> int(model.optimizer.iterations)
        1
        >>> model.apply_accumulated_gradients()
        >>> int(model.optimizer.iterations)
        2
        """
        accumulation = self._training.accumulation
        if accumulation is not None and accumulation.steps_done:
            self.distribute_strategy.run(pursuit.update_by_group, args=(self,))
            accumulation.begin()

    # What Keras calls for them, in this order

    def declare_on_replicas(self, batch: Tensors) -> None:
        """Creates the trackers of a step, which no replica can create."""
        unpacked = Batch.of(batch)
        for training in (True, False):
            with self._plan.running(unpacked, training=training) as step:
                for aim in self._plan.aims:
                    y_pred = pursuit.output(self, aim, unpacked, step, training=training)
                    losses = self._plan.losses(aim, unpacked, y_pred, training=training)
                    self._plan.log.declare(losses, training)
                self._plan.log.cuts.declare(step)
                step.queries.clear()  # nothing is counted here

    def compare_workers(self, batch: Tensors, num_batches: int | None) -> None:
        """Refuses workers that differ, before their first step."""
        checks.require_same_on_workers(self.distribute_strategy, self.metrics, batch, num_batches)

    def make_train_function(self, force: bool = False) -> Any:
        """Creates the function that `fit` runs; a `train_step` of a subclass is guarded."""
        pursuit.require_same(self)
        if self.train_function is None or force:
            fitting.require_supported_strategy(self)
            fitting.require_no_replicas(self, self._training.accumulation)
            fitting.require_aims_for_replicas(self, self._plan.aims)
            after.require(self)
            fitting.build_optimizer(self, self._plan)
            with own_steps.guarded(self, "train_step", LossAwareModel.train_step):
                super().make_train_function(force)
            self.train_function = fitting.guarded_runs(
                self.train_function,
                self._plan.log,
                training=True,
                forget=functools.partial(self._forget_function, "train_function"),
            )
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        """Creates the function that `evaluate` runs; a `test_step` of a subclass is guarded."""
        if self.test_function is None or force:
            fitting.require_supported_strategy(self)
            with own_steps.guarded(self, "test_step", LossAwareModel.test_step):
                super().make_test_function(force)
            self.test_function = fitting.guarded_runs(
                self.test_function,
                self._plan.log,
                training=False,
                forget=functools.partial(self._forget_function, "test_function"),
            )
        return self.test_function

    def train_step(self, data: Tensors) -> dict[str, Any]:
        """One optimizer step on a batch, for each of the objectives.

        With `accumulate_steps` the last step of each group updates, by the gradients of all.

        A subclass may override it, and `test_step`, to do more around `super().train_step`
        or all by hand. `fit` then refuses what Keras would log as 0 or as the last batch: a
        value of one batch where that can be seen, or a loss that was not logged; results of
        other metrics that the step has not updated are left out. A number given to a `Mean`
        of the model weighs as the rows of its batch.
        """
        plan, batch = self._plan, Batch.of(data)
        pursuit.rehearse(self, data)
        pursuit.follow_schedules(self, plan)
        with plan.running(batch, training=True) as step:
            before, steps = self._state_before(), pursuit.steps_done(self, plan)
            for aim in plan.aims:  # each sees the weights that the ones before it left
                aim.pursue(functools.partial(pursuit.update, self, aim, batch, step), steps)
            pursuit.end(self, plan, step, steps)
            return self._logs(batch, step.y_pred, before, training=True)

    def end_batches(self) -> None:
        """Updates by what is left of a group of steps, at the end of an epoch."""
        if self._training.log.training:
            self.apply_accumulated_gradients()

    def test_step(self, data: Tensors) -> dict[str, Any]:
        """The losses and metrics of a batch, without a step."""
        plan, batch = self._plan, Batch.of(data)
        own_steps.require_loss_of_training(plan.log)
        pursuit.follow_schedules(self, plan)
        with plan.running(batch, training=False) as step:
            before = self._state_before()
            for aim in plan.aims:
                y_pred = pursuit.output(self, aim, batch, step, training=False)
                for number in aim.evaluations:
                    losses = plan.losses(aim, batch, y_pred, training=False, repeat=number)
                    plan.log.track(losses, training=False)
            return self._logs(batch, step.y_pred, before, training=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Tensors:
        """Calls the network on what of the inputs is its own, never on side inputs."""
        if args and isinstance(args[0], Mapping):
            args = (self._network_inputs(args[0]), *args[1:])
        elif isinstance(kwargs.get("inputs"), Mapping):
            kwargs = {**kwargs, "inputs": self._network_inputs(kwargs["inputs"])}
        return super().__call__(*args, **kwargs)

    def compute_loss(
        self,
        x: Data = None,
        y: Tensors = None,
        y_pred: Tensors = None,
        sample_weight: Tensors = None,
        training: bool = True,
    ) -> tf.Tensor:
        """The loss of a batch: weighted terms and `sum(self.losses)`.

        On one of several replicas, the replica's share: the shares add up to the loss.
        A subclass may override it, as in `keras.Model`; then what it returns is trained
        on and logged as `loss`. The terms of `super().compute_loss(...)` are logged by name.
        """
        plan, batch = self._plan._replace(own_loss=None), Batch.of((x, y, sample_weight))
        fitting.require_whole(plan)
        losses = plan.losses(plan.aims[0], batch, tensors(y_pred), training=training)[0]
        step = running.current(plan.log)
        if step is not None:
            step.computed.append(losses)
        if step is not None and step.by_hand:
            checks.value_checks(batch.sample_weight)
            step.counted += tuple(term.name for term in losses.terms if not term.by_rows)
        return losses.loss

    def compute_metrics(
        self, x: Tensors, y: Tensors, y_pred: Tensors, sample_weight: Tensors = None
    ) -> dict[str, Any]:
        """Updates the compiled metrics, which may read side inputs, and returns the logs."""
        if self._training.metric_names:
            checks.require_one_target(y, y_pred)
            sample_weight = beside_masks(sample_weight, y_pred)
        step = running.current(self._training.log)
        if step is not None and step.row_mask is not None:
            padding.update_metrics(self, y, y_pred, sample_weight, step.row_mask)
            return self.get_metrics_result()
        if step is not None:
            return super().compute_metrics(x, y, y_pred, sample_weight)
        side_inputs.require(x, self._training.metric_side_inputs)
        with running.Running(x):
            return super().compute_metrics(x, y, y_pred, sample_weight)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The tracker of the loss, one of each term, and the metrics."""
        metrics = super().metrics
        if not self.compiled:
            return metrics
        log = self._training.log
        return [*log.totals.values(), *log.trackers.values(), *metrics[1:]]

    def reset_metrics(self) -> None:
        """As in Keras; metrics with `reset_states`, its name in Keras 2, are reset by that."""
        super().reset_metrics()
        self._training.log.reset()
        reset_states([*self.metrics, *self.compiled_metrics.metrics])

    def get_metrics_result(self) -> dict[str, Any]:
        """Values of all metrics; inside a replica, those of all replicas together."""
        log = self._training.log
        several = self.distribute_strategy.num_replicas_in_sync > 1
        with log.of_all_replicas(self.metrics_variables) if several else contextlib.nullcontext():
            logs = log.logged(super().get_metrics_result())
        if running.current(log) is None and tf.executing_eagerly():
            end_epoch(self.compiled_metrics.metrics)
        if not log.training:
            return logs
        coefficients = [layer.logs() for layer in self._training.added]
        return {**logs, **{name: value for each in coefficients for name, value in each.items()}}

    # What is saved

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        layer = additions.terms_of(self)
        # A graph, and a sequence of layers, hold the layer of the terms themselves.
        if layer is not None and "layers" not in config:
            config["added_terms"] = layer.get_config()["terms"]
        self._training.config_was_read = True
        return config

    def get_build_config(self) -> dict[str, Any] | None:
        """As in Keras, which asks for it right after `get_config`, to save or to clone."""
        layer, was_read = additions.terms_of(self), self._training.config_was_read
        self._training.config_was_read = False
        if layer is not None and not was_read:
            warnings.warn(
                f"Added terms {[term.name for term in layer.terms]} are not saved: "
                f"`{type(self).__name__}.get_config` leaves out what `super().get_config()` "
                "gives. Begin it with that; a constructor that adds them itself still may.",
                stacklevel=2,
            )
        build_config: dict[str, Any] | None = super().get_build_config()
        return build_config

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> LossAwareModel:
        """The model, with the terms that were added to it."""
        config = dict(config)
        saved = config.pop("added_terms", ())
        model: LossAwareModel = super().from_config(config, custom_objects=custom_objects)
        layer = additions.terms_of(model)
        if layer is not None:
            layer.belongs_to(model)
        if saved:
            additions.restore(model, saved)
        return model

    def __setattr__(self, name: str, value: Any) -> None:
        # A `tf.Variable` as an attribute is meant to be a weight of the model.
        if isinstance(value, tf.Variable):
            value = compat.as_weight(value, name)
        super().__setattr__(name, value)

    # What users may ask

    @property
    def accumulated_variables(self) -> dict[str, keras.Variable]:
        """The sums of gradients of an open group of steps, by name: state of a training."""
        accumulation = self._training.accumulation
        return {} if accumulation is None else accumulation.variables

    @property
    def trained_weights(self) -> list[keras.Variable]:
        """The weights that a step trains: of all, those that `trains`, or an objective, names."""
        every = [
            trained_weights(self, part.trains) for aim in self._plan.aims for part in aim.parts
        ]
        return list({id(weight): weight for each in every for weight in each}.values())

    @property
    def loss_weight_variables(self) -> dict[str, keras.Variable]:
        """The variables among `loss_weights`, by name: state of a training beside the weights."""
        return self._training.losses.weights.variables

    @property
    def term_weights(self) -> dict[str, Any]:
        """The loss weight of each logged term, by name, once a step has run.

        A number, or the variable that `compile` was given. Not in here are `regularization`,
        which weighs 1, and a single compiled loss, which is no term of its own: it is logged
        as `loss`. A weight that is trained is logged as `<term>_weight`, and multiplies the
        given one, which is in here.
        """
        of_term = self._training.losses.weights.of_term
        given = {
            name: of_term(name) if isinstance(weight, tf.Tensor) else weight
            for name, weight in self._training.log.logged_weights.items()
        }
        return {name: 1.0 if weight is None else weight for name, weight in given.items()}

    @property
    def compiled_loss(self) -> CompiledLoss:
        """Keras 2's `compiled_loss(y, y_pred, sample_weight, regularization_losses)`."""
        return CompiledLoss(self)

    @property
    def compiled_metrics(self) -> CompiledMetrics:
        """Keras 2's `compiled_metrics`, with its `update_state(y, y_pred, sample_weight)`."""
        return CompiledMetrics(self)

    # The pieces

    @property
    def _plan(self) -> Plan:
        """What is decided before the first batch; made anew after `compile` and `add_loss`."""
        if self._training.plan is None:
            self._training.plan = self._decide()
        return self._training.plan

    def _decide(self) -> Plan:
        training, cls = self._training, type(self)
        own_loss = cls.compute_loss is not LossAwareModel.compute_loss
        fills_hook = cls.compute_losses is not LossAwareModel.compute_losses
        by_layers = {id(m) for layer in self.layers for m in layer.metrics}
        weigh_by_rows([metric for metric in self.metrics if id(metric) not in by_layers])
        own_metrics = self._own_metric_names()
        alone = self.distribute_strategy.num_replicas_in_sync == 1
        training.log.loss_is_users = own_loss and alone and WHOLE in own_metrics
        if cls.train_step is LossAwareModel.train_step:
            users = {WHOLE} if training.log.loss_is_users else set[str]()
            names.require_metrics(own_metrics - users, training.parts)
        training.log.taken = (
            names.RESERVED | names.of_parts(training.parts) | self._metric_names()
        )
        training.added = additions.all_terms_of(self)
        fitting.require_nothing_added(self, training.added, training.parts)
        training.losses.shares_targets = fills_hook
        output_names = getattr(self, "output_names", None)
        if self.built and isinstance(self, compat.functional_class()):
            training.losses.expect(self.output, output_names)
        return Plan(
            side_inputs=frozenset(self.side_inputs) | training.side_inputs,
            row_mask=ROW_MASK,
            compiled=training.losses,
            aims=tuple(
                self._aim(name, objective, fills_hook=fills_hook)
                for name, objective in self._objectives().items()
            ),
            losses_of_calls=functools.partial(compat.losses_of_calls, self),
            own_loss=self.compute_loss if own_loss else None,
            output_names=output_names,
            waits=frozenset(training.waits if self.steps_per_execution == 1 else ()),
            begin_again=frozenset(training.begin_again),
            log=training.log,
        )

    def _forward(self, x: Any, step: running.Running, *, training: bool) -> Any:
        if isinstance(self, compat.functional_class()) and not self._may_read_x():
            names = {*self.side_inputs, *self._training.side_inputs, ROW_MASK}
            side_inputs.warn_of_unread(x, names, self.input)
        # Layers are told by it even where `call` of the model does not name it.
        whole = functools.partial(self, x, training=training)
        return padding.masked_outputs(
            self._in_micro_batches(x, step, whole, training=training), step.row_mask
        )

    def _in_micro_batches(
        self, x: Any, step: running.Running, whole: Callable[[], Any], *, training: bool
    ) -> Any:
        """The output of the network, which sees some rows at a time where `compile` says so."""
        micro_batches = self._training.micro_batches
        if micro_batches is None or (training and step.tape is None):
            return whole()
        fitting.require_layers_of(micro_batches.alone, compat.sublayers(self))
        network = self._network_inputs(x) if isinstance(x, Mapping) else x
        added = [layer.metrics_of_call for layer in self._training.added]
        passes = Passes(self, micro_batches, network, [*self._call_metrics(), *added])
        if passes.is_whole:
            return whole()
        step.passes = passes
        return passes.forward(training=training, tape=step.tape)

    @property
    def _has_objectives(self) -> bool:
        """Whether a subclass says what its objectives are."""
        return type(self).objectives is not LossAwareModel.objectives

    def _objectives(self) -> Mapping[str, Objective]:
        objectives = self.objectives()
        require_objectives(objectives)
        return objectives

    def _aim(self, name: str, objective: Objective, *, fills_hook: bool) -> Aim:
        """An objective as the step follows it."""
        parts = parts_of(self, name, objective)
        call_metrics, hook = self._call_metrics(), functools.partial(called, objective)
        if self._has_objectives:
            added_by = functools.partial(added_by_networks, self, call_metrics)
            return Aim(name, objective, parts, hook, nothing_added, added_by)
        added = functools.partial(added_of, self, self._training.added, call_metrics)
        return Aim(name, objective, parts, hook if fills_hook else None, added)

    def _state_before(self) -> StateBefore:
        """The state of metrics that only a subclass, or a layer of it, can update."""
        compiled = compat.compile_metrics(self)
        of_library = [compat.loss_tracker(self), *(compiled.metrics if compiled else ())]
        known = {id(metric) for metric in (*of_library, compiled)}
        return StateBefore(m for m in super().metrics if id(m) not in known)

    def _logs(
        self, batch: Batch, y_pred: Any, before: StateBefore, *, training: bool
    ) -> dict[str, Any]:
        """Updates the metrics, and returns what is logged so far."""
        logs = self.compute_metrics(batch.x, batch.y, y_pred, sample_weight=batch.sample_weight)
        log = self._training.log
        step = running.current(log)
        if step is not None and not step.is_within_own:
            log.not_updated[training] = before.untouched()
            log.require_loss_updated(training)
            logs = {name: logs[name] for name in logs if name not in log.unlogged}
        if self.distribute_strategy.num_replicas_in_sync == 1:
            return logs
        return compat.reducible_logs(logs, self.distribute_strategy)

    def _may_read_x(self) -> bool:
        """Whether a subclass gets the whole `x` of a batch, and may read any entry."""
        methods = ("compute_losses", "compute_loss", "compute_metrics", "train_step", "test_step")
        own, cls = LossAwareModel, type(self)
        return any(getattr(cls, name) is not getattr(own, name) for name in methods)

    def _network_inputs(self, x: Mapping[str, Any]) -> Any:
        functional = isinstance(self, compat.functional_class())
        return side_inputs.network_inputs(
            x,
            {*self.side_inputs, *self._training.side_inputs, ROW_MASK},
            declared=self.input if functional else None,
            single=isinstance(self, keras.Sequential),
        )

    def _call_metrics(self) -> list[dict[str, tf.Tensor]]:
        """Where this model, and those inside it, put what `call` passes to `add_metric`."""
        inner = [one for one in compat.sublayers(self) if isinstance(one, LossAwareModel)]
        return [model._training.call_metrics for model in (self, *inner)]

    def _metric_names(self) -> set[str]:
        """What metrics are logged under: with the name of their output where there are more."""
        compiled = self._training.metric_names
        if not (self.built and isinstance(self, compat.functional_class())):
            return self._own_metric_names() | compiled
        paths = keras.tree.flatten_with_path(self.output)
        outputs = [*self.output_names, *("/".join(map(str, path)) for path, _ in paths)]
        by_output = {f"{output}_{name}" for output in outputs for name in compiled}
        return self._own_metric_names() | compiled | (by_output if len(paths) > 1 else set())

    def _own_metric_names(self) -> set[str]:
        """Names of the metrics that belong to the model and its layers."""
        tracker = compat.loss_tracker(self)
        return {metric.name for metric in super().metrics if metric is not tracker}

    def _epoch_kept(self, unless: bool = False) -> contextlib.AbstractContextManager[None]:
        if unless:
            return contextlib.nullcontext()
        return fitting.epoch_kept(self, self._training.log)

    @contextlib.contextmanager
    def _run(self, arrays: Arrays, method: str, steps: int | None) -> Iterator[None]:
        """While `fit` or `evaluate` runs."""
        training, is_fit = self._training, method == "fit"
        inner = not is_fit and training.log.fitting
        names = training.readers.query_ids if is_fit else training.readers.of_losses
        log = training.log
        with fitting.of_one_thread(training, method):
            self._compile_by_shapes(arrays.x, "train_function" if is_fit else "test_function")
            self._hold_back_steps(arrays.x, steps, training=is_fit)
            with log.cuts.of_run(arrays, names, training=is_fit, inner=inner):
                yield

    def _compile_by_shapes(self, x: Any, function: str) -> None:
        """With `jit_compile="auto"`, has XLA compile steps only if their shapes stay."""
        training = self._training
        if not training.jit_compile_auto or self.run_eagerly:
            return
        alone = self.distribute_strategy.num_replicas_in_sync == 1  # XLA cannot exchange numbers
        keep = has_few_shapes(x) or compat.shapes_are_static(x)
        self.jit_compile = alone and keep and compat.compiles_by_itself(self)
        if training.compiled.setdefault(function, self.jit_compile) != self.jit_compile:
            training.compiled[function] = self.jit_compile
            setattr(self, function, None)

    def _hold_back_steps(self, x: Any, steps: int | None, *, training: bool) -> None:
        """Traces a kind of step anew once its data ask for it.

        Of unknown length, they have it held back until its batch is there.
        """
        asks = {
            "waits": not compat.length_is_known(x),
            "begin_again": compat.may_begin_again(x, steps),
        }
        for name, asked in asks.items():
            kinds: set[bool] = getattr(self._training, name)
            if asked and training not in kinds:
                kinds.add(training)
                self._training.plan = None
                setattr(self, "train_function" if training else "test_function", None)

    def _forget_function(self, name: str) -> None:
        """Traces a kind of step anew, after one that failed."""
        setattr(self, name, None)
        self._training.log.forget(training=name == "train_function")

    def _begin_group(self, by: str) -> None:
        """Begins a group of steps."""
        fitting.warn_of_dropped(self._training.accumulation, by)
        if self._training.accumulation is not None:
            self._training.accumulation.begin()

    def _forget_plan(self, accumulate_steps: int | None = None) -> None:
        """Decides anew before the next step; what was logged before may be logged no more."""
        before = self._training.accumulation
        steps = accumulate_steps or (1 if before is None else before.steps)
        by = "A change of the losses" if accumulate_steps is None else "`compile`"
        fitting.warn_of_dropped(before, by)
        self._training.accumulation = Accumulation(steps) if steps > 1 else None
        self._training.plan = None
        self.train_function = self.test_function = self.predict_function = None
        if self.compiled:
            training = self._training
            before, training.log = (
                training.log,
                Log(training.parts, training.conditional, of_terms=self._has_objectives),
            )
            self._training.log.trains_own_loss = before.trains_own_loss
            compat.set_loss_tracker(self, self._training.log.loss)


@compat.named_in_legacy_files
@keras.saving.register_keras_serializable("keras_trainsteps")
class LossAwareSequential(LossAwareModel, keras.Sequential):
    """A `keras.Sequential` that is a `LossAwareModel`.

    `keras.models.clone_model` gives a plain `keras.Sequential`, as for every subclass of it;
    `LossAwareSequential.from_config(model.get_config())` is a copy of this class.

    Args:
        layers: The layers, in order.
        trainable: As in `keras.Sequential`.
        name: Name of the model. Default: made by Keras.

    Example:

    >>> model = LossAwareSequential([keras.layers.Dense(1)])
    >>> model.compile("sgd", loss="mse")
    >>> history = model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    >>> sorted(history.history)
    ['loss']
    """

    def __init__(
        self,
        layers: Sequence[keras.layers.Layer] | None = None,
        trainable: bool = True,
        name: str | None = None,
    ) -> None:
        keras.Sequential.__init__(self, layers, trainable, name)
        self._begin()
