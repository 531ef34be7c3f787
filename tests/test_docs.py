"""Every example in a docstring, in the README and on a page of the site does what it says."""

import contextlib
import doctest
import importlib
import io
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
ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(
    path for path in DOCS.rglob("*.md") if "```python" in path.read_text(encoding="utf-8")
)
BLOCK = re.compile(
    r"^```python\n(.*?)^```$(?:\n+^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE
)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    module = importlib.import_module(name)
    names = {"keras": keras, "np": np, "tf": tf}
    result = doctest.testmod(module, extraglobs=names)
    assert result.failed == 0


def assert_prints_what_it_says(path):
    """Runs the blocks of a page; a block of text that follows one is what it prints."""
    blocks = BLOCK.findall(path.read_text(encoding="utf-8"))
    assert blocks
    names = {}
    for code, text in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, str(path), "exec"), names)
        assert printed.getvalue() == text, code


def test_readme():
    assert_prints_what_it_says(ROOT / "README.md")


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_page(path):
    assert_prints_what_it_says(path)
