"""Models of many machines: clips are judged by the model of the machine that they are of."""

from __future__ import annotations

import itertools
import logging
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asd.contract.interfaces import Runtime
from asd.detection.calibration import Decision
from asd.detection.cutting import Segment, clips_to_judge
from asd.detection.embeddings import EmbeddingCache, cache_from
from asd.detection.evaluation import Evaluation, judge, measure
from asd.detection.features import Failure
from asd.detection.fleet_data import MachineData, describe_machines, machine_data
from asd.detection.fleet_index import Machine, read_index
from asd.detection.fleet_store import ModelFolder, ModelStore, opened
from asd.detection.groups import column_of
from asd.detection.model import Model
from asd.detection.remarks import remarks_kept
from asd.detection.verdict import Verdict
from asd.errors import AsdError, AudioError, DataError, ModelFileError
from asd.progress import rendered_by, track, without_bar
from asd.records import Clip
from asd.sound.data import Data, entries_of

_log = logging.getLogger("asd")

_KEPT = 8
"""Models that stay in memory beside those that the caller holds."""


@dataclass(frozen=True)
class Judging:
    """How the clips of each machine are judged; the fields are parameters of `Models.score`."""

    segment: Segment = "auto"
    state: str | None = None
    false_alarms_per_hour: float | None = None
    workers: int = 1
    cache: bool = True


class Models(Mapping[str, Model]):
    """Models by the name of their machine, each read when it is asked for. Made by `asd.fit` with ``by``, or by `load`.

    Models share the networks that they have in common. A few stay in memory; what is changed in one, such as its
    decision, lasts as long as the caller holds the model.

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
        self._how: dict[str, Any] = {"runtime": runtime, "cache": cache_from(cache) or False, "trust": trust}
        self.decisions: dict[str, Decision] = {}
        self._networks: dict[str, Any] = {}
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
        path = Path(folder)
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
        with opened(Path(folder), self.by, force=force) as target:
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
            model = Model.of_content(self._store.place(name), *self._store.content(name), **self._how)
            for embedder in model.pipeline.embedders:
                embedder.share(self._networks)
            self._alive[name] = model
        self._recent.pop(name, None)
        self._recent[name] = model
        for oldest in list(itertools.islice(self._recent, max(0, len(self._recent) - _KEPT))):
            del self._recent[oldest]
        return model

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
        found = self.find(entries_of(data, rate=rate), by=by, state=state)
        yield from self.judged(found, Judging(segment, state, false_alarms_per_hour, workers, cache))

    def find(
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

    def judged(self, found: MachineData, how: Judging) -> Iterator[Verdict | Failure]:
        """Yield what `score` yields, of clips that are found."""
        said: Counter[str] = Counter()
        for name, clips in track(found.clips.items(), "scoring machines", len(found.clips)):
            yield from self._of_machine(name, clips, how, said)
        for clip in found.nobody:
            yield Failure(clip, AudioError(f"{clip}: of no known machine: {found.why}"))
        for text, count in said.items():
            _log.warning("%s (of %d machine%s)", text, count, "" if count == 1 else "s")

    def _of_machine(
        self, name: str, clips: list[Clip], how: Judging, said: Counter[str]
    ) -> Iterator[Verdict | Failure]:
        done = 0
        with _quiet() as remarks:
            model, chosen = self._prepared(name, clips, how)
        if isinstance(model, AsdError):
            yield from (_failure(clip, model, name) for clip in chosen)
            return
        results = model.score(chosen, workers=how.workers, cache=how.cache)
        try:
            while True:
                with _quiet() as more:
                    result = next(results, None)
                remarks += [each for each in more if each not in remarks]
                if result is None:
                    break
                done += 1
                yield replace(result, machine=name)
        except AsdError as error:  # its weights are others, say: the next machine may be judged all the same
            yield from (_failure(clip, error, name) for clip in chosen[done:])
        said.update(remarks)

    def _prepared(self, name: str, clips: list[Clip], how: Judging) -> tuple[Model | AsdError, list[Clip]]:
        """Return a machine's model and the clips that it is to judge, or why there is none and all clips."""
        try:
            if name not in self:
                raise ModelFileError(self._lacks(name))
            model = self[name]
            if how.false_alarms_per_hour is not None:
                model.decision = model.calibration.decide(how.false_alarms_per_hour)
            self.decisions[name] = model.decision
            return model, clips_to_judge(model, clips, segment=how.segment, state=how.state)
        except AsdError as error:
            return error, clips

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
        healthy = self.find(entries_of(normal), by=by, state=state, label="normal", split="test")
        faulty = self.find(entries_of(anomalous), by=by, state=state, label="anomalous", split="test")
        how = Judging(segment, state, false_alarms_per_hour, workers)
        found: dict[str, Evaluation | AsdError] = {}
        for name in track(list(dict.fromkeys([*healthy.clips, *faulty.clips])), "evaluating machines"):
            with _quiet():
                found[name] = self._evaluated(
                    name, healthy.clips.get(name, []), faulty.clips.get(name, []), how, strict
                )
        return found

    def _evaluated(
        self, name: str, normal: list[Clip], anomalous: list[Clip], how: Judging, strict: bool
    ) -> Evaluation | AsdError:
        for clips, kind in ((normal, "healthy"), (anomalous, "faulty")):
            if not clips:
                return DataError(f"no {kind} recordings of this machine were named")
        model, healthy = self._prepared(name, normal, how)
        if isinstance(model, AsdError):
            return model
        try:
            faulty = clips_to_judge(model, anomalous, segment=how.segment, state=how.state)
            return measure(model, *judge(model, healthy, faulty, workers=how.workers, strict=strict))
        except AsdError as error:
            if strict:
                raise
            return error


@contextmanager
def _quiet() -> Iterator[list[str]]:
    """Keep remarks, and show no bar: the outer one counts machines."""
    with rendered_by(without_bar), remarks_kept() as remarks:
        yield remarks


def _failure(clip: Clip, error: AsdError, machine: str) -> Failure:
    return Failure(clip, AudioError(f"{clip}: {error}"), machine)
