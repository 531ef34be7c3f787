"""What the listwise losses and those of embeddings cost, value and gradient, beside their peers.

    python -m tests.benchmarks.losses             # some minutes
    python -m tests.benchmarks.losses triplet     # what has this in its name

Median and fastest milliseconds, interleaved in one process, and the ratios of both to the
fastest peer's: Keras-RS, where it is installed, or the dense formula in plain TensorFlow, of
padded lists. `flat` are rows with ids, `padded` lists without; ids and checks are included.
"""

from __future__ import annotations

import itertools
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from keras_trainsteps import losses
from tests.benchmarks.pairs import batch, padded
from tests.benchmarks.timing import interleaved, machine, report

PADDING = -1e9


def plain_softmax(y, s, valid):
    logits = tf.where(valid, s, PADDING)
    loss = tf.nn.softmax_cross_entropy_with_logits(y, logits)
    return tf.reduce_mean(loss)


def plain_unique_softmax(y, s, valid):
    lower = tf.where(y[:, None, :] < y[:, :, None], s[:, None, :], PADDING)
    every = tf.reduce_logsumexp(tf.concat([s[:, :, None], lower], 2), 2)
    return tf.reduce_mean(tf.reduce_sum((2.0**y - 1) * (every - s), 1))


def plain_list_mle(y, s, valid):
    order = tf.argsort(tf.where(valid, y, -1.0), direction="DESCENDING", stable=True)
    s = tf.gather(tf.where(valid, s, PADDING), order, batch_dims=1)
    valid = tf.gather(valid, order, batch_dims=1)
    s -= tf.reduce_max(s, 1, keepdims=True)
    sums = tf.math.log(tf.cumsum(tf.exp(s), 1, reverse=True) + 1e-10)
    return tf.reduce_mean(tf.reduce_sum(tf.where(valid, sums - s, 0.0), 1))


def plain_approx_ndcg(y, s, valid):
    both = valid[:, None, :] & valid[:, :, None]
    above = tf.sigmoid((s[:, None, :] - s[:, :, None]) / 0.1)
    ranks = 0.5 + tf.reduce_sum(tf.where(both, above, 0.0), 2)
    gains = tf.where(valid, 2.0**y - 1, 0.0)
    best = tf.sort(gains, direction="DESCENDING")
    discount = 1 / tf.math.log1p(tf.range(1, tf.shape(y)[1] + 1, dtype=tf.float32))
    ideal = tf.reduce_sum(best * discount, 1)
    return -tf.reduce_mean(tf.reduce_sum(gains / tf.math.log1p(ranks), 1) / ideal)


LISTWISE = {
    "softmax": (losses.softmax, plain_softmax),
    "unique_softmax": (losses.unique_softmax, plain_unique_softmax),
    "list_mle": (losses.list_mle, plain_list_mle),
    "approx_ndcg": (losses.approx_ndcg, plain_approx_ndcg),
}


def keras_rs_loss(name):
    try:
        import keras_rs
    except ImportError:
        return None
    found = {"list_mle": "ListMLELoss"}.get(name)
    return getattr(keras_rs.losses, found)() if found else None


def with_gradient(loss, signature, jit_compile=False):
    """Value and gradient by the scores, the last of the arguments."""

    @tf.function(input_signature=signature, jit_compile=jit_compile)
    def run(*given):
        with tf.GradientTape() as tape:
            tape.watch(given[-1])
            value = loss(*given)
        return value, tape.gradient(value, given[-1])

    return run


def listwise(kind, name):
    """Every way to one listwise loss of one kind of batch."""
    y_true, y_pred, query, _ = batch(name)
    rng = np.random.default_rng(2)
    scores = [rng.normal(size=len(y_pred)).astype("float32") for _ in range(8)]
    own, plain = LISTWISE[kind]
    column, ids = tf.TensorSpec((None,), tf.float32), tf.constant(query)
    lists, masks = tf.TensorSpec((None, None), tf.float32), tf.TensorSpec((None, None), tf.bool)
    valid = tf.constant(padded(np.ones(len(query), bool), query, False))
    y_lists = tf.constant(padded(y_true, query, 0.0))
    in_lists = itertools.cycle([tf.constant(padded(one, query, 0.0)) for one in scores])
    y_flat, flat = tf.constant(y_true), itertools.cycle([tf.constant(one) for one in scores])

    of_ids = with_gradient(
        lambda y, q, s: own(y, s, query_ids=q).value,
        [column, tf.TensorSpec((None,), ids.dtype), column],
    )
    of_lists = with_gradient(lambda y, m, s: own(y, s, mask=m).value, [lists, masks, lists])
    of_plain = with_gradient(lambda y, m, s: plain(y, s, m), [lists, masks, lists])
    found = {
        "flat": lambda: of_ids(y_flat, ids, next(flat)),
        "padded": lambda: of_lists(y_lists, valid, next(in_lists)),
        "plain TensorFlow": lambda: of_plain(y_lists, valid, next(in_lists)),
    }
    if name == "64 x 32":
        fixed = [tf.TensorSpec(t.shape, t.dtype) for t in (y_lists, valid, y_lists)]
        in_xla = with_gradient(lambda y, m, s: own(y, s, mask=m).value, fixed, True)
        peer_xla = with_gradient(lambda y, m, s: plain(y, s, m), fixed, True)
        found["padded, XLA"] = lambda: in_xla(y_lists, valid, next(in_lists))
        found["plain TensorFlow, XLA"] = lambda: peer_xla(y_lists, valid, next(in_lists))
    peer = keras_rs_loss(kind)
    if peer is not None:
        y_marked = tf.where(valid, y_lists, -1.0)  # its mark of padding
        of_peer = with_gradient(lambda y, s: peer(y, s), [lists, lists])
        found["Keras-RS"] = lambda: of_peer(y_marked, next(in_lists))
    return found


EMBEDDINGS = {
    "contrastive": losses.contrastive,
    "margin_loss": lambda y, x: losses.margin_loss(y, x, beta=1.2),
    "mined_triplet, hard": lambda y, x: losses.mined_triplet(y, x, mining="hard"),
    "mined_triplet, semihard": lambda y, x: losses.mined_triplet(y, x, mining="semihard"),
    "mined_triplet, all": lambda y, x: losses.mined_triplet(y, x, mining="all"),
    "supervised_contrastive": losses.supervised_contrastive,
    "multi_similarity": losses.multi_similarity,
    "info_nce": lambda y, x: losses.info_nce(*tf.split(x, 2)),
    "nt_xent": lambda y, x: losses.nt_xent(*tf.split(x, 2)),
}


def embedded(kind, rows):
    rng = np.random.default_rng(0)
    labels = tf.constant(rng.integers(0, rows // 8, rows))
    values = itertools.cycle(
        [tf.constant(rng.normal(size=(rows, 64)).astype("float32")) for _ in range(4)]
    )
    loss = EMBEDDINGS[kind]
    signature = [tf.TensorSpec((None,), tf.int64), tf.TensorSpec((None, 64), tf.float32)]
    run = with_gradient(lambda y, x: loss(y, x).value, signature)
    products = with_gradient(
        lambda y, x: tf.reduce_sum(tf.matmul(x, x, transpose_b=True) ** 2), signature
    )
    return {
        kind: lambda: run(labels, next(values)),
        "a product of all pairs": lambda: products(labels, next(values)),
    }


def main() -> None:
    wanted = sys.argv[1:]
    print(machine() + "\n")
    for kind in LISTWISE:
        if not wanted or any(part in kind for part in wanted):
            for name in ("64 x 16", "64 x 32", "256 x 32", "log-normal"):
                found = interleaved(listwise(kind, name), 1.2)
                peers = [one for one in ("Keras-RS", "plain TensorFlow") if one in found]
                fastest = min(peers, key=lambda one: found[one].median)
                report(f"{kind}, {name}", found, fastest)
    for kind in EMBEDDINGS:
        if not wanted or any(part in kind for part in wanted):
            for rows in (256, 1024, 4096):
                found = interleaved(embedded(kind, rows), 1.0)
                report(f"{kind}, {rows} rows of 64", found, "a product of all pairs")


if __name__ == "__main__":
    main()
