"""Imports modules of the library without its `__init__`, which needs TensorFlow.

The registry needs none, so that processes to be killed start in 0.1 s.
"""

import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def install():
    """Makes `keras_trainsteps` and `.rolling` importable as bare packages."""
    for name in ("keras_trainsteps", "keras_trainsteps.rolling"):
        package = types.ModuleType(name)
        package.__path__ = [str(ROOT / name.replace(".", "/"))]
        sys.modules[name] = package
