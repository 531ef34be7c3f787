"""The examples run on their real data and learn."""

import numpy as np
import pytest

from keras_trainsteps.examples import travel_modes
from keras_trainsteps.examples.travel_modes_report import FIRST, MRR, NDCG
from tests.toy import close


@pytest.mark.slow
def test_travel_modes_rank_travellers_not_seen(capsys, tmp_path):
    picture = tmp_path / "table.png"
    travel_modes.main(["--epochs", "20", "--plot", str(picture)])
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) < 40
    assert max(map(len, (line for line in shown if "/" not in line))) <= 80
    assert picture.stat().st_size > 10_000
    rows = [line.rsplit(maxsplit=3) for line in shown]
    table = {row[0].strip(): [float(value) for value in row[1:]] for row in rows[6:13]}
    # A linear ranker puts the way that was taken first for 0.63 of these travellers.
    assert table["trained on whole travellers"][2] > 0.63
    assert table["trained on whole travellers"] > table["this network before training"]


def test_chance_is_the_mean_over_all_orders():
    x, y = travel_modes.split(*travel_modes.load_trips(), seen=False)
    place = np.arange(1, 5)
    found = travel_modes.quality(x, y, np.zeros(len(y)))
    assert found[NDCG] == close(np.mean(1 / np.log2(place + 1)))
    assert found[MRR] == close(np.mean(1 / place))
    assert found[FIRST] == close(1 / 4)


def test_the_data_are_what_the_example_says():
    x, y = travel_modes.load_trips()
    assert x["features"].shape == (840, 8)
    assert len(set(x["query_id"].tolist())) == 210 == y.sum()
