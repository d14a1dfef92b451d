"""``asd recalibrate`` and ``asd update``: a model goes on after its machine, or what is known of it, has changed."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from asd.cli.diff import sentences
from asd.cli.fit import summarise
from asd.cli.flags import (
    PathOrUrl,
    cache_option,
    force_option,
    json_option,
    strict_option,
    trust_option,
    verbose_option,
)
from asd.cli.options import rate_option, runtime_from, runtime_options
from asd.cli.output import print_json, reporting, say
from asd.detection.calibration import describe_decision
from asd.detection.output import OutputFile, reserve
from asd.detection.rate import Rate
from asd.errors import AsdError, ConfigError, ModelFileError
from asd_registry.text import counted

F = TypeVar("F", bound=Callable[..., Any])


def _renewal_options(command: F) -> F:
    """Add what both commands take."""
    for option in (
        click.option("--in-place", is_flag=True, help="Replace MODEL itself."),
        force_option,
        click.option("-o", "--output", type=PathOrUrl(), help="Model file to write (*.asd)."),
        click.argument("data", nargs=-1, required=True, metavar="NEWNORMAL..."),
        click.argument("model_file", type=PathOrUrl(), metavar="MODEL"),
    ):
        command = option(command)
    return command


@click.command()
@_renewal_options
@click.option(
    "--keep", is_flag=True, help="Add the new clips to those that calibrate MODEL, instead of replacing them."
)
@rate_option
@runtime_options
@cache_option
@strict_option
@json_option
@trust_option
@verbose_option
def recalibrate(
    model_file: Path,
    data: tuple[str, ...],
    output: Path | None,
    force: bool,
    in_place: bool,
    keep: bool,
    false_alarms: Rate | None,
    as_json: bool,
    verbose: bool,
    **how: Any,
) -> None:
    """Calibrate a model's alarm by other recordings of the healthy machine; nothing is learned.

    For a machine that has moved, or whose surroundings have changed: five clips are enough, more allow rarer alarms.
    NEWNORMAL is files, folders, glob patterns, or a CSV manifest, as for 'asd fit'; recordings that MODEL learned from
    are left out.
    """
    rate = None if false_alarms is None else false_alarms.per_hour
    with reporting(verbose), _writing(model_file, output, force=force, in_place=in_place) as (reserved, path):
        from asd.detection.cutting import clips_to_calibrate

        old = _loaded(model_file, how)
        with _interruptible():
            new = old.recalibrate(
                clips_to_calibrate(old, data),
                keep=keep,
                false_alarms_per_hour=rate,
                workers=how["workers"],
                strict=how["strict"],
            )
        new.save(reserved)
        _report(old, new, path, as_json)


@click.command()
@_renewal_options
@click.option(
    "--data",
    "old_data",
    multiple=True,
    metavar="OLD",
    help="Where the recordings are that MODEL learned from, if the embedding cache has lost them; may be repeated.",
)
@runtime_options
@cache_option
@strict_option
@json_option
@trust_option
@verbose_option
def update(
    model_file: Path,
    data: tuple[str, ...],
    output: Path | None,
    force: bool,
    in_place: bool,
    old_data: tuple[str, ...],
    as_json: bool,
    verbose: bool,
    **how: Any,
) -> None:
    """Let a model learn from more recordings of the healthy machine, as if it had been fitted to old and new ones.

    The embeddings of the old ones are taken from the embedding cache; --data says where the recordings are that it has
    lost. NEWNORMAL and OLD are files, folders, glob patterns, or a CSV manifest, as for 'asd fit'.
    """
    with reporting(verbose), _writing(model_file, output, force=force, in_place=in_place) as (reserved, path):
        from asd.detection.cutting import clips_to_learn

        old = _loaded(model_file, how)
        with _interruptible():
            new = old.update(
                clips_to_learn(old, data),
                old_clips=clips_to_learn(old, old_data) if old_data else (),
                workers=how["workers"],
                strict=how["strict"],
            )
        new.save(reserved)
        _report(old, new, path, as_json)


def _loaded(path: Path, how: dict[str, Any]) -> Any:
    from asd.detection.model import Model

    runtime = runtime_from(how["device"], how["precision"], how["batch_size"])
    return Model.load(path, runtime=runtime, cache=how["cache"], trust=how["trust"])


@contextmanager
def _writing(
    model_file: Path, output: Path | None, *, force: bool, in_place: bool
) -> Iterator[tuple[OutputFile, Path]]:
    """Reserve the file to write, before anything is computed."""
    if (output is None) == (not in_place):
        raise ConfigError("say where the new model goes: -o NEW.asd, or --in-place to replace the old one")
    path = model_file if output is None else output
    if in_place:
        _check_replaceable(model_file)
    with reserve(path, overwrite=force or in_place) as reserved:
        yield reserved, path


def _check_replaceable(path: Path) -> None:
    """Refuse to replace what was protected by taking the permission to write away; a folder would allow it."""
    try:
        mode = path.stat().st_mode
    except OSError:  # reading it says what is wrong
        return
    if not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        raise ModelFileError(f"{path}: is read-only, and --in-place replaces it; write another file with -o")


@contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise AsdError("interrupted; nothing was written") from None


def _report(old: Any, new: Any, path: Path, as_json: bool) -> None:
    from asd.detection.comparison import compare

    comparison = compare(old, new)
    if as_json:
        print_json({**summarise(new, path), "history": new.history, "change": comparison.as_dict()})
        return
    done = new.history[-1]
    verb = {"recalibrated": "Recalibrated by", "updated": "Learned from"}.get(done["action"], "Calibration extended by")
    clips, recordings = counted(done["clips"], "new clip"), counted(done["recordings"], "recording")
    say(f"{verb} {clips} of {recordings}, written to {path}.")
    if new.failures:
        say(f"Left out {counted(len(new.failures), 'clip')} that could not be used (see above).")
    if new.duplicates:
        say(f"{len(new.duplicates)} clips repeat others and do not count in the calibration (see above).")
    for line in sentences(comparison):
        say(line)
    say(describe_decision(new.decision, len(new.calibration.scores)))
    say("A monitor of the old model does not go on with the new one: name another STATE.")
    say(f"Next: asd score {path} NEW_RECORDINGS")
