"""Keras's own tests, as they are installed with it, on our models.

Each test runs twice: as it is, and with `LossAwareModel` and `LossAwareSequential` put in the
place of Keras's classes wherever it builds or subclasses a model. Outcome by outcome and number
by number both runs must be equal, apart from what stands in `differences`.

`python -m tests.keras_own` prints the table for trainers, models, saving and callbacks,
`--all` for all of Keras.
"""
