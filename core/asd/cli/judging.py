"""``asd score``: who judges, a model in a file, those of a folder, or one on a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import click
from click.core import ParameterSource

from asd.cli.watch import Watch
from asd.errors import ConfigError

_HERE = ("by", "monitor_file", "device", "precision", "engine", "scheduler", "batch_size", "cache", "trust")
"""Options that only a model in a file has."""


class Given(TypedDict):
    """What is to be judged, and how: DATA, ``--segment``, ``--state`` and the alarms an hour."""

    data: tuple[str, ...]
    segment: Any
    state: str | None
    rate: float | None


@dataclass(frozen=True)
class Judge:
    """Who judges.

    Parameters
    ----------
    results : iterator of Verdict or Failure
        What is said of each clip.
    several, states : bool
        Whether the model has several branches, and operating states.
    decision : callable
        Returns when the alarm is raised, of several machines for each; asked after the results.
    machines : bool
        Whether the models are those of several machines.
    """

    results: Iterator[Any]
    several: bool
    states: bool
    decision: Callable[[], dict[str, Any]]
    machines: bool = False

    @property
    def verb(self) -> str:
        """What may fail: a clip cannot be read, or there is no model of its machine."""
        return "judged" if self.machines else "read"


@contextmanager
def judged_here(
    model_file: Path,
    watch: Watch | None,
    workers: int,
    loading: Mapping[str, Any],
    *,
    data: tuple[str, ...],
    segment: Any,
    state: str | None,
    rate: float | None,
) -> Iterator[Judge]:
    """Judge by a model in a file; `loading` is for `Model.load`."""
    from asd.detection.cutting import clips_to_judge
    from asd.detection.model import Model

    model = Model.load(model_file, **loading)
    if rate is not None:
        model.decision = model.calibration.decide(rate)
    clips = clips_to_judge(model, data, segment=segment, state=state)
    with watch.opened(model, data, clips) if watch else nullcontext(clips) as chosen:
        results = model.score(chosen, workers=workers)
        states = model.calibration.states is not None
        yield Judge(results, len(model.branches) > 1, states, lambda: vars(model.decision))


@contextmanager
def judged_by_machine(
    folder: Path,
    by: str | None,
    watch: Watch | None,
    workers: int,
    loading: Mapping[str, Any],
    *,
    data: tuple[str, ...],
    segment: Any,
    state: str | None,
    rate: float | None,
) -> Iterator[Judge]:
    """Judge each clip by the model of its machine, of a folder of models; `loading` is for `Models.load`."""
    from asd.detection.models import Models

    if watch is not None:
        raise ConfigError(
            f"--monitor watches one machine: give its model, a file in {folder}; 'asd listen' watches many"
        )
    models = Models.load(folder, **loading)
    learned = [machine.model for machine in models.machines.values() if machine.model]
    several, states = any(each.branches > 1 for each in learned), any(each.states for each in learned)
    results = models.score(data, by=by, segment=segment, state=state, false_alarms_per_hour=rate, workers=workers)
    yield Judge(
        results, several, states, lambda: {name: vars(each) for name, each in models.decisions.items()}, machines=True
    )


@contextmanager
def judged_there(
    ctx: click.Context, address: str, *, data: tuple[str, ...], segment: Any, state: str | None, rate: float | None
) -> Iterator[Judge]:
    """Judge by a model on a server."""
    from asd.client import Client, server_and_model

    given = [each for each in ctx.command.params if _is_given(ctx, each.name)]
    if odd := [each.opts[-1] for each in given if each.name in _HERE]:
        raise ConfigError(f"{odd[0]} is for a model in a file; {address} decides that itself: leave it out")
    url, name = server_and_model(address)
    workers = {"workers": max(1, ctx.params["workers"])} if _is_given(ctx, "workers") else {}
    with Client(url, **workers) as server:
        known = server.ready(name)
        results = server.score(
            list(data), model=known["name"], segment=segment, state=state, false_alarms_per_hour=rate
        )
        several = len(known.get("branches", ())) > 1
        yield Judge(results, several, bool(known.get("states")), lambda: server.decision or known["decision"])


def _is_given(ctx: click.Context, name: str | None) -> bool:
    return name is not None and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
