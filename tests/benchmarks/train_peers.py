"""Peers of `train.py` that need no TensorFlow: PyTorch, LightGBM, XGBoost.

    python -m tests.benchmarks.train_peers NAME QUERIES SECONDS DEVICE

Run by `train.py`, PyTorch with the interpreter that `PEERS_PYTHON` names. Prints the curve as
JSON.
"""

from __future__ import annotations

import itertools
import json
import sys

import numpy as np

from .train_data import BATCH, HIDDEN, RATE, Rows, curve, letor, padded

TREES_A_ROUND = 5


def pytorch(rows: Rows, held_out: Rows, device: str):
    """Padded lists and the pairwise logistic loss of all pairs of a list."""
    import torch

    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    widths = [rows.features.shape[1], *HIDDEN]
    for before, after in itertools.pairwise(widths):
        layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(HIDDEN[-1], 1)).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    x = torch.tensor(padded(rows.features, rows.query, 0.0), device=device)
    y = torch.tensor(padded(rows.labels, rows.query, -1.0), device=device)
    longest = (y >= 0).sum(1)
    queries = max(1, BATCH * len(x) // len(rows.labels))
    while True:
        for part in torch.randperm(len(x), device=device).split(queries):
            length = int(longest[part].max())
            labels, scores = y[part, :length], network(x[part, :length]).squeeze(-1)
            better = (labels[:, :, None] > labels[:, None, :]) & (labels >= 0)[:, None, :]
            terms = torch.nn.functional.softplus(scores[:, None, :] - scores[:, :, None])
            loss = (terms * better).sum() / better.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if device != "cpu":
            torch.cuda.synchronize()

        def score():
            with torch.no_grad():
                return network(torch.tensor(held_out.features, device=device)).cpu().numpy()

        yield score


def lightgbm(rows: Rows, held_out: Rows, device: str):
    """LambdaMART of LightGBM, with its defaults."""
    import lightgbm

    data = lightgbm.Dataset(rows.features, rows.labels, group=np.bincount(rows.query))
    options = {"objective": "lambdarank", "verbose": -1, "seed": 0}
    options["device"] = "cpu" if device == "cpu" else "gpu"
    booster = lightgbm.Booster(options, data)
    while True:
        for _ in range(TREES_A_ROUND):
            booster.update()
        yield lambda: booster.predict(held_out.features)


def xgboost(rows: Rows, held_out: Rows, device: str):
    """LambdaMART of XGBoost, with its defaults."""
    import xgboost

    data = xgboost.DMatrix(rows.features, rows.labels, qid=rows.query)
    rows_held_out = xgboost.DMatrix(held_out.features)
    options = {"objective": "rank:ndcg", "seed": 0, "tree_method": "hist", "device": device}
    booster = xgboost.Booster(options, [data])
    number = 0
    while True:
        for _ in range(TREES_A_ROUND):
            booster.update(data, number)
            number += 1
        yield lambda: booster.predict(rows_held_out)


def main() -> None:
    name, queries, seconds, device = sys.argv[1:]
    trained = {"torch": pytorch, "lightgbm": lightgbm, "xgboost": xgboost}[name]
    rows, held_out = letor(int(queries), 0), letor(int(queries) // 4, 1)
    print(json.dumps(curve(trained(rows, held_out, device), held_out, float(seconds))))


if __name__ == "__main__":
    main()
