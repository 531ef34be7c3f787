"""Every notebook runs top to bottom, in this interpreter, on its real data, with pictures."""

import re
import subprocess
import sys

import nbformat
import pytest

from tests.notebooks import claims
from tests.notebooks.stored import FOLDER, paths, stored_form

BY_DEFAULT = ""  # each takes long, and CI runs them


def execute(path, folder):
    """What the notebook put out."""
    target = folder / "executed.ipynb"
    command = [sys.executable, "-m", "tests.notebooks.execute", path, target]
    run = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True)
    if run.returncode:
        pytest.fail(re.sub(r"\x1b\[[0-9;]*m", "", run.stderr))  # without its colours
    cells = nbformat.read(target, as_version=4).cells
    return [output for cell in cells for output in cell.get("outputs", ())]


def test_the_notebooks_are_these():
    assert [path.stem for path in paths()] == [
        "custom_loss_trap",
        "masks_and_triplets",
        "ranking_by_query",
        "several_networks",
        "the_whole_guide",
        "trained_penalties",
    ]


@pytest.mark.parametrize("path", paths(), ids=lambda path: path.stem)
def test_it_is_stored_without_outputs(path):
    stored = path.read_text(encoding="utf-8")
    assert stored == stored_form(path), "Run `python -m tests.notebooks.stored`."


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path, id=path.stem, marks=[] if path.stem == BY_DEFAULT else pytest.mark.slow
        )
        for path in paths()
    ],
)
def test_it_runs_top_to_bottom(path, tmp_path):
    outputs = execute(path, tmp_path)
    streams = {"stdout": "", "stderr": ""}
    for output in outputs:
        if output.output_type == "stream":
            streams[output.name] += output.text
    assert streams["stdout"]
    assert not re.search(r"\w+Warning: .*", streams["stderr"])
    assert any("image/png" in output.get("data", {}) for output in outputs)
    if path.stem in claims.OF:
        claims.OF[path.stem](streams["stdout"])


def test_a_cell_that_fails_fails_its_notebook(tmp_path):
    code = "import sys\nassert not sys.executable, sys.executable"
    path = tmp_path / "failing.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), path)
    with pytest.raises(
        pytest.fail.Exception, match=f"AssertionError: {re.escape(sys.executable)}"
    ):
        execute(path, tmp_path)
