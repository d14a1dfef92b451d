"""A model for each of many machines: fitted one after the other into a folder, what is there already left as it is.

The models share the front ends and extractors, which are loaded once. A model is written as soon as it is made and not
kept, so that memory does not grow with the machines. A machine that cannot be learned is a line of the index; what
concerns all of them, such as a component that is not installed, ends the run at its start.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from asd.contract.interfaces import Runtime
from asd.detection import saving
from asd.detection.config import Config
from asd.detection.embeddings import EmbeddingCache, cache_from, to_json
from asd.detection.fleet_data import MachineData, describe_machines
from asd.detection.fleet_index import Learned, Machine
from asd.detection.fleet_store import ModelContent, ModelStore
from asd.detection.groups import group_labels
from asd.detection.identity import content_of, stamp_of
from asd.detection.manifest import checked
from asd.detection.model import Model
from asd.detection.piece import Shared
from asd.detection.pipeline import Pipeline
from asd.detection.remarks import remarks_kept
from asd.detection.renewal import contents_of
from asd.detection.sent import Sent, needs_of, pipeline_of
from asd.detection.training import extract
from asd.detection.work import each
from asd.errors import AsdError, ModelFileError, WorkerLost
from asd.progress import rendered_by, track, without_bar
from asd.records import Clip
from asd.sound.finding import check_segment, segments
from asd.sound.memory import held
from asd_registry import PIPELINE_KINDS
from asd_registry.text import describe, text_of

_log = logging.getLogger("asd")

_LONGEST = 2000
"""Characters of an error that the index keeps."""


@dataclass(frozen=True)
class Fitted:
    """What came of the fit of a machine.

    Parameters
    ----------
    name : str
        The machine.
    content : tuple of (dict, dict), or None
        What its model file is to hold, manifest and arrays; None: the fit failed.
    learned : dict
        Fields of `asd.detection.fleet_index.Learned` that the fit knows.
    error : AsdError or None
        Why it failed.
    """

    name: str
    content: ModelContent | None = None
    learned: Mapping[str, Any] = field(default_factory=dict)
    error: AsdError | None = None


@dataclass(frozen=True)
class FleetFit:
    """What came of the fits of many machines.

    Parameters
    ----------
    folder : Path or None
        Where the models are; None: in memory.
    fitted, unchanged, failed : list of str
        Machines whose model is new, those whose model was there, and those whose fit failed.
    machines : dict of str to Machine
        All that the folder holds, others of former runs too.
    nobody : int
        Clips that no machine is named for.
    """

    folder: Path | None
    fitted: list[str]
    unchanged: list[str]
    failed: list[str]
    machines: dict[str, Machine]
    nobody: int = 0


Item = tuple[str, Sequence[Clip], bool]
"""A machine, its healthy recordings, and whether a clip that cannot be used ends the fit."""


def fit_machine(state: Shared[Sent], item: Item) -> Fitted:
    """Fit the model of one machine, by the pipeline that all use one after the other: a piece of work."""
    (name, clips, strict), sent = item, state.value
    pipeline, config = sent.pipeline, sent.pipeline.config
    with rendered_by(without_bar), remarks_kept() as remarks:
        try:
            whole = [part for clip in clips for part in segments(clip, config.segment)]
            pipeline.forget_clips()
            features, failures = extract(pipeline, whole, workers=sent.workers, strict=strict)
            model = Model.of_features(pipeline, features, contents_of(features))
            content = model.content()
            checked(name, *content)
        except AsdError as error:
            return Fitted(name, error=error)
        except Exception as error:  # of one machine: the others may be fitted all the same
            return Fitted(
                name, error=AsdError(f"unexpected {describe(error)}; fit this machine by itself to see where")
            )
        learned = _learned(model, contents_digest(clips, config), len(failures))
    for member in model.members:
        member.detector.close()
    return Fitted(name, content, {**learned, "remarks": remarks})


def _learned(model: Model, contents: str, left_out: int) -> dict[str, Any]:
    decision, calibration = model.decision, model.calibration
    return {
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "contents": contents,
        "clips": model.clips,
        "held_out": len(calibration.scores),
        "left_out": left_out,
        "seconds": calibration.clip_seconds,
        "promise": decision.promise,
        "false_alarms_per_hour": decision.false_alarms_per_hour,
        "level": decision.level,
        "branches": len(model.branches),
        "states": calibration.states is not None,
    }


def _lost(item: Item, loss: WorkerLost) -> Fitted:
    """Return that a machine's fit killed the processes that worked on it."""
    text = f"{loss}; that was its second try: if memory ran out, use fewer workers, else a recording of it does that"
    return Fitted(item[0], error=AsdError(text))


def configuration_digest(config: Config) -> str:
    """Return the SHA-256 of a configuration, what it leaves to defaults included; of objects, never the same twice."""
    resolved = config.resolved()
    with contextlib.suppress(TypeError, ValueError):
        if all(getattr(part, kind).instance is None for part in resolved.parts for kind in PIPELINE_KINDS):
            return hashlib.sha256(to_json(resolved.as_mapping()).encode()).hexdigest()
    return hashlib.sha256(os.urandom(32)).hexdigest()


def contents_digest(clips: Sequence[Clip], config: Config) -> str:
    """Return the SHA-256 of recordings' contents, with their parts and groups; names and order do not count."""
    return _digest(_content, clips, config)


def stamps_digest(clips: Sequence[Clip], config: Config) -> str:
    """Return a SHA-256 that stays if no recording was changed; no file is read."""
    return _digest(_stamp, clips, config)


def _content(clip: Clip) -> str:
    try:
        return content_of(clip.path)
    except OSError:
        return ""


def _stamp(clip: Clip) -> str:
    if sound := held(clip.path):
        return sound.sha256
    try:
        return repr(stamp_of(clip.path))
    except OSError:  # it is gone, or its server tells no versions apart: the contents decide
        return os.urandom(16).hex()


def _digest(what: Callable[[Clip], Any], clips: Sequence[Clip], config: Config) -> str:
    groups = group_labels(clips, config.group)
    parts = [to_json([what(clip), clip.start, clip.duration, group]) for clip, group in zip(clips, groups, strict=True)]
    return hashlib.sha256("\n".join(sorted(parts)).encode(errors="replace")).hexdigest()


class Fleet:
    """The fits of many machines by one configuration, each written down before the next begins.

    Parameters
    ----------
    found : MachineData
        The healthy recordings.
    config : Config
        The pipeline.
    runtime, workers, cache
        As for `asd.Model.fit`.
    strict : bool
        End at the first machine or clip that cannot be used.
    """

    def __init__(
        self,
        found: MachineData,
        config: Config,
        *,
        runtime: Runtime | None = None,
        workers: int = 1,
        strict: bool = False,
        cache: bool | EmbeddingCache = True,
    ) -> None:
        check_segment(config.segment)
        self._found = found
        self._config = config
        self._runtime, self._workers, self._strict, self._cache = runtime, workers, strict, cache
        self._configuration = configuration_digest(config)
        self._stamps: dict[str, str] = {}
        self._fitted: list[str] = []
        self._failed: list[str] = []

    def fit_into(self, store: ModelStore, *, force: bool = False) -> FleetFit:
        """Fit the machines that `store` has no model of, or whose recordings or configuration changed; `force`: all.

        Raises
        ------
        AsdError
            If a model or the index cannot be written, the fit is interrupted, a component or its weights are missing,
            or, of a strict fit, if a machine or a clip cannot be used.
        """
        found, machines = self._found, store.index.machines
        # The best engine of a network may depend on how many clips there are: of all, whatever is left to do.
        cache = cache_from(self._cache)
        with Pipeline(self._config, self._runtime, clips=found.count, cache=cache) as pipeline:
            if reason := saving.why_unsaveable(pipeline):
                raise ModelFileError(f"models of many machines are kept as files hold them, which cannot be: {reason}")
            pipeline.weight_hashes()  # weights that are missing concern all machines
            store.add([*found.clips, *found.errors])
            unchanged = [name for name in found.clips if not force and self._is_unchanged(store, name)]
            missing = [name for name in found.clips if name not in set(unchanged)]
            for name in unchanged:
                machines[name].state, machines[name].error = "fitted", None
            store.write()
            try:
                for name, error in found.errors.items():
                    self._keep(store, Fitted(name, error=error))
                self._fit(store, pipeline, missing, len(unchanged))
            except KeyboardInterrupt:
                where = f" and are in {store.path}; the same command goes on with the others" if store.path else ""
                raise AsdError(
                    f"interrupted; {len(self._fitted)} of {len(missing)} machines were fitted{where}"
                ) from None
            finally:
                store.write()
        return FleetFit(store.path, self._fitted, unchanged, self._failed, machines, len(found.nobody))

    def _fit(self, store: ModelStore, pipeline: Pipeline, names: Sequence[str], others: int) -> None:
        if not names:
            return
        also = f" ({others} more have not changed)" if others else ""
        _log.info("fitting %s%s", describe_machines(names), also)
        state, needs = pipeline_of(pipeline, self._workers), needs_of(pipeline)
        with closing(each(fit_machine, state, self._items(names), needs=needs, lost=_lost)) as fits:
            for fitted in track(fits, "fitting machines", len(names)):
                self._keep(store, fitted)
                store.write(soon=True)

    def _items(self, names: Sequence[str]) -> Iterator[Item]:
        for name in names:
            self._stamps_of(name)  # before they are read: what changes meanwhile is seen the next time
            yield name, self._found.clips[name], self._strict

    def _keep(self, store: ModelStore, fitted: Fitted) -> None:
        """Write a model and note what it learned from, or why there is none."""
        name, machine = fitted.name, store.index.machines[fitted.name]
        if fitted.content is None:
            assert fitted.error is not None
            if self._strict:
                raise type(fitted.error)(f"{name}: {fitted.error}")
            self._failed.append(name)
            machine.state, machine.error = "failed", text_of(fitted.error)[:_LONGEST]
            _log.warning("%s: no model: %s", name, fitted.error)
            return
        store.keep(name, fitted.content)
        known: dict[str, Any] = {"configuration": self._configuration, "stamps": self._stamps_of(name)}
        machine.state, machine.error, machine.model = "fitted", None, Learned(**known, **fitted.learned)
        self._fitted.append(name)
        for remark in fitted.learned["remarks"]:
            _log.debug("%s: %s", name, remark)

    def _is_unchanged(self, store: ModelStore, name: str) -> bool:
        """Return whether the model that is there learned from these recordings, by this configuration."""
        machine = store.index.machines[name]
        learned = machine.model
        if learned is None or machine.state == "failed" or learned.configuration != self._configuration:
            return False
        if not store.has(name):
            return False
        stamps = self._stamps_of(name)
        if learned.stamps != stamps:
            if learned.contents != contents_digest(self._found.clips[name], self._config):
                return False
            machine.model = msgspec.structs.replace(learned, stamps=stamps)  # copied or moved: need not be read again
        return True

    def _stamps_of(self, name: str) -> str:
        if name not in self._stamps:
            self._stamps[name] = stamps_digest(self._found.clips[name], self._config)
        return self._stamps[name]
