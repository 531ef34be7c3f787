"""What `add_loss` and `add_metric` gave a model, as one layer of it.

The layer is the last of a Functional model's graph: it passes the outputs on and receives
the added tensors beside them, so that they come out of the one forward pass, and are cloned,
saved and loaded as every layer is. It owns the trainable coefficients, by name.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from keras_trainsteps import compat
from keras_trainsteps.added.checks import as_scalar, require_gradient
from keras_trainsteps.added.term import AddedTerm
from keras_trainsteps.penalties.base import Penalty
from keras_trainsteps.penalties.coefficients import TrainableCoefficient
from keras_trainsteps.penalties.not_saved import NotSaved
from keras_trainsteps.penalties.targets import locate, located, resolve
from keras_trainsteps.step.terms import as_loss, named_loss, over_size
from keras_trainsteps.structure.network import is_graph
from keras_trainsteps.structure.structure import structure_of


@keras.saving.register_keras_serializable("keras_trainsteps")
class AddedTerms(compat.LossLayer):
    """The added losses and metrics of one model.

    Args:
        terms: Configurations of terms, as `get_config` gives them.
        **kwargs: As in `keras.layers.Layer`.
    """

    part_of_network = False  # what `structure` asks

    def __init__(self, terms: Iterable[Mapping[str, Any]] = (), **kwargs: Any) -> None:
        # Outputs pass through in the dtype they have.
        super().__init__(**{"name": "added_terms", "dtype": "float32", **kwargs}, autocast=False)
        self.supports_masking = True
        # Past `__setattr__`: Keras would track what is in here once more.
        self.__dict__["terms"] = []
        self.__dict__["metrics_of_call"] = {}
        self.__dict__["_model"] = lambda: None
        for config in terms:
            self.add(AddedTerm.from_config(config))
        self.built = True

    # What is in it

    def belongs_to(self, model: keras.Model) -> None:
        """Says whose terms these are: where the weights of penalties are looked up."""
        self.__dict__["_model"] = weakref.ref(model)

    def add(self, term: AddedTerm) -> None:
        """Adds a term and creates its coefficients."""
        for key, coefficient in _coefficients(term.source).items():
            name = f"{term.name}_{key}"
            setattr(self, name, coefficient.create(self, name))
        self.terms.append(term)

    def replace(self, term: AddedTerm, other: AddedTerm) -> None:
        """Puts a term in the place of another; coefficients of the same name stay."""
        for key in set(_coefficients(term.source)) - set(_coefficients(other.source)):
            delattr(self, f"{term.name}_{key}")
        for key, coefficient in _coefficients(other.source).items():
            if key not in _coefficients(term.source):
                name = f"{other.name}_{key}"
                setattr(self, name, coefficient.create(self, name))
        self.terms[self.terms.index(term)] = other

    def remove(self, name: str) -> None:
        """Removes a term and its coefficients."""
        term = self.named(name)
        for key in _coefficients(term.source):
            delattr(self, f"{name}_{key}")
        self.terms.remove(term)

    def named(self, name: str) -> AddedTerm:
        """The term of that name."""
        return next(term for term in self.terms if term.name == name)

    def coefficients(self, term: AddedTerm) -> dict[str, keras.Variable]:
        """The trainable coefficients of a term."""
        return {key: getattr(self, f"{term.name}_{key}") for key in _coefficients(term.source)}

    @property
    def missing(self) -> list[AddedTerm]:
        """The terms that the file of a loaded model did not hold."""
        return [term for term in self.terms if isinstance(term.source, NotSaved)]

    # Values

    def call(self, outputs: Any, losses: Any = None, metrics: Any = None) -> Any:
        """Passes `outputs` on and takes the values of the tensors of the graph."""
        for name, value in (losses or {}).items():
            value = as_loss(value)
            value = value if value.shape.rank == 0 else over_size(value).value
            is_named = self.named(name).is_named
            self.add_loss(named_loss(value, name) if is_named else value)
        self.metrics_of_call.update(metrics or {})
        return outputs

    def compute_output_spec(self, outputs: Any, losses: Any = None, metrics: Any = None) -> Any:
        return keras.tree.map_structure(
            lambda tensor: keras.KerasTensor(tensor.shape, tensor.dtype), outputs
        )

    def bind(self) -> None:
        """Finds the weights of penalties, and refuses losses that could not train."""
        for term in self.terms:
            if term.function is None and not term.is_symbolic:
                term.function = self.function(term)

    def require_values(self) -> None:
        """Refuses to go on without a value for each tensor of the graph."""
        symbolic = [term for term in self.terms if term.is_symbolic]
        losses = [term for term in symbolic if term.kind == "loss"]
        seen = len(losses) <= len(compat.own_losses(self))
        if not seen or any(
            term.name not in self.metrics_of_call for term in symbolic if term.kind == "metric"
        ):
            raise ValueError(
                "Tensors of the graph were added to the model, and its `call` does not run "
                f"the graph. Received: {[term.name for term in symbolic]} without values. "
                "Compute them in `call`, and add them there."
            )

    def metric_values(self) -> dict[str, Any]:
        """The values of the added metrics, of any shape, after a forward pass."""
        return {
            term.name: self.metrics_of_call[term.name]
            if term.is_symbolic
            else self._value_of(term)
            for term in self.terms
            if term.kind == "metric"
        }

    def term_weights(self) -> dict[str, tf.Tensor]:
        """The trained weights of other terms, by name of term."""
        return {
            name: weight
            for term in self.terms
            if isinstance(term.source, Penalty)
            for name, weight in term.source.term_weights(self.coefficients(term)).items()
        }

    def logs(self) -> dict[str, tf.Tensor]:
        """The trainable coefficients as they are logged."""
        return {
            name: value
            for term in self.terms
            if isinstance(term.source, Penalty)
            for name, value in term.source.logs(term.name, self.coefficients(term)).items()
        }

    def current_losses(self) -> list[Any]:
        # A function is evaluated here and not in `call`, to see the weights as they are now.
        losses = compat.own_losses(self)
        for term in self.terms:
            if term.kind == "loss" and not term.is_symbolic:
                value = as_loss(as_scalar(term.name, self._value_of(term)))
                losses.append(named_loss(value, term.name) if term.is_named else value)
        return losses

    def _value_of(self, term: AddedTerm) -> tf.Tensor:
        if term.function is None:
            term.function = self.function(term)
        return tf.convert_to_tensor(term.function())

    def function(self, term: AddedTerm) -> Callable[[], Any]:
        """What gives the value of a term, checked to be something that trains."""
        source = term.source
        if isinstance(source, Penalty):
            coefficients, targets = self.coefficients(term), self._targets(term)
            function = source.bind(targets, coefficients)
            require_gradient(term.name, function, [*targets, *coefficients.values()])
            return function
        if not callable(source):
            number = float(source)
            return lambda: tf.constant(number)
        if term.kind == "loss":
            require_gradient(term.name, source)
        called: Callable[[], Any] = source
        return called

    # Where the weights are

    def _targets(self, term: AddedTerm) -> list[keras.Variable]:
        if not (term.source.weights or term.places):
            return []
        model = self._model()
        if model is None:
            raise ValueError(
                f"Added loss {term.name!r} reads weights, and the `LossAwareModel` that it "
                "was added to is gone. Received: its layer inside another model. Add the "
                "loss to that model."
            )
        weights = self._network_weights(model)
        if term.places is not None:
            return located(term.places, _named(model), model.name)
        targets = resolve(term.source.weights, weights, model.name)
        if targets:
            term.places = locate(targets, _named(model))
        return targets

    def _network_weights(self, model: keras.Model) -> list[keras.Variable]:
        own = {id(weight) for weight in self.weights}
        weights = [weight for weight in model.weights if id(weight) not in own]
        if not weights:
            raise ValueError(
                f"Penalties read weights, and the model {model.name!r} has none yet. Call it "
                "on a batch, or declare its input, before it is trained or saved."
            )
        return weights

    # Saving

    def get_config(self) -> dict[str, Any]:
        for term in self.terms:
            if isinstance(term.source, Penalty):
                self._targets(term)
        terms = [term.get_config() for term in self.terms]
        return {**super().get_config(), "terms": terms}

    def save_own_variables(self, store: Any) -> None:
        for weight in self.weights:
            store[weight.name] = weight.numpy()

    def load_own_variables(self, store: Any) -> None:
        expected, found = {weight.name for weight in self.weights}, set(store.keys())
        if found != expected:
            raise ValueError(
                "Trainable coefficients are loaded by name, and the names must be the same. "
                f"Received: a file without {sorted(expected - found)} and with "
                f"{sorted(found - expected)}. Add the losses under the names they were saved "
                "with."
            )
        for weight in self.weights:
            weight.assign(store[weight.name])


def _coefficients(source: Any) -> Mapping[str, TrainableCoefficient]:
    return source.coefficients if isinstance(source, Penalty) else {}


def _named(model: keras.Model) -> dict[str, keras.Variable]:
    """The weights of a model by names that a loaded or cloned one has, too.

    The layers of a graph keep their names. Those of another model are numbered anew, in the
    order of its constructor: there a weight is called by the attributes that hold it.
    """
    if is_graph(model):
        return {
            f"{layer.name}/{index}": weight
            for layer in model.layers
            for index, weight in enumerate(layer.weights)
        }
    return structure_of(model).weights
