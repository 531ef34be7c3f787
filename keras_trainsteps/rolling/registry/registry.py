"""`ModelRegistry`: immutable numbered versions and the aliases that point at them."""

from __future__ import annotations

import datetime
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from keras_trainsteps.rolling.disk import files
from keras_trainsteps.rolling.registry import (
    aliases,
    blessings,
    counter,
    marker,
    placing,
    repair,
    retention,
    versions,
)
from keras_trainsteps.rolling.registry.aliases import Alias
from keras_trainsteps.rolling.registry.blessing import Blessing, require_blessed
from keras_trainsteps.rolling.registry.versions import Version

CHAMPION = "champion"


class ModelRegistry:
    """A directory of immutable, numbered versions with aliases.

    A version is written under a name that is no number, synced to disk and renamed into
    place, so that whoever watches the directory (TensorFlow Serving among them) sees it
    whole or not at all, whenever the writer is killed. Numbers only grow. An alias is a
    small file that is replaced in one step. `champion` moves forward only with a
    `Blessing` of the very weights that it is moved to.

    The directory must be on a POSIX file system with locks and atomic renames. Nothing
    here needs TensorFlow.

    Args:
        directory: The directory. A missing or empty one becomes a registry.

    Raises:
        ValueError: When the directory holds something else, or a registry of a format
            that is not known.

    Example:

    >>> import tempfile
    >>> registry = ModelRegistry(tempfile.mkdtemp())
    >>> number = registry.publish(lambda stage: (stage / "weights").write_text("..."))
    >>> registry.set_alias("challenger", number)
    >>> registry.get("challenger").number
    1
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory).resolve()
        marker.require(self.directory)

    def versions(self) -> list[int]:
        """The numbers of all versions, ascending.

        Raises:
            ValueError: For a directory such as `0007`, which TensorFlow Serving would
                take for version 7.
        """
        return versions.numbers(self.directory)

    def aliases(self) -> dict[str, int]:
        """Where each alias points; one that cannot be read is left out, with a warning."""
        found, broken = aliases.read_all(self.directory)
        for name, error in broken.items():
            warnings.warn(f"Alias {name!r} is left out: {error}", stacklevel=2)
        return {name: alias.version for name, alias in found.items()}

    def alias(self, name: str) -> int | None:
        """Where an alias points; `None` when it was never set. Refuses one that is damaged."""
        found = aliases.read(self.directory, name)
        return None if found is None else found.version

    def get(self, which: int | str) -> Version:
        """A version by number or alias, without reading its files.

        Raises:
            ValueError: When there is no such version or alias, or its manifest is damaged.
        """
        number = self._number(which)
        path = self.directory / str(number)
        if not path.is_dir():
            raise ValueError(
                f"`which` must be a version of `{self.directory}`. Received: {which!r}"
                f"{'' if which == number else f', which points at {number}'}. "
                f"The versions are {self.versions()}; take one of them."
            )
        return versions.read(path)

    def verify(self, which: int | str) -> Version:
        """A version by number or alias, every file checked against its SHA-256.

        Raises:
            ValueError: As `get`; and for a file that is missing, added, cut off, changed.
        """
        return versions.read(self.get(which).path, every_file=True)

    def publish(
        self,
        write: Callable[[Path], object],
        *,
        metrics: Mapping[str, float] | None = None,
        parent: int | str | None = None,
        data_window: tuple[str, str] | None = None,
        fingerprint: str | None = None,
    ) -> int:
        """Publishes a new version. It does not move any alias.

        Args:
            write: Called with an empty directory, which it fills.
            metrics: Numbers to record with it.
            parent: The version, or an alias of it, that it was trained on from.
            data_window: First and last of the data that it was trained on, as text.
            fingerprint: `fingerprint(model)`; `promote` compares it with the blessing's.

        Returns:
            Its number. Two processes that publish at once get two numbers.

        Raises:
            ValueError: When `parent` is no version, for what could not be read again, or
                when `write` leaves nothing, or a manifest of other files.
            OSError: When the disk is full, read-only or fails. Nothing is published then.
        """
        about = placing.as_about(
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            parent=None if parent is None else self.get(parent).number,
            metrics=metrics,
            data_window=data_window,
            fingerprint=fingerprint,
        )
        with files.stage(self.directory) as stage:
            write(stage)
            if marker.is_empty(stage):
                raise ValueError("`write` must fill its directory. Received: an empty one.")
            return placing.place(stage, self.directory, about)

    def set_alias(self, alias: str, version: int | str) -> None:
        """Points an alias other than `champion` at a version, or at that of another alias.

        Raises:
            ValueError: For the alias `champion` (see `promote`), a version that is not
                there or is damaged.
        """
        if alias == CHAMPION:
            raise ValueError(
                f"`alias` must not be {CHAMPION!r}. Received: {alias!r} for version "
                f"{version}. Use `promote` with a blessing, or `rollback`."
            )
        aliases.require_name(alias)
        with files.locked(self.directory):
            number = self.verify(version).number
            aliases.move(self.directory, alias, number, {"action": "set_alias"})

    def promote(self, version: int | str, blessing: Blessing, *, dry_run: bool = False) -> None:
        """Makes a version the champion.

        Args:
            version: Its number, or an alias of it.
            blessing: What `evaluate_candidate` returned for these very weights, compared
                with the present champion.
            dry_run: Whether to check everything and change nothing.

        Raises:
            ValueError: When the blessing failed, is of other weights, or compares with
                another champion than the present one; when the version is damaged.
        """
        with files.locked(self.directory):
            found = self.verify(version)
            now = aliases.read(self.directory, CHAMPION)
            if now is not None and now.version == found.number:
                return
            against = None if now is None else self.get(now.version).fingerprint
            require_blessed(found, blessing, against)
            reason = {"action": "promote", "blessing": blessing.to_json()}
            if not dry_run:
                aliases.move(self.directory, CHAMPION, found.number, reason)

    def rollback(
        self,
        alias: str = CHAMPION,
        *,
        from_version: int | None = None,
        dry_run: bool = False,
    ) -> int:
        """Points an alias back to where it pointed before: one atomic move.

        Args:
            alias: The alias.
            from_version: The version to leave. When the alias is elsewhere already,
                nothing happens, so that a repeated call is harmless. Default: whichever
                it points at.
            dry_run: Whether to say where it would point, and change nothing.

        Returns:
            The version that the alias points at then.

        Raises:
            ValueError: When the alias was never set, or has nowhere to go back to.
        """
        with files.locked(self.directory):
            now = self._alias(alias)
            leave = now.version if from_version is None else from_version
            if versions.as_number(leave, "from_version") != now.version:
                return now.version
            earlier = now.earlier(self.versions())
            if not earlier:
                raise ValueError(
                    f"`alias` must have pointed at another version before. Received: "
                    f"{alias!r}, which points at {now.version}, with no earlier version left. "
                    "Publish a version and move the alias to it."
                )
            self.verify(earlier[-1])
            reason = {"action": "rollback", "from_version": now.version}
            if not dry_run:
                moved = Alias(earlier[-1], earlier[:-1], reason)
                aliases.write(self.directory, alias, moved)
            return earlier[-1]

    def retain(self, newest: int, *, dry_run: bool = False) -> list[int]:
        """Deletes old versions, never one that an alias points at or would roll back to.

        Args:
            newest: How many of the newest versions to keep, together with those.
            dry_run: Whether to return them and delete nothing.

        Returns:
            The numbers of the deleted versions.
        """
        with files.locked(self.directory):
            doomed = retention.doomed(self.directory, newest)
            if doomed and not dry_run:
                counter.remember(self.directory, counter.last(self.directory))
                for number in doomed:
                    files.remove_tree(self.directory / str(number))
        return doomed

    def clean(self) -> list[str]:
        """Deletes what killed processes left behind; what live ones write is spared."""
        folders = (self.directory / name for name in ("", aliases.FOLDER, blessings.FOLDER))
        return [
            name
            for folder in folders
            if folder.is_dir()
            for name in files.remove_leftovers(folder)
        ]

    def repair(self, *, dry_run: bool = False) -> list[str]:
        """Sets aside what is damaged, under names with `.broken-`; mends aliases.

        Args:
            dry_run: Whether to change nothing. Every file of every version is read.

        Returns:
            What was done, or would be, a line each.
        """
        with files.locked(self.directory):
            if not dry_run:
                counter.remember(self.directory, counter.last(self.directory, plain=False))
            return repair.repair(self.directory, dry_run=dry_run)

    def save_blessing(self, version: int | str, blessing: Blessing) -> None:
        """Records the outcome of a gate, for a later `promote` from the command line.

        Raises:
            ValueError: For a version that is not there, a blessing that could not be read.
        """
        blessings.write(self.directory, self.get(version).number, blessing)

    def blessing(self, version: int | str) -> Blessing:
        """The recorded outcome of the gate for a version.

        Raises:
            ValueError: When there is none, or it is damaged.
        """
        return blessings.read(self.directory, self.get(version).number)

    def _number(self, which: int | str) -> int:
        if isinstance(which, str):
            return self._alias(which).version
        return versions.as_number(which, "which")

    def _alias(self, name: str) -> Alias:
        found = aliases.read(self.directory, name)
        if found is None:
            raise ValueError(
                f"Alias {name!r} must have been set before. Received: the aliases "
                f"{self.aliases()}. Publish a version and point the alias at it."
            )
        return found
