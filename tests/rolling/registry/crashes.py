"""Runs the registry in processes that are killed or whose disk fails; prints JSON.

    python -m tests.rolling.registry.crashes SCENARIO DIRECTORY

Each case is a fork of this process, which holds no TensorFlow. After each case the
registry is opened anew, everything in it is verified, and the work is done again.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

from tests.rolling.registry import bare

bare.install()

from keras_trainsteps.rolling.registry.registry import ModelRegistry  # noqa: E402
from tests.rolling.faults import Faults  # noqa: E402
from tests.rolling.registry.days import daily, folder_publish  # noqa: E402


def check(directory, versions_before=()):
    """Everything that must hold after any crash; returns the versions."""
    registry = ModelRegistry(directory)
    versions = registry.versions()
    for number in versions:
        registry.verify(number)
    for name, number in registry.aliases().items():
        assert number in versions, f"{name} points at {number}, not in {versions}"
    if versions_before:
        assert set(versions_before[-1:]) <= set(versions), (versions_before, versions)
    return versions


def child(work):
    """Runs `work` in a fork; returns its exit code, or minus the signal that killed it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except OSError as error:
            os._exit(100 + (error.errno or 0) % 100)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def prepared(base, days):
    shutil.rmtree(base, ignore_errors=True)
    registry = ModelRegistry(base)
    for _ in range(days):
        daily(registry)
    return registry


def calls_of(base, days, work, first=None):
    """The names of the disk steps of `work` on a registry of some days."""
    prepared(base, days) if days else shutil.rmtree(base, ignore_errors=True)
    if first is not None:
        killed_at(base, first)
    reader, writer = os.pipe()

    def counted():
        faults = Faults().install()
        work(ModelRegistry(base))
        os.write(writer, json.dumps(faults.log).encode())

    assert child(counted) == 0
    return json.loads(os.read(reader, 100_000))


def killed_at(base, at):
    """Leaves a registry as a first kill leaves it."""

    def broken():
        Faults(at).install()
        daily(ModelRegistry(base))

    assert child(broken) == -signal.SIGKILL


def matrix(base, actions, days=3, work=daily, expect_kill=True, first=None):
    """Every disk step of `work`, failed in each way, on a registry of some days.

    With `first`, a day was killed at that step before.
    """
    steps = len(calls_of(base, days, work, first))
    for action in actions:
        for at in range(steps):
            if days:
                registry = prepared(base, days)
                if first is not None:
                    killed_at(base, first)
                before = registry.versions()
                champion = registry.aliases()["champion"]
            else:
                shutil.rmtree(base, ignore_errors=True)
                before, champion = [], None

            def broken(action=action, at=at):
                Faults(at, action).install()
                work(ModelRegistry(base))

            code = child(broken)
            expected = -signal.SIGKILL if expect_kill else None
            assert (code == expected) if expect_kill else (code != 1), (action, at, code)
            after = check(base, before)
            now = ModelRegistry(base).aliases().get("champion")
            assert now in (champion, *after), (champion, now, after)
            assert child(lambda: ModelRegistry(base).clean()) == 0
            left = [n for n in os.listdir(base) if n.startswith(".")]
            assert not left, (action, at, left)
            assert child(lambda: daily(ModelRegistry(base))) == 0, (action, at)
            final = check(base)
            assert ModelRegistry(base).aliases()["champion"] == final[-1]
    return {"steps": steps, "cases": steps * len(actions)}


def kills(base):
    return matrix(base, ("kill_before", "kill_after"))


def kills_of_the_first_day(base):
    return matrix(base, ("kill_before", "kill_after"), days=0)


def kills_of_a_rollback(base):
    def work(registry):
        registry.rollback()

    return matrix(base, ("kill_before", "kill_after"), work=work)


def twice_in_a_row(base):
    """A second kill while the first one's leftovers are being removed."""

    def work(registry):
        registry.clean()
        daily(registry)

    calls = calls_of(base, 3, daily)
    last = {call: number for number, call in enumerate(calls)}
    # The first kill: while publishing, before the champion moves, while a version is deleted.
    firsts = (calls.index("write") + 2, last["replace"], last["rmdir"])
    for first in firsts:
        matrix(base, ("kill_before",), work=work, first=first)
    return {"killed": [calls[first] for first in firsts]}


def broken_disk(base):
    return matrix(base, ("EIO",), expect_kill=False)


def other_disk_errors(base):
    return matrix(base, ("ENOSPC", "EXDEV", "EROFS"), expect_kill=False)


def full_disk(base):
    """A file-size limit, below and above what each file needs."""
    prepared(base, 2)
    before = ModelRegistry(base).versions()
    codes = []
    for limit in (0, 10, 500, 5000, 6000, 10**6):

        def limited(limit=limit):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            folder_publish(ModelRegistry(base), 9)

        codes.append(child(limited))
        check(base, before)
    assert codes[0] == 127, codes  # 100 + EFBIG
    assert codes[-1] == 0, codes
    left = [n for n in os.listdir(base) if n.startswith(".")]
    assert not left, left
    return {"codes": codes}


def read_only(base):
    """A reader without write access reads; its publishing fails and changes nothing."""
    base = Path(base)
    prepared(base, 2)
    for folder, _, names in os.walk(base):
        os.chmod(folder, 0o555)
        for name in names:
            os.chmod(Path(folder) / name, 0o444)

    def unprivileged():
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        registry = ModelRegistry(base)
        registry.verify("champion")
        folder_publish(registry, 9)

    code = child(unprivileged)
    for folder, _, _ in os.walk(base):
        os.chmod(folder, 0o755)
    assert code == 113, code  # 100 + EACCES
    return {"versions": check(base)}


def two_writers(base):
    """Four processes publish at once: every publication gets a number of its own."""
    prepared(base, 1)
    pids = []
    for writer in range(4):
        pid = os.fork()
        if pid == 0:
            registry = ModelRegistry(base)
            for turn in range(10):
                folder_publish(registry, 1000 * (writer + 1) + turn)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
    versions = check(base)
    prints = {ModelRegistry(base).get(n).fingerprint for n in versions}
    assert versions == list(range(1, 42))
    assert len(prints) == 41
    return {"versions": len(versions)}


def readers(base):
    """Pollers verify what they see while writers publish, promote, delete, and are killed."""
    prepared(base, 2)
    stop = Path(base).with_suffix(".stop")
    stop.unlink(missing_ok=True)
    pids, pipes = [], []
    for _ in range(2):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            checked = 0
            while not stop.exists():
                registry = ModelRegistry(base)
                champion = registry.get("champion")
                names = {n for n in os.listdir(base) if n.isdecimal()}
                for number in [champion.number, *map(int, sorted(names))]:
                    try:
                        registry.verify(number)
                    except (ValueError, FileNotFoundError):
                        # Only retention may have taken it, and never the champion's.
                        if (Path(base) / str(number)).exists():
                            traceback.print_exc()
                            os._exit(1)
                    checked += 1
            os.write(writing, str(checked).encode())
            os._exit(0)
        pids.append(pid)
        pipes.append(reading)
    random.seed(1)
    killed = 0
    for _ in range(60):
        pid = os.fork()
        if pid == 0:
            registry = ModelRegistry(base)
            registry.clean()
            daily(registry)
            os._exit(0)
        time.sleep(random.uniform(0.002, 0.03))
        os.kill(pid, signal.SIGKILL)
        killed += os.waitpid(pid, 0)[1] != 0
    stop.touch()
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
    check(base)
    return {"killed": killed, "read": sum(int(os.read(p, 100)) for p in pipes)}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
