"""Embed clips and keep what comes out: the vectors that a fit of the same pipeline learns from."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from asd.contract.interfaces import Runtime
from asd.detection.config import Config, ResolvedConfig
from asd.detection.embedder import Embedder
from asd.detection.embeddings import EmbeddingCache, cache_from, to_json
from asd.detection.features import ClipFeatures, Failure
from asd.detection.groups import FOLDER, column_of
from asd.detection.identity import content_of
from asd.detection.piece import Shared
from asd.detection.pipeline import Pipeline
from asd.detection.pooling import pool_embeddings
from asd.detection.sent import Sent, needs_of, pipeline_of
from asd.detection.vectors import Embeddings
from asd.detection.work import over_clips
from asd.errors import ConfigError, DataError
from asd.progress import track
from asd.records import Clip
from asd.sound.data import Entry
from asd.sound.finding import find_clips
from asd.sound.memory import held

_log = logging.getLogger("asd")


def branch_to_embed(config: Config, branch: str | None, *, windows: bool) -> tuple[str, ResolvedConfig]:
    """Return the branch that embeds, its name and what it is as a pipeline of one branch.

    The pooling of the latter says what becomes of the windows.

    Parameters
    ----------
    config : Config
        The pipeline.
    branch : str or None
        The branch's name; None: the first.
    windows : bool
        Whether each window is wanted; otherwise a clip has one vector: pooled as the branch says, or the mean.

    Raises
    ------
    ConfigError
        If there is no such branch.
    """
    resolved = config.resolved()
    names = resolved.names
    if branch is not None and branch not in names:
        own = "branches are" if resolved.branches else "only branch is"
        raise ConfigError(f"no branch {branch!r}: the pipeline's {own} {', '.join(names)}")
    if branch is None and len(names) > 1:
        others = ", ".join(names[1:])
        _log.info("the vectors are those of the branch %r, the first of %d (the others: %s)",
                  names[0], len(names), others)  # fmt: skip
    number = 0 if branch is None else names.index(branch)
    part = resolved.parts[number]
    pooling = part.embedding_pooling
    pooling = "none" if windows else "mean" if pooling == "none" else pooling
    return names[number], replace(part, embedding_pooling=pooling)


def check_windows(windows: bool, pooling: str | None) -> None:
    """Refuse windows that are to be pooled.

    Raises
    ------
    ConfigError
        If a pooling is asked for besides.
    """
    if windows and pooling not in (None, "none"):
        raise ConfigError(
            f"windows and embedding_pooling {pooling!r} exclude each other: a vector for each window, or one for each "
            "clip"
        )


def embed_found(data: Iterable[Entry], config: Config, **how: Any) -> Embeddings:
    """Return the embeddings of what `data` names; parameters as for `embed_clips`, errors of `find_clips` besides."""
    clips = find_clips(data, segment=config.segment, group=column_of(config.group))
    if config.group == FOLDER:
        clips = [clip if held(clip.path) else replace(clip, group=clip.path.absolute().parent.name) for clip in clips]
    return embed_clips(clips, config, **how)


def embed_clips(
    clips: Sequence[Clip],
    config: Config | None = None,
    *,
    branch: str | None = None,
    windows: bool = False,
    runtime: Runtime | None = None,
    workers: int = 1,
    strict: bool = False,
    cache: bool | EmbeddingCache = True,
) -> Embeddings:
    """Return the embeddings of clips by one branch of a pipeline.

    Parameters
    ----------
    clips : sequence of Clip
        What to embed.
    config : Config, optional
        The pipeline; default: the default pipeline. Its detector and what belongs to the decision do not count.
    branch : str, optional
        Which of several branches; default: the first.
    windows : bool
        A vector for each window instead of one for each clip.
    runtime, workers, strict, cache
        As for `asd.Model.fit`.

    Raises
    ------
    AsdError
        If a component, a clip (`strict`) or every clip cannot be used.
    """
    name, part = branch_to_embed(config or Config(), branch, windows=windows)
    features: list[ClipFeatures] = []
    failures: list[Failure] = []
    contents: dict[Path, str] = {}
    with Pipeline(part, runtime, clips=len(clips), cache=cache_from(cache)) as pipeline:
        pipeline.weight_hashes()  # weights that are missing are reported before any recording is read
        state = pipeline_of(pipeline, workers)
        results = over_clips(windows_of_clips if windows else vectors_of_clips, state, clips, needs=needs_of(pipeline))
        for result in track(results, "embedding", len(clips)):
            if isinstance(result, ClipFeatures):
                features.append(result)
                if result.clip.path not in contents:  # now, while a thread reads the next clips
                    contents[result.clip.path] = content_of(result.clip.path)
                continue
            if strict:
                raise result.error
            _log.warning("left out: %s", result.error)
            failures.append(result)
        if not features:
            raise DataError(f"no clip could be read: {failures[0].error}")
        provenance = _provenance(name, part, pipeline.embedder(0), features[0])
    return Embeddings(features, contents, windows=windows, provenance=provenance, failures=failures)


def windows_of_clips(state: Shared[Sent], clips: Sequence[Clip]) -> Iterator[ClipFeatures | Failure]:
    """Yield the embeddings of each clip's windows."""
    sent = state.value
    yield from sent.pipeline.embed_all(clips, workers=sent.workers, cache=sent.pipeline.cache)


def vectors_of_clips(state: Shared[Sent], clips: Sequence[Clip]) -> Iterator[ClipFeatures | Failure]:
    """Yield the embedding of each clip, pooled."""
    for result in windows_of_clips(state, clips):
        yield _pooled(result, state.value.pipeline.config) if isinstance(result, ClipFeatures) else result


def _pooled(features: ClipFeatures, config: ResolvedConfig) -> ClipFeatures:
    return replace(features, values=pool_embeddings(features.values, config), start=np.zeros(1), pooled=True)


def _provenance(name: str, config: ResolvedConfig, embedder: Embedder, features: ClipFeatures) -> dict[str, Any]:
    """Return how the embeddings were computed, as plain data for JSON."""
    described = embedder.description
    components = {kind: _component(described[kind]) for kind in ("frontend", "extractor")}
    libraries = described["frontend"]["libraries"] | described["extractor"]["libraries"]
    own: dict[str, Any] = {
        "branch": name,
        **components,
        "weights": embedder.weight_hashes(),
        "libraries": libraries,
        "channel": config.channel,
        "sample_rate": embedder.sample_rate,
        "segment": config.segment,
        "short": config.short,
        "tail": config.tail,
        "pooling": config.embedding_pooling,
        "device": features.device,
        "precision": features.precision,
        "engine": features.engine,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "asd_framework": importlib.metadata.version("asd-framework"),
    }
    plain: dict[str, Any] = json.loads(to_json(own))
    return plain


def _component(described: dict[str, Any]) -> dict[str, Any]:
    return {name: described[name] for name in ("name", "version", "parameters")}
