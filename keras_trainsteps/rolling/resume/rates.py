"""The learning rate that a job's code gives, where an earlier `fit` has changed it since."""

from __future__ import annotations

import contextlib
import copy
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_trainsteps.rolling.resume.code import learning_rate_of

# Of each optimizer, by directory of the job: the rate before its `fit`, and after.
_fits: weakref.WeakKeyDictionary[keras.optimizers.Optimizer, dict[Path, tuple[Any, Any]]]
_fits = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def of_the_code(
    described: Mapping[str, Any], optimizer: keras.optimizers.Optimizer, directory: Path
) -> Iterator[dict[str, Any]]:
    """The description of a job with the learning rate that its optimizer was made with.

    In a notebook a job may be interrupted and called again with the same model, whose
    learning rate a callback has lowered meanwhile. That is no other job; a rate that was
    set by hand in between makes it one.
    """
    job = copy.deepcopy(dict(described))
    options = job["optimizer"]["options"]
    while "inner_optimizer" in options:
        options = options["inner_optimizer"]["options"]
    now = options.get("learning_rate")
    of_optimizer = _fits.setdefault(optimizer, {})
    begun, left = of_optimizer.get(directory, (now, now))
    options["learning_rate"] = rate = begun if now == left else now
    try:
        yield job
    finally:
        varies = isinstance(now, float)
        of_optimizer[directory] = (rate, learning_rate_of(optimizer) if varies else now)
