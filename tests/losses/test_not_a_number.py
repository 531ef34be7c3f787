"""A NaN of the network shows in the loss, also in rows that weigh nothing."""

import numpy as np
import pytest
import tensorflow as tf

from tests.losses.every_loss import every, example, one_of_each

ROWS = {"a row": [6], "a query": [4, 8], "every row": range(10)}


@pytest.mark.parametrize("weightless", ROWS)
@every(default=one_of_each)
def test_a_nan_in_a_row_of_weight_0_is_not_hidden(case, weightless):
    rows = list(ROWS[weightless])
    batch = {name: np.array(values, copy=True) for name, values in example(case).items()}
    batch["mask"][:] = True
    batch["sample_weight"][rows] = 0.0
    for name in case.takes:
        batch[name][rows[0]] = np.nan
    assert np.isnan(case.term({k: tf.convert_to_tensor(v) for k, v in batch.items()}).value)
