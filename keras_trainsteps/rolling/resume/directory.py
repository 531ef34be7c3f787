"""The directory of a resumable job: who owns it, and its newest whole checkpoint."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt

from keras_trainsteps.rolling.disk import arrays, fields, files, manifest
from keras_trainsteps.rolling.disk.arrays import Arrays
from keras_trainsteps.rolling.resume.differences import differences

KIND = "checkpoint"
_RUN = "run.json"
_FILE = "state.bin"
_FORMAT = "keras_trainsteps.run"
_FORMAT_VERSION = 2
_FIELDS = {
    "epoch": fields.COUNT,
    "steps": fields.COUNT,
    "stopped": fields.BOOL,
    "arrays": fields.list_of(fields.TEXT),
}


class Checkpoint(NamedTuple):
    """A moment of a job.

    Attributes:
        epoch: Epochs that are complete.
        steps: Steps of the next epoch that are done; 0 between epochs.
        stopped: Whether a callback had stopped the training.
        about: What else was recorded: JSON values.
        values: All arrays by name.
    """

    epoch: int
    steps: int
    stopped: bool
    about: dict[str, Any]
    values: Arrays


class Begin(NamedTuple):
    """Where a job begins or goes on.

    Attributes:
        found: The checkpoint to go on from; `None` for a new job.
        complete: Whether there is nothing left to train.
        final: Whether `found` is what the complete job left behind.
    """

    found: Checkpoint | None
    complete: bool
    final: bool

    @property
    def epoch(self) -> int:
        """Epochs that are complete."""
        return 0 if self.found is None else self.found.epoch

    @property
    def steps(self) -> int:
        """Steps of the next epoch that are done."""
        return 0 if self.found is None else self.found.steps


class CheckpointDirectory:
    """Writes and finds the checkpoints of one job.

    Args:
        directory: The directory of the job; made when it is missing.
        keep: How many checkpoints to keep. One more, out of date, stays while the job
            runs: the next is written over its file.
    """

    def __init__(self, directory: str | os.PathLike[str], keep: int) -> None:
        self.path, self.keep = Path(directory).resolve(), keep
        self._spare: Path | None = None

    @contextlib.contextmanager
    def opened(self, job: Mapping[str, Any]) -> Iterator[None]:
        """Takes the directory for a job and for this process, and gives it free again.

        Raises:
            ValueError: When it is another job's, when it holds other things, or while
                another process or thread trains with it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        present = [name for name in os.listdir(self.path) if not name.startswith(".")]
        marker = self.path / _RUN
        if present and not marker.is_file():
            raise ValueError(
                "`directory` must be empty, missing, or that of a job to resume. Received: "
                f"`{self.path}`, which holds other things and no `{_RUN}`."
            )
        (self.path / ".owner").mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(files.locked(self.path / ".owner", wait=False))
            except BlockingIOError:
                raise ValueError(
                    f"`directory` must belong to one running job. Received: `{self.path}`, "
                    "with which another `fit` is training now. Wait for it, or take another."
                ) from None
            if marker.is_file():
                self._require_same(job, files.read_json(marker, "A job"))
            files.remove_leftovers(self.path)
            if not marker.is_file():
                body = {"format": _FORMAT, "format_version": _FORMAT_VERSION, "job": dict(job)}
                files.replace_file(marker, files.canonical_json(body))
            stack.callback(self._remove_spare)
            yield

    def begin(self, epochs: int) -> Begin:
        """Where a job of so many epochs begins or goes on.

        Raises:
            ValueError: When there are checkpoints and every one is damaged.
        """
        found = self.latest()
        if found is None or found.steps or not (found.stopped or found.epoch >= epochs):
            return Begin(found, complete=False, final=False)
        final = self.final()
        # One of fewer epochs is that of the job before it was given more.
        if final is None or final.epoch != found.epoch:
            return Begin(found, complete=True, final=False)
        return Begin(final, complete=True, final=True)

    def save(
        self,
        about: Mapping[str, Any],
        values: Mapping[str, npt.NDArray[Any]],
        *,
        final: bool = False,
    ) -> None:
        """Writes a checkpoint, then deletes the oldest beyond `keep`."""
        name = "final" if final else f"step-{about['epoch']:08d}-{about['steps']:012d}"
        with files.stage(self.path) as stage:
            self._take_spare(stage)
            index, entry = arrays.write_arrays(stage / _FILE, values)
            manifest.seal(stage, KIND, {**about, "arrays": index}, {_FILE: entry})
            target = self.path / name
            if target.is_dir():
                self._set_aside(target)  # of the same moment: a run repeated it
            files.rename_new(stage, target)
            files.sync_directory(self.path)
        for old in self._names()[: -self.keep]:
            self._set_aside(self.path / old)

    def latest(self) -> Checkpoint | None:
        """The newest whole checkpoint between or within epochs; `None` before the first.

        Raises:
            ValueError: When there are checkpoints and every one is damaged.
        """
        names = self._names()
        problems = []
        for name in reversed(names):
            try:
                return self._read(name)
            except ValueError as error:
                problems.append(str(error))
                warnings.warn(
                    f"Checkpoint {name} is damaged and passed over: {error}", stacklevel=2
                )
        if problems:
            raise ValueError(
                f"`directory` must hold a whole checkpoint. Received: `{self.path}`, where "
                f"all are damaged: {problems[0]} Delete the directory to begin anew."
            )
        return None

    def final(self) -> Checkpoint | None:
        """What a job that came to its end left behind, if it is whole."""
        if not (self.path / "final").is_dir():
            return None
        with contextlib.suppress(ValueError):
            return self._read("final")
        return None

    def _read(self, name: str) -> Checkpoint:
        about = manifest.verify(self.path / name, KIND)["about"]
        fields.require(about, _FIELDS, self.path / name)
        values = arrays.read_arrays(self.path / name / _FILE, about.pop("arrays"))
        return Checkpoint(about["epoch"], about["steps"], about["stopped"], about, values)

    def _remove_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            shutil.rmtree(spare, ignore_errors=True)

    def _take_spare(self, stage: Path) -> None:
        """Moves the file of a checkpoint that is out of date to where the next is written."""
        spare, self._spare = self._spare, None
        if spare is not None:
            os.rename(spare / _FILE, stage / _FILE)
            shutil.rmtree(spare)

    def _set_aside(self, checkpoint: Path) -> None:
        """Makes a checkpoint the spare; from its new name on it is none any more."""
        if self._spare is not None:
            shutil.rmtree(self._spare)
        self._spare = files.to_trash(checkpoint)

    def _names(self) -> list[str]:
        return sorted(name for name in os.listdir(self.path) if name.startswith("step-"))

    def _require_same(self, job: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        format_ = (body.get("format"), body.get("format_version"))
        if format_ != (_FORMAT, _FORMAT_VERSION) or not isinstance(body.get("job"), dict):
            raise ValueError(
                f"`{self.path / _RUN}` must be of format {_FORMAT!r}, version "
                f"{_FORMAT_VERSION}. Received: {format_[0]!r}, {format_[1]!r}. Go on with "
                "the version of keras_trainsteps that began the job, or begin a new one with "
                "another `run_id` and directory."
            )
        saved = body["job"]
        if saved.get("run_id") != job["run_id"]:
            raise ValueError(
                f"`directory` must be that of the job {job['run_id']!r}. Received: "
                f"`{self.path}`, which belongs to {saved.get('run_id')!r}. A new job takes a "
                "new directory; to start it from the old one's weights, use `warm_start`."
            )
        changed = differences(json.loads(files.canonical_json(job)), saved)
        if changed:
            more = f" (and {len(changed) - 5} more)" if len(changed) > 5 else ""
            raise ValueError(
                "A resumed job must be the one that was killed. Received: "
                f"{'; '.join(changed[:5])}{more}. Restore it, or begin a new job with "
                "another `run_id` and directory, by `warm_start` from these weights."
            )
