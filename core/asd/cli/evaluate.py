"""``asd evaluate``: measure a model on normal and anomalous recordings."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from asd.cli.flags import (
    PathOrUrl,
    by_option,
    cache_option,
    json_option,
    strict_option,
    trust_option,
    verbose_option,
)
from asd.cli.fleet import evaluate_by_machine
from asd.cli.options import false_alarms_option, hourly, runtime_from, runtime_options
from asd.cli.output import print_json, print_table, reporting, say
from asd.cli.pictures import check_picture
from asd.cli.streams import print_streams, streams_as_dict, watched_streams
from asd.detection.rate import Rate
from asd.errors import ConfigError
from asd.records import Clip

_VERBS = {"calibrated": "promised", "guess": "guessed"}


@click.command()
@click.argument("model_file", type=PathOrUrl(), metavar="MODEL")
@click.option("--normal", multiple=True, required=True, metavar="DATA", help="Healthy recordings; may be repeated.")
@click.option("--anomalous", multiple=True, required=True, metavar="DATA", help="Faulty recordings; may be repeated.")
@false_alarms_option
@click.option(
    "--state",
    metavar="COLUMN|folder",
    help="What names the operating state of each clip, as for 'asd score'; its sound tells, else.",
)
@by_option
@click.option(
    "--stream", is_flag=True, help="Let a monitor watch streams drawn from the clips; --false-alarms is then of it."
)
@click.option(
    "--streams",
    "runs",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="With --stream: how many of a kind.",
)
@click.option("--picture", type=PathOrUrl(), metavar="FILE.svg", help="With --stream: draw the evidence.")
@runtime_options
@cache_option
@strict_option
@trust_option
@json_option
@verbose_option
def evaluate(
    model_file: Path,
    normal: tuple[str, ...],
    anomalous: tuple[str, ...],
    false_alarms: Rate | None,
    false_alarms_per_hour: float | None,
    state: str | None,
    by: str | None,
    stream: bool,
    runs: int,
    picture: Path | None,
    device: str,
    precision: str,
    batch_size: str,
    workers: int,
    cache: bool,
    strict: bool,
    trust: bool,
    as_json: bool,
    verbose: bool,
) -> None:
    """Measure how well a model separates healthy from faulty recordings.

    Prints the AUC with its bootstrap interval, the partial AUC, and how often the alarm is raised; with --stream, also
    how often a monitor raises false alarms, and how soon it finds a fault. DATA is a file,
    folder, glob pattern or CSV manifest (of a manifest's rows, those with the right label that are not of the split
    'train'). MODEL may be a folder of models of many machines (asd fit --by): each is measured on the recordings of its
    machine.
    """
    if picture and not stream:
        raise ConfigError("--picture draws the evidence of streams: give --stream, too")
    with reporting(verbose):
        from asd.detection.evaluation import judge, measure
        from asd.detection.model import Model

        loading: dict[str, Any] = {
            "runtime": runtime_from(device, precision, batch_size), "cache": cache, "trust": trust
        }  # fmt: skip
        if picture:
            check_picture(picture)
        rate = hourly(None if stream else false_alarms, false_alarms_per_hour)
        if model_file.is_dir():
            _by_machine(model_file, normal, anomalous, loading, stream=stream, as_json=as_json, by=by, state=state,
                        false_alarms_per_hour=rate, workers=workers, strict=strict)  # fmt: skip
            return
        if by is not None:
            raise ConfigError(f"--by tells the machines of a folder of models; {model_file} is one: leave it out")
        model = Model.load(model_file, **loading)
        if rate is not None:
            model.decision = model.calibration.decide(rate)
        clips = (_test_clips(model, normal, "normal", state), _test_clips(model, anomalous, "anomalous", state))
        healthy, faulty, failures = judge(model, *clips, workers=workers, strict=strict)
        result = measure(model, healthy, faulty, failures)
        streams = watched_streams(model, healthy, faulty, false_alarms, runs, picture) if stream else None
    if as_json:
        print_json({**_as_dict(result, model), **({"streams": streams_as_dict(streams)} if streams else {})})
        return
    print_evaluation(result, model)
    if streams:
        print_streams(streams)


def _by_machine(
    folder: Path,
    normal: tuple[str, ...],
    anomalous: tuple[str, ...],
    loading: dict[str, Any],
    *,
    stream: bool,
    **how: Any,
) -> None:
    from asd.detection.models import Models

    if stream:
        raise ConfigError(f"--stream watches one machine: give its model, a file in {folder}")
    evaluate_by_machine(Models.load(folder, **loading), normal, anomalous, **how)


def _as_dict(result: Any, model: Any) -> dict[str, Any]:
    failures = [failure.as_dict() for failure in result.failures]
    contradicts = {"contradicts_promise": result.contradicts_promise}
    return {**asdict(result), **contradicts, "failures": failures, "decision": vars(model.decision)}


def _test_clips(model: Any, data: tuple[str, ...], label: str, state: str | None) -> list[Clip]:
    """Return the clips of a label, without the rows of a manifest that are of the split ``train``."""
    from asd.detection.cutting import clips_to_judge
    from asd.sound.finding import find_clips

    clips = clips_to_judge(model, data, label=label, split="test", state=state)
    left_out = {clip.path for clip in find_clips(data, label=label)} - {clip.path for clip in clips}
    if left_out:
        click.echo(f"asd: {len(left_out)} {label} recordings are not of the split 'test': left out", err=True)
    return clips


def print_evaluation(result: Any, model: Any) -> None:
    """Show an `asd.detection.evaluation.Evaluation` as tables."""
    low, high = result.auc_interval
    print_table(
        ("measure", "value", "meaning"),
        [
            ("AUC", f"{result.auc:.3f}", "chance that a faulty clip scores above a healthy one (0.5 = guessing)"),
            ("95 % interval", f"{low:.3f} – {high:.3f}", f"bootstrap over {result.normal + result.anomalous} clips"),
            ("pAUC (FPR ≤ 0.1)", f"{result.partial_auc:.3f}", "the same where alarms must be rare, standardised"),
        ],
    )
    rows = (
        ("healthy", result.normal, result.normal - result.false_alarms, result.false_alarms),
        ("faulty", result.anomalous, result.anomalous - result.hits, result.hits),
    )
    print_table(("recordings", "clips", "judged normal", "alarm"), rows)
    decision, (least, most) = model.decision, result.false_alarm_interval
    observed = result.false_alarm_rate * 3600 / model.calibration.clip_seconds
    say(
        f"Alarm at p ≤ {decision.level:.3g}: about {decision.false_alarms_per_hour:.3g} false alarms an hour "
        f"{_VERBS[decision.promise]}, {observed:.3g} observed."
    )
    say(
        f"False alarms: {decision.level:.1%} of the healthy clips {_VERBS[decision.promise]}, "
        f"{result.false_alarm_rate:.1%} observed "
        f"({result.false_alarms} of {result.normal}; 95 % interval {least:.1%} – {most:.1%})."
    )
    if decision.reason:
        click.echo(f"asd: warning: the alarm is a guess: {decision.reason}", err=True)
    if result.contradicts_promise:
        click.echo(
            "asd: warning: more false alarms than that, beyond chance: these healthy recordings are unlike those of "
            "the fit; fit on recordings like them, too",
            err=True,
        )
    for failure in result.failures:
        click.echo(f"asd: left out: {failure.error}", err=True)
    if result.training_clips:
        click.echo(
            f"asd: warning: {result.training_clips} of these clips were in the training set: the result is too "
            "good; evaluate on others",
            err=True,
        )
