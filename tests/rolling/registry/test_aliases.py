"""Names that point at versions."""

import shutil

import pytest


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
