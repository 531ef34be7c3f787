"""What the pictures share."""

from __future__ import annotations

from typing import Any


def pyplot(asked_by: str) -> Any:
    """`matplotlib.pyplot`, or an error that names what brings it."""
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as error:
        raise ImportError(
            f"`{asked_by}` needs matplotlib, which is not installed. The extra `plot` "
            "brings it: `pip install 'keras-trainsteps[plot]'`."
        ) from error
    return plt
