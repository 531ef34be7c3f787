"""What cannot be read is set aside, so that it stops nothing else."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path

from keras_trainsteps.rolling.disk import files
from keras_trainsteps.rolling.registry import aliases, blessings, versions
from keras_trainsteps.rolling.registry.aliases import Alias

BROKEN = ".broken-"


def repair(base: Path, *, dry_run: bool) -> list[str]:
    """Sets aside versions and blessings that are damaged; mends aliases.

    An alias that cannot be read, or points at no version, goes back to the latest version
    that it pointed at before and that is whole; without one it is set aside, too. Nothing
    is deleted: what is set aside stays beside, under a name that begins with `.broken-`.

    Args:
        base: The directory of the registry, locked.
        dry_run: Whether to change nothing.

    Returns:
        What was done, a line each.
    """
    done: list[str] = []

    def note(what: str, act: Callable[[], object]) -> None:
        done.append(what)
        if not dry_run:
            act()

    whole = []
    for name in versions.like_numbers(base):
        try:
            versions.require_plain(name, base)
            versions.read(base / name, every_file=True)
        except ValueError as error:
            note(f"version {name} set aside: {error}", partial(_aside, base / name))
        else:
            whole.append(int(name))
    for number in blessings.numbers(base):
        try:
            blessings.read(base, number)
        except ValueError as error:
            path = blessings.path_of(base, number)
            note(f"blessing of version {number} set aside: {error}", partial(_aside, path))
    for name in aliases.names(base):
        try:
            found = aliases.read(base, name)
        except ValueError as error:
            found, reason = None, str(error)
        else:
            reason = f"it points at version {found.version}, which is not there" if found else ""
        if found is not None and found.version in whole:
            continue
        mended = _mended(aliases.mentioned(base, name), whole)
        if mended is None:
            path = aliases.path_of(base, name)
            note(f"alias {name!r} set aside: {reason}", partial(_aside, path))
        else:
            note(
                f"alias {name!r} now points at version {mended.version}: {reason}",
                partial(aliases.write, base, name, mended),
            )
    return done


def _mended(mentioned: Collection[int], whole: Collection[int]) -> Alias | None:
    there = [number for number in mentioned if number in whole]
    return Alias(there[-1], tuple(there[:-1]), {"action": "repair"}) if there else None


def _aside(path: Path) -> None:
    os.rename(path, path.with_name(f"{BROKEN}{path.name}-{secrets.token_hex(4)}"))
    files.sync_directory(path.parent)
