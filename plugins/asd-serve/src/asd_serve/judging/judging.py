"""What judges sound for a server: models, the batcher, and what explains; one for each `State`."""

from __future__ import annotations

import asyncio
import copy
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import asd
from asd.errors import AsdError
from asd.experiment import Decoders, clips_to_judge
from asd_serve.errors import RequestError
from asd_serve.judging.batcher import Batcher
from asd_serve.judging.metrics import Metrics
from asd_serve.judging.models import Models
from asd_serve.judging.sound import Upload, examine, parts_of
from asd_serve.state import State

_LONGEST_CLIP = 600.0
"""Seconds that are judged as one: its windows are in memory at the same time."""
_MOST_CLIPS = 10_000
_EXPLAINED = 8
"""Explanations that may wait."""


def _load(path: Path) -> asd.Model:
    return asd.load(path, cache=False)


class Judging:
    """What judges sound for a server.

    Parameters
    ----------
    state : State
        Which models, limits and folder.

    Attributes
    ----------
    models : Models
        The models, by name.
    batcher : Batcher
        Judges clips of many callers together.
    metrics : Metrics
        What is counted.
    decoders : Decoders
        Decode what clients send: a file that makes a decoder crash must not end the server.
    spool : Path
        Where recordings lie that come from clients, until they are judged.
    """

    def __init__(self, state: State) -> None:
        self.limits = state.limits
        self._load: Callable[[Path], asd.Model] = state.load or _load
        self.models = Models(state.models, self._load)
        self.metrics = Metrics(state, self)
        self.batcher = Batcher(self.metrics)
        self.decoders = Decoders(len(os.sched_getaffinity(0)) + 1)
        self.spool = state.folder / "spool"
        self._explaining = ThreadPoolExecutor(1, thread_name_prefix="asd-serve-explain")
        self._to_explain = 0

    def begin(self) -> None:
        """Make the folder, and load the models in the background.

        Raises
        ------
        AsdError
            If the folder cannot be used.
        """
        try:
            shutil.rmtree(self.spool, ignore_errors=True)  # of a server that was killed
            self.spool.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise AsdError(
                f"{self.spool}: cannot be used for recordings that are sent ({error.strerror}); choose another --folder"
            ) from error
        self.batcher.begin()
        self.models.begin()

    def close(self) -> None:
        """End all of it."""
        self._explaining.shutdown(wait=True, cancel_futures=True)
        self.batcher.close()
        self.models.close()
        self.decoders.close()
        shutil.rmtree(self.spool, ignore_errors=True)

    async def clips(
        self, model: asd.Model, upload: Upload, *, segment: float | str | None, state: str | None
    ) -> list[asd.Clip]:
        """Return the clips of a recording that a model is to judge, cut as `asd.score` cuts them.

        Raises
        ------
        RequestError
            If it is no recording, too long, or the model does not know the state.
        """
        return await asyncio.to_thread(self._clips, model, upload, segment, state)

    def _clips(self, model: asd.Model, upload: Upload, segment: Any, state: str | None) -> list[asd.Clip]:
        examine(upload, self.limits)
        whole = asd.Clip(upload.path, group=_known(model, state))  # no name of a file: none is searched for
        if isinstance(segment, float) and upload.facts.seconds / segment > _MOST_CLIPS:
            parts_of(upload, [whole] * (_MOST_CLIPS + 1), _LONGEST_CLIP, _MOST_CLIPS)
        found = clips_to_judge(model, [whole], segment=segment)
        longest = max(_LONGEST_CLIP, 2 * model.calibration.clip_seconds)
        return parts_of(upload, found, longest, _MOST_CLIPS)

    async def explained(self, model: asd.Model, clip: asd.Clip) -> dict[str, Any]:
        """Return why a clip is unusual.

        Raises
        ------
        RequestError
            If too many wait for an explanation.
        """
        if self._to_explain >= _EXPLAINED:
            text = f"{self._to_explain} explanations wait already, which is the most; try again in 10 s"
            raise RequestError(503, text, {"Retry-After": "10"})
        self._to_explain += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._explaining, _explained, model, clip)
        finally:
            self._to_explain -= 1


def _explained(model: asd.Model, clip: asd.Clip) -> dict[str, Any]:
    try:
        found = asd.explain(model, clip)
    except AsdError as error:
        return {"text": None, "sentences": [], "findings": [], "error": str(error)}
    places = [finding.to_dict(found.healthy_clips) for finding in found.findings]
    text = "; ".join(each["text"] for each in places) or "nothing stands out"
    return {"text": text, "sentences": found.sentences(), "findings": places, "error": None}


def with_alarm(model: asd.Model, false_alarms_per_hour: float | None) -> asd.Model:
    """Return a model that decides by another rate of false alarms; the rest of it is the same."""
    if false_alarms_per_hour is None:
        return model
    own = copy.copy(model)
    own.decision = model.calibration.decide(false_alarms_per_hour)
    return own


def _known(model: asd.Model, state: str | None) -> str | None:
    if state is None:
        return None
    states = model.calibration.states
    if states is None:
        raise RequestError(422, "state: this model knows no operating states; leave it out")
    if state not in states.names:
        known = ", ".join(states.names[:20])
        raise RequestError(422, f"state {state[:60]!r} is none of those that the model was fitted with ({known})")
    return state


def in_state(clip: asd.Clip, state: str | None) -> asd.Clip:
    """Return a clip with an operating state."""
    return clip if state is None else replace(clip, group=state)


def judging_of(state: State) -> Judging:
    """Return what judges for a server; it begins at the first call."""
    if state.judging is None:
        state.judging = Judging(state)
        state.judging.begin()
        state.stack.callback(state.judging.close)
    found: Judging = state.judging
    return found
