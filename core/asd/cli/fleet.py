"""Models of many machines: ``asd fit --by`` and ``asd evaluate FOLDER``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click
import msgspec

from asd.cli.output import emphasised, print_json, print_table, say
from asd.detection.rate import Rate
from asd.errors import AsdError, CalibrationError, DataError
from asd_registry.text import counted

if TYPE_CHECKING:
    from asd.detection.config import Config
    from asd.detection.evaluation import Evaluation
    from asd.detection.fleet import FleetFit
    from asd.detection.fleet_index import Machine
    from asd.detection.models import Models

_SHOWN = 30
"""Machines in a table; of more, those that failed are shown alone."""
_VERBS = {"calibrated": "promised", "guess": "guessed"}


def fit_by_machine(
    data: tuple[str, ...], by: str, output: Path, config: Config, *, force: bool, as_json: bool, **how: Any
) -> None:
    """Fit a model for each machine into a folder, and say what came of it.

    Parameters
    ----------
    data, by, output
        As the user named them.
    config : Config
        The pipeline.
    force, as_json : bool
        As the options.
    **how
        Further parameters of `asd.detection.fleet.Fleet`.

    Raises
    ------
    AsdError
        If no machine has a model.
    """
    from asd.detection.fleet import Fleet
    from asd.detection.fleet_data import machine_data
    from asd.detection.fleet_store import opened
    from asd.detection.groups import column_of

    config.resolved()  # unknown components are told before the work
    found = machine_data(data, by, label="normal", split="train", group=column_of(config.group))
    if found.nobody:
        click.echo(
            f"asd: warning: left out {counted(len(found.nobody), 'recording')} of no machine: {found.why} "
            f"({found.nobody[0]})",
            err=True,
        )
    with opened(output, by, force=force) as store:
        done = Fleet(found, config, **how).fit_into(store, force=force)
    if as_json:
        print_json(_summary(done, by, output))
    else:
        _say(done, config, output, data)
    if not any(done.machines[name].model for name in (*done.fitted, *done.unchanged, *done.failed)):
        first = done.failed[0]
        raise CalibrationError(f"no machine could be fitted: {first}: {done.machines[first].error}")


def _summary(done: FleetFit, by: str, output: Path) -> dict[str, Any]:
    counts = {"fitted": len(done.fitted), "unchanged": len(done.unchanged), "failed": len(done.failed)}
    told = {**dict.fromkeys(done.fitted, "fitted"), **dict.fromkeys(done.unchanged, "unchanged")}
    told |= dict.fromkeys(done.failed, "failed")
    machines = {name: {"done": what, **msgspec.to_builtins(done.machines[name])} for name, what in told.items()}
    return {"folder": str(output), "by": by, "machines": machines, "summary": {**counts, "of_no_machine": done.nobody}}


def _say(done: FleetFit, config: Config, output: Path, data: tuple[str, ...]) -> None:
    from asd.detection.describe import describe_pipeline
    from asd.detection.fleet_index import INDEX

    told = [*done.fitted, *done.unchanged, *done.failed]
    shown = told if len(told) <= _SHOWN else done.failed[:_SHOWN]
    if shown:
        rows = [_row(name, done.machines[name], name in done.unchanged) for name in sorted(shown, key=str.casefold)]
        print_table(("machine", "model", "clips", "false alarms", "notes"), rows)
    if len(told) > _SHOWN < len(done.failed):
        say(f"… and {len(done.failed) - _SHOWN} more that failed: {output / INDEX} says why.")
    parts = [f"{len(done.fitted)} fitted"]
    parts += [f"{len(done.unchanged)} unchanged, not fitted again"] if done.unchanged else []
    parts += [f"{len(done.failed)} failed (the same command tries them again)"] if done.failed else []
    say(f"{counted(len(told), 'machine')}: {'; '.join(parts)}. The models are in {output}.")
    if others := len(done.machines) - len(told):
        say(f"{others} more machines that are there were not among these recordings, and stay as they are.")
    if remarked := [name for name in done.fitted if (model := done.machines[name].model) and model.remarks]:
        say(f"There are remarks on {len(remarked)} of them ({remarked[0]}, …): {output / INDEX} has them (-v, too).")
    for line in describe_pipeline(config.resolved()):
        say(line)
    say(f"Next: asd score {output} NEW_RECORDINGS")


def _row(name: str, machine: Machine, unchanged: bool) -> tuple[Any, ...]:
    model = machine.model
    notes = [machine.error] if machine.error else []
    if model is None:
        return (name, emphasised("none", "bold red"), "", "", "; ".join(notes))
    if machine.error:
        notes.append(f"the model of {model.when} stays")
    if model.left_out:
        notes.append(f"{model.left_out} clips left out")
    if unchanged:
        notes.append("unchanged")
    rate = Rate.from_hourly(model.false_alarms_per_hour)
    promise = f"{rate.alarms:.3g}/{rate.unit} {_VERBS[model.promise]}"
    return (name, machine.file, str(model.clips), promise, "; ".join(notes))


def evaluate_by_machine(
    models: Models, normal: tuple[str, ...], anomalous: tuple[str, ...], *, as_json: bool, **how: Any
) -> None:
    """Measure the models of a folder, each on the recordings of its machine, and show that.

    Parameters
    ----------
    models : Models
        The models.
    normal, anomalous, **how
        As for `asd.Models.evaluate`.
    as_json : bool
        As the option.

    Raises
    ------
    DataError
        If no machine can be measured.
    """
    found = models.evaluate(normal, anomalous, **how)
    measured = {name: each for name, each in found.items() if not isinstance(each, AsdError)}
    if as_json:
        print_json({"machines": {name: _measures(each) for name, each in found.items()}, "mean": _mean(measured)})
    else:
        _print_evaluations(found, measured)
    if not measured:
        name, error = next(iter(found.items()))
        raise DataError(f"no machine could be measured: {name}: {error}")


def _measures(each: Evaluation | AsdError) -> dict[str, Any]:
    if isinstance(each, AsdError):
        return {"error": str(each)}
    failures = [failure.as_dict() for failure in each.failures]
    return {**vars(each), "contradicts_promise": each.contradicts_promise, "failures": failures, "error": None}


def _mean(measured: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Return the mean over machines, each counting the same, as is usual where there are several."""
    if not measured:
        return {"machines": 0}
    each = measured.values()
    means = {name: fmean(getattr(e, name) for e in each) for name in ("auc", "partial_auc")}
    counts = ("false_alarms", "normal", "hits", "anomalous")
    totals = {name: sum(getattr(e, name) for e in each) for name in counts}
    return {"machines": len(measured), **means, **totals}


def _print_evaluations(found: Mapping[str, Evaluation | AsdError], measured: Mapping[str, Evaluation]) -> None:
    rows = [_evaluation_row(name, each) for name, each in found.items()]
    mean = _mean(measured)
    if len(measured) > 1:
        alarms = f"{mean['false_alarms']} of {mean['normal']}", f"{mean['hits']} of {mean['anomalous']}"
        rows.append(("mean", f"{mean['auc']:.3f}", "", f"{mean['partial_auc']:.3f}", *alarms, ""))
    columns = ("machine", "AUC", "95 % interval", "pAUC", "false alarms", "faults found", "notes")
    print_table(columns, rows)
    unmeasured = f"; {len(found) - len(measured)} could not be measured" if len(measured) < len(found) else ""
    say(f"{counted(len(measured), 'machine')} measured{unmeasured}. Each counts the same in the mean.")


def _evaluation_row(name: str, each: Evaluation | AsdError) -> tuple[Any, ...]:
    if isinstance(each, AsdError):
        return (name, emphasised("–", "yellow"), "", "", "", "", str(each))
    low, high = each.auc_interval
    notes = []
    if each.contradicts_promise:
        notes.append("more false alarms than promised, beyond chance")
    if each.training_clips:
        notes.append(f"{each.training_clips} clips were in the training set: too good")
    if each.failures:
        notes.append(f"{len(each.failures)} left out")
    return (
        name,
        f"{each.auc:.3f}",
        f"{low:.3f} – {high:.3f}",
        f"{each.partial_auc:.3f}",
        f"{each.false_alarms} of {each.normal}",
        f"{each.hits} of {each.anomalous}",
        "; ".join(notes),
    )
