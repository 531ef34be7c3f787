"""What a warm start did to every value of the model and of its source."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Line:
    """One value: a weight, a slot of the optimizer, a random state.

    Args:
        path: Its path, in the model if it is there, else in the source.
        action: `"loaded"`, `"remapped"`, `"initialized"` or `"dropped"`.
        shape: Its shape.
        reason: Why, where it was not simply loaded. Default: `""`.
    """

    path: str
    action: str
    shape: tuple[int, ...]
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class WarmStartReport:
    """What `warm_start` did: every value of both sides, once. It prints as a table.

    `loaded`, `remapped` and `initialized` together are the model; `loaded`, `remapped`
    and `dropped` together are the source. Slots of the optimizer begin with `optimizer/`,
    random states with `random/`.

    Args:
        source: What the model was started from, in words.
        lines: One `Line` per value.

    Example:

    >>> line = Line("dense/kernel", "loaded", (3, 1))
    >>> report = WarmStartReport("monday", (line,))
    >>> report.loaded
    ('dense/kernel',)
    >>> report.summary
    '1 loaded, 0 remapped, 0 initialized, 0 dropped'
    """

    source: str
    lines: tuple[Line, ...]

    @property
    def loaded(self) -> tuple[str, ...]:
        """Paths taken over as they are."""
        return self._of("loaded")

    @property
    def remapped(self) -> tuple[str, ...]:
        """Paths of tables whose rows followed their tokens."""
        return self._of("remapped")

    @property
    def initialized(self) -> tuple[str, ...]:
        """Paths of the model that the source has nothing for, or not asked for."""
        return self._of("initialized")

    @property
    def dropped(self) -> tuple[str, ...]:
        """Paths of the source that the model has no use for."""
        return self._of("dropped")

    @property
    def summary(self) -> str:
        """How many of each."""
        actions = ("loaded", "remapped", "initialized", "dropped")
        return ", ".join(f"{len(self._of(action))} {action}" for action in actions)

    def __str__(self) -> str:
        head = f"warm start from {self.source}: {self.summary}"
        shown = list(self._shown())
        width = max((len(path) for _, path, _, _ in shown), default=0)
        rows = [
            f"  {action:<12} {path:<{width}}  {shape:<14} {reason}".rstrip()
            for action, path, shape, reason in shown
        ]
        return "\n".join([head, *rows])

    def _shown(self) -> Iterator[tuple[str, str, str, str]]:
        """One row a line; the slots of the optimizer that share a fate are one row."""

        def fate(line: Line) -> tuple[str, str, str]:
            owner, _, rest = line.path.partition("/")
            slot = rest.partition("/")[0] if owner == "optimizer" and "/" in rest else ""
            return line.action, f"{owner}/{slot}/*" if slot else line.path, line.reason

        for (action, path, reason), lines in itertools.groupby(self.lines, fate):
            group = list(lines)
            values = f"{len(group)} values" if path.endswith("*") else str(group[0].shape)
            yield action, path, values, reason

    def _of(self, action: str) -> tuple[str, ...]:
        return tuple(line.path for line in self.lines if line.action == action)
