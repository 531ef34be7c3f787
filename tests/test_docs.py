"""Every example in a docstring, and in the README, runs and prints what it says."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_trainsteps

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(keras_trainsteps.__path__, "keras_trainsteps.")
    if "__main__" not in module.name
)
README = Path(__file__).parent.parent / "README.md"


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    module = importlib.import_module(name)
    names = {"keras": keras, "np": np, "tf": tf}
    result = doctest.testmod(module, extraglobs=names)
    assert result.failed == 0


def test_readme():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
