"""Sums and rows over the replicas of a `tf.distribute` strategy.

Outside a replica of a strategy with more than one replica, each function here is the
identity, so one code path serves a single device and several.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import tensorflow as tf


def num_replicas() -> int:
    """The number of replicas that run this step in parallel; 1 outside a replica."""
    if tf.distribute.in_cross_replica_context():
        return 1
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def sum_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """`value` added up over all replicas. No gradient flows through it."""
    if num_replicas() == 1:
        return value
    context = tf.distribute.get_replica_context()
    return tf.stop_gradient(context.all_reduce("sum", value))


def sum_each_over_replicas(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Each of several tensors added up over all replicas, in one exchange."""
    if num_replicas() == 1 or not values:
        return list(values)
    flat = [tf.reshape(tf.cast(value, tf.float64), (-1,)) for value in values]
    sums = sum_over_replicas(tf.concat(flat, axis=0))
    parts = tf.split(sums, [part.shape[0] for part in flat])
    return [
        tf.reshape(tf.cast(part, value.dtype), value.shape)
        for part, value in zip(parts, values, strict=True)
    ]


@contextlib.contextmanager
def summed(variables: Sequence[keras.Variable]) -> Iterator[None]:
    """Inside a replica, lets these variables read as their sums over all replicas."""
    if num_replicas() == 1:
        yield
        return
    sums = sum_each_over_replicas([tf.convert_to_tensor(variable) for variable in variables])
    with keras.StatelessScope(state_mapping=list(zip(variables, sums, strict=True))):
        yield


def gather_rows(value: tf.Tensor) -> tf.Tensor:
    """The rows of all replicas, in order of replica; replicas may hold different numbers.

    The gradient that arrives is cut down to this replica's own rows. That is the right
    gradient where every replica computes the same function of all rows and the
    replicas' gradients are added up, as optimizers do.
    """
    if num_replicas() == 1:
        return value
    context = tf.distribute.get_replica_context()
    if value.dtype == tf.bool:
        return tf.cast(gather_rows(tf.cast(value, tf.int32)), tf.bool)

    @tf.custom_gradient
    def gather(rows: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        first = first_own_row(tf.shape(rows)[0])
        count = tf.shape(rows)[0]

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return upstream[first : first + count]

        return context.all_gather(rows, axis=0), gradient

    return gather(value)


def same_on_all(value: tf.Tensor) -> tf.Tensor:
    """A value that all replicas hold, of whose gradient each takes its share.

    The right gradient where every replica computes the same function of it and the
    replicas' gradients are added up.
    """
    share = 1 / num_replicas()
    return value if share == 1 else share * value + tf.stop_gradient((1 - share) * value)


def first_own_row(rows: tf.Tensor) -> tf.Tensor:
    """Where this replica's `rows` rows begin among the gathered rows."""
    if num_replicas() == 1:
        return tf.constant(0)
    context = tf.distribute.get_replica_context()
    counts = context.all_gather(tf.reshape(rows, (1,)), axis=0)
    replica = tf.cast(context.replica_id_in_sync_group, tf.int32)
    return tf.reduce_sum(tf.where(tf.range(tf.size(counts)) < replica, counts, 0))


def require_same_on_workers(strategy: tf.distribute.Strategy, parts: Mapping[str, str]) -> None:
    """Refuses workers that differ in what they must share: they would wait for each other.

    Args:
        strategy: The strategy; only one of several workers has anything to compare.
        parts: What must be the same, as text, by what it is called in an error.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return
    digests = [
        int.from_bytes(hashlib.sha256(part.encode()).digest()[:7], "big")
        for part in parts.values()
    ]

    @tf.function
    def gathered() -> tf.Tensor:
        def gather() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            return context.all_gather(tf.constant([digests], tf.int64), axis=0)

        return strategy.run(gather)

    of_workers = strategy.experimental_local_results(gathered())[0].numpy()
    differing = [
        name for name, found in zip(parts, of_workers.T, strict=True) if len(set(found)) > 1
    ]
    if differing:
        own = {name: parts[name] for name in differing}
        raise ValueError(
            "Workers must have the same losses, metrics and batches: they exchange numbers in "
            f"every step. Received: workers that differ in {differing}; on this "
            f"one: {own}. Run the same program on all of them."
        )
