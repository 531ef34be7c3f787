"""Which changes of the step the tests see: mutants of a random sample, run one by one.

    python -m tests.mutation --sample 60 [--seed 1] [MODULE ...]

Mutants are made and run by cosmic-ray (extra `dev`) in a copy of the repository; those that
survive are printed, and the share that was killed.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODULES = ["keras_trainsteps/step", "keras_trainsteps/model.py", "keras_trainsteps/fitting"]
TESTS = """
    tests/test_overrides.py tests/test_fitting.py tests/step tests/test_model.py
    tests/keras2/test_own_steps.py tests/traps tests/test_bad_input.py
    tests/keras2/test_bodies.py tests/replicas
"""  # those that fail soonest come first
CONFIG = """
[cosmic-ray]
module-path = {modules}
timeout = 1500
excluded-modules = []
test-command = "{python} -m pytest -x -q -p no:cacheprovider -p no:randomly {tests}"
[cosmic-ray.distributor]
name = "local"
"""
# Their mutants change no behaviour: annotations, and names that only a type checker reads.
NO_CODE = ("core/RemoveDecorator",)


def sampled(session, size, seed):
    """Leaves a random sample of the mutants in a session; gives how many there were."""
    from cosmic_ray.work_db import WorkDB, use_db

    with use_db(str(session), WorkDB.Mode.open) as database:
        items = sorted(database.work_items, key=lambda item: item.job_id)
        of_code = [item for item in items if not is_annotation(item.mutations[0])]
        of_code.sort(key=lambda item: str(item.mutations))
        kept = random.Random(seed).sample(of_code, min(size, len(of_code)))
        database.clear()
        database.add_work_items(kept)
        return len(of_code)


def is_annotation(mutation):
    """Whether a mutant changes a type or a signature alone, or nothing that runs."""
    if mutation.operator_name in NO_CODE:
        return True
    line = (ROOT / mutation.module_path).read_text().splitlines()[mutation.start_pos[0] - 1]
    is_type = "BitOr" in mutation.operator_name and (":" in line or "->" in line)
    is_keyword_only = "_Mul_" in mutation.operator_name and "*," in line
    return is_keyword_only or (is_type and "isinstance" not in line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="*", default=MODULES)
    parser.add_argument("--sample", type=int, default=60, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tests", default=TESTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        ignored = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=ignored)
        (copy / "cosmic.toml").write_text(
            CONFIG.format(
                modules=options.modules,
                python=sys.executable,
                tests=" ".join(options.tests.split()),
            )
        )
        cosmic_ray = [str(Path(sys.executable).with_name("cosmic-ray"))]
        run = {"cwd": copy, "check": True, "env": {**os.environ, "PYTHONPATH": str(copy)}}
        subprocess.run([*cosmic_ray, "init", "cosmic.toml", "session.sqlite"], **run)
        total = sampled(copy / "session.sqlite", options.sample, options.seed)
        subprocess.run([*cosmic_ray, "exec", "cosmic.toml", "session.sqlite"], **run)
        report(copy / "session.sqlite", total)


def report(session, total):
    """Prints the mutants that survived, and the share that was killed."""
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import TestOutcome

    with use_db(str(session), WorkDB.Mode.open) as database:
        done = [(item.mutations[0], result) for item, result in database.completed_work_items]
    survived = [(m, r) for m, r in done if r.test_outcome == TestOutcome.SURVIVED]
    for mutation, result in survived:
        print(f"{mutation.module_path}:{mutation.start_pos[0]} {mutation.operator_name}")
        print("\n".join(line for line in (result.diff or "").splitlines() if line[:1] in "+-"))
    killed = len(done) - len(survived)
    print(f"{killed} of {len(done)} killed ({killed / len(done):.0%}), of {total} mutants in all")


if __name__ == "__main__":
    main()
