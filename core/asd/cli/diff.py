"""``asd diff``: compare two models of one machine."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from asd.cli.diff_picture import draw, drawing
from asd.cli.flags import PathOrUrl, cache_option, json_option, trust_option, verbose_option
from asd.cli.options import runtime_from, runtime_options
from asd.cli.output import print_json, print_table, reporting, say
from asd.cli.pictures import check_picture

_NAMED = 10
_ERRORS = 2.0
"""Standard errors from which on a change is told: a few clips differ by chance."""


@click.command()
@click.argument("old_file", type=PathOrUrl(), metavar="OLD")
@click.argument("new_file", type=PathOrUrl(), metavar="NEW")
@click.argument("data", nargs=-1, metavar="[DATA]...")
@click.option("--picture", type=PathOrUrl(), metavar="FILE.png|svg", help="Draw the healthy scores of both.")
@runtime_options
@cache_option
@json_option
@trust_option
@verbose_option
@click.pass_context
def diff(
    ctx: click.Context,
    /,
    old_file: Path,
    new_file: Path,
    data: tuple[str, ...],
    picture: Path | None,
    device: str,
    precision: str,
    batch_size: str,
    workers: int,
    cache: bool,
    as_json: bool,
    trust: bool,
    verbose: bool,
) -> None:
    """Compare two models of one machine: exit code 0 if they are alike, 1 if they differ, 2 on an error.

    With DATA (files, folders, glob patterns, or a CSV manifest), both judge these recordings.
    """
    with reporting(verbose):
        from asd.detection.comparison import compare
        from asd.detection.cutting import clips_to_judge
        from asd.detection.model import Model

        drawer = None if picture is None else drawing(picture)
        if picture:
            check_picture(picture)
        runtime = runtime_from(device, precision, batch_size)
        old, new = (Model.load(path, runtime=runtime, cache=cache, trust=trust) for path in (old_file, new_file))
        clips = clips_to_judge(new, data) if data else ()
        comparison = compare(old, new, clips, workers=workers, cache=cache)
        if picture and drawer:
            draw(comparison, picture, drawer)
    if as_json:
        print_json(comparison.as_dict())
    else:
        _write(comparison)
    if not comparison.same:
        ctx.exit(1)


def _write(comparison: Any) -> None:
    print_table(("", "old", "new"), list(_rows(comparison)))
    for name, values in comparison.settings.items():
        before, after = map(_shown, values)
        if before != after:  # a pipeline of several branches has no settings of its own
            say(f"Setting {name}: {before} → {after}.")
    for name in comparison.weights:
        say(f"Other weights: {name}.")
    for line in sentences(comparison):
        say(line)
    old, new = comparison.old.history, comparison.new.history
    for event in [*old, *(each for each in new if each not in old)]:
        whose = "both" if event in old and event in new else "old" if event in old else "new"
        by = f"{event['clips']} clips of {event['recordings']} recordings"
        say(f"History ({whose}): {event['action']} by {by}, {event['when']}.")
    if comparison.same:
        say("The models are alike.")


def _rows(comparison: Any) -> Iterator[tuple[str, ...]]:
    old, new = comparison.old, comparison.new
    yield "clips learned from", f"{old.clips}", f"{new.clips}"
    yield "recordings learned from", f"{old.recordings}", f"{new.recordings}"
    yield "clips that calibrate", f"{old.calibrating}", f"{new.calibrating}"
    yield "their length", f"{old.clip_seconds:.3g} s", f"{new.clip_seconds:.3g} s"
    yield "false alarms an hour", *(f"{side.false_alarms_per_hour:.4g} ({side.promise})" for side in (old, new))
    yield "alarm at a p-value of", f"{old.level:.3g}", f"{new.level:.3g}"
    if old.alarm_from is not None and new.alarm_from is not None:
        yield "alarm above a usual score by", *(f"{side.alarm_from:.2f} deviations" for side in (old, new))
    for name in dict.fromkeys([*old.conditions, *new.conditions]):
        yield name, *(_shown(side.conditions.get(name)) for side in (old, new))
    if old.states or new.states:
        yield (
            "operating states",
            *(", ".join(f"{k} ({n})" for k, n in each.states.items()) or "1" for each in (old, new)),
        )
    for branch in comparison.branches:
        names = ", ".join(f"{float(each):.0%}" for each in branch.old)
        scores = [", ".join(f"{value:.4g}" for value in side.values()) for side in (branch.old, branch.new)]
        yield f"scores by {branch.name} ({names})", *scores


def sentences(comparison: Any) -> Iterator[str]:
    """Yield what has changed for the alarm, in sentences."""
    known = comparison.recordings
    if known["only_old"] or known["only_new"]:
        yield (
            f"Recordings learned from: {known['common']} are the same, {known['only_new']} are new, "
            f"{known['only_old']} are no longer among them."
        )
    if not comparison.same_detectors:
        yield (
            "The detectors are others, and so are the scales of their scores"
            + ("." if comparison.alarms else ": 'asd diff OLD NEW RECORDINGS' lets both models judge the same clips.")
        )
    elif not comparison.same:
        yield from _shifts(comparison)
    if comparison.alarms is not None:
        yield from _judged(comparison.alarms)


def _shifts(comparison: Any) -> Iterator[str]:
    said = False
    for branch in comparison.branches:
        named = f" (branch {branch.name})" if len(comparison.branches) > 1 else ""
        if abs(branch.shift) > _ERRORS * branch.shift_error:
            said, side = True, "higher" if branch.shift > 0 else "lower"
            yield (
                f"Healthy sound scores {abs(branch.shift):.1f} ± {branch.shift_error:.1f} deviations {side} than "
                f"before{named}."
            )
        if abs(math.log(branch.spread)) > _ERRORS * branch.spread_error:
            said = True
            yield f"Healthy scores scatter {branch.spread:.2g} times as wide as before{named}."
    if not said and comparison.branches:
        yield f"Healthy sound scores as before, as far as {comparison.new.calibrating} clips tell."


def _judged(alarms: Any) -> Iterator[str]:
    left_out = f" ({alarms.left_out} could not be judged)" if alarms.left_out else ""
    yield f"Of {alarms.clips} clips{left_out}, the old model finds {alarms.old} anomalous, the new one {alarms.new}."
    for which, clips in (("old", alarms.only_old), ("new", alarms.only_new)):
        if clips:
            named = ", ".join(clips[:_NAMED]) + (", …" if len(clips) > _NAMED else "")
            yield f"Anomalous by the {which} model alone, {len(clips)}: {named}."


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("name"))
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return ", ".join(map(_shown, value))
    if isinstance(value, list | tuple):
        return " to ".join(_shown(each) for each in dict.fromkeys(value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
