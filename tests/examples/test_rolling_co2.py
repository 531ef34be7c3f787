"""Rolling updates on real time-ordered data, and their picture."""

import numpy as np
import pytest

from keras_trainsteps.examples import rolling_co2


@pytest.fixture(scope="module")
def found():
    return rolling_co2.run(updates=7)


@pytest.mark.slow
def test_rolling_beats_train_once_on_weeks_not_seen(found):
    # Over all 17 updates: 0.58 ppm rolling, 0.87 trained once, 1.44 without growth.
    assert found.mean_error("rolling") < 0.85 * found.mean_error("train once")
    assert found.mean_error("train once") < 0.7 * found.mean_error("no growth")
    assert found.promoted[0]
    assert not all(found.promoted)  # the gate keeps the champion once


def test_nothing_of_the_weeks_judged_is_known_before():
    weeks = rolling_co2.load_weeks()
    for now in (500, 1000):
        window = rolling_co2.window(weeks, now)
        known = np.concatenate([window.train[0], window.test[0]])
        dates = weeks.dates[:now]
        assert len(known) == rolling_co2.TRAIN + rolling_co2.TEST
        np.testing.assert_array_equal(known, weeks.lags[now - 404 : now - 52])
        assert window.last == str(dates[-53].date())  # its year ahead ends in week `now`


@pytest.mark.slow
def test_the_picture(found, tmp_path):
    from keras_trainsteps.examples.rolling_co2_plot import draw

    path = tmp_path / "co2.png"
    draw(found, str(path))
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) > 20_000
