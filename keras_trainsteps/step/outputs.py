"""Which loss, target and sample weight belongs to which output of the network.

One rule for all of them: by name, or by place where there is no name; everything that is given
is used, and nothing is left over. Nothing here reads a value: the leaves of each structure are
their places among the flat ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras

Places = Any  # a structure of places; `None` where there is nothing


class Output(NamedTuple):
    """One output of the network, or a group of them.

    Attributes:
        path: The keys that lead to it.
        name: What it is called by; `None` for the only one.
        places: Where it, or each of the group, stands among the flat outputs.
    """

    path: tuple[Any, ...]
    name: str | None
    places: Places


class Read(NamedTuple):
    """A loss, and what it reads."""

    loss: Any
    output: Output


class Outputs:
    """The outputs of a network.

    Args:
        places: The structure of outputs.
        layer_names: What the model calls them, or `None`.
    """

    def __init__(self, places: Places, layer_names: Sequence[str] | None) -> None:
        self.places = places
        self.layer_names = list(layer_names or ())
        flat = keras.tree.flatten_with_path(places)
        names: list[str | None] = [None] * len(flat)
        if not isinstance(places, Mapping) and layer_names and len(layer_names) == len(flat):
            names = list(layer_names)
        elif keras.tree.is_nested(places):
            layers = (
                self.layer_names if len(self.layer_names) == len(flat) else [None] * len(flat)
            )
            names = [
                _path_name(path, layer) for (path, _), layer in zip(flat, layers, strict=True)
            ]
        self.each = [
            Output(path, name, place) for (path, place), name in zip(flat, names, strict=True)
        ]

    @property
    def names(self) -> list[str]:
        """The names of the outputs, as far as they have some."""
        return [output.name for output in self.each if output.name is not None]

    @property
    def groups(self) -> set[str]:
        """The names of groups of outputs."""
        return {str(output.path[0]) for output in self.each if len(output.path) > 1}

    def reads(self, loss: Any) -> list[Read]:
        """Every loss of the structure that `compile` was given, with its output.

        Raises:
            ValueError: For losses of outputs that the model does not have, or of another
                number than there are outputs.
        """
        is_named = isinstance(self.places, Mapping) or self.names == self.layer_names
        whole = Output((), "_".join(self.names) if is_named else None, self.places)
        if not keras.tree.is_nested(loss) and not takes_all_outputs(loss):
            return [Read(loss, output) for output in self.each if loss is not None]
        if len(self.each) == 1 and not isinstance(loss, Mapping):
            whole = self.each[0]
        return list(self._reads(loss, whole))

    def _reads(self, loss: Any, at: Output) -> Iterator[Read]:
        if loss is None:
            return
        if not keras.tree.is_nested(loss):
            yield Read(loss, at)
        elif isinstance(loss, Mapping):
            for key, each in loss.items():
                yield from self._reads(each, self._inside(at, key, loss))
        elif any(takes_all_outputs(each) for each in keras.tree.flatten(loss)):
            yield from (Read(each, at) for each in loss)
        elif _is_one_per_leaf(loss, at.places):
            leaves = [o for o in self.each if o.path[: len(at.path)] == at.path]
            for each, output in zip(loss, leaves, strict=True):
                yield from self._reads(each, output)
        elif isinstance(at.places, type(loss)) and len(at.places) == len(loss):
            for key, each in enumerate(loss):
                yield from self._reads(each, self._inside(at, key, loss))
        elif isinstance(at.places, type(loss)):
            raise ValueError(
                "`loss` must be one loss, or one (or `None`) for each output. "
                f"Received: {len(loss)} for {len(at.places)} outputs."
            )
        else:  # several losses of one output, or of a group as a whole, as in Keras
            for each in loss:
                yield from self._reads(each, at)

    def _inside(self, at: Output, key: Any, loss: Any) -> Output:
        """The output `key` of a group, by its key there or by the name of its layer."""
        is_key = isinstance(at.places, Mapping) and key in at.places
        if is_key or (isinstance(at.places, (list, tuple)) and isinstance(key, int)):
            path, places = (*at.path, key), at.places[key]
            known = next((output for output in self.each if output.path == path), None)
            return known or Output(path, "/".join(map(str, path)), places)
        found = next((o for o in self.each if not at.path and o.name == key), None)
        if found is None:
            raise ValueError(
                "`loss` names outputs that the model does not have: "
                f"{[k for k in loss if k not in self.names]}. The outputs are {self.names}."
            )
        return found

    def aligned(
        self,
        given: Places,
        what: str,
        reads: Sequence[Read],
        *,
        shared: bool = False,
        one_for_all: bool = False,
    ) -> list[int | None]:
        """For each output its target or weight: a place among the flat ones, or `None`.

        Args:
            given: The structure of targets or weights.
            what: What it is called in errors.
            one_for_all: Whether a single one is that of all outputs.
            shared: Whether something else may read entries that are of no output.
            reads: The losses: where fewer are given than there are outputs, they are of
                the outputs with a loss.

        Raises:
            ValueError: For names that no output has, or another number.
        """
        outputs = self.each
        if one_for_all and not keras.tree.is_nested(given):
            return [given] * len(outputs)
        if given is None:
            return [None] * len(outputs)
        flat = keras.tree.flatten(given)
        paths = [path for path, _ in keras.tree.flatten_with_path(given)]
        if paths == [output.path for output in outputs]:
            return flat
        if isinstance(given, Mapping) and not (len(flat) == len(outputs) == 1):
            return self._by_name(given, what, shared)
        if len(flat) == len(outputs):
            return flat
        read = {place for each in reads for place in keras.tree.flatten(each.output.places)}
        with_loss = [k for k, output in enumerate(outputs) if output.places in read]
        if len(flat) != len(with_loss):
            raise ValueError(
                f"{what} must have one entry for each output that has a loss. "
                f"Received: {len(flat)} for {len(with_loss)} outputs with a loss."
            )
        found: list[int | None] = [None] * len(outputs)
        for index, place in zip(with_loss, flat, strict=True):
            found[index] = place
        return found

    def _by_name(self, given: Mapping[str, Places], what: str, shared: bool) -> list[int | None]:
        """The entries of a dict by the outputs' names, all of them used."""
        used: set[int] = set()
        found: list[int | None] = []
        for output in self.each:
            entry = entry_of(given, output)
            if keras.tree.is_nested(entry):
                entry = None
            found.append(entry)
            if entry is not None:
                used.add(entry)
        left = [
            "/".join(map(str, path))
            for path, place in keras.tree.flatten_with_path(given)
            if place is not None and place not in used
        ]
        if left and not (shared and None not in found):
            if len(self.each) == 1:
                raise ValueError(
                    f"{what} has the entries {left}, but the model has one output: which one "
                    "its loss should read is not said. Pass the target alone and the others "
                    "as entries of `x`, or fill `compute_losses`."
                )
            raise ValueError(
                f"{what} must name outputs of the model. Received: {left}, where the outputs "
                f"are {self.names}. Rename the entries."
            )
        return found


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


def term_names(reads: Sequence[Read], num_outputs: int) -> list[str]:
    """A name of its own for each loss: by its output where there are several, and itself.

    Where outputs have no names but their places, different losses are named by themselves.
    """
    names: list[str] = []
    by_place = all(read.output.name == "/".join(map(str, read.output.path)) for read in reads)
    nameless = by_place and not any(isinstance(k, str) for r in reads for k in r.output.path)
    differ = len({loss.name for loss, _ in reads}) == len(reads) > 1
    for loss, output in reads:
        alone = sum(each.output.path == output.path for each in reads) == 1
        parts = [output.name] if num_outputs > 1 and not (nameless and differ) else []
        if not alone or not parts or not output.name:
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


def _path_name(path: Sequence[Any], layer: str | None) -> str:
    """The keys that lead to an output; by its layer where the last is but a place in a list."""
    by_layer = layer is not None and isinstance(path[-1], int)
    return "/".join(map(str, [*path[:-1], layer if by_layer else path[-1]]))


def _is_one_per_leaf(loss: Sequence[Any], places: Places) -> bool:
    """Whether a flat list has one loss for each output of a group, whatever its structure."""
    flat = not any(keras.tree.is_nested(each) for each in loss)
    return keras.tree.is_nested(places) and flat and len(loss) == len(keras.tree.flatten(places))
