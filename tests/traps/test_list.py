"""`TRAPS.md` names tests that exist, and leaves out none of this folder."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
LIST = (TESTS / "TRAPS.md").read_text(encoding="utf-8")


def source(path):
    return (TESTS / path).read_text(encoding="utf-8")


def names_in(path):
    return set(re.findall(r"^def (test_\w+)\(", source(path), re.MULTILINE))


def named():
    """The tests of the list by their files; the title of a section names that of its rows."""
    found = {}
    for section in LIST.split("\n## ")[1:]:
        own = re.search(r"\(`(\S+\.py)`\)", section)
        for path, name in re.findall(r"`(?:(\S+?\.py)::)?(test_\w+)`", section):
            found.setdefault(path or own.group(1), set()).add(name)
    return found


NAMED = named()


@pytest.mark.parametrize("path", NAMED)
def test_the_list_names_tests_that_exist(path):
    assert NAMED[path] <= names_in(path)


@pytest.mark.parametrize("part", ["epochs", "inputs", "targets", "weights", "models"])
def test_no_test_of_a_trap_is_left_out(part):
    path = f"traps/test_{part}.py"
    assert names_in(path) <= NAMED[path]


def test_what_keras_still_has_is_named_in_the_last_column():
    cases = re.findall(r'^    "(.+)": \w+,$', source("traps/test_keras.py"), re.MULTILINE)
    last = re.findall(r"([^|]*) \|$", LIST, re.MULTILINE)
    listed = {case for entry in last for case in entry.strip().split(", ")}
    assert cases
    assert set(cases) <= listed
