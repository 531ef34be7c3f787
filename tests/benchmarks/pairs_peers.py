"""The peers of `pairs.py` that do not live beside TensorFlow: RAX and PyTorch.

Run by `pairs.py` with the interpreter named by `PEERS_PYTHON`; imports neither TensorFlow
nor the library. Reads one `.npz` of batches, prints one line `contender<TAB>milliseconds`,
and the fastest and the slowest of nine in ten, for each, and `skipped<TAB>name` for what is
not installed.
"""

from __future__ import annotations

import importlib.util
import sys
import time

import numpy as np


def times(run, seconds=2.0):
    run()
    found = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(found) < 3:
        start = time.perf_counter()
        run()
        found.append(1e3 * (time.perf_counter() - start))
    return np.percentile(found, [50, 0, 90])


def rax_contenders(batch):
    import jax
    import rax

    scores, labels, segments = batch["y_pred"], batch["y_true"], batch["query"]
    flat = jax.jit(
        jax.value_and_grad(lambda s: rax.pairwise_logistic_loss(s, labels, segments=segments))
    )
    where = batch["where"]
    lists = jax.jit(
        jax.value_and_grad(
            lambda s: rax.pairwise_logistic_loss(s, batch["y_true_lists"], where=where)
        )
    )
    flat_scores = jax.numpy.asarray(scores)
    list_scores = jax.numpy.asarray(batch["y_pred_lists"])
    yield "RAX, segments", lambda: jax.block_until_ready(flat(flat_scores))
    yield "RAX, padded", lambda: jax.block_until_ready(lists(list_scores))


def torch_contenders(batch):
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    labels = torch.tensor(batch["y_true"], device=device)
    query = torch.tensor(batch["query"], device=device)

    def loss(scores):
        pair = (query[:, None] == query) & (labels[:, None] > labels)
        terms = torch.nn.functional.softplus(scores - scores[:, None])
        return (terms * pair).sum() / pair.sum()

    def runner(function):
        def run():
            scores = torch.tensor(batch["y_pred"], device=device, requires_grad=True)
            function(scores).backward()
            scores.grad[:1].cpu()  # waits

        return run

    yield "PyTorch, eager", runner(loss)
    yield "PyTorch, compiled", runner(torch.compile(loss))


def main() -> None:
    batch = dict(np.load(sys.argv[1]))
    for module, contenders in (("rax", rax_contenders), ("torch", torch_contenders)):
        if not importlib.util.find_spec(module):
            print(f"skipped\t{module}")
            continue
        for name, run in contenders(batch):
            print(name, *times(run), sep="\t", flush=True)


if __name__ == "__main__":
    main()
