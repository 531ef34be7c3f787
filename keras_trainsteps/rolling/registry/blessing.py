"""What a gate decided about a candidate: needed to make it champion."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_trainsteps.rolling.disk import fields
from keras_trainsteps.rolling.registry.versions import Version


@dataclasses.dataclass(frozen=True)
class Check:
    """One question of a gate.

    Args:
        name: What was checked.
        passed: Whether the candidate passed.
        value: What was measured; `None` where there is no number.
        rule: What was demanded, in words.
        low: Lower end of the bootstrap interval of `value`. Default `None`: there is none.
        high: Upper end. Default `None`.

    Example:

    >>> print(Check("rows", False, 3.0, ">= 10"))
    FAIL  rows                             3  (>= 10)
    """

    name: str
    passed: bool
    value: float | None
    rule: str
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        mark = "pass" if self.passed else "FAIL"
        value = "" if self.value is None else f"{self.value:.6g}"
        interval = "" if self.low is None else f" [{self.low:.6g}, {self.high:.6g}]"
        return f"{mark}  {self.name:<32} {value}{interval}  ({self.rule})"


_CHECK = {
    "name": fields.TEXT,
    "passed": fields.BOOL,
    "value": fields.optional(fields.REAL),
    "rule": fields.TEXT,
    "low": fields.optional(fields.REAL),
    "high": fields.optional(fields.REAL),
}
_FIELDS = {
    "challenger": fields.TEXT,
    "champion": fields.optional(fields.TEXT),
    "checks": fields.list_of(fields.record(_CHECK)),
    "queries": fields.COUNT,
}


@dataclasses.dataclass(frozen=True)
class Blessing:
    """The outcome of `evaluate_candidate`, bound to the weights that it saw.

    `ModelRegistry.promote` wants one, and takes it for the weights of this fingerprint alone.

    Args:
        challenger: `fingerprint` of the candidate.
        champion: `fingerprint` of the model it was compared with, or `None`.
        checks: Every check with its outcome.
        queries: How many queries the data held.

    Example:

    >>> blessing = Blessing("a1", None, (Check("rows", True, 12.0, ">= 10"),), queries=4)
    >>> blessing.blessed
    True
    >>> print(blessing)
    blessed: 4 queries
    pass  rows                             12  (>= 10)
    """

    challenger: str
    champion: str | None
    checks: tuple[Check, ...]
    queries: int

    @property
    def blessed(self) -> bool:
        """Whether there was a check and all passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)

    def __str__(self) -> str:
        head = "blessed" if self.blessed else "not blessed"
        lines = [f"{head}: {self.queries} queries", *map(str, self.checks)]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The blessing as JSON values."""
        return {**dataclasses.asdict(self), "checks": list(map(dataclasses.asdict, self.checks))}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Blessing:
        """The blessing that `to_json` wrote.

        Raises:
            ValueError: For anything else.
        """
        fields.require(value, _FIELDS, "blessing")
        checks = tuple(
            Check(**{name: check[name] for name in _CHECK}) for check in value["checks"]
        )
        return cls(value["challenger"], value["champion"], checks, value["queries"])


def require_blessed(found: Version, blessing: Blessing, against: str | None) -> None:
    """Refuses a blessing that failed, is of other weights, or compares with another champion.

    Args:
        found: The version to be made champion.
        blessing: What is said to be its blessing.
        against: Fingerprint of the present champion, or `None`.
    """
    if not isinstance(blessing, Blessing):
        raise TypeError(
            "`blessing` must be what `evaluate_candidate` returned. "
            f"Received: {type(blessing).__name__}."
        )
    if not blessing.blessed:
        failed = "; ".join(map(str, blessing.failed)) or "no check at all"
        raise ValueError(
            f"`blessing` must have passed every check. Received: {failed}. "
            f"Version {found.number} stays as it is."
        )
    if found.fingerprint is None or found.fingerprint != blessing.challenger:
        raise ValueError(
            f"`blessing` must be of the weights of version {found.number}, fingerprint "
            f"{found.fingerprint}. Received: one of {blessing.challenger}. Evaluate the "
            "model that was published."
        )
    if blessing.champion != against:
        raise ValueError(
            "`blessing` must compare with the present champion, fingerprint "
            f"{against}. Received: one against {blessing.champion}. The champion has "
            "changed since; evaluate again."
        )
