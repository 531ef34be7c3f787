"""What is released: a wheel and an sdist that hold what they should, and run."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import keras_trainsteps

ROOT = Path(__file__).parents[1]


def test_one_version():
    for name, pattern in (
        ("CITATION.cff", r"^version: (.+)$"),
        ("pyproject.toml", r'^version = "(.+)"$'),
        ("CHANGELOG.md", r"^## \[(.+?)\]"),
    ):
        found = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        assert found
        assert found[1] == keras_trainsteps.__version__, name


@pytest.mark.slow
def test_a_wheel_installs_and_runs_the_first_block_of_the_readme(tmp_path):
    def run(*command, **options):
        done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    python = sys.executable
    run(python, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT))
    (wheel,), (source,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    run(python, "-m", "twine", "check", "--strict", str(wheel), str(source))
    files = zipfile.ZipFile(wheel).namelist()
    modules = {str(path.relative_to(ROOT)) for path in ROOT.glob("keras_trainsteps/**/*.py")}
    assert {name for name in files if name.endswith(".py")} == modules
    assert "keras_trainsteps/py.typed" in files
    with tarfile.open(source) as archive:
        assert any(name.endswith("/tests/test_release.py") for name in archive.getnames())

    site = tmp_path / "site"
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block, text = re.search(
        r"```python\n(.*?)```\n+```text\n(.*?)```", readme, re.DOTALL
    ).groups()
    installed = f"import keras_trainsteps\nassert {str(site)!r} in keras_trainsteps.__file__\n"
    environment = {**os.environ, "PYTHONPATH": str(site), "TF_CPP_MIN_LOG_LEVEL": "3"}
    assert run(python, "-c", installed + block, cwd=tmp_path, env=environment) == text
