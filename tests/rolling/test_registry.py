"""Versions, aliases, blessings and damaged directories of a registry."""

import datetime
import json
import os
import shutil

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from keras_trainsteps.rolling import Blessing, Check, ModelRegistry

PASSED = Check("rows", True, 1.0, "above 0")
FAILED = Check("ndcg", False, -0.1, "above 0")


def publish(registry, text="weights", **about):
    def write(stage):
        (stage / "data").mkdir()
        (stage / "data" / "weights.bin").write_text(text * 100)

    return registry.publish(write, fingerprint=text, **about)


def bless(registry, number, *checks):
    champion = registry.aliases().get("champion")
    against = None if champion is None else registry.get(champion).fingerprint
    return Blessing(registry.get(number).fingerprint, against, checks or (PASSED,), 5)


@pytest.fixture
def registry(tmp_path):
    return ModelRegistry(tmp_path / "models")


@pytest.fixture
def weights(registry):
    """The one file of version 1."""
    return registry.directory / str(publish(registry)) / "data" / "weights.bin"


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


def test_champion_moves_only_with_a_blessing(registry):
    publish(registry)
    with pytest.raises(ValueError, match="Use `promote` with a blessing"):
        registry.set_alias("champion", 1)
    with pytest.raises(ValueError, match="must have passed every check"):
        registry.promote(1, bless(registry, 1, PASSED, FAILED))
    with pytest.raises(ValueError, match="no check at all"):
        registry.promote(1, Blessing("weights", None, (), 5))
    with pytest.raises(TypeError, match="must be what `evaluate_candidate` returned"):
        registry.promote(1, True)
    assert registry.aliases() == {}
    registry.promote(1, bless(registry, 1))
    assert registry.aliases() == {"champion": 1}


def test_a_blessing_is_for_its_weights_and_its_champion(registry):
    for text in ("a", "b", "c"):
        publish(registry, text)
    old = bless(registry, 2)
    registry.promote(1, bless(registry, 1))
    with pytest.raises(ValueError, match="must be of the weights of version 3"):
        registry.promote(3, bless(registry, 2))
    with pytest.raises(ValueError, match="must compare with the present champion"):
        registry.promote(2, old)
    assert registry.aliases() == {"champion": 1}


def test_blessings_are_recorded(registry):
    publish(registry)
    blessing = bless(registry, 1, Check("x", True, 0.25, "above 0", 0.1, 0.5), PASSED)
    registry.save_blessing(1, blessing)
    assert registry.blessing(1) == blessing
    with pytest.raises(ValueError, match="must be a version"):
        registry.blessing(2)


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
    from keras_trainsteps.rolling.disk import manifest

    path = registry.directory / "1" / "MANIFEST.json"
    body = json.loads(path.read_text())
    body[field] = 99
    body["digest"] = manifest.digest(body)
    path.write_text(json.dumps(body))
    with pytest.raises(ValueError, match=r"must (be|have)"):
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


def test_leftovers_are_invisible_and_removed(registry, weights):
    for name in (".stage-dead", ".trash-3-dead"):
        (registry.directory / name).mkdir()
        (registry.directory / name / "MANIFEST.json").write_text("{")
    assert registry.versions() == [1]
    assert registry.clean() == [".stage-dead", ".trash-3-dead"]
    assert sorted(os.listdir(registry.directory)) == ["1", "registry.json"]


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


def test_a_directory_that_is_no_registry_is_refused(tmp_path):
    (tmp_path / "photo.jpg").write_text("x")
    with pytest.raises(ValueError, match=r"no `registry\.json`"):
        ModelRegistry(tmp_path)
    (tmp_path / "registry.json").write_text('{"format": "mlflow"}')
    with pytest.raises(ValueError, match="must be of format"):
        ModelRegistry(tmp_path)
    (tmp_path / "registry.json").write_text("")
    with pytest.raises(ValueError, match="readable JSON"):
        ModelRegistry(tmp_path)


def test_links_spaces_and_unicode_in_the_path(tmp_path):
    real = tmp_path / "models of Zoë ✓"
    link = tmp_path / "link"
    link.symlink_to(real)
    real.mkdir()
    registry = ModelRegistry(link)
    publish(registry)
    assert ModelRegistry(real).verify(1).path == real.resolve() / "1"


def test_aliases_that_point_nowhere(registry, weights):
    with pytest.raises(ValueError, match="Alias 'beta' must have been set before"):
        registry.get("beta")
    with pytest.raises(ValueError, match="must be a version"):
        registry.set_alias("beta", 4)
    registry.set_alias("beta", 1)
    shutil.rmtree(registry.directory / "1")
    with pytest.raises(ValueError, match="'beta', which points at 1"):
        registry.get("beta")


@pytest.mark.parametrize("name", ["", "7", "Champion", "../x", "a b", "a" * 65, None])
def test_bad_alias_names_are_refused(registry, weights, name):
    with pytest.raises(ValueError, match="`alias` must be lower-case"):
        registry.set_alias(name, 1)


@pytest.mark.parametrize("content", ["", "{}", '{"version": "x"}', "[1]"])
def test_a_damaged_alias_is_refused(registry, weights, content):
    registry.set_alias("beta", 1)
    (registry.directory / "aliases" / "beta.json").write_text(content)
    with pytest.raises(ValueError, match=r"beta\.json"):
        registry.get("beta")


def test_the_parent_must_exist(registry):
    with pytest.raises(ValueError, match="must be a version"):
        publish(registry, parent=3)


class RegistryMachine(RuleBasedStateMachine):
    """Random days of a registry against a plain model of it."""

    def __init__(self):
        super().__init__()
        import tempfile

        self.folder = tempfile.mkdtemp()
        self.registry = ModelRegistry(self.folder)
        self.there, self.champions, self.made = set(), [], 0

    def teardown(self):
        shutil.rmtree(self.folder)

    @rule()
    def publish(self):
        self.made += 1
        assert publish(self.registry, f"w{self.made}") == self.made
        self.there.add(self.made)

    @precondition(lambda self: self.there)
    @rule(data=st.data(), passed=st.booleans())
    def promote(self, data, passed):
        number = data.draw(st.sampled_from(sorted(self.there)))
        blessing = bless(self.registry, number, PASSED if passed else FAILED)
        if self.champions and self.champions[-1] == number:
            return
        if passed:
            self.registry.promote(number, blessing)
            self.champions.append(number)
        else:
            with pytest.raises(ValueError, match="must have passed"):
                self.registry.promote(number, blessing)

    @rule()
    def rollback(self):
        while len(self.champions) > 1 and self.champions[-2] not in self.there:
            del self.champions[-2]
        earlier = [n for n in self.champions[:-1] if n != self.champions[-1]]
        earlier = [n for n in earlier if n in self.there]
        if earlier:
            assert self.registry.rollback() == earlier[-1]
            self.champions = earlier
        else:
            with pytest.raises(ValueError, match="must have"):
                self.registry.rollback()

    @rule(newest=st.integers(1, 3))
    def retain(self, newest):
        gone = set(self.registry.retain(newest))
        assert not gone & {*self.champions[-1:], *sorted(self.there)[-newest:]}
        self.there -= gone

    @invariant()
    def agrees(self):
        assert self.registry.versions() == sorted(self.there)
        champion = self.registry.aliases().get("champion")
        assert champion == (self.champions[-1] if self.champions else None)
        if champion is not None:
            self.registry.verify("champion")


RegistryMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25)
TestRegistryMachine = RegistryMachine.TestCase
