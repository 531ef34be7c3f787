"""The list of what a directory must hold: every file with its size and SHA-256."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from keras_trainsteps.rolling.disk import fields, files

NAME = "MANIFEST.json"
FORMAT = "keras_trainsteps.manifest"
FORMAT_VERSION = 1
_FIELDS = {
    "kind": fields.TEXT,
    "about": fields.OBJECT,
    "files": fields.object_of(fields.record({"bytes": fields.COUNT, "sha256": fields.TEXT})),
}


def write(
    directory: Path,
    kind: str,
    about: Mapping[str, Any],
    hashed: Mapping[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Writes the manifest of all files below `directory`.

    Args:
        directory: The directory; files are added before, never after.
        kind: What the directory is: `"version"`, `"inference"`, `"training"`,
            `"checkpoint"`.
        about: What else to record: JSON values.
        hashed: Size and SHA-256 of files that were hashed while they were written.

    Returns:
        The manifest.
    """
    found = {
        name: (hashed or {}).get(name) or _entry(path)
        for name, path in files_of(directory).items()
    }
    body = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "about": dict(about),
        "files": found,
    }
    body["digest"] = digest(body)
    (directory / NAME).write_bytes(files.canonical_json(body))
    return body


def seal(
    directory: Path,
    kind: str,
    about: Mapping[str, Any],
    hashed: Mapping[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Writes the manifest, and syncs everything to disk while the files are hashed."""
    return seal_hashed(directory, kind, about, hash_and_sync(directory, hashed))


def hash_and_sync(
    directory: Path, hashed: Mapping[str, dict[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of every file below a directory, all synced to disk meanwhile."""
    known = hashed or {}
    with ThreadPoolExecutor(max_workers=1) as pool:
        syncing = pool.submit(files.sync_tree, directory)
        try:
            return {n: known.get(n) or _entry(p) for n, p in files_of(directory).items()}
        finally:
            syncing.result()


def seal_hashed(
    directory: Path, kind: str, about: Mapping[str, Any], hashed: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """Writes the manifest of files that are hashed and synced, and syncs it."""
    body = write(directory, kind, about, hashed)
    files.sync_files([directory / NAME])
    files.sync_directory(directory)
    return body


def require_true_below(directory: Path, hashed: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuses a manifest in a folder that does not list the files that are there.

    Raises:
        ValueError: For the first one.
    """
    for name in hashed:
        folder, _, last = name.rpartition("/")
        if last != NAME or not folder:
            continue
        try:
            body = files.read_json(directory / name, "A folder")
        except ValueError:
            continue  # of something else
        if body.get("format") != FORMAT:
            continue
        there = {
            other.removeprefix(f"{folder}/"): entry
            for other, entry in hashed.items()
            if other.startswith(f"{folder}/") and other != name
        }
        if body.get("files") != there or body.get("digest") != digest(body):
            raise ValueError(
                f"`{name}` must list the files beside it. Received: a manifest of others, or "
                "of what they were before. Delete it, and write the folder anew by "
                "`save_for_inference` or `save_for_training`."
            )


def read(directory: Path, kind: str) -> dict[str, Any]:
    """Reads and checks a manifest, without looking at the files it lists.

    Raises:
        ValueError: When there is none, it is damaged, of another kind, or of a format
            that this version of the library does not know.
    """
    path = directory / NAME
    if not directory.is_dir():
        raise ValueError(
            f"`{directory}` must be a directory that this library wrote, of kind {kind!r}. "
            f"Received: {_what_is(directory)}."
        )
    body = files.read_json(path, f"A directory of kind {kind!r}")
    if body.get("format") != FORMAT:
        raise ValueError(
            f"`{path}` must be a manifest of this library. Received: format "
            f"{body.get('format')!r}. The directory was written by something else."
        )
    if body.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"`{path}` must have format version {FORMAT_VERSION}. Received: "
            f"{body.get('format_version')!r}. Read it with the version of keras_trainsteps "
            "that wrote it, or upgrade."
        )
    if body.get("digest") != digest(body):
        raise ValueError(
            f"`{path}` must match its own digest. Received: a manifest changed after it "
            "was written. Take another version or restore it from a backup."
        )
    fields.require(body, _FIELDS, path)
    if body["kind"] != kind:
        raise ValueError(f"`{directory}` must be of kind {kind!r}. Received: {body['kind']!r}.")
    return body


def verify(directory: Path, kind: str) -> dict[str, Any]:
    """Checks that a directory holds exactly the listed files, each to the bit.

    Raises:
        ValueError: For the first file that is missing, added, no regular file, cut off
            or changed.
    """
    body = read(directory, kind)
    found = files_of(directory)
    listed = body["files"]
    if missing := sorted(set(listed) - set(found)):
        raise _damaged(directory / missing[0], "no such file")
    if added := sorted(set(found) - set(listed)):
        raise _damaged(directory / added[0], "a file that the manifest does not list")
    for name, expected in listed.items():
        path = found[name]
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise _damaged(path, f"{size} bytes instead of {expected['bytes']}")
        if files.sha256_of(path) != expected["sha256"]:
            raise _damaged(path, "other content, by SHA-256")
    return body


def digest(body: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest without its own digest."""
    rest = {key: value for key, value in body.items() if key != "digest"}
    return hashlib.sha256(files.canonical_json(rest)).hexdigest()


def files_of(directory: Path) -> dict[str, Path]:
    """All files below a directory but its manifest, by relative name.

    Raises:
        ValueError: For the first link or special file.
    """
    found = {}
    for folder, folders, names in os.walk(directory):
        for name in (*names, *folders):
            path = Path(folder) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise _damaged(path, "a link or special file")
        for name in names:
            path = Path(folder) / name
            if path != directory / NAME:
                found[path.relative_to(directory).as_posix()] = path
    return dict(sorted(found.items()))


def _entry(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": files.sha256_of(path)}


def _damaged(path: Path, received: str) -> ValueError:
    return ValueError(
        f"`{path}` must be as it was written. Received: {received}. Do not use this "
        "directory; roll back to another version or restore it from a backup."
    )


def _what_is(path: Path) -> str:
    if not path.exists():
        return "no such directory"
    return f"a file ({path.suffix or 'no suffix'})" if path.is_file() else "something else"
