"""Kills or fails a process at its n-th step on disk.

Every call by which the library changes the disk is counted: creating, writing, syncing,
renaming, deleting. At the chosen call the process is killed, before or after the call, or
the call fails as a broken disk would make it fail. All other calls are the real ones.
"""

import builtins
import errno
import io
import os
import signal

CALLS = ("mkdir", "fsync", "rename", "replace", "unlink", "rmdir")


class Faults:
    """Counts the calls that change the disk; does `action` at call number `at`.

    Args:
        at: The call at which to act, from 0; -1 for never.
        action: `"kill_before"`, `"kill_after"` or the name of an `errno`.
        only: Names of calls that count. Default: all.
    """

    def __init__(self, at=-1, action="kill_before", only=(*CALLS, "write")):
        self.at, self.action, self.only = at, action, only
        self.count = 0
        self.log = []

    def install(self):
        for name in CALLS:
            setattr(os, name, self._wrapped(name, getattr(os, name)))
        real_open = builtins.open

        def opened(file, mode="r", *args, **kwargs):
            found = real_open(file, mode, *args, **kwargs)
            if any(letter in mode for letter in "wxa+") and isinstance(
                found, io.BufferedWriter | io.TextIOWrapper
            ):
                return Writer(found, self)
            return found

        builtins.open = io.open = opened
        return self

    def step(self, name, call):
        if name not in self.only:
            return call()
        now, self.count = self.count, self.count + 1
        self.log.append(name)
        if now != self.at:
            return call()
        if self.action == "kill_before":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.action == "kill_after":
            try:
                call()
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, self.action)
        raise OSError(number, os.strerror(number))

    def _wrapped(self, name, real):
        return lambda *args, **kwargs: self.step(name, lambda: real(*args, **kwargs))


class Writer:
    """A file whose writes are counted."""

    def __init__(self, file, faults):
        self._file, self._faults = file, faults

    def write(self, content):
        return self._faults.step("write", lambda: self._file.write(content))

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        self._file.__enter__()
        return self

    def __exit__(self, *error):
        return self._file.__exit__(*error)
