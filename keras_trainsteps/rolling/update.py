"""`RollingUpdate`: a day's work, from the new data to the new champion."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_trainsteps.metrics.by_query import QueryFunction
from keras_trainsteps.metrics.query_metric import QueryMetric
from keras_trainsteps.rolling.artifacts.publish import TRAINING, load_published, publish_model
from keras_trainsteps.rolling.gate.evaluate import evaluate_candidate
from keras_trainsteps.rolling.gate.thresholds import ChangeThreshold, Stability, ValueThreshold
from keras_trainsteps.rolling.registry.blessing import Blessing
from keras_trainsteps.rolling.registry.registry import CHAMPION, ModelRegistry
from keras_trainsteps.rolling.warm_start.report import WarmStartReport
from keras_trainsteps.rolling.warm_start.start import warm_start
from keras_trainsteps.structure.structure import value_of


class Window(NamedTuple):
    """The new data of an update.

    Args:
        train: `(x, y)` to train on; `y` has one label per row.
        test: `(x, y)` to judge on: later than `train`, of other queries.
        first: Its first moment, as text.
        last: Its last moment, as text.

    Example:

    >>> x = np.linspace(0, 1, 8)[:, None]
    >>> window = Window((x[:6], x[:6, 0]), (x[6:], x[6:, 0]), "monday", "tuesday")
    >>> window.first
    'monday'
    """

    train: tuple[Any, Any]
    test: tuple[Any, Any]
    first: str
    last: str


@dataclasses.dataclass(frozen=True)
class UpdateReport:
    """What an update did.

    It prints as what `python -m keras_trainsteps.rolling update` shows.

    Args:
        champion: The number of the champion before it, or `None`.
        version: The version that was published; `None` in a dry run.
        promoted: Whether it is the champion now.
        blessing: What the gate found.
        prequential: The champion's metrics on the new window, before training on it, by
            name; empty without a champion.
        started: What the warm start did; `None` for a first model.

    Example:

    >>> from keras_trainsteps.rolling import Blessing, Check
    >>> blessing = Blessing("a1", "b2", (Check("ndcg", True, 0.5, "within [0.4, inf]"),), 20)
    >>> report = UpdateReport(1, 2, True, blessing, {"ndcg": 0.45}, None)
    >>> print(str(report).splitlines()[0])
    version 2 is champion; champion before: 1
    """

    champion: int | None
    version: int | None
    promoted: bool
    blessing: Blessing
    prequential: Mapping[str, float]
    started: WarmStartReport | None

    def __str__(self) -> str:
        if self.version is None:
            would = "would" if self.blessing.blessed else "would not"
            fate = f"dry run: the candidate {would} become champion"
        else:
            fate = f"version {self.version} is {'' if self.promoted else 'not '}champion"
        lines = [f"{fate}; champion before: {self.champion or 'none'}"]
        if self.prequential:
            values = ", ".join(f"{k} {v:.6g}" for k, v in self.prequential.items())
            lines.append(f"champion on the new window: {values}")
        if self.started is not None:
            lines.append(f"warm start: {self.started.summary}")
        return "\n".join([*lines, str(self.blessing)])


class RollingUpdate:
    """The daily loop: evaluate first, warm start, fit, gate, publish, promote.

    1. The champion predicts the new window before anything is trained on it: its
       progressive ("prequential") quality, as in production.
    2. A model is built and warm started from the champion; the first one begins anew.
    3. It is fitted on `window.train`.
    4. Both are compared on `window.test`, which neither has seen.
    5. The candidate is published with the outcome. If blessed, it becomes champion.

    Args:
        build: Makes a built and compiled model.
        registry: Where versions are.
        fit: Trains a model: `fit(model, x, y)`.
        query_ids: The name of the entry of `x` with the query ids, or a function of `x`
            that gives one id per row.
        thresholds: As for `evaluate_candidate`: at least one.
        stability: As for `evaluate_candidate`. Default: none.
        metrics: As for `evaluate_candidate`. Default: none but the known ones.
        new_ids: For `stability.max_new`: a function of `x` that says of each row whether
            its ids are new. Default: none.
        warm: Options of `warm_start`, e.g. `{"vocabularies": {"items": "lookup"}}`.
            Default: none.
        publish: Options of `publish_model`, e.g. `{"saved_model": True}`. Default: none.
        retain: How many of the newest versions to keep. Default: all.

    Raises:
        ValueError: For `stability.max_new` without `new_ids`.

    Example:

    >>> import tempfile
    >>> def build():
    ...     model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    ...     model.compile("adam", loss="mse")
    ...     return model
    >>> update = RollingUpdate(
    ...     build,
    ...     ModelRegistry(tempfile.mkdtemp()),
    ...     fit=lambda model, x, y: model.fit(x, y, verbose=0),
    ...     query_ids=lambda x: np.arange(len(x)),
    ...     thresholds=[ValueThreshold("squared_error", upper=100)],
    ... )
    >>> x = np.linspace(0, 1, 8)[:, None]
    >>> update.run(Window((x, x[:, 0]), (x + 1, x[:, 0]), "monday", "tuesday")).promoted
    True
    """

    def __init__(
        self,
        build: Callable[[], keras.Model],
        registry: ModelRegistry,
        *,
        fit: Callable[[keras.Model, Any, Any], object],
        query_ids: str | Callable[[Any], Any],
        thresholds: Sequence[ValueThreshold | ChangeThreshold],
        stability: Stability | None = None,
        metrics: Mapping[str, QueryMetric | QueryFunction] | None = None,
        new_ids: Callable[[Any], Any] | None = None,
        warm: Mapping[str, Any] | None = None,
        publish: Mapping[str, Any] | None = None,
        retain: int | None = None,
    ) -> None:
        if stability is not None and stability.max_new is not None and new_ids is None:
            raise ValueError(
                "`new_ids` must be given with `stability.max_new`. Received: None. Pass a "
                "function of `x` that gives a bool per row."
            )
        self.new_ids = new_ids
        self.build, self.registry, self.fit = build, registry, fit
        self.query_ids, self.thresholds = query_ids, tuple(thresholds)
        self.stability, self.metrics = stability, dict(metrics or {})
        self.warm, self.publish = dict(warm or {}), dict(publish or {})
        self.retain = retain

    def run(
        self,
        window: Window,
        *,
        dry_run: bool = False,
        progress: Callable[[str], object] = lambda message: None,
    ) -> UpdateReport:
        """Does one update.

        Args:
            window: The new data.
            dry_run: Whether to do everything but publish and promote. Default `False`.
            progress: Called with a line before each step. Default: nothing is said.

        Returns:
            An `UpdateReport`.

        Raises:
            ValueError: For an empty window, a warm start that does not match, a model
                that training has broken. Nothing is published then.
        """
        _require_rows(window)
        self.registry.clean()
        number = self.registry.alias(CHAMPION)
        champion, started, prequential = None, None, {}
        model = self.build()
        if number is not None:
            progress(f"champion {number} on the new window {window.first} to {window.last}")
            champion = load_published(self.registry, number)
            prequential = self._prequential(champion, window)
            progress(f"warm start from version {number}")
            found = self.registry.verify(number)
            started = warm_start(model, found.path / TRAINING, **self.warm)
        progress("fit")
        self.fit(model, *window.train)
        _require_finite(model)
        progress("gate")
        blessing = self._gate(champion, model, window.test)
        if dry_run:
            return UpdateReport(number, None, False, blessing, prequential, started)
        progress("publish")
        version = publish_model(
            self.registry,
            model,
            parent=number,
            data_window=(window.first, window.last),
            metrics={c.name: c.value for c in blessing.checks if c.value is not None},
            **self.publish,
        )
        self.registry.save_blessing(version, blessing)
        self.registry.set_alias("challenger", version)
        if blessing.blessed:
            self.registry.promote(version, blessing)
        if self.retain is not None:
            self.registry.retain(self.retain)
        return UpdateReport(number, version, blessing.blessed, blessing, prequential, started)

    def _ids(self, x: Any) -> Any:
        return x[self.query_ids] if isinstance(self.query_ids, str) else self.query_ids(x)

    def _gate(
        self, champion: keras.Model | None, model: keras.Model, test: tuple[Any, Any]
    ) -> Blessing:
        return evaluate_candidate(
            champion,
            model,
            test,
            query_ids=self._ids(test[0]),
            thresholds=self.thresholds,
            stability=self.stability,
            metrics=self.metrics,
            new=None if self.new_ids is None else self.new_ids(test[0]),
            on_missing_champion="value_only",
        )

    def _prequential(self, champion: keras.Model, window: Window) -> dict[str, float]:
        """The champion's metrics on both parts of the window, by rows of each."""
        names = sorted({threshold.metric for threshold in self.thresholds})
        totals, rows = dict.fromkeys(names, 0.0), 0
        for x, y in (window.train, window.test):
            blessing = evaluate_candidate(
                None,
                champion,
                (x, y),
                query_ids=self._ids(x),
                thresholds=[ValueThreshold(name, lower=-np.inf) for name in names],
                metrics=self.metrics,
                on_missing_champion="value_only",
            )
            for check in blessing.checks:
                if check.name in totals and check.value is not None:
                    totals[check.name] += check.value * len(np.asarray(y))
            rows += len(np.asarray(y))
        return {name: total / rows for name, total in totals.items()}


def _require_rows(window: Window) -> None:
    for name in ("train", "test"):
        if not len(np.asarray(getattr(window, name)[1])):
            raise ValueError(
                f"`window.{name}` must have rows. Received: none from {window.first} to "
                f"{window.last}. Wait for data; the champion stays."
            )


def _require_finite(model: keras.Model) -> None:
    broken = [w.path for w in model.weights if not np.all(np.isfinite(value_of(w)))]
    if broken:
        raise ValueError(
            "`fit` must leave finite weights. Received: NaN or infinity in "
            f"{broken[:5]}. Nothing was published; the champion stays. Look at the new "
            "data, lower the learning rate, or clip gradients."
        )
