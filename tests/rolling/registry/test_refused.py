"""What could not be read again is not written; what is broken stops nothing else."""

import json
import os

import numpy as np
import pytest

from keras_trainsteps.rolling import Blessing, Check
from tests.rolling.registry.days import PASSED, bless, publish


@pytest.fixture
def two(registry):
    """A registry of two versions, the second one champion, the first `stable`."""
    for text in ("a", "b"):
        number = publish(registry, text)
        registry.promote(number, bless(registry, number))
    registry.set_alias("stable", 1)
    return registry


def files_of(registry):
    return {
        path.relative_to(registry.directory): path.read_bytes()
        for path in registry.directory.rglob("*")
        if path.is_file()
    }


NO_NUMBER = (1.9, True, "1", "nowhere", -1, 0, None, [1], np.float64(1.0), b"1")


@pytest.mark.parametrize("which", NO_NUMBER, ids=repr)
def test_what_is_no_version_is_refused_everywhere(two, which):
    before = files_of(two)
    calls = {
        "get": lambda: two.get(which),
        "verify": lambda: two.verify(which),
        "set_alias": lambda: two.set_alias("challenger", which),
        "promote": lambda: two.promote(which, bless(two, 1)),
        "blessing": lambda: two.blessing(which),
        "save_blessing": lambda: two.save_blessing(which, bless(two, 1)),
    }
    if which is not None:
        calls["parent"] = lambda: publish(two, parent=which)
        calls["rollback"] = lambda: two.rollback(from_version=which)
    for call in calls.values():
        with pytest.raises(ValueError, match=r"must (be|have)"):
            call()
    assert files_of(two) == before


@pytest.mark.parametrize("which", [np.int64(1), np.uint8(1), "stable"], ids=repr)
def test_numbers_of_numpy_and_aliases_are_taken(two, which):
    two.set_alias("challenger", which)
    number = publish(two, "c", parent=which)
    two.save_blessing(which, bless(two, 1))
    assert two.blessing(1) == two.blessing(which)
    assert two.get(number).parent == 1
    assert two.aliases() == {"challenger": 1, "champion": 2, "stable": 1}
    assert json.loads((two.directory / "aliases" / "challenger.json").read_text())["version"] == 1


@pytest.mark.parametrize(
    "about",
    [
        {"data_window": ("2026-01-01",)},
        {"data_window": ("a", "b", "c")},
        {"data_window": "ab"},
        {"data_window": (1, 2)},
        {"metrics": {"ndcg": "0.5"}},
        {"metrics": {"ndcg": True}},
        {"metrics": {"ndcg": None}},
        {"metrics": {"ndcg": [0.5]}},
        {"metrics": {"ndcg": object()}},
        {"fingerprint": 7},
    ],
    ids=repr,
)
def test_what_could_not_be_read_is_not_published(registry, about):
    written = []
    with pytest.raises(ValueError, match="`publish` must"):
        registry.publish(lambda stage: written.append(stage), **about)
    assert not written  # before an hour of writing
    assert registry.versions() == []


def test_numbers_of_numpy_are_recorded(registry):
    publish(registry, metrics={"a": np.float32(0.5), "b": np.int64(2), "c": float("nan")})
    metrics = registry.verify(1).metrics
    assert (metrics["a"], metrics["b"]) == (0.5, 2)
    assert np.isnan(metrics["c"])


@pytest.mark.parametrize(
    "blessing",
    [
        Blessing(7, None, (PASSED,), 1),
        Blessing("a", None, (PASSED,), 1.5),
        Blessing("a", None, (Check("x", "yes", 1.0, ""),), 1),
        Blessing("a", None, (Check("x", True, "1", ""),), 1),
    ],
)
def test_a_blessing_that_could_not_be_read_is_not_written(two, blessing):
    with pytest.raises(ValueError, match="`blessing` must record"):
        two.save_blessing(1, blessing)
    two.save_blessing(1, Blessing("a", None, (Check("x", np.True_, np.float32(1), ""),), 1))
    assert two.blessing(1).checks == (Check("x", True, 1.0, ""),)


BROKEN = (
    "",
    "[1]",
    "{}",
    '{"version": 1.7, "previous": [], "reason": {}}',
    '{"version": true, "previous": [], "reason": {}}',
    '{"version": 1e400, "previous": [], "reason": {}}',
    '{"version": "stable", "previous": [1], "reason": {}}',
    '{"version": 1, "previous": [1.5], "reason": {}}',
    '{"version": 1, "previous": 3, "reason": {}}',
    '{"version": 1, "previous": [], "reason": null}',
    "[" * 100_000,
)


@pytest.mark.parametrize("content", BROKEN, ids=lambda content: content[:40])
def test_one_broken_alias_stops_nothing_else(two, content):
    for _ in range(3):
        publish(two, "c")
    path = two.directory / "aliases" / "broken.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"broken\.json"):
        two.get("broken")
    with pytest.warns(UserWarning, match="Alias 'broken' is left out"):
        assert two.aliases() == {"champion": 2, "stable": 1}
    with pytest.warns(UserWarning, match="No version is deleted: alias 'broken'"):
        assert two.retain(1) == []
    assert two.rollback() == 1
    two.set_alias("broken", 4)  # the remedy
    assert two.aliases()["broken"] == 4
    assert two.retain(1) == [2, 3]


def test_other_files_among_the_aliases_are_none(two):
    for name in ("Bad Name.json", "README", "7.json", "champion.json.bak"):
        (two.directory / "aliases" / name).write_text("x")
    assert two.aliases() == {"champion": 2, "stable": 1}
    assert two.retain(9) == []


def test_a_broken_champion_is_no_missing_one(two):
    path, blessing = two.directory / "aliases" / "champion.json", bless(two, 1)
    path.write_text('{"version": "stable", "previous": [1], "reason": {}}')
    for call in (lambda: two.alias("champion"), lambda: two.promote(1, blessing), two.rollback):
        with pytest.raises(ValueError, match=r"Mend it by `python -m .* repair`"):
            call()


def test_links_are_not_followed(two, tmp_path):
    outside = tmp_path / "outside"
    os.rename(two.directory / "1", outside)
    (two.directory / "1").symlink_to(outside)
    for call in (two.get, two.verify):
        with pytest.raises(ValueError, match="must be a directory of the registry"):
            call(1)
    (two.directory / "aliases" / "far.json").symlink_to(two.directory / "aliases" / "stable.json")
    with pytest.raises(ValueError, match=r"must be a file of its own\. Received: a link"):
        two.get("far")


# Numbers


def test_a_number_is_never_given_twice(registry):
    def slow(stage):
        """While it writes, others publish and delete."""
        for text in "abc":
            publish(registry, text)
        assert registry.retain(1) == [1, 2]
        (stage / "weights").write_text("w")

    assert registry.publish(slow) == 4
    assert registry.retain(1) == [3]
    os.rename(registry.directory / "4", registry.directory / "away")
    assert publish(registry) == 5  # though none is left


@pytest.mark.parametrize("content", [None, "", '{"last": "x"}', '{"last": 1}'])
def test_a_counter_that_was_lost_does_not_begin_anew(two, content):
    for _ in range(2):
        publish(two, "c")
    two.save_blessing(4, bless(two, 4))
    two.set_alias("best", 3)
    for number in (3, 4):
        os.rename(two.directory / str(number), two.directory / f"away-{number}")
    path = two.directory / "last_number.json"
    path.unlink() if content is None else path.write_text(content)
    assert publish(two) == 5


def test_a_name_that_is_taken_is_passed_over(registry):
    publish(registry)
    (registry.directory / "last_number.json").unlink()
    (registry.directory / ".stage-2").write_text("")
    os.rename(registry.directory / ".stage-2", registry.directory / "2")
    assert publish(registry) == 3


# Manifests inside of what is published


@pytest.mark.parametrize("folder", ["", "inner", "inner/deep"])
def test_a_manifest_of_other_files_is_not_believed(registry, two, folder):
    manifest = (two.directory / "1" / "MANIFEST.json").read_bytes()

    def write(stage):
        (stage / folder).mkdir(parents=True, exist_ok=True)
        (stage / folder / "MANIFEST.json").write_bytes(manifest)
        (stage / folder / "weights").write_text("w")

    if folder:
        with pytest.raises(ValueError, match="must list the files beside it"):
            registry.publish(write)
    else:
        registry.verify(registry.publish(write))


def test_manifests_of_other_programs_are_left_alone(registry):
    def write(stage):
        for name, content in (("a", "[]"), ("b", '{"files": ["x"]}'), ("c", "{")):
            (stage / name).mkdir()
            (stage / name / "MANIFEST.json").write_text(content)

    registry.verify(registry.publish(write))


# Repair


def test_repair_sets_aside_what_is_damaged(two):
    for text in "cd":
        number = publish(two, text)
        two.promote(number, bless(two, number))
        two.save_blessing(number, bless(two, number))
    two.set_alias("lost", 2)
    (two.directory / "4" / "data" / "weights.bin").write_text("x")
    (two.directory / "0007").mkdir()
    (two.directory / "blessings" / "3.json").write_text("{}")
    (two.directory / "aliases" / "lost.json").write_text("")
    before = files_of(two)
    planned = two.repair(dry_run=True)
    assert files_of(two) == before
    assert two.repair() == planned
    assert [line.split(":")[0] for line in planned] == [
        "version 0007 set aside",
        "version 4 set aside",
        "blessing of version 3 set aside",
        "alias 'champion' now points at version 3",
        "alias 'lost' set aside",
    ]
    assert two.versions() == [1, 2, 3]
    assert two.aliases() == {"champion": 3, "stable": 1}
    assert two.rollback() == 2
    assert two.repair() == []
    assert publish(two) == 8
