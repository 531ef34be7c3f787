"""Runs a notebook top to bottom in a kernel of this interpreter, and writes it with outputs.

    python -m tests.notebooks.execute notebooks/ranking_by_query.ipynb /tmp/executed.ipynb

A process of its own: the sockets of a kernel's client outlive it.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from ipykernel.kernelspec import write_kernel_spec
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

from tests.notebooks.stored import FOLDER


def execute(source, target):
    notebook = nbformat.read(source, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        # Whatever other kernels are installed.
        write_kernel_spec(f"{folder}/kernels/this")
        kernels = KernelSpecManager(kernel_dirs=[f"{folder}/kernels"], ensure_native_kernel=False)
        client = NotebookClient(
            notebook,
            km=KernelManager(kernel_name="this", kernel_spec_manager=kernels),
            resources={"metadata": {"path": folder}},
            timeout=300,
        )
        settings = {"PYTHONPATH": str(FOLDER.parent), "IPYTHONDIR": f"{folder}/ipython"}
        inherited = {name: os.environ[name] for name in os.environ if name != "MPLBACKEND"}
        client.execute(env={**inherited, **settings})
    nbformat.write(notebook, target)


if __name__ == "__main__":
    execute(Path(sys.argv[1]), Path(sys.argv[2]))
