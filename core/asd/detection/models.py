"""Models of many machines: clips are judged by the model of the machine that they are of."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from asd.contract.interfaces import Runtime
from asd.detection.calibration import Decision
from asd.detection.cutting import Segment, clips_to_judge
from asd.detection.embeddings import EmbeddingCache, cache_from
from asd.detection.evaluation import Evaluation, judge, measure
from asd.detection.features import Failure
from asd.detection.fleet_data import MachineData, describe_machines, machine_data
from asd.detection.fleet_index import Machine, read_index
from asd.detection.fleet_judging import (
    Piece,
    Restorer,
    Said,
    ScoreOptions,
    judge_machine,
    judge_piece,
    lost_piece,
    make_judge,
    prepared,
    quiet,
)
from asd.detection.fleet_store import ModelContent, ModelFolder, ModelStore, opened
from asd.detection.groups import column_of
from asd.detection.model import Model
from asd.detection.modelfile import content_digest
from asd.detection.piece import Shared
from asd.detection.pipeline import Pipeline
from asd.detection.sent import Kept, components_of, decided_runtimes, needs_of
from asd.detection.verdict import Verdict
from asd.detection.work import current_engine, each, of_call
from asd.errors import AsdError, AudioError, DataError, ModelFileError
from asd.files.remote import as_path
from asd.files.trusted import is_trusted
from asd.progress import track
from asd.records import Clip
from asd.sound.data import Data, entries_of
from asd_registry.text import counted

_log = logging.getLogger("asd")

_KEPT = 8
"""Models that stay in memory beside those that the caller holds."""
_TOGETHER = 256
"""Clips of a machine that a worker judges at a time."""


class Models(Mapping[str, Model]):
    """Models by the name of their machine, each read when it is asked for. Made by `asd.fit` with ``by``, or by `load`.

    Models share the networks that they have in common. A few stay in memory; what is changed in one, such as its
    decision, lasts as long as the caller holds the model. As a context manager, they close themselves at the end of the
    block.

    Attributes
    ----------
    by : str
        What told the machines: the column of a manifest, or ``"folder"``.
    machines : dict of str to Machine
        All machines, also those without a model, with what each learned from and why its last fit failed.
    folder : Path or None
        Where the models are; None: in memory.
    errors : dict of str to str
        Why the last fit failed, of each machine whose did; some may have an older model.
    decisions : dict of str to Decision
        When the alarm is raised, of each machine whose clips were judged.
    """

    def __init__(
        self,
        store: ModelStore,
        *,
        runtime: Runtime | None = None,
        cache: bool | EmbeddingCache = True,
        trust: bool = False,
    ) -> None:
        self._store = store
        self._runtime, self._cache, self._trust = runtime, cache, trust
        self._restorer = Restorer(runtime, cache)
        self.decisions: dict[str, Decision] = {}
        self._alive: weakref.WeakValueDictionary[str, Model] = weakref.WeakValueDictionary()
        self._recent: dict[str, Model] = {}

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        runtime: Runtime | None = None,
        cache: bool | EmbeddingCache = True,
        trust: bool = False,
    ) -> Models:
        """Read the index of a folder that ``asd fit --by`` or `save` wrote; parameters as for `asd.Model.load`.

        Raises
        ------
        ModelFileError
            If there is none, it is damaged, or of a newer format.
        """
        path = as_path(folder)
        return cls(ModelFolder(path, read_index(path)), runtime=runtime, cache=cache, trust=trust)

    def save(self, folder: str | Path, *, force: bool = False) -> None:
        """Write the index and a model file for each machine into a folder, which is made.

        Parameters
        ----------
        folder : str or Path
            A new one, or one of models: theirs of the same machines are replaced.
        force : bool
            Add to models whose machines were told otherwise.

        Raises
        ------
        ModelFileError
            If it cannot be written, or holds something else.
        """
        with opened(folder, self.by, force=force) as target:
            target.add(self.machines)
            target.write()
            for name in track(list(self.machines), "saving machines"):
                own = self.machines[name]
                target.index.machines[name] = Machine(
                    file=target.index.machines[name].file, state=own.state, error=own.error, model=own.model
                )
                if self._store.has(name):
                    target.keep(name, self._store.content(name))
                target.write(soon=True)
            target.write()

    @property
    def by(self) -> str:
        """What told the machines: the column of a manifest, or ``"folder"``."""
        return self._store.index.by

    @property
    def machines(self) -> dict[str, Machine]:
        """All machines, also those without a model."""
        return self._store.index.machines

    @property
    def folder(self) -> Path | None:
        """Where the models are; None: in memory."""
        return self._store.path

    @property
    def errors(self) -> dict[str, str]:
        """Why the last fit failed, of each machine whose did; some may have an older model."""
        return {name: machine.error for name, machine in self.machines.items() if machine.error is not None}

    def __getitem__(self, name: str) -> Model:
        """Return a machine's model; errors as for `asd.Model.load`, and KeyError if there is none."""
        if name not in self:
            raise KeyError(name)
        model = self._alive.get(name)
        if model is None:
            model = self._restorer.model(self._store.place(name), self._store.content(name), trust=self._trust)
            self._alive[name] = model
        self._recent.pop(name, None)
        self._recent[name] = model
        for oldest in list(itertools.islice(self._recent, max(0, len(self._recent) - _KEPT))):
            _end(self._recent.pop(oldest))
        return model

    def close(self) -> None:
        """End the worker processes of all components; the next use starts them again."""
        for model in list(self._alive.values()):
            _end(model)
        self._restorer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __contains__(self, name: object) -> bool:
        """Return whether a machine has a model."""
        machine = self.machines.get(name) if isinstance(name, str) else None
        return machine is not None and machine.model is not None

    def __iter__(self) -> Iterator[str]:
        """Iterate over the machines that have a model."""
        return (name for name, machine in self.machines.items() if machine.model is not None)

    def __len__(self) -> int:
        """Return how many machines have a model."""
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        failed = f"; {len(self.errors)} could not be fitted" if self.errors else ""
        return f"<Models of {describe_machines(list(self))} (by {self.by!r}){failed}>"

    @of_call
    def score(
        self,
        data: Data,
        *,
        by: str | None = None,
        rate: int | None = None,
        segment: Segment = "auto",
        state: str | None = None,
        false_alarms_per_hour: float | None = None,
        workers: int = 1,
        cache: bool = True,
    ) -> Iterator[Verdict | Failure]:
        """Yield a verdict for each clip by its machine's model, or a failure; machine by machine.

        Both name the machine. A clip of an unknown machine, or of one without a model, is a failure.

        Parameters
        ----------
        data, rate, segment, state, workers, cache
            As for `asd.score`.
        by : str, optional
            What tells the machines; default: as at the fit. In folders: as `asd.fit` says, or any folder on the way to
            a recording that is called as a machine.
        false_alarms_per_hour : float, optional
            Other alarms than those of the fit, for each machine; where its recordings do not support them, its clips
            are failures.
        """
        found = self._find(entries_of(data, rate=rate), by=by, state=state)
        yield from self._judged(found, ScoreOptions(segment, state, false_alarms_per_hour, workers, cache))

    def _find(
        self,
        data: Sequence[Any],
        *,
        by: str | None = None,
        state: str | None = None,
        label: str | None = None,
        split: str | None = None,
    ) -> MachineData:
        """Return the clips that `data` names by their machine; all as for `asd.detection.fleet_data.machine_data`."""
        group = column_of(state)
        return machine_data(data, by or self.by, label=label, split=split, group=group, known=self.machines.keys())

    def _judged(self, found: MachineData, how: ScoreOptions) -> Iterator[Verdict | Failure]:
        """Yield what `score` yields, of clips that are found.

        A worker of the current engine, if there is one, gets up to 256 clips of a machine at a time, with its model.
        """
        remarks: Counter[str] = Counter()
        for results, said in self._by_workers(found, how) if current_engine() else self._here(found, how):
            yield from results
            remarks.update(said.remarks)
            if said.decision is not None:
                self.decisions[said.name] = said.decision
        for clip in found.nobody:
            yield Failure(clip, AudioError(f"{clip}: of no known machine: {found.why}"))
        for text, count in remarks.items():
            _log.warning("%s (of %s)", text, counted(count, "machine"))

    def _here(self, found: MachineData, how: ScoreOptions) -> Iterator[tuple[Iterable[Verdict | Failure], Said]]:
        for name, clips in track(found.clips.items(), "scoring machines", len(found.clips)):
            said = Said(name)
            yield judge_machine(said, functools.partial(self._model, name), clips, how), said

    def _by_workers(self, found: MachineData, how: ScoreOptions) -> Iterator[tuple[Iterable[Verdict | Failure], Said]]:
        pipelines = self._pipelines(found)
        decided = {known_by: decided_runtimes(pipeline) for known_by, pipeline in pipelines.items()}
        parts = (self._runtime, Kept.of(cache_from(self._cache) if how.cache else None), how, decided)
        used = dict.fromkeys(each for pipeline in pipelines.values() for each in components_of(pipeline.config))
        state = Shared(make_judge, *parts, components=list(used))
        needs = next(filter(None, map(needs_of, pipelines.values())), None)
        with closing(each(judge_piece, state, self._pieces(found), needs=needs, lost=lost_piece)) as results:
            yield from track(results, "scoring", sum(-(-len(clips) // _TOGETHER) for clips in found.clips.values()))

    def _pipelines(self, found: MachineData) -> dict[str, Pipeline]:
        """Return a pipeline of each configuration that the machines have; as a rule they have the same."""
        pipelines: dict[str, Pipeline] = {}
        for name in found.clips:
            learned = self.machines[name].model if name in self.machines else None
            if learned is not None and learned.configuration not in pipelines:
                with contextlib.suppress(AsdError):  # it is told where its clips are judged
                    pipelines[learned.configuration] = self[name].pipeline
        return pipelines

    def _pieces(self, found: MachineData) -> Iterator[Piece]:
        for name, clips in found.clips.items():
            content: ModelContent | AsdError
            trust: bool | None
            try:
                self._check(name)
                content = self._store.content(name)
                trust = None if self._trust or is_trusted(content_digest(*content)) else False
            except AsdError as error:
                content, trust = error, False
            for first in range(0, len(clips), _TOGETHER):
                place = self._store.place(name) if name in self else ""
                learned = self.machines[name].model if name in self.machines else None
                known_by = learned.configuration if learned else ""
                yield Piece(name, clips[first : first + _TOGETHER], content, place, trust, known_by)

    def _model(self, name: str) -> Model:
        self._check(name)
        return self[name]

    def _check(self, name: str) -> None:
        """Raise a ModelFileError if a machine has no model."""
        if name not in self:
            raise ModelFileError(self._lacks(name))

    def _lacks(self, name: str) -> str:
        machine = self.machines.get(name)
        where = f"{self.folder} has" if self.folder else "there are"
        if machine is None:
            return (
                f"no model of a machine {name!r}: {where} {describe_machines(self.machines)}; fit it, or say by what "
                "machines are told (--by)"
            )
        return f"no model of the machine {name!r}: " + (
            f"its fit failed: {machine.error}" if machine.error else "its fit was interrupted; run 'asd fit' again"
        )

    def evaluate(
        self,
        normal: Data,
        anomalous: Data,
        *,
        by: str | None = None,
        segment: Segment = "auto",
        state: str | None = None,
        false_alarms_per_hour: float | None = None,
        workers: int = 1,
        strict: bool = False,
    ) -> dict[str, Evaluation | AsdError]:
        """Return for each machine how well its model separates healthy from faulty clips, or why that is not known.

        Parameters
        ----------
        normal, anomalous
            Healthy and faulty recordings, as `data` of `score`; of manifests, the rows with that label that are not of
            the split ``train``.
        by, segment, state, false_alarms_per_hour, workers
            As for `score`.
        strict : bool
            Raise at the first clip that cannot be read, instead of leaving it out.
        """
        healthy = self._find(entries_of(normal), by=by, state=state, label="normal", split="test")
        faulty = self._find(entries_of(anomalous), by=by, state=state, label="anomalous", split="test")
        how = ScoreOptions(segment, state, false_alarms_per_hour, workers)
        found: dict[str, Evaluation | AsdError] = {}
        for name in track(list(dict.fromkeys([*healthy.clips, *faulty.clips])), "evaluating machines"):
            own = healthy.clips.get(name, []), faulty.clips.get(name, [])
            with quiet([]):
                found[name] = self._evaluated(name, *own, how, strict)
        return found

    def _evaluated(
        self, name: str, normal: list[Clip], anomalous: list[Clip], how: ScoreOptions, strict: bool
    ) -> Evaluation | AsdError:
        for clips, kind in ((normal, "healthy"), (anomalous, "faulty")):
            if not clips:
                return DataError(f"no {kind} recordings of this machine were named")
        try:
            model, healthy = prepared(functools.partial(self._model, name), normal, how)
            faulty = clips_to_judge(model, anomalous, segment=how.segment, state=how.state)
            return measure(model, *judge(model, healthy, faulty, workers=how.workers, strict=strict))
        except AsdError as error:
            if strict:
                raise
            return error


def _end(model: Model) -> None:
    """End the worker processes of a model's detectors; its network may be that of others."""
    for member in model.members:
        member.detector.close()
