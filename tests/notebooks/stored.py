"""How notebooks are stored: without outputs, so that a difference is one of text and code.

python -m tests.notebooks.stored    # puts all notebooks into that form
"""

from pathlib import Path

import nbformat

FOLDER = Path(__file__).parent.parent.parent / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def paths():
    return sorted(FOLDER.glob("*.ipynb"))


def stored_form(path):
    """The text that the file of a notebook should have."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata = nbformat.from_dict(METADATA)
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id, cell.metadata = f"cell-{number}", nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nbformat.writes(notebook) + "\n"


if __name__ == "__main__":
    for path in paths():
        path.write_text(stored_form(path), encoding="utf-8")
