"""What is drawn: a model, its losses and weights, its data, and how it runs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

STEPS, VOCABULARY, FEATURES = 3, 5, 3
STRUCTURES = {
    "alone": 0,
    "list": [0, 1],
    "tuple": (0, 1),
    "three": [0, 1, 2],
    "dict": {"z": 0, "a": 1},  # in another order than their names
    "dict of three": {"m": 0, "z": 1, "a": 2},
    "nested dict": {"p": [0, 1], "b": 2},
    "nested list": [0, [1, 2]],
}
LOSSES = ("mse", "mae", "log_cosh", "huber", "logits", "summed", "weighted_mean")
LOSSES += ("quartic", "own_mean", "own_object")
HOOK_TERMS = ("rows", "term", "weighted_term", "scalar", "side")
ADDED = ("regularizer", "activity", "called", "called_named", "symbolic", "symbolic_named")
ADDED += ("penalty", "penalty_unnamed")
OPTIMIZERS = ("sgd", "momentum", "clipnorm", "global_clipnorm", "clipvalue", "adam")


@dataclass(frozen=True)
class Configuration:
    """One model, and how it is trained.

    Attributes:
        kind: Functional, subclassed or sequential.
        body: What stands before the heads: a dense layer, or one on steps, masked or not.
        inputs: The structure of the network's inputs.
        structure: The name of the structure of outputs.
        units: The width of each head.
        losses: The losses of each output, by its number; none, one or two.
        loss_form: How they are given to `compile`.
        hook: The terms of `compute_losses`.
        added: What is added by `add_loss` or by regularizers.
        loss_weights: How loss weights are given, and one number per term.
        sample_weight: How samples are weighed.
        targets_by_name: Whether the targets of a list of outputs are a dict by their layers.
        metrics: Whether compiled metrics are there.
        optimizer: Its name.
        rows, batch_size, epochs: As in `fit`.
        mode: `eager`, `graph` or `xla`.
        steps_per_execution: As in `compile`.
        micro_batch_size: As in `compile`.
        accumulate_steps: As in `compile`.
        source: What the data comes in.
        validation: Whether `fit` validates.
        seed: Of data and weights.
    """

    kind: str
    body: str
    inputs: str
    structure: str
    units: tuple[int, ...]
    losses: tuple[tuple[str, ...], ...]
    loss_form: str
    hook: tuple[str, ...]
    added: tuple[str, ...]
    loss_weights: str
    sample_weight: str
    targets_by_name: bool
    metrics: bool
    optimizer: str
    rows: int
    batch_size: int
    epochs: int
    mode: str
    steps_per_execution: int
    micro_batch_size: int | None
    accumulate_steps: int
    source: str
    validation: bool
    seed: int

    @property
    def number_of_outputs(self):
        return len(self.units)

    @property
    def by_steps(self):
        return self.body != "dense"

    @property
    def masked(self):
        return self.body in ("masking", "embedding")

    def in_structure(self, leaves):
        """One entry for each output, in their structure."""
        return packed(STRUCTURES[self.structure], leaves)

    @property
    def output_names(self):
        """What the outputs are called: their keys, else their layers, else their places."""
        if self.structure == "alone":
            return [None]
        layers = [f"head_{k}" for k in range(self.number_of_outputs)]
        places = paths(STRUCTURES[self.structure], self.number_of_outputs)
        if self.kind != "functional":
            return places
        if isinstance(STRUCTURES[self.structure], (list, tuple)):
            return layers
        pairs = zip(places, layers, strict=True)
        return [f"p/{layer}" if place.startswith("p/") else place for place, layer in pairs]


def packed(template, leaves):
    if isinstance(template, dict):
        return {key: packed(each, leaves) for key, each in template.items()}
    if isinstance(template, (list, tuple)):
        return type(template)(packed(each, leaves) for each in template)
    return leaves[template]


def paths(template, number):
    """`p/0` for each output of a structure, by its number."""
    found: list[Any] = [None] * number

    def walk(each, path):
        if isinstance(each, dict):
            for key, inner in each.items():
                walk(inner, (*path, key))
        elif isinstance(each, (list, tuple)):
            for key, inner in enumerate(each):
                walk(inner, (*path, str(key)))
        else:
            found[each] = "/".join(path)

    walk(template, ())
    return found


@st.composite
def configurations(draw, mode):
    """Configurations that are documented as right; what is refused has tests of its own."""

    def one_of(*values):
        return draw(st.sampled_from(values))

    def some_of(values, at_most):
        return tuple(draw(st.lists(st.sampled_from(values), unique=True, max_size=at_most)))

    kind = one_of("functional", "functional", "subclassed", "subclassed", "sequential")
    structure = "alone" if kind == "sequential" else one_of("alone", *STRUCTURES)
    template = STRUCTURES[structure]
    number = len(paths(template, 3)) - paths(template, 3).count(None) if template != 0 else 1
    body = one_of("dense", "dense", "masking", "embedding", "steps")
    inputs = one_of("array", "dict", "pair", "dict of two")
    if kind == "sequential" or body != "dense":
        inputs = "dict" if inputs.startswith("dict") else "array"
    hook = some_of(HOOK_TERMS, 2) if draw(st.booleans()) else ()
    if not inputs.startswith("dict"):
        hook = tuple(term for term in hook if term != "side")
    added = some_of([a for a in ADDED if _fits(a, kind)], 2) if draw(st.booleans()) else ()

    losses = tuple(_losses_of_output(draw, number) for _ in range(number))
    loss_form = one_of("structure", "names", "flat")
    if draw(st.integers(0, 3)) == 0:
        losses, loss_form = ((one_of(*LOSSES),),) * number, "one"
    if hook and draw(st.integers(0, 2)) == 0:
        losses = ((),) * number
    if not any(losses) and not hook and set(added) <= {"regularizer", "activity"}:
        losses = (("mse",),) * number
    if any(len(each) != 1 for each in losses) or number == 1:
        loss_form = "one" if loss_form == "one" and any(losses) else "structure"
    is_list = isinstance(template, (list, tuple))
    by_layers = is_list and kind == "functional"
    if loss_form == "names" and not by_layers:
        loss_form = "structure"

    sample_weight = one_of("none", "none", "rows", "values", "outputs")
    source = one_of("arrays", "dataset", "generator", "on_batch", "on_batch")
    if sample_weight == "values" and (body == "dense" or number > 1):
        sample_weight = "rows"
    if sample_weight == "outputs" and (hook or number == 1):
        sample_weight = "rows"
    if not any(losses) and not hook:
        sample_weight = "none"
    kinds = ["none", "none"]
    if any(losses):
        kinds.append("number")
    if (
        any(losses)
        and structure in ("list", "tuple", "three")
        and all(len(e) <= 1 for e in losses)
    ):
        kinds.append("list")
    if number > 1 and all(len(each) == 1 for each in losses):
        kinds.append("outputs")
    kinds += ["terms", "variables"]
    return Configuration(
        kind=kind,
        body=body,
        inputs=inputs,
        structure=structure,
        units=tuple(one_of(1, 2) for _ in range(number)),
        losses=losses,
        loss_form=loss_form,
        hook=hook,
        added=added,
        loss_weights=one_of(*kinds),
        sample_weight=sample_weight,
        targets_by_name=by_layers and structure != "nested list" and draw(st.booleans()),
        metrics=number == 1 and draw(st.booleans()),
        # Keras clips, and squares, a sparse gradient before rows that come twice are summed.
        optimizer=one_of(*OPTIMIZERS[: 2 if body == "embedding" else None]),
        rows=draw(st.integers(3, 7)),
        batch_size=draw(st.integers(2, 4)),
        epochs=1 if source == "generator" else one_of(1, 2),
        mode=mode,
        steps_per_execution=one_of(1, 1, 1, 2, 3) if source != "on_batch" else 1,
        micro_batch_size=one_of(None, None, 1, 2, 3),
        accumulate_steps=one_of(1, 1, 2, 3),
        source=source,
        validation=source != "on_batch" and draw(st.booleans()),
        seed=draw(st.integers(0, 10**6)),
    )


def _losses_of_output(draw, number):
    """None, one or two losses; two different ones, since they are logged by their names."""
    amount = draw(st.sampled_from((1, 1, 1, 1, 0 if number > 1 else 1, 2 if number == 1 else 1)))
    return tuple(
        draw(st.lists(st.sampled_from(LOSSES), min_size=amount, max_size=amount, unique=True))
    )


def _fits(added, kind):
    if added.startswith("called"):
        return kind == "subclassed"
    return kind == "functional" if added.startswith("symbolic") else True


class Data:
    """Arrays of a configuration: float32, and whole numbers for an embedding."""

    def __init__(self, configuration, rows, seed):
        generator = np.random.default_rng(seed)
        c = configuration
        shape = (rows, STEPS) if c.by_steps else (rows,)
        self.rows = rows
        if c.body == "embedding":
            self.features = generator.integers(0, VOCABULARY, size=shape)
            self.features[:, 0] = generator.integers(1, VOCABULARY, size=rows)
        else:
            self.features = generator.normal(size=(*shape, FEATURES)).astype("float32")
        if c.body == "masking":
            hidden = generator.random(shape) < 0.3
            hidden[:, 0] = False
            self.features[hidden] = 0.0
        self.cost = generator.uniform(0.5, 2.0, size=rows).astype("float32")
        self.targets = [
            generator.normal(size=(*shape, units)).astype("float32") for units in c.units
        ]
        weights = [generator.uniform(0.2, 2.0, size=shape).astype("float32") for _ in c.units]
        for each in weights:
            each[generator.random(shape) < 0.15] = 0.0
        of_rows = [each if each.ndim == 1 else each[:, 0].copy() for each in weights]
        self.weights = {
            "none": [None] * len(c.units),
            "rows": [of_rows[0]] * len(c.units),
            "values": weights,
            "outputs": of_rows if c.seed % 2 else weights,
        }[c.sample_weight]
