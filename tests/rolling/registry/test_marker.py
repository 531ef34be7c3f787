"""Which directories are a registry."""

import pytest

from keras_trainsteps.rolling import ModelRegistry
from tests.rolling.registry.days import publish


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
