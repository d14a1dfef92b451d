"""Clips judged by the model of their machine: a piece of work, done here clip by clip, or by workers of an engine."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from asd.contract.interfaces import Runtime
from asd.detection.calibration import Decision
from asd.detection.cutting import Segment, clips_to_judge
from asd.detection.embeddings import EmbeddingCache, cache_from
from asd.detection.features import Failure
from asd.detection.fleet_store import ModelContent
from asd.detection.model import Model
from asd.detection.piece import Shared
from asd.detection.remarks import remarks_kept
from asd.detection.sent import Decided, Kept, compute_as
from asd.detection.verdict import Verdict
from asd.errors import AsdError, AudioError, WorkerLost
from asd.progress import rendered_by, without_bar
from asd.records import Clip


@dataclass(frozen=True)
class ScoreOptions:
    """How the clips of each machine are judged; the fields are parameters of `asd.Models.score`."""

    segment: Segment = "auto"
    state: str | None = None
    false_alarms_per_hour: float | None = None
    workers: int = 1
    cache: bool = True


@dataclass
class Said:
    """What else comes of judging the clips of a machine.

    Parameters
    ----------
    name : str
        The machine.
    remarks : list of str
        What was warned of.
    decision : Decision or None
        When the alarm is raised.
    """

    name: str
    remarks: list[str] = field(default_factory=list)
    decision: Decision | None = None


@dataclass(frozen=True)
class Piece:
    """Clips of one machine, for a worker.

    Parameters
    ----------
    name : str
        The machine.
    clips : sequence of Clip
        What to judge.
    content : ModelContent or AsdError
        Its model, or why there is none.
    place : str
        What messages call the model.
    trust : bool or None
        As for `asd.Model.of_content`.
    configuration : str
        What its pipeline is known by.
    """

    name: str
    clips: Sequence[Clip]
    content: ModelContent | AsdError
    place: str = ""
    trust: bool | None = False
    configuration: str = ""


class Restorer:
    """Makes models of what their files hold; they share the networks that they have in common.

    Parameters
    ----------
    runtime, cache
        As for `asd.Model.load`.
    """

    def __init__(self, runtime: Runtime | None, cache: bool | EmbeddingCache) -> None:
        self._runtime = runtime
        self._cache = cache_from(cache) or False
        self._networks: dict[str, Any] = {}

    def model(self, place: str, content: ModelContent, *, trust: bool | None, decided: Decided | None = None) -> Model:
        """Return a model, which computes as another process `decided`; errors as for `asd.Model.load`."""
        model = Model.of_content(place, *content, runtime=self._runtime, cache=self._cache, trust=trust)
        self._share(model)
        if decided is not None:
            compute_as(model.pipeline, decided)
            self._share(model)  # one that computes otherwise than it would by itself has other networks
        return model

    def _share(self, model: Model) -> None:
        for embedder in model.pipeline.embedders:
            embedder.share(self._networks)

    def close(self) -> None:
        """End the worker processes of the components; the next use starts them again."""
        for shared in self._networks.values():
            (shared[0] if isinstance(shared, tuple) else shared).close()


Judged = tuple[list[Verdict | Failure], Said]


@dataclass(frozen=True)
class Judge:
    """What a worker has to judge clips by.

    Parameters
    ----------
    restorer : Restorer
        Makes the models.
    how : ScoreOptions
        How they judge.
    decided : dict of str to Decided
        By a pipeline's configuration, how it computes where the work is asked for.
    """

    restorer: Restorer
    how: ScoreOptions
    decided: Mapping[str, Decided] = field(default_factory=dict)

    def close(self) -> None:
        """End the worker processes of the components."""
        self.restorer.close()


def make_judge(runtime: Runtime | None, kept: Kept | None, how: ScoreOptions, decided: Mapping[str, Decided]) -> Judge:
    """Return the judge of a worker."""
    return Judge(Restorer(runtime, kept.opened() if kept else False), how, decided)


def judge_piece(state: Shared[Judge], piece: Piece) -> Judged:
    """Judge some clips of a machine: a piece of work."""
    judge = state.value

    def load() -> Model:
        if isinstance(piece.content, AsdError):
            raise piece.content
        decided = judge.decided.get(piece.configuration)
        return judge.restorer.model(piece.place, piece.content, trust=piece.trust, decided=decided)

    said = Said(piece.name)
    return list(judge_machine(said, load, piece.clips, judge.how)), said


def lost_piece(piece: Piece, loss: WorkerLost) -> Judged:
    """Return that clips killed the processes that worked on them."""
    text = f"{loss}; it was tried twice, with {len(piece.clips)} clips of {piece.name!r}: score them by themselves"
    return [Failure(clip, AudioError(f"{clip}: {text}"), piece.name) for clip in piece.clips], Said(piece.name)


def judge_machine(
    said: Said, load: Callable[[], Model], clips: Sequence[Clip], how: ScoreOptions
) -> Iterator[Verdict | Failure]:
    """Yield a verdict or a failure for each clip of a machine.

    Parameters
    ----------
    said : Said
        Of the machine; takes what else there is to say.
    load : callable
        Returns its model, or raises an AsdError: each clip is then a failure.
    clips : sequence of Clip
        What to judge.
    how : ScoreOptions
        How.
    """
    done, chosen = 0, clips
    try:
        with quiet(said.remarks):
            model, chosen = prepared(load, clips, how)
        said.decision = model.decision
        results = model.score(chosen, workers=how.workers, cache=how.cache)
        while True:
            with quiet(said.remarks):
                result = next(results, None)
            if result is None:
                return
            done += 1
            yield replace(result, machine=said.name)
    except AsdError as error:  # the next machine may be judged all the same
        for clip in chosen[done:]:
            yield Failure(clip, AudioError(f"{clip}: {error}"), said.name)


def prepared(load: Callable[[], Model], clips: Sequence[Clip], how: ScoreOptions) -> tuple[Model, list[Clip]]:
    """Return a machine's model with the alarm that is asked for, and the clips as it judges them."""
    model = load()
    if how.false_alarms_per_hour is not None:
        model = copy.copy(model)  # the caller may hold it, with its own alarm
        model.decision = model.calibration.decide(how.false_alarms_per_hour)
    return model, clips_to_judge(model, clips, segment=how.segment, state=how.state)


@contextmanager
def quiet(remarks: list[str]) -> Iterator[None]:
    """Add what is warned of to `remarks`, and show no bar: the outer one counts machines."""
    with rendered_by(without_bar), remarks_kept() as kept:
        try:
            yield
        finally:
            remarks += [each for each in kept if each not in remarks]
