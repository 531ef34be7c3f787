"""The learning rate that a job's code gives, where an earlier `fit` has changed it since."""

from __future__ import annotations

import contextlib
import copy
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_trainsteps import compat
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
    left_at: list[tuple[dict[Path, tuple[Any, Any]], Any, keras.optimizers.Optimizer]] = []
    for place, one in compat.each_optimizer(optimizer).items():
        options = job["optimizer"]["options"]
        if place:  # of one of several objectives
            options = options[place.rstrip("/")]["options"]
        while "inner_optimizer" in options:
            options = options["inner_optimizer"]["options"]
        now = options.get("learning_rate")
        fits = _fits.setdefault(one, {})
        begun, left = fits.get(directory, (now, now))
        options["learning_rate"] = rate = begun if now == left else now
        if isinstance(now, float):
            left_at.append((fits, rate, one))
    try:
        yield job
    finally:
        for fits, rate, one in left_at:
            fits[directory] = (rate, learning_rate_of(one))
