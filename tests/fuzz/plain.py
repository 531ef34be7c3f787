"""What a configuration must give, computed anew in float64 from what is documented.

The loss of a batch is the sum of its weighted terms and of what is added without a name. A term
is a total with a count. Over an epoch, and over steps that make one update, a term with a count
of its own is the sum of totals over the sum of counts, everything else the mean by rows.
"""

import numpy as np
import tensorflow as tf

from tests.fuzz.configurations import FEATURES, VOCABULARY, Data

RATE, MOMENTUM, CLIP, EPSILON = 0.05, 0.9, 0.3, 0.1
FACTOR = 0.1
NUMBER = 0.75


def initial_weights(c):
    """The weights before training, by layer and name, in float32."""
    generator = np.random.default_rng(c.seed + 2)
    width = 2 if c.body == "embedding" else FEATURES
    shapes = {"embedding/embeddings": (VOCABULARY, 2)} if c.body == "embedding" else {}
    shapes |= {"body/kernel": (width, 2), "body/bias": (2,)}
    for k, units in enumerate(c.units):
        shapes |= {f"head_{k}/kernel": (2, units), f"head_{k}/bias": (units,)}
    return {
        name: (0.7 * generator.normal(size=shape)).astype("float32")
        for name, shape in shapes.items()
    }


def names_of_compiled(c):
    """The names of the terms of `compile`, in the order of `losses`."""
    names = []
    every = [loss for losses in c.losses for loss in losses]
    if c.output_names[0] == "0" and len(set(every)) == len(every) > 1:
        return [f"{loss}_loss" for loss in every]
    for output, losses in zip(c.output_names, c.losses, strict=True):
        names += [f"{output}_loss" if len(c.units) > 1 else f"{loss}_loss" for loss in losses]
    return names


def names_of_terms(c):
    added = {"called_named": "called", "symbolic_named": "symbolic", "penalty": "penalty"}
    return [
        *names_of_compiled(c),
        *(f"hook_{name}" for name in c.hook),
        *(name for kind, name in added.items() if kind in c.added),
    ]


def loss_weights(c):
    """The weight of each term that is given one, by name."""
    names, compiled = names_of_terms(c), names_of_compiled(c)
    generator = np.random.default_rng(c.seed + 3)
    drawn = {name: round(float(generator.uniform(0.2, 2.0)), 3) for name in names}
    if c.loss_weights == "none":
        return {}
    if c.loss_weights == "number":
        return dict.fromkeys(compiled, NUMBER)
    if c.loss_weights in ("list", "outputs"):
        return {name: drawn[name] for name in compiled}
    return {name: drawn[name] for k, name in enumerate(names) if (c.seed + k) % 3}


def forward(c, weights, features):
    """The activations of the body, each output, and the mask."""
    mask = None
    if c.body == "embedding":
        mask = features != 0
        features = tf.gather(weights["embedding/embeddings"], features)
    elif c.body == "masking":
        mask = np.any(features != 0, axis=-1)
    hidden = tf.tanh(features @ weights["body/kernel"] + weights["body/bias"])
    outputs = [
        hidden @ weights[f"head_{k}/kernel"] + weights[f"head_{k}/bias"]
        for k in range(len(c.units))
    ]
    return hidden, outputs, mask


def values_of(loss, y, p):
    """The values of a loss: one per row, and step; one alone of a function that reduces."""
    error = p - y
    square = error**2
    each = {
        "mse": lambda: square,
        "mae": lambda: tf.abs(error),
        "log_cosh": lambda: tf.math.log(tf.cosh(error)),
        "huber": lambda: tf.where(
            tf.abs(error) <= 0.7, 0.5 * square, 0.7 * tf.abs(error) - 0.5 * 0.49
        ),
        "logits": lambda: tf.maximum(p, 0.0) - p * y + tf.math.log1p(tf.exp(-tf.abs(p))),
        "summed": lambda: square,
        "weighted_mean": lambda: square,
        "quartic": lambda: square**2 / (1 + square),
        "own_mean": lambda: square * (1 + y**2),
        "own_object": lambda: square * (2 + tf.sin(p)),
    }[loss]()
    return tf.reduce_mean(each) if loss == "own_mean" else tf.reduce_mean(each, axis=-1)


def expanded(weight, like):
    """One weight per value, of weights per row or per value."""
    if weight is None:
        return np.ones(like)
    return np.broadcast_to(weight.reshape(*weight.shape, *[1] * (len(like) - weight.ndim)), like)


def compiled_term(loss, y, p, weight, mask):
    """Total, count, and whether epochs average it by rows."""
    values = values_of(loss, y, p)
    shape = y.shape[:-1]  # of one value per row, and step
    weighed, kept = expanded(weight, shape), np.ones(shape) if mask is None else mask * 1.0
    if loss == "summed":
        return tf.reduce_sum(weighed * kept * values), 1.0, True
    if loss == "weighted_mean":
        return tf.reduce_sum(weighed * kept * values), np.sum(weighed * kept), False
    total = tf.reduce_sum(weighed * kept * values)
    return total, np.sum(kept), mask is None or loss == "own_mean"


class Batch:
    """The terms of one batch.

    Attributes:
        terms: By name, value as total and count, and whether epochs average it by rows.
        regularization: The sum of what has no name.
        sizes: By name of a term, or none, the total and the count that several batches add up.
        metrics: Sum and count of each metric.
    """

    def __init__(self, c, weights, data, rows):
        features = data.features[rows]
        if c.body != "embedding":
            features = features.astype("float64")
        targets = [target[rows].astype("float64") for target in data.targets]
        weighed = [None if w is None else w[rows].astype("float64") for w in data.weights]
        hidden, outputs, mask = forward(c, weights, features)
        self.rows = len(features)
        self.terms = {}
        names = iter(names_of_compiled(c))
        for losses, y, p, weight in zip(c.losses, targets, outputs, weighed, strict=True):
            for loss in losses:
                self.terms[next(names)] = compiled_term(loss, y, p, weight, mask)
        cost = data.cost[rows].astype("float64")
        for name in c.hook:
            self.terms[f"hook_{name}"] = hook_term(name, targets[0], outputs[0], weighed[0], cost)
        size = FACTOR * tf.reduce_mean(hidden**2)
        kernel = weights["body/kernel"]
        for kind, name, value in (
            ("called_named", "called", size),
            ("symbolic_named", "symbolic", size),
            ("penalty", "penalty", FACTOR * tf.reduce_sum(kernel**2)),
        ):
            if kind in c.added:
                self.terms[name] = value, 1.0, True
        unnamed = {
            "called": size,
            "symbolic": size,
            "penalty_unnamed": FACTOR * tf.reduce_sum(tf.abs(kernel)),
            "regularizer": FACTOR * tf.reduce_sum(kernel**2),
            "activity": FACTOR * tf.reduce_sum(hidden**2) / self.rows,
        }
        self.regularization = sum(unnamed[kind] for kind in c.added if kind in unnamed)
        self.sizes = {"": (self.rows * self.regularization, self.rows)}
        for name, (total, count, is_by_rows) in self.terms.items():
            by_rows = self.rows * ratio(total, count), self.rows
            self.sizes[name] = by_rows if is_by_rows else (total, count)
        self.metrics = {}
        if c.metrics:
            kept = np.ones(targets[0].shape[:-1]) if mask is None else mask * 1.0
            weight = kept * expanded(weighed[0], kept.shape)
            for name, loss, each in (("mae", "mae", kept), ("wse", "mse", weight)):
                values = values_of(loss, targets[0], outputs[0]).numpy()
                self.metrics[name] = np.sum(each * values), np.sum(each)


def ratio(total, count):
    return total / count if count else 0.0 * total


def hook_term(name, y, p, weight, cost):
    square = (p - y) ** 2
    values = tf.reduce_mean(square, axis=-1)
    weighed = expanded(weight, y.shape[:-1])
    if name == "term":
        return tf.reduce_sum(square), np.sum(1.0 + (y > 0)), False
    if name == "weighted_term":
        return tf.reduce_sum(weighed * values), np.sum(weighed), False
    if name == "scalar":
        return tf.reduce_mean(tf.abs(p)), 1.0, True
    if name == "side":
        values = expanded(cost, y.shape[:-1]) * values
    return tf.reduce_sum(weighed * values), float(np.prod(y.shape[:-1])), True


def logs_of(c, batches):
    """The logs of an epoch."""
    weights = loss_weights(c)
    rows = np.array([batch.rows for batch in batches], "float64")

    def by_rows(values):
        return float(np.sum(rows * np.array([float(value) for value in values])) / np.sum(rows))

    logs, loss = {}, 0.0
    for name, (_, _, is_by_rows) in batches[0].terms.items():
        totals = [float(batch.terms[name][0]) for batch in batches]
        counts = [float(batch.terms[name][1]) for batch in batches]
        if is_by_rows:
            pairs = zip(totals, counts, strict=True)
            logs[name] = by_rows([ratio(*pair) for pair in pairs])
        else:
            logs[name] = ratio(sum(totals), sum(counts))
        loss += weights.get(name, 1.0) * logs[name]
    regularization = by_rows([batch.regularization for batch in batches])
    loss += regularization
    if c.loss_weights == "variables":
        logs |= {f"{name}_weighted": weights[name] * logs[name] for name in weights}
    if len(batches[0].terms) == 1 and names_of_compiled(c):
        logs = {}  # the one compiled loss is logged as `loss`
    has_regularization = set(c.added) - {"called_named", "symbolic_named", "penalty"}
    if has_regularization:
        logs["regularization"] = regularization
    for name in batches[0].metrics:
        parts = [batch.metrics[name] for batch in batches]
        logs[name] = ratio(sum(part[0] for part in parts), sum(part[1] for part in parts))
    return {**logs, "loss": loss}


class Optimizer:
    """Gradient descent, with momentum, with clipped gradients, or Adam."""

    def __init__(self, kind):
        self.kind, self.step, self.state = kind, 0, {}

    def update(self, weights, gradients):
        self.step += 1
        if self.kind == "global_clipnorm":
            norm = np.sqrt(sum(np.sum(g**2) for g in gradients.values()))
            gradients = {n: g * min(1.0, CLIP / max(norm, 1e-30)) for n, g in gradients.items()}
        for name, gradient in gradients.items():
            if self.kind == "clipnorm":
                norm = np.sqrt(np.sum(gradient**2))
                gradient = gradient * min(1.0, CLIP / max(norm, 1e-30))
            if self.kind == "clipvalue":
                gradient = np.clip(gradient, -CLIP, CLIP)
            before = self.state.get(name, (0.0, 0.0))
            if self.kind == "adam":
                first = before[0] + 0.1 * (gradient - before[0])
                second = before[1] + 0.001 * (gradient**2 - before[1])
                self.state[name] = first, second
                scale = np.sqrt(1 - 0.999**self.step) / (1 - 0.9**self.step)
                change = -RATE * scale * first / (np.sqrt(second) + EPSILON)
            elif self.kind == "momentum":
                change = MOMENTUM * before[0] - RATE * gradient
                self.state[name] = change, 0.0
            else:
                change = -RATE * gradient
            weights[name].assign_add(change)


class Group:
    """The batches that make one update: sums of counts, and of the gradients of totals."""

    def __init__(self):
        self.steps, self.counts, self.gradients = 0, {}, {}

    def add(self, tape, batch, weights):
        self.steps += 1
        for term, (total, count) in batch.sizes.items():
            self.counts[term] = self.counts.get(term, 0.0) + count
            found = tape.gradient(total, weights) if tf.is_tensor(total) else {}
            for name, gradient in found.items():
                if gradient is not None:
                    key = term, name
                    dense = tf.convert_to_tensor(gradient).numpy()
                    self.gradients[key] = self.gradients.get(key, 0.0) + dense

    def update(self, optimizer, weights, of_terms):
        """Updates the weights by what is there, if any."""
        found = {}
        for (term, name), gradient in self.gradients.items():
            part = of_terms.get(term, 1.0) * ratio(gradient, self.counts[term])
            found[name] = found.get(name, 0.0) + part
        if self.steps:
            optimizer.update(weights, found)
        self.__init__()


def trained(c):
    """Logs of every epoch (or batch), of `evaluate`, and the weights."""
    start = initial_weights(c)
    weights = {name: tf.Variable(value.astype("float64")) for name, value in start.items()}
    data, other = Data(c, c.rows, c.seed), Data(c, c.rows + 1, c.seed + 1)
    of_terms = loss_weights(c)
    optimizer = Optimizer(c.optimizer)

    def evaluated():
        size = other.rows if c.source == "on_batch" else c.batch_size
        return logs_of(c, [Batch(c, weights, other, rows) for rows in slices(other.rows, size)])

    logs, group = [], Group()
    for _ in range(c.epochs):
        batches = []
        for rows in slices(data.rows, c.batch_size):
            with tf.GradientTape(persistent=True) as tape:
                batch = Batch(c, weights, data, rows)
            group.add(tape, batch, weights)
            if group.steps == c.accumulate_steps:
                group.update(optimizer, weights, of_terms)
            batches.append(batch)
        if c.source == "on_batch":
            logs += [logs_of(c, [batch]) for batch in batches]
        else:
            group.update(optimizer, weights, of_terms)
            logs.append(logs_of(c, batches))
            if c.validation:
                logs[-1] |= {f"val_{name}": value for name, value in evaluated().items()}
    group.update(optimizer, weights, of_terms)
    return logs, evaluated(), {name: weight.numpy() for name, weight in weights.items()}


def slices(rows, size):
    return [slice(first, min(first + size, rows)) for first in range(0, rows, size)]
