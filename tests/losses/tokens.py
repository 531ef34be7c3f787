"""Hypothesis-made batches of sequences."""

import numpy as np
from hypothesis import strategies as st


@st.composite
def sequence_batches(draw):
    """Targets (B, T), logits (B, T, 3), a mask and weights of tokens or sequences."""
    b, t = draw(st.integers(1, 3)), draw(st.integers(1, 4))

    def table(values, *shape):
        size = int(np.prod(shape))
        return np.array(draw(st.lists(values, min_size=size, max_size=size))).reshape(shape)

    weights = table(st.sampled_from([0.0, 0.5, 1.0, 2.0]), *draw(st.sampled_from([(b,), (b, t)])))
    return (
        table(st.integers(0, 2), b, t),
        table(st.floats(-5, 5, width=32), b, t, 3),
        table(st.booleans(), b, t),
        weights,
    )
