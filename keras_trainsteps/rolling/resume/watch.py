"""What the steps of a job use beside the variables of its model: kept, or refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import keras

from keras_trainsteps import compat

_CODE = ("PyFunc", "EagerPyFunc")


class StepWatch:
    """Watches the first training step and the first validation step of a `fit`.

    A step may change variables that are no part of the model, as the generator that a
    function holds. They are saved with the job, in the order in which the step uses them.
    What keeps a state that nobody can read is refused before anything runs.

    Args:
        held: The variables that functions of the job hold. Eagerly, TensorFlow does not
            tell of each time that a variable is read.
    """

    def __init__(self, held: Iterable[Any]) -> None:
        # By `id`; the handle is kept, and with it its `id`.
        self._seen = {id(h): h for variable in held for h in compat.handles_of_variable(variable)}
        self._done: set[str] = set()
        self._open = contextlib.ExitStack()

    def outside(self, known: Iterable[Any]) -> dict[str, Any]:
        """The variables that a training step uses beside known ones, by name."""
        mine = {id(h) for variable in known for h in compat.handles_of_variable(variable)}
        handles = [handle for key, handle in self._seen.items() if key not in mine]
        return {
            f"outside|{number}": compat.VariableInUse(handle)
            for number, handle in enumerate(handles)
        }

    def begin(self, kind: Literal["training", "validation"]) -> None:
        """Watches from here on, if this is the first step of a kind."""
        if kind not in self._done:
            self._done.add(kind)
            see = self._see if kind == "training" else _refuse_hidden_state
            self._open.enter_context(compat.operations_seen(see))

    def end(self) -> None:
        """Watches no more."""
        self._open.close()

    @contextlib.contextmanager
    def fitting(self, model: keras.Model) -> Iterator[None]:
        """The steps of a model are traced anew while the block runs, and can be watched."""
        model.train_function = model.test_function = None
        try:
            yield
        finally:
            self.end()

    def _see(self, kind: str, inputs: Iterable[Any]) -> None:
        _refuse_hidden_state(kind, inputs)
        for handle in compat.handles_of(inputs):
            self._seen.setdefault(id(handle), handle)


def _refuse_hidden_state(kind: str, inputs: Iterable[Any]) -> None:
    if compat.draws_by_itself(kind):
        raise ValueError(
            "The steps of a resumable job must draw random numbers from a generator whose "
            f"state can be saved. Received: the operation {kind!r}, as `tf.random.uniform` "
            "and its like make it, whose state nobody can read. Draw with `keras.random`, "
            "which keeps its state in variables; give losses and metrics that draw a "
            "`seed`, an integer or a `keras.random.SeedGenerator`."
        )
    if kind in _CODE:
        raise ValueError(
            "The steps of a resumable job must be operations of TensorFlow. Received: Python "
            "code called by `tf.py_function` or `tf.numpy_function`, of which nobody knows "
            "what it remembers. Write it with `keras.ops`, or, if it remembers nothing, call "
            "it by `tf.numpy_function(..., stateful=False)`."
        )
