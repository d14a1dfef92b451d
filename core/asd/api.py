"""The Python interface: `fit`, `score`, `explain`, `load`; `recalibrate`, `update`, `diff` for a model that goes on.

`embed` gives the embeddings themselves; `fit_features` and `score_features` go on from there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard, overload

from asd.contract.interfaces import Runtime
from asd.detection.arguments import told_in_python
from asd.detection.comparison import Comparison, compare
from asd.detection.config import Config
from asd.detection.cutting import Segment, clips_given, clips_to_calibrate, clips_to_judge, clips_to_learn
from asd.detection.embedding import check_windows, embed_found
from asd.detection.explanation import Explanation, most_unusual
from asd.detection.explanation import explain as explain_clip
from asd.detection.fleet import Fleet
from asd.detection.fleet_data import machine_data
from asd.detection.fleet_store import ModelMemory, is_folder, opened
from asd.detection.given import FeaturePipeline, check_same_kind, config_of, given
from asd.detection.groups import column_of
from asd.detection.model import Model
from asd.detection.models import Models
from asd.detection.pipeline import Failure
from asd.detection.saving import say, why_unsaveable
from asd.detection.vectors import Embeddings
from asd.detection.verdict import Verdict
from asd.detection.work import of_call
from asd.errors import ConfigError, DataError
from asd.records import Clip
from asd.sound.data import Data, entries_of, entries_of_each
from asd.sound.finding import find_clips

_log = logging.getLogger("asd")


@overload
def fit(
    data: Data,
    *,
    by: None = None,
    rate: int | None = None,
    runtime: Runtime | None = None,
    workers: int = 1,
    strict: bool = False,
    cache: bool = True,
    **options: Any,
) -> Model: ...
@overload
def fit(
    data: Data,
    *,
    by: str,
    folder: str | Path | None = None,
    force: bool = False,
    rate: int | None = None,
    runtime: Runtime | None = None,
    workers: int = 1,
    strict: bool = False,
    cache: bool = True,
    **options: Any,
) -> Models: ...
@told_in_python
def fit(
    data: Data,
    *,
    by: str | None = None,
    folder: str | Path | None = None,
    force: bool = False,
    rate: int | None = None,
    runtime: Runtime | None = None,
    workers: int = 1,
    strict: bool = False,
    cache: bool = True,
    **options: Any,
) -> Model | Models:
    """Learn what a healthy machine sounds like; or, with `by`, each of many machines.

    Parameters
    ----------
    data : str, Path, array, pair (samples, rate), frame, or iterable of these
        Recordings of the healthy machine: files, folders, globs, CSV manifests; arrays of shape (n,), (n, channels) or
        (channels, n), full scale ±1 or that of their integer type; a frame (pandas, Polars) with a column ``path``
        and, if wanted, the others of a manifest (``label``, ``split``, ``start``, ``end``, groups).
    by : str, optional
        Fit a model for each machine: the column of the manifests that names it, or ``"folder"``, the first folder below
        `data` (of several data, below the folder that they share). `asd.Models` is returned; a machine that cannot be
        fitted has no model there, but an error.
    folder : str or Path, optional
        With `by`: where models are written as they are made; those that are there and whose recordings and
        configuration have not changed are not fitted again. None: they stay in memory.
    force : bool
        With `folder`: fit all machines again.
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
    if "sample_rate" in options:
        raise ConfigError("asd.fit has no parameter 'sample_rate'; give the rate of arrays as rate=")
    config = Config.from_mapping(options)
    entries, column = entries_of(data, rate=rate), column_of(config.group)
    if by is None:
        if folder is not None or force:
            raise ConfigError("folder and force are for models of many machines: say by what they are told, by=…")
        clips = find_clips(entries, segment=config.segment, label="normal", split="train", group=column)
        return Model.fit(clips, config, runtime=runtime, workers=workers, strict=strict, cache=cache)
    found = machine_data(entries, by, label="normal", split="train", group=column)
    fleet = Fleet(found, config, runtime=runtime, workers=workers, strict=strict, cache=cache)
    return _fitted_each(fleet, by, folder, force=force, runtime=runtime, cache=cache)


def _fitted_each(
    fleet: Fleet, by: str, folder: str | Path | None, *, force: bool, runtime: Runtime | None, cache: bool
) -> Models:
    if folder is not None:
        with opened(folder, by, force=force) as store:
            fleet.fit_into(store, force=force)
        return Models.load(folder, runtime=runtime, cache=cache)
    memory = ModelMemory(by)
    fleet.fit_into(memory)
    return Models(memory, runtime=runtime, cache=cache)


@told_in_python
@of_call
def score(
    model: Model | Models | str | Path,
    data: Data,
    *,
    by: str | None = None,
    rate: int | None = None,
    segment: Segment = "auto",
    state: str | None = None,
    workers: int = 1,
    cache: bool = True,
    trust: bool = False,
) -> Iterator[Verdict | Failure]:
    """Yield a verdict for each clip of `data` in order, or a failure for a clip that cannot be read.

    Parameters
    ----------
    model : Model, Models, str or Path
        A fitted model, its file, or its address on a server of `asd serve`, such as ``"http://host:8787/pump"``; a key
        is then that in ``ASD_KEY`` (`asd.client.Client` takes others). Models of many machines, or their folder: each
        clip is judged by its machine's model, machine by machine (`asd.Models.score`).
    data, rate
        Recordings to judge, as for `fit`; a sequence of `asd.Clip` is judged as it is.
    by : str, optional
        Of models of many machines, what tells them; default: as at the fit.
    segment : float, "auto" or None
        Cut recordings into clips of so many seconds; None: judge each as a whole; ``"auto"``: as the model was fitted,
        and what is more than twice as long as its clips into clips of their length.
    state : str, optional
        What names the operating state of each clip, of a model that knows states: ``"folder"``, or the column of a CSV
        manifest; default: its sound tells it.
    workers : int
        Threads that decode ahead of the network.
    cache : bool
        Take embeddings from the embedding cache and keep them there.
    trust : bool
        As for `asd.detection.model.Model.load`.
    """
    if _is_server(model):
        from asd.client import Client, server_and_model

        url, name = server_and_model(model)
        with Client(url) as server:
            yield from server.score(data, model=name, rate=rate, segment=segment, state=state)
        return
    if isinstance(model, str | Path) and is_folder(model):
        model = Models.load(model, cache=cache, trust=trust)
    if isinstance(model, Models):
        yield from model.score(data, by=by, rate=rate, segment=segment, state=state, workers=workers, cache=cache)
        return
    if by is not None:
        raise ConfigError("by tells the machines of several models; this is the model of one: leave it out")
    fitted = model if isinstance(model, Model) else Model.load(model, cache=cache, trust=trust)
    clips = clips_given(fitted, data, rate=rate, segment=segment, state=state)
    yield from fitted.score(clips, workers=workers, cache=cache)


def _is_server(model: object) -> TypeGuard[str]:
    if not (isinstance(model, str) and "://" in model):
        return False
    from asd.client import is_address  # brings HTTP and TLS along

    return is_address(model)


@told_in_python
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


@told_in_python
def embed(
    data: Data,
    *,
    rate: int | None = None,
    branch: str | None = None,
    windows: bool = False,
    runtime: Runtime | None = None,
    workers: int = 1,
    strict: bool = False,
    cache: bool = True,
    **options: Any,
) -> Embeddings:
    """Return the embeddings of recordings: what `fit` of the same pipeline learns from, and where they come from.

    Parameters
    ----------
    data : str, Path, array, pair (samples, rate), frame, or iterable of these
        As for `fit`; all recordings, whatever their label.
    rate : int, optional
        Sample rate in Hz of arrays without one of their own.
    branch : str, optional
        Which branch of a pipeline of several; default: the first. The default pipeline's first is ``timbre``.
    windows : bool
        A vector for each window; otherwise one for each clip, pooled by ``embedding_pooling`` (``"mean"`` where the
        pipeline has none).
    runtime, workers, cache
        As for `fit`.
    strict : bool
        Raise at the first clip that cannot be used, instead of leaving it out and noting it in `Embeddings.failures`.
    **options
        The fields of `asd.Config` that embeddings depend on: ``extractor="yamnet"``, ``frontend``,
        ``embedding_pooling``, ``quality``, ``branches``, ``channel``, ``segment``, ``short``, ``tail``, ``group``,
        ``seed``; others do not count.

    Raises
    ------
    AsdError
        If the data or the options do not allow it, or no clip can be used; the text says how to correct it.
    """
    check_windows(windows, options.get("embedding_pooling"))
    how: dict[str, Any] = {"runtime": runtime, "workers": workers, "strict": strict, "cache": cache}
    return embed_found(entries_of(data, rate=rate), Config.from_mapping(options), branch=branch, windows=windows, **how)


@told_in_python
def fit_features(
    features: Any,
    *,
    groups: Sequence[Any] | None = None,
    seconds: float | None = None,
    runtime: Runtime | None = None,
    **options: Any,
) -> Model:
    """Learn what a healthy machine sounds like from features that are computed already.

    Folds, p-values, the alarm and repeated clips are treated as by `fit`. The model takes such features only.

    Parameters
    ----------
    features : array of shape (n_clips, dimension), Embeddings, str or Path
        A row for each clip of the healthy machine; or what `embed` returned, or a file of it.
    groups : sequence, optional
        A label for each clip (state, speed, machine), None where it is not known; default: the groups that `embed`
        found with ``group=``.
    seconds : float, optional
        How long a clip lasts, so that alarms can be counted by the hour; only of arrays, default: 10.
    runtime : Runtime, optional
        Device and precision of the detector.
    **options
        The fields of `asd.Config` that do not concern recordings: ``detector``, ``standardise``, ``deviation_floor``,
        ``pca``, ``folds``, ``false_alarms_per_hour``, ``seed`` and, of windows, ``embedding_pooling``, ``pooling`` and
        ``top_fraction``.

    Raises
    ------
    AsdError
        If the features or the options do not allow a model; the text says how to correct it.
    """
    taken = given(features, seconds).grouped(groups)
    if seconds is None and not taken.clips[0].file_rate:
        _log.warning("arrays do not say how long a clip lasts: %g s is assumed (seconds=…)", taken.clips[0].seconds)
    config = config_of(options, taken)
    pipeline = FeaturePipeline(config, runtime or Runtime(), taken.known)
    said = say(why_unsaveable(pipeline))
    clips, failures = taken.to_learn()
    model = Model.of_features(pipeline, [[each] for each in clips], taken.contents)
    model.failures = failures
    say(model.unsaveable, said)
    return model


@told_in_python
def score_features(model: Model | str | Path, features: Any, *, trust: bool = False) -> Iterator[Verdict | Failure]:
    """Yield a verdict for each clip of `features`, in order.

    Parameters
    ----------
    model : Model, str or Path
        What `fit_features` returned, or its file.
    features : array of shape (n_clips, dimension), Embeddings, str or Path
        Features of the same kind as those of the fit.
    trust : bool
        As for `asd.detection.model.Model.load`.

    Raises
    ------
    DataError
        If the model takes recordings, or other features.
    """
    fitted = model if isinstance(model, Model) else Model.load(model, trust=trust)
    if fitted.known_features is None:
        raise DataError("this model was fitted on recordings and takes no features; give it recordings (asd.score)")
    taken = given(features, fitted.calibration.clip_seconds)
    check_same_kind(fitted.known_features, taken.known)
    return fitted.judge([[each] for each in taken.clips])


@told_in_python
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


@told_in_python
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


@told_in_python
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


@told_in_python
def load(path: str | Path, *, runtime: Runtime | None = None, cache: bool = True, trust: bool = False) -> Model:
    """Read a model file; parameters and errors as for `asd.detection.model.Model.load`."""
    return Model.load(path, runtime=runtime, cache=cache, trust=trust)
