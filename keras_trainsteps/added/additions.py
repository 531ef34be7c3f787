"""`add_loss`, `add_metric` and `remove_term`: terms that are not in the hook or `compile`."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.added import graph as added_graph
from keras_trainsteps.added.layer import AddedTerms
from keras_trainsteps.added.term import AddedTerm, Kind, require_source
from keras_trainsteps.fitting import EntryPoints
from keras_trainsteps.penalties.base import Penalty
from keras_trainsteps.step import names as log_names
from keras_trainsteps.step.terms import named_loss
from keras_trainsteps.structure.network import network_output

_calls = threading.local()  # replicas run in threads of their own


class Additions(EntryPoints):
    """A model to which losses and metrics can be added one by one."""

    output_names: list[str]
    _symbolic: dict[str, keras.KerasTensor]  # the added tensors of the graph, by name

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._adopt_graph()

    def add_loss(self, loss: Any, *, name: str | None = None) -> None:
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
        if _is_called(self):
            for each in losses:
                tensor = tf.convert_to_tensor(each() if callable(each) else each)
                keras.layers.Layer.add_loss(
                    self, tensor if name is None else named_loss(tensor, name)
                )
            return
        for each in losses:
            self._add("loss", each, name)

    def add_metric(self, value: Any, *, name: str, aggregation: str = "mean") -> None:
        """Adds a metric that does not come from targets and `y_pred`.

        Args:
            value: A `KerasTensor` of a Functional model's graph, or a function without
                arguments.
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
        self._add("metric", value, name)

    def remove_term(self, name: str) -> None:
        """Removes what `add_loss` or `add_metric` added under `name`.

        Raises:
            ValueError: For a name under which nothing was added, or a call while `fit` runs.
        """
        layer = self._added_terms
        names = [term.name for term in layer.terms] if layer else []
        if layer is None or name not in names:
            raise ValueError(
                f"`name` must be one under which something was added. Received: {name!r}, "
                f"of {names}."
            )
        self._require_not_fitting()
        self._require_optimizer_takes(layer.named(name).source, None)
        symbolic = {key: value for key, value in self._symbolic.items() if key != name}
        if name in self._symbolic:
            self._put_into_graph(layer, symbolic)
        layer.remove(name)
        self._terms_changed()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        before = getattr(_calls, "models", ())
        _calls.models = (*before, id(self))
        try:
            return super().__call__(*args, **kwargs)
        finally:
            _calls.models = before

    def __setattr__(self, name: str, value: Any) -> None:
        # A `tf.Variable` as an attribute is meant to be a weight of the model.
        if isinstance(value, tf.Variable):
            value = compat.as_weight(value, name)
        super().__setattr__(name, value)

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """As `keras.Model.fit`."""
        if self.built:
            for layer in self._all_added_terms():
                layer.bind()
        return super().fit(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        # A graph, and a sequence of layers, hold the layer of the terms themselves.
        if self._added_terms is not None and "layers" not in config:
            config["added_terms"] = self._added_terms.get_config()["terms"]
        self.__dict__["_config_was_read"] = True
        return config

    def get_build_config(self) -> dict[str, Any] | None:
        """As in Keras, which asks for it right after `get_config`, to save or to clone."""
        if self._added_terms is not None and not self.__dict__.pop("_config_was_read", False):
            warnings.warn(
                f"Added terms {[term.name for term in self._added_terms.terms]} are not saved: "
                f"`{type(self).__name__}.get_config` leaves out what `super().get_config()` "
                "gives. Begin it with that; a constructor that adds them itself still may.",
                stacklevel=2,
            )
        build_config: dict[str, Any] | None = super().get_build_config()
        return build_config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Additions:
        """The model, with the terms that were added to it."""
        config = dict(config)
        saved = config.pop("added_terms", ())
        model = super().from_config(config, custom_objects=custom_objects)
        if model._added_terms is not None:
            model._added_terms.belongs_to(model)
        if saved:
            model._restore(saved)
        return model

    # How it is kept

    @property
    def _added_terms(self) -> AddedTerms | None:
        """The layer of the terms, once there is one."""
        return next((layer for layer in self.layers if isinstance(layer, AddedTerms)), None)

    def _all_added_terms(self) -> Iterator[AddedTerms]:
        """Those of this model and of the models inside it."""
        return (layer for layer in compat.sublayers(self) if isinstance(layer, AddedTerms))

    def _add(self, kind: Kind, source: Any, name: str | None) -> None:
        """Adds a term, or raises and changes nothing."""
        functional = isinstance(self, compat.functional_class())
        require_source(kind, source, functional)
        self._require_not_fitting()
        layer = self._added_terms or AddedTerms()
        missing = next((term for term in layer.missing if _fills(term, kind, name)), None)
        term_name = missing.name if missing else _checked_name(name, source, layer)
        symbolic = isinstance(source, keras.KerasTensor)
        term = AddedTerm(term_name, kind, None if symbolic else source, name is not None)
        if kind == "loss":
            self._require_optimizer_takes(source, missing)
        layer.belongs_to(self)
        if missing:
            layer.replace(missing, term)
        else:
            layer.add(term)
        try:
            if self.built and self.weights and not symbolic:
                layer.function(term)  # refuses what could not train
            if functional and (symbolic or self._added_terms is None):
                added = {term_name: source} if symbolic else {}
                self._put_into_graph(layer, {**self._symbolic, **added})
        except Exception:
            if missing:
                layer.replace(term, missing)
            else:
                layer.remove(term_name)
            raise
        if self._added_terms is None:
            self._attach(layer)
        self._terms_changed()

    def _attach(self, layer: AddedTerms) -> None:
        """Makes `layer` a layer of a model without a graph of its own."""
        if isinstance(self, keras.Sequential):
            self.add(layer)
            return
        with compat.unlocked(self):
            self._added = layer

    def _put_into_graph(self, layer: AddedTerms, symbolic: dict[str, keras.KerasTensor]) -> None:
        """Makes `layer` the last of the graph, with these tensors beside the outputs."""
        names = list(self.output_names)
        grown = added_graph.grown(self, layer, symbolic)
        if self._optimizer_is_built():
            before, after = ([w.path for w in _trained(each)] for each in (self, grown))
            if before != after:
                raise ValueError(_FOR_NEW_OPTIMIZER.format(received=f"{after} after {before}"))
        compat.take_graph(self, grown)
        self.output_names = names
        self.__dict__["_symbolic"] = symbolic

    def _adopt_graph(self) -> None:
        """Takes over the terms of a graph that was loaded or cloned."""
        self.__dict__["_symbolic"] = {}
        if not isinstance(self, compat.functional_class()):
            return
        layer, self.__dict__["_symbolic"] = added_graph.added(self)
        if layer is None:
            return
        outputs = keras.tree.flatten(network_output(self))
        self.output_names = [tensor._keras_history.operation.name for tensor in outputs]
        layer.belongs_to(self)

    def _restore(self, saved: list[dict[str, Any]]) -> None:
        """Adds the terms of a file that the constructor has not added already."""
        layer = self._added_terms
        known = {term.name for term in layer.terms} if layer else set()
        new = [AddedTerm.from_config(config) for config in saved if config["name"] not in known]
        if layer is None:
            layer = AddedTerms()
            self._attach(layer)
        for term in new:
            layer.add(term)
        layer.belongs_to(self)

    def _coefficient_logs(self) -> dict[str, tf.Tensor]:
        """The trainable coefficients, as they are now."""
        return {
            name: value for one in self._all_added_terms() for name, value in one.logs().items()
        }

    def _terms_changed(self) -> None:
        self.train_function = self.test_function = self.predict_function = None

    def _require_not_fitting(self) -> None:
        if self._term_log.fitting:
            raise ValueError(
                "Losses and metrics must be added and removed before or after `fit`. "
                "Received: a call while it runs. To switch a term during training, give it a "
                "`keras.Variable` in `loss_weights`."
            )

    def _optimizer_is_built(self) -> bool:
        optimizer = getattr(self, "optimizer", None)
        return optimizer is not None and optimizer.built

    def _require_optimizer_takes(self, source: Any, missing: AddedTerm | None) -> None:
        wanted = set(source.coefficients) if isinstance(source, Penalty) else set()
        known = set(missing.source.coefficients) if missing else set()
        if wanted - known and self._optimizer_is_built():
            raise ValueError(_FOR_NEW_OPTIMIZER.format(received="a trainable coefficient"))


_FOR_NEW_OPTIMIZER = (
    "What changes the trainable weights must be added or removed before the optimizer has "
    "seen them. Received: {received}. Do it before `fit`, or `compile` with a new optimizer "
    "first."
)


def _trained(model: keras.Model) -> list[keras.Variable]:
    """The trainable weights of a graph, in its order."""
    return [weight for layer in model.layers for weight in layer.trainable_weights]


def _is_called(model: keras.Model) -> bool:
    """Whether a `call` of this model is running."""
    return not tf.executing_eagerly() or id(model) in getattr(_calls, "models", ())


def _fills(missing: AddedTerm, kind: Kind, name: str | None) -> bool:
    """Whether what is added now is what a file did not hold."""
    same = missing.name == name if name is not None else not missing.is_named
    return missing.kind == kind and same


def _checked_name(name: str | None, source: Any, layer: AddedTerms) -> str:
    if name is None and isinstance(source, Penalty) and source.coefficients:
        raise ValueError(
            "`name` is needed for a loss with trainable coefficients: they are saved and "
            "logged by it. Received: none."
        )
    return log_names.added(name, {term.name for term in layer.terms})
