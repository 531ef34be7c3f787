"""Only a blessing of the very weights makes a champion."""

import pytest

from keras_trainsteps.rolling import Blessing, Check
from tests.rolling.registry.days import FAILED, PASSED, bless, publish


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
    with pytest.raises(ValueError, match="must be a version"):
        registry.save_blessing(2, blessing)
    assert not (registry.directory / "blessings" / "2.json").exists()
