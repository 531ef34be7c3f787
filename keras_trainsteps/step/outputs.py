"""Which loss, target and sample weight belongs to which output of the network.

Nothing here reads a value: targets and weights may be whatever stands for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras


class Output(NamedTuple):
    """One output of the network: its name, and where it stands in the structure of outputs.

    Attributes:
        path: The keys that lead to it.
        name: What the model or the structure calls it; `None` for the only one.
        place: Its number among the outputs, or `None` for all of them together.
    """

    path: tuple[Any, ...]
    name: str | None
    place: int | None


def outputs_of(y_pred: Any, output_names: Sequence[str] | None) -> list[Output]:
    """The outputs of a network, named as the model or the structure names them."""
    flat = keras.tree.flatten_with_path(y_pred)
    names: list[str | None] = [None] * len(flat)
    if not isinstance(y_pred, Mapping) and output_names and len(output_names) == len(flat):
        names = list(output_names)
    elif keras.tree.is_nested(y_pred):
        names = ["/".join(map(str, path)) for path, _ in flat]
    return [
        Output(path, name, place)
        for place, ((path, _), name) in enumerate(zip(flat, names, strict=True))
    ]


def takes_all_outputs(loss: Any) -> bool:
    """Whether a loss takes the whole structure of outputs, and not one of them."""
    return bool(getattr(loss, "reads_all_outputs", False))


def require_one_view(loss: Any) -> None:
    """Refuses losses of all outputs together beside losses of one output each."""
    leaves = [leaf for leaf in keras.tree.flatten(loss) if leaf is not None]
    others = [leaf.name for leaf in leaves if not takes_all_outputs(leaf)]
    if len(others) == len(leaves) or not (others or isinstance(loss, Mapping)):
        return
    received = f"also {others}" if others else f"a dict of {sorted(loss)}"
    raise ValueError(
        "`loss` must be one loss, or a list, of which each takes all outputs of the network "
        f"together, once one of them does. Received: {received}. Return the others from "
        "`compute_losses`."
    )


def losses_by_output(loss: Any, outputs: list[Output]) -> list[list[Any]]:
    """For each output the losses on it: `loss` is one for all, or a list or dict of them."""
    if not keras.tree.is_nested(loss):
        return [[loss] for _ in outputs]
    if isinstance(loss, Mapping):
        _require_known(loss, outputs)
        chosen = [entry_of(loss, output) for output in outputs]
    elif len(outputs) == 1:
        chosen = [loss]
    elif len(loss) == len(outputs):
        chosen = list(loss)
    else:
        raise ValueError(
            "`loss` must be one loss, or one (or `None`) for each output. "
            f"Received: {len(loss)} for {len(outputs)} outputs."
        )
    return [[leaf for leaf in keras.tree.flatten(entry) if leaf is not None] for entry in chosen]


def targets_by_output(y: Any, outputs: list[Output], losses: list[list[Any]]) -> list[Any]:
    """For each output its target; `None` where it has no loss and none is given."""
    if y is None:
        return [None] * len(outputs)
    if isinstance(y, Mapping):
        found = [entry_of(y, output) for output in outputs]
        pairs = zip(found, losses, strict=True)
        if all(target is not None or not on_output for target, on_output in pairs):
            return found
        if len(outputs) == 1 and len(y) > 1:
            raise ValueError(
                f"`y` has the entries {sorted(map(str, y))}, but the model has one output: "
                "which one the compiled loss should read is not said. Pass the target "
                "alone and the others as entries of `x`, or fill `compute_losses`."
            )
    flat = keras.tree.flatten(y)
    if len(flat) == len(outputs):
        return flat
    with_loss = [index for index, on_output in enumerate(losses) if on_output]
    if len(flat) != len(with_loss):
        raise ValueError(
            "`y` must have one target for each output that has a loss. "
            f"Received: {len(flat)} targets for {len(with_loss)} outputs with a loss."
        )
    targets: list[Any] = [None] * len(outputs)
    for index, target in zip(with_loss, flat, strict=True):
        targets[index] = target
    return targets


def sample_weights_by_output(
    sample_weight: Any, outputs: list[Output], targets: list[Any]
) -> list[Any]:
    """For each output its sample weight: one for all, or in the structure of the targets."""
    if not keras.tree.is_nested(sample_weight):
        return [sample_weight] * len(outputs)
    if isinstance(sample_weight, Mapping) and len(outputs) > 1:
        return [entry_of(sample_weight, output) for output in outputs]
    flat = keras.tree.flatten(sample_weight)
    if len(flat) == len(outputs):
        return flat
    given = [index for index, target in enumerate(targets) if target is not None]
    if len(flat) != len(given):
        return [flat[0]] * len(outputs)
    weights: list[Any] = [None] * len(outputs)
    for index, weight in zip(given, flat, strict=True):
        weights[index] = weight
    return weights


def term_names(outputs: list[Output], losses: list[list[keras.losses.Loss]]) -> list[str]:
    """A name of its own for each loss: by its output where there are several, and itself."""
    names: list[str] = []
    for output, on_output in zip(outputs, losses, strict=True):
        for loss in on_output:
            parts = [output.name] if len(outputs) > 1 else []
            if len(on_output) > 1 or len(outputs) == 1:
                parts.append(loss.name)
            base = "_".join(part for part in parts if part)
            name, number = f"{base}_loss", 1
            while name in names:
                name, number = f"{base}_{number}_loss", number + 1
            names.append(name)
    return names


def entry_of(structure: Any, output: Output) -> Any:
    """What a structure holds for an output: by its name, or where the output stands."""
    if isinstance(structure, Mapping) and output.name in structure:
        return structure[output.name]
    for key in output.path:
        inside = isinstance(structure, Mapping) and key in structure
        if isinstance(structure, (list, tuple)) and isinstance(key, int):
            inside = key < len(structure)
        if not inside:
            return None
        structure = structure[key]
    return structure if output.path else None


def _require_known(loss: Mapping[str, Any], outputs: list[Output]) -> None:
    known = {name for output in outputs for name in (output.name, *output.path[:1])}
    unknown = [key for key in loss if key not in known]
    if unknown:
        raise ValueError(
            f"`loss` names outputs that the model does not have: {unknown}. "
            f"The outputs are {[output.name for output in outputs]}."
        )
