"""The daily loop."""

import keras
import pytest

from keras_trainsteps.rolling import ModelRegistry, Stability
from tests.rolling import daily_job


@pytest.fixture
def registry(tmp_path):
    return ModelRegistry(tmp_path / "models")


def test_days_build_on_each_other(registry):
    update, said = daily_job.update(registry, retain=2), []
    reports = [update.run(daily_job.window(day), progress=said.append) for day in range(4)]
    assert [report.version for report in reports] == [1, 2, 3, 4]
    assert [report.champion for report in reports] == [None, 1, 2, 3]
    assert all(report.promoted for report in reports)
    errors = [report.prequential["squared_error"] for report in reports[1:]]
    assert errors[-1] < errors[0]
    assert reports[0].started is None
    assert set(reports[1].started.loaded) == {"score/kernel", "score/bias"}
    assert registry.versions() == [3, 4]
    assert registry.get(4).parent == 3
    assert registry.get(4).data_window == ("day 3", "day 4")
    assert registry.rollback() == 3
    assert said[:2] == ["fit", "gate"]
    assert "version 4 is champion; champion before: 3" in str(reports[3])


def test_a_worse_candidate_is_published_but_not_promoted(registry, monkeypatch):
    update = daily_job.update(registry)
    update.run(daily_job.window(0))
    monkeypatch.setenv("DAILY_JOB", "worse")
    report = update.run(daily_job.window(1))
    assert not report.promoted
    assert registry.aliases() == {"champion": 1, "challenger": 2}
    assert not registry.blessing(2).blessed


def test_nan_empty_windows_and_mismatches_publish_nothing(registry, monkeypatch):
    update = daily_job.update(registry)
    update.run(daily_job.window(0))
    with pytest.raises(ValueError, match=r"`window.train` must have rows"):
        update.run(daily_job.window(1, rows=0))
    monkeypatch.setenv("DAILY_JOB", "nan")
    with pytest.raises(ValueError, match="`fit` must leave finite weights"):
        update.run(daily_job.window(1))
    monkeypatch.setenv("DAILY_JOB", "")
    update.build = lambda: keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="`source` must match the model"):
        update.run(daily_job.window(1))
    assert registry.versions() == [1]


@pytest.mark.slow
def test_a_window_of_new_ids_alone_is_not_trusted(registry):
    update = daily_job.update(
        registry, stability=Stability(max_new=0.5), new_ids=lambda x: x[:, 0] > known
    )
    known = 9.0  # all rows
    assert update.run(daily_job.window(0)).promoted
    known = -9.0  # none
    report = update.run(daily_job.window(1))
    assert [check.name for check in report.blessing.failed] == ["new ids"]
    assert registry.aliases()["champion"] == 1
    with pytest.raises(ValueError, match="`new_ids` must be given"):
        daily_job.update(registry, stability=Stability(max_new=0.5))


def test_a_dry_run_changes_nothing(registry):
    report = daily_job.update(registry).run(daily_job.window(0), dry_run=True)
    assert report.blessing.blessed
    assert report.version is None
    assert registry.versions() == []
    assert registry.aliases() == {}
