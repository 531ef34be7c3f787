"""What is on disk of a version, and what is refused when it is damaged."""

import json
import shutil

import pytest

from keras_trainsteps.rolling.disk import manifest
from tests.rolling.registry.days import publish


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_a_file_cut_off_is_refused(registry, weights, share):
    content = weights.read_bytes()
    weights.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match="bytes instead of 700"):
        registry.verify(1)


def test_one_flipped_bit_is_refused(registry, weights):
    content = bytearray(weights.read_bytes())
    content[350] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights\.bin.*other content, by SHA-256"):
        registry.verify(1)
    with pytest.raises(ValueError, match="other content"):
        registry.set_alias("challenger", 1)


def test_every_flipped_bit_of_a_manifest_is_refused(registry, weights):
    path = registry.directory / "1" / "MANIFEST.json"
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="MANIFEST"):
            registry.verify(1)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"garbage", b"\xff\xfe", b"null"])
def test_an_unreadable_manifest_is_refused(registry, weights, content):
    (registry.directory / "1" / "MANIFEST.json").write_bytes(content)
    with pytest.raises(ValueError, match="JSON"):
        registry.verify(1)


def test_files_added_missing_or_linked_are_refused(registry, weights):
    extra = weights.with_name("extra")
    extra.write_text("x")
    with pytest.raises(ValueError, match="a file that the manifest does not list"):
        registry.verify(1)
    extra.unlink()
    extra.symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="a link or special file"):
        registry.verify(1)
    extra.unlink()
    weights.unlink()
    with pytest.raises(ValueError, match="no such file"):
        registry.verify(1)


def test_the_manifest_of_another_version_is_refused(registry, weights):
    publish(registry, "other")
    shutil.copy(registry.directory / "1" / "MANIFEST.json", registry.directory / "2")
    with pytest.raises(ValueError, match="Received: the manifest of version 1"):
        registry.get(2)
    shutil.rmtree(registry.directory / "2")
    shutil.copytree(registry.directory / "1", registry.directory / "2")
    with pytest.raises(ValueError, match="copied or renamed by hand"):
        registry.verify(2)


@pytest.mark.parametrize("field", ["format", "format_version", "kind"])
def test_an_unknown_manifest_is_refused(registry, weights, field):
    path = registry.directory / "1" / "MANIFEST.json"
    body = json.loads(path.read_text())
    body[field] = 99
    body["digest"] = manifest.digest(body)
    path.write_text(json.dumps(body))
    with pytest.raises(ValueError, match=r"must (be|have|record)"):
        registry.verify(1)


@pytest.mark.parametrize("name", ["0007", "+7", "-7", "0", "٣"])
def test_a_second_spelling_of_a_number_is_refused(registry, weights, name):
    (registry.directory / name).mkdir()
    with pytest.raises(ValueError, match="plain positive numbers"):
        registry.versions()
    with pytest.raises(ValueError, match="Move it out of the registry"):
        publish(registry)


def test_other_names_beside_versions_are_left_alone(registry, weights):
    for name in ("notes", "7b", ".hidden"):
        (registry.directory / name).mkdir()
    assert registry.versions() == [1]
    assert registry.clean() == []
