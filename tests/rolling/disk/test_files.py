"""What is written is whole or absent, and synced in the right order."""

import errno
import os
from pathlib import Path

import pytest

from keras_trainsteps.rolling.disk import files, manifest


class Disk:
    """Notes syncs and renames, in their order, by path below a directory."""

    def __init__(self, base, monkeypatch):
        self.base, self.log = base, []
        self.real = {name: getattr(os, name) for name in ("fsync", "rename", "replace")}
        for name in self.real:
            monkeypatch.setattr(os, name, getattr(self, name))

    def fsync(self, descriptor):
        self.log.append(("sync", self.below(os.readlink(f"/proc/self/fd/{descriptor}"))))
        return self.real["fsync"](descriptor)

    def rename(self, source, target, call="rename"):
        self.log.append(("rename", self.below(source), self.below(target)))
        return self.real[call](source, target)

    def replace(self, source, target):
        return self.rename(source, target, "replace")

    def below(self, path):
        return os.path.relpath(path, self.base)

    @property
    def synced(self):
        return {entry[1] for entry in self.log if entry[0] == "sync"}


@pytest.fixture
def disk(tmp_path, monkeypatch):
    return Disk(tmp_path, monkeypatch)


@pytest.fixture
def tree(tmp_path):
    """A directory with a file in a folder."""
    (tmp_path / "new" / "folder").mkdir(parents=True)
    (tmp_path / "new" / "a").write_text("a")
    (tmp_path / "new" / "folder" / "b").write_text("b")
    return tmp_path / "new"


ENTRIES = {"new", "new/a", "new/folder", "new/folder/b"}


def test_a_replaced_file_is_synced_before_its_rename_and_its_name_after(tmp_path, disk):
    files.replace_file(tmp_path / "alias.json", b"{}")
    (_, stage), rename, name = disk.log
    assert stage.startswith(".stage-alias.json-")
    assert rename == ("rename", stage, "alias.json")
    assert name == ("sync", ".")
    assert os.listdir(tmp_path) == ["alias.json"]


def test_the_removal_of_a_name_is_synced(tmp_path, tree, disk):
    files.remove_tree(tree)
    rename, name = disk.log
    assert rename[:2] == ("rename", "new")
    assert name == ("sync", ".")
    assert os.listdir(tmp_path) == []


def test_a_tree_is_synced_with_every_file_and_every_name(tree, disk):
    files.sync_tree(tree)
    assert disk.synced == ENTRIES


def test_what_is_sealed_is_synced_with_its_manifest_and_every_name(tree, disk):
    manifest.seal(tree, "version", {})
    manifest.verify(tree, "version")
    assert disk.synced == ENTRIES | {"new/MANIFEST.json"}


@pytest.mark.parametrize("at", range(6))
def test_a_sync_that_fails_fails_the_seal(tree, monkeypatch, at):
    calls = []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) == at + 1:
            raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="broken disk"):
        manifest.seal(tree, "version", {})


def test_a_failed_replacement_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "alias.json"
    files.replace_file(path, b"old")

    def fsync(descriptor):
        raise OSError(errno.ENOSPC, "full disk")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="full disk"):
        files.replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["alias.json"]


@pytest.mark.parametrize("target", ["a directory with files", "a file"])
def test_a_name_that_is_taken_is_not_an_error(tmp_path, tree, target):
    taken = tmp_path / "1"
    if target == "a file":
        taken.write_text("not a version")
    else:
        taken.mkdir()
        (taken / "weights").write_text("w")
    assert not files.rename_new(tree, taken)
    assert (tree / "folder" / "b").read_text() == "b"
    assert files.rename_new(tree, tmp_path / "2")
    with pytest.raises(FileNotFoundError):
        files.rename_new(tmp_path / "2", tmp_path / "missing" / "3")


@pytest.mark.parametrize("name", [files.STAGE + "link", files.TRASH + "link"])
def test_leftovers_that_are_links_are_not_followed(tmp_path, tree, name):
    for link, target in ((tmp_path / name, tree), (tmp_path / f"{name}-2", tree / "a")):
        link.symlink_to(target)
    assert files.remove_leftovers(tmp_path) == []
    assert sorted(os.listdir(tree)) == ["a", "folder"]
    assert Path(tmp_path / name).is_symlink()


@pytest.mark.parametrize("value", [b"", b"{", b"[1]", b"null", b"\xff"])
def test_what_is_no_json_object_is_refused(tmp_path, value):
    (tmp_path / "x.json").write_bytes(value)
    with pytest.raises(ValueError, match=r"x\.json"):
        files.read_json(tmp_path / "x.json", "A thing")
    with pytest.raises(ValueError, match="A thing must have the file"):
        files.read_json(tmp_path / "y.json", "A thing")
