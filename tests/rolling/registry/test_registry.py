"""Publishing, rolling back, deleting; what live and dead writers leave."""

import datetime
import os

import pytest

from keras_trainsteps.rolling import ModelRegistry
from tests.rolling.registry.days import bless, publish


def test_a_version_keeps_what_was_recorded(registry):
    publish(registry)
    number = publish(registry, "new", metrics={"ndcg": 0.5}, parent=1, data_window=("mon", "tue"))
    found = registry.verify(number)
    assert (found.number, found.parent, found.metrics) == (2, 1, {"ndcg": 0.5})
    assert found.data_window == ("mon", "tue")
    assert list(found.files) == ["data/weights.bin"]
    assert registry.versions() == [1, 2]


def test_versions_are_found_again_by_another_process_object(registry):
    publish(registry)
    assert ModelRegistry(registry.directory).verify(1).fingerprint == "weights"


def test_rollback_goes_back_one_champion_at_a_time(registry):
    for text in ("a", "b", "c"):
        number = publish(registry, text)
        registry.promote(number, bless(registry, number))
    assert registry.rollback() == 2
    assert registry.rollback(from_version=3) == 2  # repeated: nothing more happens
    assert registry.rollback() == 1
    with pytest.raises(ValueError, match="must have pointed at another version before"):
        registry.rollback()
    assert registry.aliases() == {"champion": 1}


def test_rollback_refuses_a_damaged_target(registry):
    for text in ("a", "b"):
        number = publish(registry, text)
        registry.promote(number, bless(registry, number))
    (registry.directory / "1" / "data" / "weights.bin").write_text("x")
    with pytest.raises(ValueError, match="must be as it was written"):
        registry.rollback()
    assert registry.aliases() == {"champion": 2}


def test_retention_spares_aliases_and_what_they_roll_back_to(registry):
    for text in "abcdefgh":
        publish(registry, text)
    registry.set_alias("challenger", 5)
    registry.promote(2, bless(registry, 2))
    registry.promote(3, bless(registry, 3))
    assert registry.retain(2, dry_run=True) == [1, 4, 6]
    assert registry.versions() == list(range(1, 9))
    assert registry.retain(2) == [1, 4, 6]
    assert registry.versions() == [2, 3, 5, 7, 8]
    assert registry.rollback() == 2
    with pytest.raises(ValueError, match="`newest` must be at least 1"):
        registry.retain(0)


def test_numbers_only_grow(registry):
    for text in "abc":
        publish(registry, text)
    registry.retain(1)
    assert publish(registry, "d") == 4


def test_leftovers_are_invisible_and_removed(registry, weights):
    for name in (".stage-dead", ".trash-3-dead"):
        (registry.directory / name).mkdir()
        (registry.directory / name / "MANIFEST.json").write_text("{")
    assert registry.versions() == [1]
    assert registry.clean() == [".stage-dead", ".trash-3-dead"]
    assert sorted(os.listdir(registry.directory)) == ["1", "last_number.json", "registry.json"]


def test_the_stage_of_a_live_writer_is_spared(registry):
    def write(stage):
        assert registry.clean() == []
        (stage / "weights").write_text("w")

    assert registry.publish(write) == 1


def test_a_slow_writer_is_seen_when_it_is_done(registry, weights):
    def write(stage):
        for part in range(3):
            (stage / f"part-{part}").write_text("w")
            reader = ModelRegistry(registry.directory)
            assert reader.versions() == [1]
            assert not [n for n in os.listdir(reader.directory) if n.isdecimal() and n != "1"]

    assert registry.publish(write) == 2


def test_a_clock_that_goes_back_does_not_matter(registry, monkeypatch):
    class Clock(datetime.datetime):
        year_now = 2030

        @classmethod
        def now(cls, zone=None):
            return cls(cls.year_now, 1, 1, tzinfo=zone)

    monkeypatch.setattr(datetime, "datetime", Clock)
    for number, year in enumerate((2030, 2030, 2020), 1):  # one moment twice, then backwards
        Clock.year_now = year
        assert publish(registry, f"weights {number}") == number
        registry.promote(number, bless(registry, number))
    assert [registry.get(n).created[:4] for n in registry.versions()] == ["2030", "2030", "2020"]
    assert registry.rollback() == 2
    assert registry.retain(1) == []  # 1 is where a rollback leads


def test_a_failing_writer_publishes_nothing(registry):
    def write(stage):
        (stage / "weights").write_text("w")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        registry.publish(write)
    with pytest.raises(ValueError, match="`write` must fill its directory"):
        registry.publish(lambda stage: None)
    assert os.listdir(registry.directory) == ["registry.json"]


def test_the_parent_must_exist(registry):
    with pytest.raises(ValueError, match="must be a version"):
        publish(registry, parent=3)


def test_promoting_the_champion_again_changes_nothing(registry):
    publish(registry)
    blessing = bless(registry, 1)
    registry.promote(1, blessing)
    alias = registry.directory / "aliases" / "champion.json"
    before = alias.stat()
    registry.promote(1, blessing)  # it compares with no champion, and there is one by now
    assert alias.stat() == before


@pytest.mark.parametrize("folder", ["", "aliases", "blessings"])
def test_clean_covers_every_folder(registry, weights, folder):
    registry.set_alias("beta", 1)
    registry.save_blessing(1, bless(registry, 1))
    leftover = registry.directory / folder / ".stage-dead"
    leftover.write_text("{")
    assert registry.clean() == [".stage-dead"]
    assert not leftover.exists()
