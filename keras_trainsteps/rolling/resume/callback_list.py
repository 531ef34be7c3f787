"""The callbacks of a job, which see the batches of an epoch numbered from its beginning."""

from __future__ import annotations

from typing import Any

import keras

from keras_trainsteps.rolling.resume.watch import StepWatch


class JobCallbacks(keras.callbacks.CallbackList):
    """Callbacks of a `fit` that may begin within an epoch.

    Keras counts the batches of a `fit` from 0. What a callback does by their number, as the
    names of the files of `ModelCheckpoint`, must not depend on where the job was resumed.

    Args:
        callbacks: The callbacks.
        watch: Watches the first steps.
        options: As for `keras.callbacks.CallbackList`.

    Attributes:
        offset: Steps of the present epoch that were done before this `fit`.
    """

    def __init__(self, callbacks: Any, watch: StepWatch, **options: Any) -> None:
        super().__init__(callbacks, **options)
        self.offset, self._watch = 0, watch

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_begin(batch + self.offset, logs)
        self._watch.begin("training")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._watch.end()
        super().on_train_batch_end(batch + self.offset, logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        super().on_test_batch_begin(batch, logs)
        self._watch.begin("validation")

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self._watch.end()
        super().on_test_batch_end(batch, logs)
