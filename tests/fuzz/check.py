"""Every log and every weight of a configuration, on both sides."""

import numpy as np

from tests.fuzz import models, plain

RELATIVE, ABSOLUTE = 2e-4, 2e-5  # float32, after up to ten steps


def differences(c):
    """What differs, in words; empty where nothing does."""
    expected, received = plain.trained(c), models.trained(c)
    found = []
    names = [f"epoch or batch {k}" for k in range(len(expected[0]))]
    pairs = zip(names, expected[0], received[0], strict=True)
    for where, right, logged in [*pairs, ("evaluate", expected[1], received[1])]:
        if set(right) != set(logged):
            found.append(f"{where}: logs {sorted(right)} expected, {sorted(logged)} received")
        for name in sorted(set(right) & set(logged)):
            if not np.allclose(right[name], logged[name], RELATIVE, ABSOLUTE):
                found.append(f"{where}: {name} {right[name]:.7g} expected, {logged[name]:.7g}")
    for name, right in expected[2].items():
        if not np.allclose(right, received[2][name], RELATIVE, ABSOLUTE):
            found.append(
                f"weight {name}: {right.tolist()} expected, {received[2][name].tolist()}"
            )
    return found
