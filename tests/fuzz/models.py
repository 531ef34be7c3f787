"""A configuration, built and trained with the library."""

import functools
import operator
import warnings

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_trainsteps import LossAwareModel, LossAwareSequential, LossTerm
from tests.fuzz import plain
from tests.fuzz.configurations import FEATURES, STEPS, STRUCTURES, VOCABULARY, Data

OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(plain.RATE),
    "momentum": lambda: keras.optimizers.SGD(plain.RATE, momentum=plain.MOMENTUM),
    "clipnorm": lambda: keras.optimizers.SGD(plain.RATE, clipnorm=plain.CLIP),
    "global_clipnorm": lambda: keras.optimizers.SGD(plain.RATE, global_clipnorm=plain.CLIP),
    "clipvalue": lambda: keras.optimizers.SGD(plain.RATE, clipvalue=plain.CLIP),
    "adam": lambda: keras.optimizers.Adam(plain.RATE, epsilon=plain.EPSILON),
}


def quartic(y_true, y_pred):
    """One value per row, and step."""
    square = ops.square(y_pred - y_true)
    return ops.mean(ops.square(square) / (1 + square), axis=-1)


def own_mean(y_true, y_pred):
    """A function that reduces by itself."""
    return ops.mean(ops.square(y_pred - y_true) * (1 + ops.square(y_true)))


class OwnObject(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_pred - y_true) * (2 + ops.sin(y_pred)), axis=-1)


LOSSES = {
    "mse": lambda: "mse",
    "mae": lambda: "mae",
    "log_cosh": lambda: "log_cosh",
    "huber": lambda: keras.losses.Huber(delta=0.7, name="huber"),
    "logits": lambda: keras.losses.BinaryCrossentropy(from_logits=True, name="logits"),
    "summed": lambda: keras.losses.MeanSquaredError(reduction="sum", name="summed"),
    "weighted_mean": lambda: keras.losses.MeanSquaredError(
        reduction="mean_with_sample_weight", name="weighted_mean"
    ),
    "quartic": lambda: quartic,
    "own_mean": lambda: own_mean,
    "own_object": lambda: OwnObject(name="own_object"),
}


# Where the first output stands.
FIRST = {"alone": (), "dict": ("z",), "dict of three": ("m",), "nested dict": ("p", 0)}


class Network:
    """The layers of a configuration, and what they do with its inputs."""

    def __init__(self, c):
        weights = plain.initial_weights(c)

        def dense(name, units, **options):
            return keras.layers.Dense(
                units,
                name=name,
                kernel_initializer=keras.initializers.Constant(weights[f"{name}/kernel"]),
                bias_initializer=keras.initializers.Constant(weights[f"{name}/bias"]),
                **options,
            )

        self.first = []
        if c.body == "embedding":
            table = keras.initializers.Constant(weights["embedding/embeddings"])
            self.first = [
                keras.layers.Embedding(VOCABULARY, 2, table, mask_zero=True, name="embedding")
            ]
        if c.body == "masking":
            self.first = [keras.layers.Masking(0.0)]
        options = {}
        if "regularizer" in c.added:
            options["kernel_regularizer"] = keras.regularizers.L2(plain.FACTOR)
        if "activity" in c.added:
            options["activity_regularizer"] = keras.regularizers.L2(plain.FACTOR)
        self.body = dense("body", 2, activation="tanh", **options)
        self.heads = [dense(f"head_{k}", units) for k, units in enumerate(c.units)]
        self.configuration = c

    @property
    def layers(self):
        return [*self.first, self.body, *self.heads]

    def hidden(self, inputs):
        if isinstance(inputs, dict):
            inputs = list(inputs.values()) if len(inputs) == 1 else [inputs["z"], inputs["b"]]
        if isinstance(inputs, (list, tuple)):
            inputs = inputs[0] if len(inputs) == 1 else ops.concatenate(inputs, axis=-1)
        for layer in self.first:
            inputs = layer(inputs)
        return self.body(inputs)

    def outputs(self, hidden):
        return self.configuration.in_structure([head(hidden) for head in self.heads])


def built(c):
    """The model, not compiled."""
    network = Network(c)
    base = LossAwareSequential if c.kind == "sequential" else LossAwareModel
    members = {"side_inputs": ("cost",) if "side" in c.hook else ()}
    if c.hook:
        members["compute_losses"] = hook_of(c)
    if c.kind == "subclassed":
        members |= methods_of(c, network)
    cls = type("Drawn", (base,), members)
    if c.kind == "sequential":
        model = cls(network.layers)
    elif c.kind == "subclassed":
        model = cls()
        model.network_layers = network.layers
    else:
        inputs = symbolic_inputs(c)
        hidden = network.hidden(inputs)
        model = cls(inputs, network.outputs(hidden))
        value = plain.FACTOR * ops.mean(ops.square(hidden))
        if "symbolic" in c.added:
            model.add_loss(value)
        if "symbolic_named" in c.added:
            model.add_loss(value, name="symbolic")
    if "penalty" in c.added:
        model.add_loss(
            lambda: plain.FACTOR * ops.sum(ops.square(network.body.kernel)), name="penalty"
        )
    if "penalty_unnamed" in c.added:
        model.add_loss(lambda: plain.FACTOR * ops.sum(ops.abs(network.body.kernel)))
    return model, network


def methods_of(c, network):
    """`call` of a subclassed model, with or without the argument `training`."""

    def forward(self, inputs):
        hidden = network.hidden(inputs)
        value = plain.FACTOR * ops.mean(ops.square(hidden))
        if "called" in c.added:
            self.add_loss(value)
        if "called_named" in c.added:
            self.add_loss(value, name="called")
        return network.outputs(hidden)

    def call(self, inputs, training=False):
        return forward(self, inputs)

    return {"call": forward if c.seed % 2 else call}


def symbolic_inputs(c):
    if c.body == "embedding":
        one = keras.Input((STEPS,), dtype="int32", name="z")
    else:
        shape = (STEPS, FEATURES) if c.by_steps else (FEATURES,)
        one = keras.Input(shape, name="z")
    if c.inputs == "array":
        return one
    if c.inputs == "dict":
        return {"z": one}
    two = [keras.Input((2,), name="z"), keras.Input((1,), name="b")]
    return two if c.inputs == "pair" else {"z": two[0], "b": two[1]}


def hook_of(c):
    """`compute_losses` of a configuration."""

    def first_of(structure):
        if isinstance(structure, dict) and "head_0" in structure:
            return structure["head_0"]
        return functools.reduce(operator.getitem, FIRST.get(c.structure, (0,)), structure)

    def compute_losses(self, x, y, y_pred, sample_weight=None, training=True):
        y, y_pred = first_of(y), first_of(y_pred)
        square = ops.square(y_pred - y)
        values = ops.mean(square, axis=-1)
        weights = ops.ones_like(values) if sample_weight is None else sample_weight
        if len(weights.shape) < len(values.shape):
            weights = weights[:, None] * ops.ones_like(values)
        every = {
            "rows": lambda: values,
            "term": lambda: LossTerm(ops.sum(square), ops.sum(1 + ops.cast(y > 0, "float32"))),
            "weighted_term": lambda: LossTerm(ops.sum(weights * values), ops.sum(weights)),
            "scalar": lambda: ops.mean(ops.abs(y_pred)),
            "side": lambda: (x["cost"][:, None] if c.by_steps else x["cost"]) * values,
        }
        return {f"hook_{name}": every[name]() for name in c.hook}

    return compute_losses


def compiled_loss(c):
    """The `loss` of `compile`."""
    if not any(c.losses):
        return None
    if c.loss_form == "one":
        return LOSSES[c.losses[0][0]]()
    each = [[LOSSES[name]() for name in names] for names in c.losses]
    each = [None if not of else of[0] if len(of) == 1 else of for of in each]
    if c.loss_form == "names":
        return {f"head_{k}": loss for k, loss in enumerate(each) if loss is not None}
    if c.loss_form == "flat" and isinstance(STRUCTURES[c.structure], (list, tuple)):
        return each
    return c.in_structure(each)


def compiled_weights(c):
    """The `loss_weights` of `compile`."""
    weights = plain.loss_weights(c)
    compiled = plain.names_of_compiled(c)
    if c.loss_weights == "none" or not weights:
        return None
    if c.loss_weights == "number":
        return plain.NUMBER
    if c.loss_weights == "list":
        return [weights[name] for name in compiled]
    if c.loss_weights == "outputs":
        values = [weights[name] for name in compiled]
        if isinstance(STRUCTURES[c.structure], dict) or c.kind != "functional":
            return c.in_structure(values)
        return dict(zip(c.output_names, values, strict=True))
    if c.loss_weights == "variables":
        return {
            name: keras.Variable(value, trainable=False, dtype="float32")
            for name, value in weights.items()
        }
    return weights


def inputs_of(c, data):
    """The `x` of these data."""
    parts = {"z": data.features}
    if c.inputs in ("pair", "dict of two"):
        parts = {"z": data.features[:, :2], "b": data.features[:, 2:]}
    if c.inputs == "array":
        return data.features
    if c.inputs == "pair":
        return [parts["z"], parts["b"]]
    return {**parts, "cost": data.cost} if "side" in c.hook else parts


def targets_of(c, leaves):
    if c.targets_by_name:
        return {f"head_{k}": leaf for k, leaf in enumerate(leaves)}
    return c.in_structure(leaves)


def arrays_of(c, data):
    """`x`, `y` and `sample_weight`."""
    x, y = inputs_of(c, data), targets_of(c, data.targets)
    if c.sample_weight == "none":
        return x, y, None
    if c.sample_weight == "outputs":
        return x, y, targets_of(c, data.weights)
    return x, y, data.weights[0]


def batches_of(c, arrays):
    """These arrays as `fit` shall get them: keywords of `fit` and `evaluate`."""
    x, y, weight = arrays
    if c.source in ("arrays", "on_batch"):
        return {"x": x, "y": y, "sample_weight": weight, "batch_size": c.batch_size}
    parts = (x, y) if weight is None else (x, y, weight)
    parts = as_tuples(parts)
    if c.source == "dataset":
        return {"x": tf.data.Dataset.from_tensor_slices(parts).batch(c.batch_size)}
    return {"x": (part for part in pieces(parts, c.batch_size))}


def pieces(arrays, size):
    """The batches of arrays, in their order."""
    rows = len(keras.tree.flatten(arrays)[0])
    for first in range(0, rows, size):
        piece = slice(first, first + size)
        yield keras.tree.map_structure(operator.itemgetter(piece), arrays)


def as_tuples(structure):
    """Lists would become one tensor in a dataset, and are refused by Keras in a generator."""
    if isinstance(structure, dict):
        return {key: as_tuples(each) for key, each in structure.items()}
    if isinstance(structure, (list, tuple)):
        return tuple(as_tuples(each) for each in structure)
    return structure


def trained(c):
    """What the library gives: logs of every epoch (or batch), of `evaluate`, and the weights."""
    keras.backend.clear_session(free_memory=False)
    model, network = built(c)
    metrics = {}
    if c.metrics:
        metrics = {
            "metrics": ["mae"],
            "weighted_metrics": [keras.metrics.MeanSquaredError("wse")],
        }
    model.compile(
        OPTIMIZERS[c.optimizer](),
        loss=compiled_loss(c),
        loss_weights=compiled_weights(c),
        run_eagerly=c.mode == "eager",
        jit_compile=c.mode == "xla",
        steps_per_execution=c.steps_per_execution,
        micro_batch_size=c.micro_batch_size,
        accumulate_steps=c.accumulate_steps,
        **metrics,
    )
    data, other = Data(c, c.rows, c.seed), Data(c, c.rows + 1, c.seed + 1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Your input ran out of data")
        warnings.filterwarnings("ignore", "Gradients do not exist")  # of an output with no loss
        if c.source == "on_batch":
            logs = [
                model.train_on_batch(*piece, return_dict=True)
                for _ in range(c.epochs)
                for piece in pieces(without_none(arrays_of(c, data)), c.batch_size)
            ]
            model.apply_accumulated_gradients()
            last = model.test_on_batch(*without_none(arrays_of(c, other)), return_dict=True)
        else:
            validation = {}
            if c.validation:
                given = without_none(arrays_of(c, other))
                validation = {"validation_data": given, "validation_batch_size": c.batch_size}
            history = model.fit(
                **batches_of(c, arrays_of(c, data)),
                **validation,
                epochs=c.epochs,
                shuffle=False,
                verbose=0,
            ).history
            logs = [{name: history[name][k] for name in history} for k in range(c.epochs)]
            last = model.evaluate(
                **batches_of(c, arrays_of(c, other)), verbose=0, return_dict=True
            )
    weights = {
        f"{layer.name}/{variable.name}": variable.numpy()
        for layer in network.layers
        for variable in layer.weights
    }
    logs = [{name: float(np.asarray(value)) for name, value in each.items()} for each in logs]
    return logs, {name: float(np.asarray(value)) for name, value in last.items()}, weights


def without_none(parts):
    return parts[:2] if parts[2] is None else parts
