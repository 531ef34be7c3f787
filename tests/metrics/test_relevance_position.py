"""What of an `ARP` is saved."""

import keras

from keras_trainsteps.metrics import ARP


def test_all_arguments_are_saved():
    made = ARP("q", mask="m", ties="random", seed=5, split_queries="count_parts", name="own")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(made))
    assert repr(again) == repr(made)
    assert again.seed == 5
