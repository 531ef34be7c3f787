"""What is logged of terms that do not reduce themselves."""

import keras

from tests.toy import MAE, MSE, close, evaluate, network, still


def test_a_loss_that_keeps_its_values_is_logged_as_their_mean():
    loss = ["mse", keras.losses.MeanAbsoluteError(reduction=None, name="each")]
    logs = evaluate(still(network(), loss=loss))
    assert logs["each_loss"] == close(MAE)
    assert logs["mse_loss"] == close(MSE)
