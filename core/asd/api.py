"""The Python interface: `fit`, `score`, `explain`, `load`; `recalibrate`, `update`, `diff` for a model that goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asd.contract.interfaces import Runtime
from asd.detection.comparison import Comparison, compare
from asd.detection.config import Config
from asd.detection.cutting import Segment, clips_to_calibrate, clips_to_judge, clips_to_learn
from asd.detection.explanation import Explanation, most_unusual
from asd.detection.explanation import explain as explain_clip
from asd.detection.groups import column_of
from asd.detection.model import Model
from asd.detection.pipeline import Failure
from asd.detection.verdict import Verdict
from asd.records import Clip
from asd.sound.data import Data, entries_of, entries_of_each
from asd.sound.finding import find_clips


def fit(
    data: Data,
    *,
    rate: int | None = None,
    runtime: Runtime | None = None,
    workers: int = 1,
    strict: bool = False,
    cache: bool = True,
    **options: Any,
) -> Model:
    """Learn what a healthy machine sounds like.

    Parameters
    ----------
    data : str, Path, array, pair (samples, rate), frame, or iterable of these
        Recordings of the healthy machine: files, folders, globs, CSV manifests; arrays of shape (n,), (n, channels) or
        (channels, n), full scale ±1 or that of their integer type; a frame (pandas, Polars) with a column ``path``
        and, if wanted, the others of a manifest (``label``, ``split``, ``start``, ``end``, groups).
    rate : int, optional
        Sample rate in Hz of the arrays that come without one.
    runtime : Runtime, optional
        Device, precision and batch size.
    workers : int
        Threads that decode ahead of the network.
    strict : bool
        Raise at the first clip that cannot be used, instead of leaving it out.
    cache : bool
        Take embeddings from the embedding cache and keep them there.
    **options
        The fields of `asd.Config`: ``detector="gmm"``, ``detector={"name": "gmm", "n_components": 20}``, ``pca=0.98`` …

    Raises
    ------
    AsdError
        If the data or the options do not allow a model; the text says how to correct it.
    """
    config = Config.from_mapping(options)
    clips = find_clips(
        entries_of(data, rate=rate),
        segment=config.segment,
        label="normal",
        split="train",
        group=column_of(config.group),
    )
    return Model.fit(clips, config, runtime=runtime, workers=workers, strict=strict, cache=cache)


def score(
    model: Model | str | Path,
    data: Data,
    *,
    rate: int | None = None,
    segment: Segment = "auto",
    workers: int = 1,
    cache: bool = True,
    trust: bool = False,
) -> Iterator[Verdict | Failure]:
    """Yield a verdict for each clip of `data` in order, or a failure for a clip that cannot be read.

    Parameters
    ----------
    model : Model, str or Path
        A fitted model, or its file.
    data, rate
        Recordings to judge, as for `fit`; a sequence of `asd.Clip` is judged as it is.
    segment : float, "auto" or None
        Cut recordings into clips of so many seconds; None: judge each as a whole; ``"auto"``: as the model was fitted,
        and what is more than twice as long as its clips into clips of their length.
    workers : int
        Threads that decode ahead of the network.
    cache : bool
        Take embeddings from the embedding cache and keep them there.
    trust : bool
        As for `asd.detection.model.Model.load`.
    """
    fitted = model if isinstance(model, Model) else Model.load(model, cache=cache, trust=trust)
    yield from fitted.score(data, rate=rate, segment=segment, workers=workers, cache=cache)


def explain(
    model: Model | str | Path,
    clip: Data,
    *,
    rate: int | None = None,
    healthy: Data = (),
    segment: Segment = "auto",
    trust: bool = False,
) -> Explanation:
    """Return why a clip is unusual: when, at which frequencies, by how much; or that nothing stands out.

    Parameters
    ----------
    model : Model, str or Path
        A fitted model, or its file.
    clip : str, Path, Clip, array or pair (samples, rate)
        A recording, of which the most unusual clip is explained where it is longer than the model's; or one clip.
    rate : int, optional
        Sample rate in Hz of an array.
    healthy : str, Path or iterable of them
        Recordings of the healthy machine, those of the fit if possible: the most similar one is found among them, and
        stands for what is unusual. A model of an older version, which keeps no healthy levels, is explained by
        comparison with them.
    segment : float, "auto" or None
        As for `score`.
    trust : bool
        As for `asd.detection.model.Model.load`.

    Raises
    ------
    AudioError
        If the clip cannot be read, is silent, or is too short to be explained.
    """
    fitted = model if isinstance(model, Model) else Model.load(model, trust=trust)
    found, named = entries_of_each([clip, healthy], rate=rate)
    clips = [clip] if isinstance(clip, Clip) else clips_to_judge(fitted, found, segment=segment)
    return explain_clip(fitted, most_unusual(fitted, clips), healthy=clips_to_learn(fitted, named) if named else ())


def recalibrate(
    model: Model | str | Path,
    data: Data,
    *,
    rate: int | None = None,
    keep: bool = False,
    false_alarms_per_hour: float | None = None,
    workers: int = 1,
    strict: bool = False,
    trust: bool = False,
) -> Model:
    """Return a model of the same detectors whose alarm is calibrated by other recordings of the healthy machine.

    Parameters
    ----------
    model : Model, str or Path
        A fitted model, or its file; neither is changed.
    data, rate
        Recordings, as for `fit`; those that the model learned from are left out.
    keep, false_alarms_per_hour, workers, strict
        As for `asd.detection.model.Model.recalibrate`.
    trust : bool
        As for `asd.detection.model.Model.load`.
    """
    fitted = model if isinstance(model, Model) else Model.load(model, trust=trust)
    return fitted.recalibrate(
        clips_to_calibrate(fitted, entries_of(data, rate=rate)),
        keep=keep,
        false_alarms_per_hour=false_alarms_per_hour,
        workers=workers,
        strict=strict,
    )


def update(
    model: Model | str | Path,
    data: Data,
    *,
    old_data: Data = (),
    rate: int | None = None,
    workers: int = 1,
    strict: bool = False,
    trust: bool = False,
) -> Model:
    """Return a model that learned from more recordings of the healthy machine: that of a fit on the old and the new.

    Parameters
    ----------
    model : Model, str or Path
        A fitted model, or its file; neither is changed.
    data, rate
        New recordings, as for `fit`.
    old_data
        The recordings that the model learned from, as `data`, if the embedding cache has lost them.
    workers, strict
        As for `fit`.
    trust : bool
        As for `asd.detection.model.Model.load`.
    """
    fitted = model if isinstance(model, Model) else Model.load(model, trust=trust)
    new, old = entries_of_each([data, old_data], rate=rate)
    return fitted.update(
        clips_to_learn(fitted, new),
        old_clips=clips_to_learn(fitted, old) if old else (),
        workers=workers,
        strict=strict,
    )


def diff(
    old: Model | str | Path,
    new: Model | str | Path,
    data: Data = (),
    *,
    rate: int | None = None,
    workers: int = 1,
    trust: bool = False,
) -> Comparison:
    """Return what differs between two models of one machine.

    Parameters
    ----------
    old, new : Model, str or Path
        Fitted models, or their files.
    data, rate
        Recordings that both are to judge, as for `fit`; none: nothing is judged.
    workers : int
        Threads that decode ahead of the network.
    trust : bool
        As for `asd.detection.model.Model.load`.
    """
    before, after = (model if isinstance(model, Model) else Model.load(model, trust=trust) for model in (old, new))
    named = entries_of(data, rate=rate)
    return compare(before, after, clips_to_judge(after, named) if named else (), workers=workers)


def load(path: str | Path, *, runtime: Runtime | None = None, cache: bool = True, trust: bool = False) -> Model:
    """Read a model file; parameters and errors as for `asd.detection.model.Model.load`."""
    return Model.load(path, runtime=runtime, cache=cache, trust=trust)
