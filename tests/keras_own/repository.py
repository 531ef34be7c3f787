"""What Keras's tests import from the `conftest.py` of its repository, which is not installed."""

import keras
import pytest


def skip_if_backend(backend, reason):
    return pytest.mark.skipif(keras.backend.backend() == backend, reason=reason)
