"""What differs between two descriptions of a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def differences(now: Any, then: Any, path: str = "") -> list[str]:
    """What differs in two descriptions, each named by its path."""
    if isinstance(now, Mapping) and isinstance(then, Mapping):
        kinds = [one.get("class") or one.get("function") for one in (now, then)]
        if kinds[0] != kinds[1]:
            return [f"{path!r} is {kinds[0] or _short(now)}, was {kinds[1] or _short(then)}"]
        found: list[str] = []
        for key in sorted({*now, *then}):
            if key == "code" and now.get(key) != then.get(key):
                found.append(f"the code of {path!r}, {kinds[0]}, is another")
                continue
            if key in now and key in then and now[key] == then[key]:
                continue
            inner = key if not path else path if key == "options" else f"{path}.{key}"
            found += differences(now.get(key), then.get(key), inner)
        return found
    if isinstance(now, list) and isinstance(then, list) and len(now) == len(then):
        return [
            text
            for index, pair in enumerate(zip(now, then, strict=True))
            for text in differences(*pair, f"{path}[{index}]")
        ]
    return [] if now == then else [f"{path!r} is {_short(now)}, was {_short(then)}"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
