"""Files and directories that are whole or absent, whatever kills the writer."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

STAGE = ".stage-"
TRASH = ".trash-"
_CHUNK = 1 << 20


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def canonical_json(value: Any) -> bytes:
    """The one spelling of a JSON value that is hashed; NumPy's numbers are numbers."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=True, default=_of_numpy
    )
    return text.encode()


def _of_numpy(value: Any) -> Any:
    if not hasattr(value, "item"):
        raise TypeError(f"A file must hold JSON values. Received: {type(value).__name__}.")
    return value.item()


def read_json(path: Path, what: str) -> dict[str, Any]:
    """A JSON object from a file; anything else is refused.

    Raises:
        ValueError: When the file is missing, a link, cut off or no JSON object.
    """
    if path.is_symlink():
        raise ValueError(f"`{path}` must be a file of its own. Received: a link.")
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{what} must have the file `{path}`. Received: none.") from None
    except (ValueError, OSError, RecursionError) as error:
        raise ValueError(
            f"`{path}` must be readable JSON. Received: {type(error).__name__}: {error}. "
            "The file is damaged; take another version or restore it from a backup."
        ) from error
    if not isinstance(found, dict):
        raise ValueError(f"`{path}` must hold a JSON object. Received: {type(found).__name__}.")
    return found


def sync_directory(path: Path) -> None:
    """Makes the names in a directory survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(paths: Iterable[Path]) -> None:
    """Makes the content of files survive a loss of power."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """Makes every file below a directory, and every name, survive a loss of power."""
    for folder, _, names in os.walk(directory):
        sync_files(Path(folder) / name for name in names)
        sync_directory(Path(folder))


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file so that readers see the old content or the new, never a part."""
    stage = path.with_name(f"{STAGE}{path.name}-{secrets.token_hex(8)}")
    try:
        with open(stage, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(stage, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(stage)
        raise
    sync_directory(path.parent)


@contextlib.contextmanager
def locked(directory: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds the lock of a directory; the system frees it when its holder dies.

    Raises:
        BlockingIOError: When another process holds it and `wait` is `False`.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def stage(base: Path) -> Iterator[Path]:
    """A new directory inside `base`, removed unless it has been renamed at the end.

    It is on the file system of `base`, has a name that is no number, and stays locked
    while its writer lives, so that `remove_leftovers` can tell it from a dead one.
    """
    path = base / f"{STAGE}{secrets.token_hex(8)}"
    with contextlib.ExitStack() as stack:
        try:
            with locked(base):
                os.mkdir(path)
                stack.enter_context(locked(path))
            yield path
        except OSError as error:
            error.add_note(
                f"Nothing was added to `{base}`; what was there before is whole. Make room "
                "on the disk, or make it writable, and run this again."
            )
            raise
        finally:
            if path.exists():
                shutil.rmtree(path, ignore_errors=True)


def remove_leftovers(base: Path) -> list[str]:
    """Deletes the stages of killed writers and half-deleted versions."""
    removed = []
    with locked(base):
        for name in sorted(os.listdir(base)):
            path = base / name
            if not name.startswith((STAGE, TRASH)) or path.is_symlink():
                continue
            if path.is_dir():
                try:
                    with locked(path, wait=False):
                        shutil.rmtree(path)
                except (BlockingIOError, FileNotFoundError):
                    continue  # its writer is alive, or has just finished
            else:
                os.unlink(path)
            removed.append(name)
    return removed


def rename_new(source: Path, target: Path) -> bool:
    """Renames a directory; `False` when there already is one of that name."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True


def remove_tree(path: Path) -> None:
    """Deletes a directory that readers know: first its name, in one step, then its files."""
    shutil.rmtree(to_trash(path))


def to_trash(path: Path) -> Path:
    """Takes the name of a directory away, in one step; returns its new path."""
    trash = path.with_name(f"{TRASH}{path.name}-{secrets.token_hex(8)}")
    os.rename(path, trash)
    sync_directory(path.parent)
    return trash
