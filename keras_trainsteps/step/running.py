"""The batch whose step is running: what losses and metrics read of it without being handed it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, NamedTuple

import tensorflow as tf

_thread = threading.local()  # replicas run in threads of their own


class QueryRows(NamedTuple):
    """The rows of a batch, of all replicas, with their queries.

    Attributes:
        ids: The id of each query index, int64; hashes of ids that are text.
        query: Dense query index of each row, int32; -1 for a masked row.
        num_queries: A scalar above every index.
        labels: The label of each row.
        masked: Whether there may be masked rows.
    """

    ids: tf.Tensor
    query: tf.Tensor
    num_queries: tf.Tensor
    labels: tf.Tensor
    masked: bool


class LossQueries(NamedTuple):
    """What a loss of the running step groups rows by.

    Attributes:
        query_ids: The ids as the loss was given them.
        mask: The mask as the loss was given it.
        rows: The rows by these.
    """

    query_ids: Any
    mask: Any
    rows: QueryRows


class Running:
    """A step that is being traced or run, while the context is entered.

    The step around it goes on afterwards. A step of the library inside one that a subclass
    wrote is noted there.

    Args:
        x: The `x` of its batch, side inputs included.
        rows: Gives the number of rows of the batch, told its output.
        owner: Whose step it is: the log of a model.
        by_hand: Whether a subclass wrote the step itself.
        num_replicas: How many replicas run it in parallel.
        begin_again: Whether its data may begin again within an epoch.
        inside: What else is entered with it.
        y: The targets of its batch.
        row_mask: Which rows of its batch count, bool; `None` where all do.

    Attributes:
        y_pred: Output of the network, once it is there.
        tape: What records its making, for gradients.
        passes: Those of micro-batches that have made it, if it was made so.
        called: What of the library a step written by hand has called so far.
        counted: The terms in its loss that have a count of their own.
        queries: What its losses group rows by.
        notes_queries: Whether what is grouped now is noted there.
        graph: Where it is traced; `None` in eager mode.
        computed: The losses that a subclass's `compute_loss` has taken from the library's.
        shared: What several losses and metrics compute of the same tensors, by these.
        passed: What hooks have passed on to what follows the step, by name.
    """

    def __init__(
        self,
        x: Any,
        rows: Callable[[Any], tf.Tensor] | None = None,
        owner: Any = None,
        by_hand: bool = False,
        num_replicas: int = 1,
        begin_again: bool = False,
        inside: contextlib.AbstractContextManager[Any] | None = None,
        y: Any = None,
        row_mask: tf.Tensor | None = None,
    ) -> None:
        self.y, self.row_mask = y, row_mask
        self.x, self.rows, self.owner, self.by_hand = x, rows, owner, by_hand
        self.num_replicas, self.begin_again = num_replicas, begin_again
        self.y_pred: Any = None
        self.tape: tf.GradientTape | None = None
        self.passes: Any = None
        self.called: set[str] = set()
        self.counted: tuple[str, ...] = ()
        self.queries: list[LossQueries] = []
        self.notes_queries = True
        self.graph: Any = None
        self.computed: list[Any] = []
        self.shared: dict[Any, tuple[Any, Any]] = {}
        self.passed: dict[str, Any] = {}
        self._inside = inside or contextlib.nullcontext()

    @property
    def is_within_own(self) -> bool:
        """Whether a step of the same model that a subclass wrote is around this one."""
        around = self._around
        return around is not None and around.by_hand and around.owner is self.owner

    def __enter__(self) -> Running:
        self._inside.__enter__()
        self.graph = _graph()
        self._around: Running | None = getattr(_thread, "step", None)
        if self._around is not None and self._around.owner is self.owner:
            self._around.called.add("step")
        _thread.step = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None and self.queries and self.owner is not None:
            self.owner.watch(self)
        _thread.step = self._around
        self._inside.__exit__(kind, error, traceback)


def note_queries(query_ids: Any, mask: Any, rows: QueryRows) -> None:
    """Notes what a loss groups rows by, once for the same ids and mask, if a step runs.

    Not of a loss that is computed in a loop or branch, whose tensors the step cannot read.
    """
    step = current()
    if step is None or not step.notes_queries or step.graph is not _graph():
        return
    if all(query_ids is not one.query_ids or mask is not one.mask for one in step.queries):
        step.queries.append(LossQueries(query_ids, mask, rows))


def is_padded() -> bool:
    """Whether a step runs on a batch of which some rows do not count."""
    step = current()
    return step is not None and step.row_mask is not None


def counted_rows(shape: tf.TensorShape, *, masked: bool) -> tf.Tensor | None:
    """Which entries of a tensor of one or more per row are of rows that count; bool.

    Args:
        shape: The shape of the tensor, and of what is returned.
        masked: Whether the caller was given a mask: then other rows than those of the batch
            may be meant.

    Returns:
        `None` where no step runs, or all rows of its batch count.
    """
    step = current()
    if step is None or step.row_mask is None:
        return None
    row_mask = step.row_mask
    if shape.rank and shape[:1].is_compatible_with(row_mask.shape[:1]):
        rows = tf.reshape(row_mask, (-1, *[1] * (shape.rank - 1)))
        return tf.broadcast_to(rows, tf.concat([tf.shape(row_mask)[:1], shape[1:]], 0))
    if masked:
        return None
    raise ValueError(
        "Losses of other rows than those of the batch must be given a `mask` where batches are "
        f"filled up by `pad=True`. Received: shape {tuple(shape)} for {row_mask.shape[0]} rows."
    )


def shared(compute: Callable[[], Any], of: str, *given: Any) -> Any:
    """What `compute()` returns, once a step for the same tensors.

    Two metrics of one batch sort it once. Kept by the step, so nothing outlives it; outside
    of a step, and in a loop or branch, whose tensors the rest cannot read, nothing is kept.

    Args:
        compute: A function of `given` alone.
        of: A name for what it computes.
        given: Strings and bools, and tensors or whatever else, compared by identity.
    """
    step = current()
    if step is None or step.graph is not _graph():
        return compute()
    key = (of, *(value if isinstance(value, (str, bool)) else id(value) for value in given))
    if key not in step.shared:
        step.shared[key] = compute(), given  # what is given lives as long as its identity counts
    return step.shared[key][0]


def pass_on(owner: Any, name: str, value: Any) -> None:
    """Hands a value on to what follows the step of `owner` that runs, if one does.

    Raises:
        ValueError: From a branch or loop, whose tensors nothing outside can read.
    """
    step = current(owner)
    if step is None:
        return
    if step.graph is not _graph():
        raise ValueError(
            "`pass_on` must be called in every step. Received: a call for "
            f"{name!r} within a branch or loop, as of an objective with `every` or "
            "`when`. Call it in the hook of another objective, outside of branches."
        )
    step.passed[name] = value


@contextlib.contextmanager
def unnoted() -> Iterator[None]:
    """While a metric groups rows, which looks for cut queries itself."""
    step = current()
    if step is None:
        yield
        return
    before, step.notes_queries = step.notes_queries, False
    try:
        yield
    finally:
        step.notes_queries = before


def _graph() -> Any:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def current(owner: Any = None) -> Running | None:
    """The step that runs, of any model or of the one that `owner` stands for."""
    found: Running | None = getattr(_thread, "step", None)
    return found if owner is None or (found is not None and found.owner is owner) else None
