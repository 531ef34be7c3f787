"""What attributes hold is found by name, and what Keras keeps is not."""

import keras
import numpy as np

from keras_trainsteps.structure.attributes import held_by


class Owner:
    def __init__(self, **attributes):
        vars(self).update(attributes)


def test_lists_and_dicts_are_looked_into_in_the_order_of_names():
    owner = Owner(b=[1, "x", 2], _a={"z": 3, "y": (4, [5])}, none=None)
    expected = [("a/y/0", 4), ("a/y/1/0", 5), ("a/z", 3), ("b/0", 1), ("b/2", 2)]
    assert list(held_by(owner, int)) == expected


def test_four_levels_are_looked_into():
    assert list(held_by(Owner(a=[[[[1]]]]), int)) == [("a/0/0/0/0", 1)]
    assert not list(held_by(Owner(a=[[[[[1]]]]]), int))


def test_what_keras_keeps_for_itself_is_left_out():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.first = keras.layers.Dense(2)
            self.others = [keras.layers.Dense(1)]

        def call(self, x):
            return self.others[0](self.first(x))

    inputs = keras.Input((3,))
    graphs = [
        keras.Model(inputs, keras.layers.Dense(1)(inputs)),
        keras.Sequential([inputs, keras.layers.Dense(1)]),
    ]
    models = [Own(), *graphs]
    kinds = (keras.layers.Layer, keras.Variable)
    for model in models:
        model.compile("adam", loss="mse", metrics=["mae"])
        model.fit(np.ones((2, 3)), np.ones((2, 1)), verbose=0)
        expected = ["first", "others/0"] if isinstance(model, Own) else []
        assert [name for name, _ in held_by(model, kinds)] == expected
