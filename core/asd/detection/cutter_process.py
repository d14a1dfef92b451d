"""What runs in a process that cuts clips for another (see `asd.detection.cutters`)."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from asd.contract.interfaces import Runtime
from asd.contract.messages import Array, as_array
from asd.contract.worker_process import answer_requests
from asd.detection.config import Config
from asd.detection.cutters import ReadFacts
from asd.detection.joint import CutClip, cut_windows
from asd.detection.pipeline import Pipeline
from asd.detection.sent import compute_as
from asd.errors import AudioError
from asd.records import Clip
from asd.sound.reading import recording_facts

_FACTS = [each.name for each in fields(ReadFacts) if each.name != "clip"]
_LONGEST = 60.0
"""Seconds of a clip: longer ones are cut where they are judged, as their windows take memory here and there."""
_DENSEST = 1_000_000
"""Bytes of windows for a second of sound: to hand over more takes longer than to cut it."""


def main() -> None:
    """Answer until the other process closes the pipe or dies."""
    answer_requests(_Cutting().answer)


class _Cutting:
    """Cuts clips for pipelines, which it keeps."""

    def __init__(self) -> None:
        self._pipelines: dict[str, Pipeline] = {}

    def answer(self, question: dict[str, Any], _: list[Array]) -> tuple[dict[str, Any], list[Array]]:
        """Get ready for a pipeline, or cut a clip for it."""
        text = question["pipeline"]
        if text not in self._pipelines:
            self._pipelines[text] = _made(json.loads(text))
        if "clip" not in question:
            return {}, []
        part = question["clip"]
        clip = Clip(Path(part["path"]), part["start"], part["duration"])
        seconds = part["duration"] or recording_facts(clip.path).seconds
        if seconds > _LONGEST:
            return {}, []
        cut = cut_windows(self._pipelines[text], clip)
        if any(isinstance(own, AudioError) for own in cut.windows):
            return {}, []  # who asks finds out why
        return _described(cut, seconds)


def _made(parts: dict[str, Any]) -> Pipeline:
    decided = [tuple(Runtime(**each) if each else None for each in pair) for pair in parts["decided"]]
    pipeline = Pipeline(Config.from_mapping(parts["config"]), Runtime(**parts["runtime"]))
    compute_as(pipeline, decided)  # type: ignore[arg-type]  # the first of each pair is there
    for embedder in pipeline.embedders:
        _ = embedder.extractor, embedder.frontend  # loaded now, not with the first clip
    return pipeline


def _described(cut: CutClip, seconds: float) -> tuple[dict[str, Any], list[Array]]:
    """Return what another process needs of a clip, and its arrays: of each block windows or embeddings, and starts."""
    arrays: list[Array] = []
    embedders = []
    for reader, own in zip(cut.readers, cut.windows, strict=True):
        assert not isinstance(own, AudioError)
        embedded = all(slot.rows is not None for slot, _ in own)
        for slot, starts in own:
            arrays += [as_array(slot.rows if embedded else slot.values), starts]
        facts = {name: getattr(reader, name) for name in _FACTS}
        embedders.append({"facts": facts, "blocks": len(own), "embedded": embedded})
    if sum(array.nbytes for array in arrays) > _DENSEST * max(1.0, seconds):
        return {"unfit": True}, []
    return {"embedders": embedders}, arrays
