"""``asd fit``: learn the sound of a healthy machine."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from asd.cli.dotted import DottedCommand
from asd.cli.flags import PathOrUrl, cache_option, force_option, json_option, strict_option, verbose_option
from asd.cli.fleet import fit_by_machine
from asd.cli.options import config_from, hourly, pipeline_options, rate_option, runtime_from, runtime_options
from asd.cli.output import print_json, reporting, say, together
from asd.detection.calibration import describe_decision
from asd.detection.dependence import SerialDependence
from asd.detection.output import reserve
from asd.detection.rate import Rate
from asd.errors import AsdError, DataError
from asd_registry.text import counted

_STATES_SHOWN = 5
_TOLD = 0.9
"""Part of clips whose state must be told by their sound, so that it need not be named."""


@click.command(cls=DottedCommand)
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=PathOrUrl(),
    help="Model file to write (*.asd); with --by, the folder of the models.",
)
@click.option(
    "--by",
    metavar="COLUMN|folder",
    help="Fit a model for each machine: the manifest's column that names it, or the first folder below DATA.",
)
@force_option
@pipeline_options()
@rate_option
@runtime_options
@cache_option
@strict_option
@json_option
@verbose_option
@click.pass_context
def fit(
    ctx: click.Context,
    /,
    data: tuple[str, ...],
    output: Path,
    by: str | None,
    force: bool,
    config_file: Path | None,
    false_alarms: Rate | None,
    device: str,
    precision: str,
    batch_size: str,
    workers: int,
    cache: bool,
    strict: bool,
    as_json: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Learn from recordings of a healthy machine and write a model file.

    DATA is files, folders, glob patterns, here or by address (s3://…), or a CSV manifest with a column 'path' (and
    'label', 'split': rows that are not 'normal' or not 'train' are left out). With --by, machines are fitted that have
    no model yet, or whose recordings or configuration have changed; --force fits all. A machine that cannot be learned
    is reported; the exit code is 2 if no machine has a model.
    """
    runtime = runtime_from(device, precision, batch_size)
    options["false_alarms_per_hour"] = hourly(false_alarms, options["false_alarms_per_hour"])
    how: dict[str, Any] = {"runtime": runtime, "workers": workers, "strict": strict, "cache": cache}
    if by is not None:
        with reporting(verbose):
            config = config_from(ctx, config_file, options)
            fit_by_machine(data, by, output, config, force=force, as_json=as_json, **how)
        return
    with reporting(verbose), ExitStack() as stack:
        reserved, (config, clips) = together(
            lambda: stack.enter_context(reserve(output, overwrite=force)),
            lambda: _asked(data, ctx, config_file, options),
        )
        model, hears, dependence, order = _fitted(data, clips, config, reserved, **how)
    found = None if dependence is None else {**vars(dependence), "strong": dependence.strong, "order": order}
    summary = {**summarise(model, output), "hears": hears, "dependence": found}
    if as_json:
        print_json(summary)
    else:
        _tell(model, summary, dependence)


def _fitted(
    data: tuple[str, ...], clips: Any, config: Any, reserved: Any, **how: Any
) -> tuple[Any, list[str], SerialDependence | None, str]:
    """Return the model, which is saved, what its pipeline hears, and how neighbours in which order resemble."""
    from asd.detection.describe import describe_hearing
    from asd.detection.model import Model

    try:
        model = Model.fit(clips, config, **how)
    except KeyboardInterrupt:
        raise AsdError("interrupted; nothing was written") from None
    model.save(reserved)
    return model, describe_hearing(model, clips, workers=how["workers"]), *_dependence(model, data)


def _tell(model: Any, summary: dict[str, Any], dependence: SerialDependence | None) -> None:
    """Print what was learned and what is promised."""
    from asd.detection.describe import describe_pipeline

    say(f"Learned from {summary['clips']} clips ({summary['seconds']:.0f} s of sound), written to {summary['model']}.")
    if summary["left_out"]:
        say(f"Left out {counted(summary['left_out'], 'clip')} that could not be used (see above).")
    if model.duplicates:
        say(f"{len(model.duplicates)} clips repeat others and do not count in the calibration (see above).")
    for line in describe_pipeline(model.config):
        say(line)
    say(describe_decision(model.decision, summary["held_out"]))
    say(describe_monitor(model))
    if model.calibration.states or model.config.states:
        say(describe_states(model))
    if dependence is not None and dependence.strong:
        say(describe_dependence(dependence, summary["dependence"]["order"]))
    for line in summary["hears"]:
        say(line)
    say(f"Next: asd score {summary['model']} NEW_RECORDINGS")


def _asked(
    data: tuple[str, ...], ctx: click.Context, config_file: Path | None, options: dict[str, Any]
) -> tuple[Any, Any]:
    """Return the configuration that the options describe, and the clips that are to be learned from."""
    from asd.detection.groups import column_of
    from asd.sound.finding import find_clips

    config = config_from(ctx, config_file, options)
    config.resolved()  # unknown components are told before the work
    column = column_of(config.group)
    clips = find_clips(data, segment=config.segment, label="normal", split="train", group=column)
    return config, clips


def _dependence(model: Any, data: tuple[str, ...]) -> tuple[SerialDependence | None, str]:
    """Return how much held-out clips that are neighbours in time resemble each other, and where the times are from."""
    from asd.detection.dependence import FEWEST_IN_ORDER, serial_dependence
    from asd.sound.times import in_time_order

    calibration = model.calibration
    if len(calibration.clips) < FEWEST_IN_ORDER:
        return None, ""
    try:
        timed, source = in_time_order(data, calibration.clips)
    except DataError as error:  # a manifest that gives some times only: learning needs none
        click.echo(f"asd: warning: {error}", err=True)
        return None, ""
    place = {clip: i for i, clip in enumerate(calibration.clips)}
    order = [place[each.clip] for each in timed]
    return serial_dependence(calibration.scores, calibration.member, order), source


def describe_dependence(dependence: SerialDependence, order: str) -> str:
    """Return what it means that neighbours resemble each other, in sentences."""
    return (
        f"Neighbouring recordings resemble each other, in the order of {order}: their scores correlate by "
        f"{dependence.correlation:.2f}, and {dependence.clips:.2g} clips tell as much as one. The promise of single "
        "clips is then an average over a long time: false alarms come in groups. A monitor takes its evidence from "
        "several clips at a time. Record on several days; if the machine has operating states, name them with --group, "
        "or let --states auto find them."
    )


def describe_monitor(model: Any) -> str:
    """Return what a monitor promises by default, in a sentence."""
    from asd.detection.monitor import Monitor

    monitor = Monitor(model)
    wait = f" once it has watched {monitor.needed} healthy clips" if monitor.needed else ""
    return (
        f"Or the evidence of clip after clip: asd score … --monitor STATE raises at most "
        f"{Rate.of(monitor.state.rate).words}{wait}, for faults that last."
    )


def describe_states(model: Any) -> str:
    """Return which operating states a monitor keeps apart, and whether their sound tells them, in sentences."""
    states, found = model.calibration.states, model.config.states is not None
    if states is None:
        return (
            "By their sound all clips are of one operating state: no group of 10 clips or more lies apart from the "
            "others."
        )
    counts = [f"{name} ({count})" for name, count in zip(states.names, states.counts(), strict=True)]
    shown = ", ".join(counts[:_STATES_SHOWN]) + (", …" if len(counts) > _STATES_SHOWN else "")
    mend = "find fewer, with --states" if found else "name it when you score, with --state"
    hint = "" if states.told >= _TOLD else f"; that is too few: {mend}"
    by = ", found by the sound of the clips" if found else ""
    return (
        f"A monitor keeps {len(counts)} operating states apart{by}: {shown} held-out clips. The state of a clip is "
        f"told by its sound, of {states.told:.0%} of these recordings rightly{hint}."
    )


def summarise(model: Any, output: Path) -> dict[str, Any]:
    """Return what ``asd fit --json`` prints."""
    from asd.detection.describe import steps_of

    config, calibration = model.config, model.calibration
    states = calibration.states
    return {
        "model": str(output),
        "clips": model.clips,
        "held_out": len(calibration.scores),
        "left_out": len(model.failures),
        "failures": [failure.as_dict() for failure in model.failures],
        "notes": [{"note": each.note, "count": each.count, "clips": list(each.clips)} for each in model.notes],
        "duplicates": [duplicate.as_dict() for duplicate in model.duplicates],
        "seconds": calibration.clip_seconds * model.clips,
        "pipeline": [config.frontend.name, config.extractor.name, config.detector.name],
        "branches": [
            {"name": name, "pipeline": steps_of(part)} for name, part in zip(config.names, config.parts, strict=True)
        ],
        "config": model.full_config(),
        "decision": vars(model.decision),
        "lowest_false_alarms_per_hour": calibration.lowest_rate,
    } | (
        {} if states is None else {"states": dict(zip(states.names, states.counts(), strict=True)), "told": states.told}
    )
