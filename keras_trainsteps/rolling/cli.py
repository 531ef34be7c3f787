"""The command line: `python -m keras_trainsteps.rolling`."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_trainsteps.rolling.registry.aliases import names, read_all
from keras_trainsteps.rolling.registry.marker import MARKER
from keras_trainsteps.rolling.registry.registry import CHAMPION, ModelRegistry
from keras_trainsteps.rolling.registry.versions import Version

OK, FAILED, REFUSED, INVALID = 0, 1, 3, 4
EPILOG = """
exit codes, for cron:
  0  done
  1  something unexpected failed; nothing was published half
  2  wrong usage
  3  the candidate was not blessed; the champion is as it was
  4  the registry, a version or the data is not as it must be; see the message

examples:
  python -m keras_trainsteps.rolling update shop.daily:job --registry /models/ranker
  python -m keras_trainsteps.rolling list --registry /models/ranker
  python -m keras_trainsteps.rolling rollback --from 17 --registry /models/ranker
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return INVALID
    except Exception as error:
        traceback.print_exception(error)  # of the job: whoever wrote it needs the line
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED
    return code


def _update(options: argparse.Namespace) -> int:
    job = _job(options.job)
    if options.dry_run and not Path(options.registry).exists():
        with tempfile.TemporaryDirectory() as directory:
            return _run(job, ModelRegistry(directory), dry_run=True)
    return _run(job, ModelRegistry(options.registry), dry_run=options.dry_run)


def _run(job: Any, registry: ModelRegistry, *, dry_run: bool) -> int:
    from keras_trainsteps.rolling.update import RollingUpdate, Window

    found = job(registry)
    kinds = (RollingUpdate, Window)
    pair = isinstance(found, tuple) and len(found) == 2
    if not pair or not all(map(isinstance, found, kinds)):
        raise ValueError(
            "`job` must return a `RollingUpdate` and a `Window`. Received: "
            f"{type(found).__name__}. End it with `return update, window`."
        )
    update, window = found
    report = update.run(window, dry_run=dry_run, progress=_say)
    print(report)
    return OK if report.blessing.blessed else REFUSED


def _list(options: argparse.Namespace) -> int:
    registry = _existing(options.registry)
    versions, broken = [], []
    for number in registry.versions():
        try:
            versions.append(registry.get(number))
        except ValueError as error:
            broken.append(f"version {number}: {error}")
    aliases, unread = read_all(registry.directory)
    broken += [f"alias {name}: {error}" for name, error in unread.items()]
    of_version: dict[int, list[str]] = {}
    for name, alias in aliases.items():
        of_version.setdefault(alias.version, []).append(name)
    for line in broken:
        print(f"not readable: {line}", file=sys.stderr)
    if options.json:
        found = [_described(v, of_version.get(v.number, [])) for v in versions]
        print(json.dumps(found, indent=2))
        return INVALID if broken else OK
    print(f"{'version':>7}  {'created':<25}  {'parent':>6}  {'data':<25}  aliases")
    for version in versions:
        window = " to ".join(version.data_window or ("-",))
        print(
            f"{version.number:>7}  {version.created:<25}  {version.parent or '-':>6}  "
            f"{window:<25}  {', '.join(of_version.get(version.number, []))}".rstrip()
        )
    if not versions and not broken:
        print("no versions yet: `update` publishes the first")
    return INVALID if broken else OK


def _promote(options: argparse.Namespace) -> int:
    registry = _existing(options.registry)
    blessing = registry.blessing(options.version)
    print(blessing)
    if not blessing.blessed:
        print(f"error: version {options.version} is not blessed", file=sys.stderr)
        return REFUSED
    registry.promote(options.version, blessing, dry_run=options.dry_run)
    if options.dry_run:
        print(f"would promote version {options.version} (dry run)")
    else:
        print(f"champion is version {registry.alias(CHAMPION)}")
    return OK


def _rollback(options: argparse.Namespace) -> int:
    registry = _existing(options.registry)
    number = registry.rollback(
        options.alias, from_version=options.from_version, dry_run=options.dry_run
    )
    would, note = ("would be", " (dry run)") if options.dry_run else ("is", "")
    print(f"{options.alias} {would} version {number}{note}")
    return OK


def _verify(options: argparse.Namespace) -> int:
    registry = _existing(options.registry)
    damaged = 0
    for which in options.which or registry.versions():
        try:
            found = registry.verify(_which(str(which)))
        except ValueError as error:
            damaged += 1
            print(f"{which}: not whole: {error}")
        else:
            print(f"{which}: whole, {len(found.files)} files")
    for alias in names(registry.directory):
        try:
            registry.get(alias)
        except ValueError as error:
            damaged += 1
            print(f"alias {alias}: {error}")
    return INVALID if damaged else OK


def _repair(options: argparse.Namespace) -> int:
    registry = _existing(options.registry)
    done = registry.repair(dry_run=options.dry_run)
    for line in done:
        print(line)
    if not done:
        print("nothing to repair")
    elif options.dry_run:
        print("(dry run: nothing was changed)")
    return OK


def _load(options: argparse.Namespace) -> int:
    from keras_trainsteps.rolling.artifacts.publish import load_published

    registry = _existing(options.registry)
    model = load_published(registry, _which(options.which))
    for side, tensors in (("input", model.inputs), ("output", model.outputs)):
        for tensor in tensors:
            print(f"{side:<6}  {tensor.name:<20} {tensor.shape} {tensor.dtype}")
    print(f"{model.count_params()} weights load from version {options.which}")
    return OK


def _job(name: str) -> Any:
    module, _, function = name.partition(":")
    if not function:
        raise ValueError(
            f"`job` must be of the form `package.module:function`. Received: {name!r}."
        )
    sys.path.insert(0, "")
    try:
        job = getattr(importlib.import_module(module), function)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(
            f"`job` must name a function that can be imported. Received: {name!r}: {error}."
        ) from error
    if not callable(job):
        raise ValueError(
            f"`job` must name a function. Received: {name!r}, a {type(job).__name__}."
        )
    return job


def _existing(directory: str) -> ModelRegistry:
    if not (Path(directory) / MARKER).is_file():
        raise ValueError(
            f"`--registry` must be a registry, a directory with `{MARKER}`. Received: "
            f"`{directory}`, without. Check the path; the first `update` makes a registry."
        )
    return ModelRegistry(directory)


def _which(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _described(version: Version, aliases: list[str]) -> dict[str, Any]:
    return {
        "version": version.number,
        "created": version.created,
        "parent": version.parent,
        "data_window": version.data_window,
        "metrics": dict(version.metrics),
        "fingerprint": version.fingerprint,
        "aliases": aliases,
    }


def _say(message: str) -> None:
    print(f"... {message}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m keras_trainsteps.rolling",
        description="Publish, promote and roll back models that are updated day by day.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--registry", required=True, help="directory of the registry")
    dry = argparse.ArgumentParser(add_help=False)
    dry.add_argument(
        "--dry-run", action="store_true", help="say what would happen; change nothing"
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Any, summary: str, *parents: Any) -> Any:
        found = commands.add_parser(
            name, help=summary, description=summary, parents=[common, *parents]
        )
        found.set_defaults(command=run)
        return found

    update = command("update", _update, "evaluate, warm start, fit, gate and publish", dry)
    update.add_argument(
        "job",
        help="`package.module:function`; called with the registry, it returns a "
        "`RollingUpdate` and the `Window` of new data",
    )
    listed = command("list", _list, "show the versions and where aliases point")
    listed.add_argument("--json", action="store_true", help="as JSON, with the metrics")
    promote = command("promote", _promote, "make a blessed version the champion", dry)
    promote.add_argument("version", type=int)
    rollback = command("rollback", _rollback, "point an alias back to where it was", dry)
    rollback.add_argument("--alias", default=CHAMPION, help="default: %(default)s")
    rollback.add_argument(
        "--from",
        dest="from_version",
        type=int,
        help="the version to leave; if the alias is elsewhere, nothing happens",
    )
    verify = command("verify", _verify, "check every file of versions by SHA-256")
    verify.add_argument("which", nargs="*", help="numbers or aliases; default: all versions")
    command("repair", _repair, "set aside what is damaged; point aliases back", dry)
    load = command("load", _load, "load a version as a server would, and show its inputs")
    load.add_argument("which", nargs="?", default=CHAMPION, help="default: %(default)s")
    return parser
