"""The backend of Keras, before it is loaded."""

from __future__ import annotations

import os
import sys


def require_tensorflow() -> None:
    """Refuses any backend of Keras but TensorFlow, also one that is not installed."""
    backend = os.environ.get("KERAS_BACKEND")
    if backend is None or "keras" in sys.modules:
        import keras

        backend = keras.config.backend()
    if backend != "tensorflow":
        raise ImportError(
            "`keras_trainsteps` needs the TensorFlow backend of Keras: its losses and metrics "
            f"are made of TensorFlow operations. Received: {backend!r}. Set "
            "`KERAS_BACKEND=tensorflow` in the environment before Keras is imported."
        )


require_tensorflow()
