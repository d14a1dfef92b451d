"""Clips that are read and cut into windows by processes of their own: one interpreter cuts one clip at a time.

They start when several clips are to be cut at once, and take them when they are ready; until then, and whenever they
cannot, the caller cuts the clip itself (`asd.detection.joint.cut_clip`). What they give is what that gives.
"""

from __future__ import annotations

import json
import logging
import subprocess
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from asd.contract.messages import Array, MessageError, receive, send
from asd.contract.processes import end_process, start_python
from asd.detection.joint import Cut, CutClip, Slot
from asd.detection.sent import decided_runtimes, require_plugins
from asd.errors import AsdError
from asd.records import Clip

if TYPE_CHECKING:
    from asd.detection.model import Model
    from asd.detection.pipeline import Pipeline

_log = logging.getLogger("asd")
# Ctrl-C goes to the whole process group: this process ends the others.
_START = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); from asd.detection.cutter_process import main; main()"
)
_MOST_PIPELINES = 16
"""Pipelines that a process holds: of more, the caller cuts the clips."""
_READY_SECONDS = 300.0
_PAUSE = 10.0
"""Seconds without a new process after one has ended by itself: a recording that makes it crash costs no more."""


@dataclass
class ReadFacts:
    """What is known of a clip that another process read: `asd.detection.embedder.Facts`; its fields are sent."""

    clip: Clip
    seconds: float
    file_rate: int
    channels: int
    level: float
    silent: bool
    notes: list[str]


class Cutters:
    """Processes that read clips and cut their windows.

    Parameters
    ----------
    processes : int
        How many at most; each holds the front ends of the models, and those extractors that are no networks.
    seconds : float
        How long one may take for a clip before it is ended.
    """

    def __init__(self, processes: int, *, seconds: float = 20.0) -> None:
        self._most, self._seconds = processes, seconds
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        self._count = 0
        self._is_closed = False
        self._preparing: threading.Thread | None = None
        self._in_preparation: _Process | None = None
        self._not_before = 0.0
        self._texts: weakref.WeakKeyDictionary[Pipeline, str] = weakref.WeakKeyDictionary()
        self._unable: set[str] = {""}

    @property
    def ready(self) -> int:
        """How many processes have cut clips, or can."""
        return self._count - (self._preparing is not None)

    def cut(self, model: Model, clip: Clip) -> CutClip | None:
        """Return a clip, cut; None: no process can, or not yet: cut it here, which also tells what is wrong with it.

        Parameters
        ----------
        model : Model
            Who is to judge it.
        clip : Clip
            What to read, a file.
        """
        text = self._text_of(model.pipeline)
        process = self._taken(text)
        if process is None:
            return None
        part = {"path": str(clip.path), "start": clip.start, "duration": clip.duration}
        answer = process.ask({"pipeline": text, "clip": part}, self._seconds)
        self._give_back(process, is_well=answer is not None)
        if answer is None or "error" in answer[0]:
            return None
        fields, arrays = answer
        if "unfit" in fields:
            self._unable.add(text)
            return None
        return _cut_of(clip, fields["embedders"], iter(arrays)) if "embedders" in fields else None

    def close(self) -> None:
        """End the processes; a clip that is being cut is still cut."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            thread, unready = self._preparing, self._in_preparation
        for process in idle:
            process.end()
        if unready is not None:
            unready.kill()
        if thread is not None:
            thread.join()

    def _text_of(self, pipeline: Pipeline) -> str:
        """Return what a process makes the pipeline of; empty: it cannot."""
        text = self._texts.get(pipeline)
        if text is None:
            self._texts[pipeline] = text = _text(pipeline)
        return text

    def _taken(self, text: str) -> _Process | None:
        with self._lock:
            if text in self._unable or self._is_closed:
                return None
            for process in self._idle:
                if text in process.knows:
                    self._idle.remove(process)
                    return process
            self._prepare_another(text)
        return None

    def _prepare_another(self, text: str) -> None:
        """Let a process get ready in the background, one at a time."""
        if self._preparing is not None or time.monotonic() < self._not_before:
            return
        process = next((each for each in self._idle if len(each.knows) < _MOST_PIPELINES), None)
        if process is not None:
            self._idle.remove(process)
        elif self._count < self._most:
            self._count += 1
        else:
            return
        self._preparing = threading.Thread(target=self._prepare, args=(process, text), name="asd-cutter", daemon=True)
        self._preparing.start()

    def _prepare(self, process: _Process | None, text: str) -> None:
        answer = None
        try:
            process = process or _Process()
            with self._lock:
                self._in_preparation = process
            answer = None if self._is_closed else process.ask({"pipeline": text}, _READY_SECONDS)
            if answer is not None and "error" not in answer[0]:
                process.knows.add(text)
            else:
                self._unable.add(text)
                reason = "it ended" if answer is None else f"{answer[0]['error']}: {answer[0].get('text')}"
                _log.info("clips of a model are not cut by processes of their own: %s", reason)
        except OSError as error:  # no memory for another process
            _log.info("no process that cuts clips can be started: %s", error)
        self._give_back(process, is_well=answer is not None, is_new=True)

    def _give_back(self, process: _Process | None, *, is_well: bool, is_new: bool = False) -> None:
        with self._lock:
            if is_new:
                self._preparing = self._in_preparation = None
            if process is not None and is_well and not self._is_closed:
                self._idle.append(process)
                return
            self._count -= 1
            if not is_well:
                self._not_before = time.monotonic() + _PAUSE
        if process is not None:
            process.end()


class _Process:
    """A process, and the pipelines that it holds."""

    def __init__(self) -> None:
        self._process: Any = start_python(_START, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.knows: set[str] = set()

    def ask(self, question: dict[str, Any], seconds: float) -> tuple[dict[str, Any], list[Array]] | None:
        """Return the answer; None: it has ended, takes too long, or answers nonsense."""
        from multiprocessing.connection import wait

        try:
            send(self._process.stdin, question)
            return receive(self._process.stdout) if wait([self._process.stdout], seconds) else None
        except (BrokenPipeError, EOFError, MessageError):
            return None

    def kill(self) -> None:
        """Let it end, and whoever asks it know."""
        self._process.kill()

    def end(self) -> None:
        """End it, and close its pipes; nobody may be asking it."""
        end_process(self._process)


def _text(pipeline: Pipeline) -> str:
    try:
        require_plugins(pipeline.config)
        if any(part.isolation for each in pipeline.embedders for part in (each.frontend, each.extractor)):
            return ""  # they have processes of their own
        decided = [[asdict(each) if each else None for each in pair] for pair in decided_runtimes(pipeline)]
        parts = {"config": pipeline.config.as_mapping(), "runtime": asdict(pipeline.runtime), "decided": decided}
        return json.dumps(parts)
    except (AsdError, TypeError, ValueError):
        return ""


def _cut_of(clip: Clip, embedders: list[dict[str, Any]], arrays: Iterator[Array]) -> CutClip:
    """Return what a process says of a clip, as `asd.detection.joint.cut_clip` says it."""
    readers = [ReadFacts(clip, **each["facts"]) for each in embedders]
    windows: list[Cut] = []
    for each in embedders:
        pairs = [(next(arrays), next(arrays)) for _ in range(each["blocks"])]
        slots = [Slot(None, values) if each["embedded"] else Slot(values) for values, _ in pairs]
        windows.append([(slot, np.asarray(starts)) for slot, (_, starts) in zip(slots, pairs, strict=True)])
    return CutClip(clip, readers, windows)
