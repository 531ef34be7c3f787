"""The network that a `Ranker` trains unless it is given another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras

from keras_trainsteps.validation import as_count, is_number


def network_scores(
    features: Any,
    *,
    network: Callable[[Any, int], Any] | None,
    hidden: Any,
    dropout: Any,
    queries: int,
    seed: int,
) -> Any:
    """The score of each row by the network of a user's own, or by the small one."""
    if network is not None:
        return checked_scores(network(features, seed))
    share = as_dropout(dropout, features=features.shape[1], queries=queries)
    return small_network(features, hidden=as_hidden(hidden), dropout=share, seed=seed)


def small_network(features: Any, *, hidden: Sequence[int], dropout: float, seed: int) -> Any:
    """A linear score and that of hidden layers, added up.

    ```
    score(z) = w . z + v . h + b,  h = relu(W dropout(z)), once for each hidden layer
    ```

    It begins at a score of 0, as a forest without a tree.

    Args:
        features: Scaled features of a row, shape `(rows, features)`.
        hidden: Units of each hidden layer; none makes the score linear.
        dropout: The share of inputs that each hidden layer does without, in training.
        seed: Of weights and of dropout.
    """
    score = keras.layers.Dense(1, kernel_initializer="zeros", name="linear")(features)
    layer = features
    for number, units in enumerate(hidden):
        own = seed + 2 * number
        if dropout:
            layer = keras.layers.Dropout(dropout, seed=own)(layer)
        start = keras.initializers.GlorotUniform(seed=own + 1)
        layer = keras.layers.Dense(units, "relu", kernel_initializer=start)(layer)
    if hidden:
        of_hidden = keras.layers.Dense(
            1, use_bias=False, kernel_initializer="zeros", name="of_hidden"
        )
        score = keras.layers.Add()([score, of_hidden(layer)])
    return score


def as_hidden(value: Any) -> tuple[int, ...]:
    """The units of hidden layers; anything but counts is refused."""
    if not isinstance(value, list | tuple):
        raise ValueError(
            "`hidden` must be the units of each hidden layer, as `(32,)`; `()` for none. "
            f"Received: {value!r}."
        )
    return tuple(as_count("hidden", units) for units in value)


def as_dropout(value: float | Literal["auto"], *, features: int, queries: int) -> float:
    """A share of inputs; `"auto"` is larger the fewer queries there are for each feature."""
    if isinstance(value, str) and value == "auto":
        return min(0.5, features / (features + queries))
    if is_number(value) and 0 <= value < 1:
        return float(value)
    raise ValueError(
        f"`dropout` must be 'auto', or a share of at least 0 and below 1. Received: {value!r}."
    )


def as_batch_size(value: int | Literal["auto"], rows: int) -> int:
    """Rows of a batch; `"auto"` is 32 batches an epoch, of 32 rows to 512."""
    if isinstance(value, str) and value == "auto":
        return min(max(rows // 32, 32), 512)
    return as_count("batch_size", value)


def checked_scores(scores: Any) -> Any:
    """What a network of one's own returns; refused where it is no score per row."""
    shape = getattr(scores, "shape", None)
    if shape is None or tuple(shape[1:]) not in ((), (1,)):
        raise ValueError(
            "`network` must return one score per row, `(rows, 1)` or `(rows,)`. Received: "
            f"{type(scores).__name__ if shape is None else f'shape {tuple(shape)}'}."
        )
    return scores
