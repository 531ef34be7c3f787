"""One run of test modules of Keras, in a process of its own: `python -m tests.keras_own.child`.

Keras's global state and its registry of classes are those of one side alone.
"""

import argparse
import os
import pickle
import sys
import tempfile
from pathlib import Path

from tests.keras_own import rewriting


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", action="store_true")
    parser.add_argument("--output", required=True)
    parser.add_argument("--only")
    parser.add_argument("modules", nargs="+")
    given = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    rewriting.install(with_ours=given.ours)

    import keras
    import pytest

    from tests.keras_own.recording import Recorder

    recorder = Recorder()
    root = Path(keras.__file__).parent / "src"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        settings = Path(folder, "pytest.ini")
        settings.write_text("[pytest]\npython_files = *_test.py\n", encoding="utf-8")
        options = [
            "-c",
            str(settings),
            "--rootdir",
            folder,
            "--assert=plain",
            "-q",
            "-W",
            "ignore",
        ]
        options += ["-p", "no:cacheprovider", "-p", "no:xdist", "--tb=short", "--no-header"]
        options += ["--continue-on-collection-errors"]  # of modules for another backend
        options += ["-k", given.only] if given.only else []
        modules = [str(root / module) for module in given.modules]
        code = pytest.main([*options, *modules], plugins=[recorder])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return code
    with open(given.output, "wb") as file:
        pickle.dump(recorder.records, file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
