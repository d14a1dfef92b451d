"""Judge clips of many callers together: the windows of all go through a network in one pass.

Whoever has sound cuts it into windows, in a thread of its own, and embeds them there where no network does: an
extractor that computes window by window gains nothing from company. The windows of all clips that wait then go through
each network together, and each model's detectors score the rows of all its clips at once. Models that compute the same
embeddings share a network. A clip gets the windows that it would get by itself; what differs are the last bits of a
network's batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from asd.detection.embedder import Embedder, Facts
from asd.detection.features import ClipFeatures, Failure
from asd.detection.results import clip_errors, embeddings_of
from asd.errors import AudioError
from asd.records import Clip, Float32, Float64
from asd.sound.reading import read_together

if TYPE_CHECKING:
    from asd.detection.model import Model
    from asd.detection.pipeline import Pipeline
    from asd.detection.verdict import Verdict

_BATCH = 64
"""Windows that are embedded at once: more gains nothing, and takes memory."""


@dataclass
class Slot:
    """Windows that are embedded once: first `values`, then `rows` in their place."""

    values: Any
    rows: Float32 | None = None


Cut = list[tuple[Slot, Float64]] | AudioError
"""A clip's windows, with their starts in seconds; or why there are none."""


class CutWindows(Protocol):
    """Windows to be embedded.

    Attributes
    ----------
    clip : Clip
        Whose they are.
    windows : list of Cut
        For each embedder of the model's pipeline.
    """

    clip: Clip
    windows: list[Cut]


class WaitingClip(CutWindows, Protocol):
    """A clip whose windows are cut."""

    def facts(self, embedder: int) -> Facts:
        """Return what is known of the clip, as an embedder of this number read it."""


@dataclass
class CutClip:
    """A clip of a recording, its windows cut. Made by `cut_clip` or `asd.detection.cutters.Cutters`."""

    clip: Clip
    readers: Sequence[Facts] = field(repr=False)
    windows: list[Cut] = field(repr=False)

    def facts(self, embedder: int) -> Facts:
        """Return what is known of the clip; see `WaitingClip`."""
        return self.readers[embedder]


def cut_clip(model: Model, clip: Clip) -> CutClip:
    """Read a clip and cut its windows, for `judge_together`; embed them where no network does.

    Threads may do so at the same time.

    Parameters
    ----------
    model : Model
        Who is to judge it.
    clip : Clip
        What to read; that it cannot be read is what `judge_together` returns of it.
    """
    return cut_windows(model.pipeline, clip)


def cut_windows(pipeline: Pipeline, clip: Clip) -> CutClip:
    """Read a clip and cut its windows for a pipeline; see `cut_clip`."""
    embedders = pipeline.embedders
    rates = [each.sample_rate for each in embedders]
    readers = read_together(clip, rates, channel=pipeline.config.channel)
    found: list[list[tuple[Slot, Float64]]] = [[] for _ in embedders]
    errors: dict[int, AudioError] = {}
    waiting = {index: embedder.windows(readers[index]) for index, embedder in enumerate(embedders)}
    while waiting:  # in turns: what one has taken of the recording and another has not is held in memory
        for index, windows in list(waiting.items()):
            try:
                block = next(windows)
                found[index].append((Slot(block.values), block.start))
            except StopIteration:
                del waiting[index]
            except AudioError as error:
                del waiting[index]
                errors[index] = error
    cut = CutClip(clip, readers, [errors.get(index, own) for index, own in enumerate(found)])
    for index, embedder in enumerate(embedders):
        if not embedder.is_network and index not in errors:
            try:
                for slot, _ in found[index]:
                    _embed(embedder, [(slot, clip)])
            except AudioError as error:
                cut.windows[index] = error
    return cut


def judge_together(clips: Sequence[tuple[Model, WaitingClip]]) -> list[Verdict | Failure]:
    """Return a verdict per clip, or a failure for one that cannot be judged, in order.

    Only one thread may do so at a time for the same models.

    Parameters
    ----------
    clips : sequence of (Model, CutClip or LiveClip)
        Each with the model that judges it; more at a time cost less each.
    """
    errors = embed_together(clips)
    of_model: dict[int, list[int]] = {}
    for number, (model, _) in enumerate(clips):
        of_model.setdefault(id(model), []).append(number)
    found: dict[int, Verdict | Failure] = {}
    for numbers in of_model.values():
        model = clips[numbers[0]][0]
        features = [_features(model, clips[number][1], errors) for number in numbers]
        found |= dict(zip(numbers, model.judge(features), strict=True))
    return [found[number] for number in range(len(clips))]


def share_networks(models: Iterable[Model]) -> None:
    """Let models whose front ends and extractors compute the same use the same ones: each is in memory once.

    Parameters
    ----------
    models : iterable of Model
        Those of the first stay; components of no plugin are left alone.
    """
    known: dict[str, Any] = {}
    for model in models:
        for embedder in model.pipeline.embedders:
            embedder.share(known)


def embed_together(clips: Sequence[tuple[Model, CutWindows]]) -> dict[int, AudioError]:
    """Embed what is not embedded yet; return why slots could not be, by their identity."""
    new: dict[int, dict[int, tuple[Slot, Clip]]] = {}
    embedders: dict[int, Embedder] = {}
    for model, each in clips:
        for embedder, windows in zip(model.pipeline.embedders, each.windows, strict=True):
            if isinstance(windows, AudioError):
                continue
            key = id(embedder.extractor)  # which models may share
            embedders[key] = embedder
            own = new.setdefault(key, {})
            own |= {id(slot): (slot, each.clip) for slot, _ in windows if slot.rows is None}
    errors: dict[int, AudioError] = {}
    for key, slots in new.items():
        for batch in _batches(list(slots.values()), together=embedders[key].is_network):
            try:
                _embed(embedders[key], batch)
            except AudioError:  # one of them: which?
                for one in batch:
                    try:
                        _embed(embedders[key], [one])
                    except AudioError as error:
                        errors[id(one[0])] = error
    return errors


def _batches(slots: list[tuple[Slot, Clip]], *, together: bool) -> Iterator[list[tuple[Slot, Clip]]]:
    """Yield slots one by one, or of at most `_BATCH` windows together, and of one shape."""
    if not together:
        yield from ([slot] for slot in slots)
        return
    of_shape: dict[Any, list[tuple[Slot, Clip]]] = {}
    for slot in slots:
        of_shape.setdefault((slot[0].values.shape[1:], slot[0].values.dtype), []).append(slot)
    for alike in of_shape.values():
        batch: list[tuple[Slot, Clip]] = []
        count = 0
        for slot in alike:
            if batch and count + len(slot[0].values) > _BATCH:
                yield batch
                batch, count = [], 0
            batch.append(slot)
            count += len(slot[0].values)
        yield batch


def _embed(embedder: Embedder, batch: list[tuple[Slot, Clip]]) -> None:
    slots = [slot for slot, _ in batch]
    with clip_errors(batch[0][1]), embedder.busy:
        values = slots[0].values if len(slots) == 1 else np.concatenate([slot.values for slot in slots])
        rows = embeddings_of(embedder.extractor, values)
    ends = np.cumsum([len(slot.values) for slot in slots])
    for slot, own in zip(slots, np.split(rows, ends[:-1]), strict=True):
        slot.rows = own.copy()  # a view would keep the whole batch in memory
        slot.values = None


def _features(model: Model, clip: WaitingClip, errors: dict[int, AudioError]) -> list[ClipFeatures | Failure]:
    """Return what each branch of a model makes of a clip whose windows are embedded."""
    embedders = model.pipeline.embedders
    found = [
        _collected(embedder, clip.clip, clip.facts(index), clip.windows[index], errors)
        for index, embedder in enumerate(embedders)
    ]
    of_branch = [model.pipeline.embedder(branch) for branch in range(len(model.branches))]
    return [found[embedders.index(each)] for each in of_branch]


def _collected(
    embedder: Embedder, clip: Clip, facts: Facts, windows: Cut, errors: dict[int, AudioError]
) -> ClipFeatures | Failure:
    if isinstance(windows, AudioError):
        return Failure(clip, windows)
    blocks: list[tuple[Float32, Float64]] = []
    for slot, starts in windows:
        if slot.rows is None:
            return Failure(clip, errors[id(slot)])
        blocks.append((slot.rows, starts))
    return embedder.collect(facts, blocks)
