"""Jobs that are killed and resumed, compared with the same jobs left alone; prints JSON.

python -m tests.rolling.resume.kills DIRECTORY SUITE...
"""

import functools
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_trainsteps.rolling import (
    ResumableJob,
    export_serving,
    load_for_inference,
    resumable_batches,
    save_for_inference,
    save_for_training,
    warm_start,
)
from keras_trainsteps.rolling.artifacts.model_state import read_state
from tests.rolling.faults import Faults
from tests.rolling.forks import forked, parallel, started, waited
from tests.rolling.resume.jobs import CASES, EPOCHS, STEPS, job, plain

child = functools.partial(forked, job)
task = functools.partial


def whole(base, case, epochs=EPOCHS, **options):
    """What a job left alone ends with; it runs once a directory."""
    cached = base / f"{case}-{epochs}.json"
    if not cached.exists():
        base.mkdir(parents=True, exist_ok=True)
        folder = base / f"whole {case} {os.getpid()}"
        out = folder.with_suffix(".json")
        assert child(case, folder, epochs=epochs, out=out, **options) == 0, case
        os.replace(out, cached)
    return json.loads(cached.read_text())


def resumed(base, case, kills, epochs=EPOCHS, **options):
    """What a job ends with that is killed at each of `kills` in turn, and resumed."""
    folder = base / f"killed {case} {os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    for kill in kills:
        code = child(case, folder, kill=kill, epochs=epochs, **options)
        assert code in endings(kill), (case, kill, code)
    out = folder.with_suffix(".json")
    assert child(case, folder, epochs=epochs, out=out, shift=2, **options) == 0, (case, kills)
    return json.loads(out.read_text())


def endings(kill):
    """The exit codes of a job that was killed so."""
    if kill[-1] == signal.SIGTERM:
        return [128 + signal.SIGTERM]
    if str(kill[-1]).startswith("E"):  # an error of the disk may hit what is not needed
        return [0, *range(100, 200)]
    return [-signal.SIGKILL]


def same(base, case, kills, **options):
    """A job killed at each of `kills` in turn and resumed ends as the one left alone."""
    left, right = whole(base, case), resumed(base, case, kills, **options)
    for part in left:
        assert left[part] == right[part], (case, kills, part, left[part], right[part])


def all_same(base, case, each):
    """The same for each list of kills, two at a time."""
    whole(base, case)
    parallel([task(same, base, case, kills) for kills in each])
    return len(each)


def cases(base, names=tuple(CASES)):
    """Every kind of model, killed within an epoch and resumed."""

    def killed(case):
        at = 4 if "at once" in case else 9
        same(base, case, [("batch_end", at)])

    parallel([task(killed, case) for case in names])
    epochs = {case: len(whole(base, case)["epochs"]) for case in names}
    assert epochs["early stopping"] < EPOCHS, epochs  # it did stop
    return epochs


def some_cases(base):
    """The kinds that fail in different ways."""
    names = ("trainable coefficient", "early stopping", "float16", "subclassed ranking")
    return cases(base, names)


def epoch_ends(base):
    """Every kind of model, killed in the first batch after an epoch, saved by epoch."""

    def killed(case):
        at = 4 if "at once" in case else 8
        same(base, case, [("batch_begin", at)], save_freq="epoch")

    parallel([task(killed, case) for case in CASES])
    return len(CASES)


def moments(base, case="dropout unseeded"):
    """Every kind of moment of one job."""
    kills = [
        ("epoch_begin", 0),
        ("batch_begin", 0),
        ("batch_end", 0),
        ("batch_end", 2 * STEPS - 1),
        ("batch_end", EPOCHS * STEPS - 1),
        ("validation", 0),
        ("validation", 3),
        ("epoch_end", 0),
        ("epoch_end", EPOCHS - 1),
        ("train_end", 0),
        ("batch_end", 6, signal.SIGTERM),
        ("batch_end", 2 * STEPS - 1, signal.SIGTERM),
    ]
    return all_same(base, case, [[kill] for kill in kills])


def moments_of_ranking(base):
    """The same of a job with side inputs, named terms and a coefficient."""
    return moments(base, "ranking")


def any_time(base, case="dropout unseeded", rounds=12):
    """Killed from outside at random times, within steps as well as between them."""
    expected = whole(base, case)
    generator, killed = random.Random(1), 0
    folder = base / "any"
    for number in range(rounds):
        shutil.rmtree(folder, ignore_errors=True)
        for _ in range(2):
            pid = started(job, case, folder)
            begin = time.monotonic()
            while not list(folder.glob("step-*")) and time.monotonic() - begin < 30:
                time.sleep(0.01)
            time.sleep(generator.uniform(0, 0.4))
            os.kill(pid, signal.SIGKILL)
            killed += waited(pid) != 0
        out = base / f"any-{number}.json"
        assert child(case, folder, out=out) == 0
        assert json.loads(out.read_text()) == expected
    assert killed > rounds, killed
    return killed


def twice(base, case="dropout unseeded"):
    """Killed again and again while resuming."""
    first = ("batch_end", 6)
    seconds = (("epoch_begin", 0), ("batch_begin", 0), ("batch_end", 0), first)
    disk = [("disk", 20, "kill_after"), ("disk", 2, "kill_after")]
    return all_same(base, case, [*([first, second, second] for second in seconds), disk])


def disk(base, case="dropout unseeded", places=range(46), actions=("kill_before", "kill_after")):
    """Killed at each step on disk of three checkpoints in the middle of the job."""
    return all_same(base, case, [[("disk", at, act)] for at in places for act in actions])


def some_kills(base):
    """Two real ones of a light job: of its process and on disk."""
    return all_same(base, "light", [[("batch_end", 9)], [("disk", 20, "kill_after")]])


def some_endings(base):
    """Two others of it: by SIGTERM, by a full disk."""
    each = [[("batch_end", 6, signal.SIGTERM)], [("disk", 13, "ENOSPC")]]
    return all_same(base, "light", each)


def some_disk(base):
    each = [(0, "kill_before"), (13, "ENOSPC"), (20, "kill_after"), (40, "kill_before")]
    return all_same(base, "dropout unseeded", [[("disk", *place)] for place in each])


def broken_disk(base):
    """Each step on disk of three checkpoints fails once, as on a full or broken disk."""
    return disk(base, places=range(0, 46, 5), actions=("ENOSPC", "EIO"))


def complete(base):
    """Resuming a complete job does nothing."""
    base.mkdir(parents=True, exist_ok=True)
    outs = [base / f"{name}.json" for name in ("first", "again")]
    for out in outs:
        assert child("early stopping", base / "c", out=out) == 0
    first, again = (json.loads(out.read_text()) for out in outs)
    assert first == again, (first, again)
    return len(first["epochs"])


def longer(base, case="ema"):
    """A complete job that is given more epochs goes on."""
    base.mkdir(parents=True, exist_ok=True)
    out = base / "longer.json"
    assert child(case, base / "c", epochs=3) == 0
    assert child(case, base / "c", out=out, epochs=EPOCHS) == 0
    assert json.loads(out.read_text()) == whole(base, case)
    return EPOCHS


def artefacts(base):
    """Killed at each step on disk of writing an artefact: it is whole, or not there."""
    kinds = {
        "inference": (save_for_inference, load_for_inference),
        "training": (save_for_training, read_state),
        "served": (export_serving, lambda path: tf.saved_model.load(path / "saved_model")),
    }

    def write(save, path, at=-1, action="kill_before"):
        model = plain()
        faults = Faults(at, action).install()
        save(model, path)
        path.with_name("steps").write_text(str(faults.count))

    def broken(name, at, action):
        save, load = kinds[name]
        path = base / f"{name} {at} {action}" / "artefact"
        path.parent.mkdir(parents=True)
        code = forked(write, save, path, at, action)
        if action.startswith("kill"):
            assert code == -signal.SIGKILL, (name, at, action, code)
        else:  # what fails is an error of the disk, or is not needed
            assert code == 0 or code >= 100, (name, at, action, code)
            assert code == 0 or not path.exists() or at >= len(places[name]) - 2
        if path.exists():
            assert forked(load, path) == 0, (name, at, action)
        else:
            assert forked(write, save, path) == 0, (name, at, action)

    places = {}
    for name, (save, _) in kinds.items():
        path = base / name / "artefact"
        path.parent.mkdir(parents=True)
        assert forked(write, save, path) == 0
        steps = int(path.with_name("steps").read_text())
        places[name] = range(0, steps, 1 if name != "served" else 3)
    tasks = [
        task(broken, name, at, action)
        for name, steps in places.items()
        for at in steps
        for action in ("kill_before", "kill_after", "ENOSPC")
    ]
    parallel(tasks)
    return len(tasks)


def warm_starts(base):
    """Killed at each value that a warm start sets: the source stays whole."""

    def start(at):
        real, calls = keras.Variable.assign, []

        def assign(self, value):
            calls.append(value)
            if len(calls) == at + 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, value)

        model = plain()
        type(model.weights[0]).assign = assign
        warm_start(model, base / "source")

    base.mkdir(parents=True)
    assert forked(lambda: save_for_training(plain(), base / "source")) == 0
    codes = [forked(start, at) for at in (0, 2, 4)]
    assert codes == [-signal.SIGKILL] * 3, codes
    assert forked(read_state, base / "source") == 0
    return len(codes)


def two_trainers(base):
    """A second trainer on the same directory is refused while the first one runs."""
    base.mkdir(parents=True, exist_ok=True)
    pid = started(job, "light", base / "t", kill=("batch_end", 3, signal.SIGSTOP))
    os.waitpid(pid, os.WUNTRACED)
    code = child("light", base / "t")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert code == 1
    assert child("light", base / "t") == 0
    return code


def replicas(base):
    """Two replicas: a warm start works, and a resumable job is refused."""

    def start():
        devices = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], devices
        )
        source = plain()
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            model = plain()
        warm_start(model, source)
        for left, right in zip(model.get_weights(), source.get_weights(), strict=True):
            np.testing.assert_array_equal(left, right)
        batches = resumable_batches(np.ones((8, 3)), np.ones((8, 1)), batch_size=4, seed=1)
        with pytest.raises(ValueError, match="must be on one replica"):
            ResumableJob(base, run_id="x").fit(model, batches, verbose=0)
        assert not base.exists()

    assert forked(start) == 0
    return 2


if __name__ == "__main__":
    begin, found = time.time(), {}
    for suite in sys.argv[2:]:
        found[suite] = globals()[suite](Path(sys.argv[1]) / suite)
        found[f"{suite} s"] = round(time.time() - begin, 1)
    print(json.dumps(found))
