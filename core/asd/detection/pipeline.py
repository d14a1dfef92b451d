"""From clips to features: every branch's front end and extractor on one decoding, ahead of the networks.

A recording is decoded once and resampled once for each rate that the branches need; branches with the same front end
and extractor share the embeddings. Threads decode and cut windows while the networks compute, block by block.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from typing import Any, Literal, Self

from asd.contract.interfaces import Extractor, Frontend, Runtime
from asd.detection.conditions import of_branch, runtime_of_fit
from asd.detection.config import Config
from asd.detection.embedder import Embedder, Found, seeded
from asd.detection.embeddings import EmbeddingCache
from asd.detection.features import ClipFeatures, Cost, Failure
from asd.detection.memory import peak_memory
from asd.detection.prefetch import one_ahead, prefetch
from asd.errors import AsdError, AudioError, ConfigError
from asd.files import known
from asd.files.remote import RemotePath
from asd.records import Clip, Float32, Float64, Windows
from asd.sound.reading import ClipReader, read_together

__all__ = ["ClipFeatures", "Cost", "Failure", "Pipeline", "embed_all", "seeded"]

_log = logging.getLogger("asd")


class Pipeline:
    """The front ends and extractors of all branches. As a context manager, it closes itself at the end of the block.

    Parameters
    ----------
    config : Config
        The configuration; components that it leaves open are resolved.
    runtime : Runtime
        How to compute.
    clips : int
        How many are to be embedded, as the best engine may depend on it; 0: unknown.
    fitted_with : mapping of str to Any, optional
        What a model file keeps of how it computed (`asd.detection.conditions.computed_with`): the precision of each
        branch in place of ``auto``.
    cache : EmbeddingCache, optional
        Where embeddings are kept; each branch's as those of a pipeline that it is the only branch of.

    Attributes
    ----------
    embedders : list of Embedder
        The different pairs of front end and extractor.

    Raises
    ------
    PluginError, ConfigError
        If a component cannot be created, or an extractor does not take what its front end gives.
    """

    def __init__(
        self,
        config: Config,
        runtime: Runtime | None = None,
        *,
        clips: int = 0,
        fitted_with: Mapping[str, Any] | None = None,
        cache: EmbeddingCache | None = None,
    ) -> None:
        self.config = config.resolved()
        self.runtime = runtime or Runtime()
        self.cache = cache
        self.embedders: list[Embedder] = []
        self._embedder_of: list[int] = []
        pairs: list[Any] = []
        for name, part in zip(self.config.names, self.config.parts, strict=True):
            pair = (part.frontend, part.extractor)
            if pair not in pairs:
                pairs.append(pair)
                with _named(name if self.config.branches else None):
                    own = runtime_of_fit(self.runtime, of_branch(fitted_with or {}, name))
                    self.embedders.append(Embedder(part, own, clips, cache))
            self._embedder_of.append(pairs.index(pair))

    @property
    def frontend(self) -> Frontend:
        """The front end, of the first branch."""
        return self.embedders[0].frontend

    @property
    def extractor(self) -> Extractor:
        """The extractor, of the first branch."""
        return self.embedders[0].extractor

    @property
    def sample_rate(self) -> int:
        """Rate in Hz that the front end needs; the highest of all branches."""
        return max(embedder.sample_rate for embedder in self.embedders)

    def embedder(self, branch: int) -> Embedder:
        """Return the front end and the extractor of a branch."""
        return self.embedders[self._embedder_of[branch]]

    @property
    def runtimes(self) -> list[Runtime]:
        """How each branch's features are computed."""
        return [self.embedders[index].runtime for index in self._embedder_of]

    def extractor_of(self, branch: int) -> Extractor:
        """Return the extractor of a branch."""
        return self.embedder(branch).extractor

    def require_recordings(self) -> None:
        """Raise a DataError if it cannot take recordings."""

    def parameters(self, kind: Literal["frontend", "extractor"], branch: int = 0) -> dict[str, Any]:
        """Return every parameter of a branch's front end or extractor."""
        return self.embedder(branch).parameters(kind)

    def weight_hashes(self) -> dict[str, str]:
        """Return the SHA-256 of each weight file, by file name; of several branches, by extractor and file name."""
        if len(self.embedders) == 1:
            return self.embedders[0].weight_hashes()
        found: dict[str, str] = {}
        for number, each in enumerate(self.embedders):
            extractor = each.config.extractor.name.rpartition(":")[2]  # a model file adds the distribution
            with _named(self.config.names[self._embedder_of.index(number)]):
                found |= {f"{extractor}: {name}": sha256 for name, sha256 in each.weight_hashes().items()}
        return found

    @property
    def description(self) -> dict[str, Any]:
        """All that decides the embeddings of a clip, save the clip: what the cache goes by; of the first branch."""
        return self.embedders[0].description

    def close(self) -> None:
        """End the worker processes of the components and close the cache; the next use starts them again."""
        for embedder in self.embedders:
            embedder.close()
        if self.cache:
            self.cache.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def forget_clips(self) -> None:
        """Forget how many values the embeddings of former clips have: what follows is of another machine."""
        for embedder in self.embedders:
            embedder.forget_clips()

    def embed(self, clip: Clip) -> ClipFeatures:
        """Compute the embeddings of one clip by the only branch.

        Raises
        ------
        AudioError
            If the clip cannot be read, or is shorter than a window and the configuration refuses that.
        """
        (result,) = self.embed_all([clip], workers=0)
        if isinstance(result, Failure):
            raise result.error
        return result

    def embed_all(
        self, clips: Sequence[Clip], *, workers: int = 1, cache: EmbeddingCache | None = None
    ) -> Iterator[ClipFeatures | Failure]:
        """Yield the embeddings of each clip by the only branch, in order; parameters as for `embed_branches`.

        Raises
        ------
        ConfigError
            If there are several branches.
        """
        if len(self._embedder_of) > 1:
            raise ConfigError(
                f"this pipeline has {len(self._embedder_of)} branches ({', '.join(self.config.names)}); use "
                "embed_branches"
            )
        for (result,) in self.embed_branches(clips, workers=workers, cache=cache):
            yield result

    def embed_branches(
        self, clips: Sequence[Clip], *, workers: int = 1, cache: EmbeddingCache | None = None, gain: float = 1.0
    ) -> Iterator[list[ClipFeatures | Failure]]:
        """Yield for each clip, in order, its embeddings by each branch: from the cache, or computed and kept there.

        Each clip is embedded by itself, so that neither its neighbours nor an interruption change the numbers.

        Parameters
        ----------
        clips : sequence of Clip
            What to embed.
        workers : int
            Threads that look up, decode and window ahead of the network.
        cache : EmbeddingCache, optional
            Where embeddings are kept; None: all are computed.
        gain : float
            What every sample is multiplied by, for trials of a louder or quieter machine.
        """
        described = [each.kept_as(cache) if cache else None for each in self.embedders]
        louder = "" if gain == 1 else f" times {gain!r}"
        identities = [_digest(text and text + louder) for text in described]
        kept = 0
        try:
            if cache and workers == 1:  # while all is there, a change of threads for each clip would take longest
                for clip in clips:
                    there = [each.features for each in self._find(clip, cache, identities) if each.features]
                    if len(there) < len(self.embedders):
                        break
                    kept += 1
                    yield [there[index] for index in self._embedder_of]
            rest = clips[kept:]
            with (
                self._sources(rest, workers, cache, identities, gain) as sources,
                closing(prefetch(sources, workers)) as lanes,
            ):
                for clip in rest:
                    began = time.perf_counter()
                    lane = next(lanes)
                    found: list[Found] = next(lane)
                    results = self._results(clip, found, lane)
                    self._keep(results, found, cache, described, began)
                    kept += all(each.features is not None for each in found)
                    yield [results[index] for index in self._embedder_of]
        finally:
            if cache:
                cache.flush()
                known.flush()
        if kept and gain == 1:
            _log.info("the embeddings of %d of %d clips come from the cache", kept, len(clips))

    def recall(self, clips: Mapping[Clip, str], cache: EmbeddingCache) -> Iterator[list[ClipFeatures] | None]:
        """Yield for each clip its embeddings by each branch, from the cache alone; None: some are not there.

        Parameters
        ----------
        clips : mapping of Clip to str
            SHA-256 of the recording of each clip; no file is read.
        cache : EmbeddingCache
            Where embeddings are kept.
        """
        identities = [_digest(each.kept_as(cache)) for each in self.embedders]
        for clip, content in clips.items():
            found = [
                each.recall(clip, content, cache, identity) if identity else None
                for each, identity in zip(self.embedders, identities, strict=True)
            ]
            there = [each for each in found if each is not None]
            yield [there[index] for index in self._embedder_of] if len(there) == len(found) else None
        cache.flush()

    def _find(self, clip: Clip, cache: EmbeddingCache | None, identities: list[str | None]) -> list[Found]:
        """Return what the cache holds of a clip for each embedder."""
        return [
            each.find(clip, cache, identity) if cache and identity else Found()
            for each, identity in zip(self.embedders, identities, strict=True)
        ]

    @contextlib.contextmanager
    def _sources(
        self,
        clips: Sequence[Clip],
        workers: int,
        cache: EmbeddingCache | None,
        identities: list[str | None],
        gain: float,
    ) -> Iterator[list[Callable[[], Iterator[Any]]]]:
        """Have a source for each clip inside the block.

        Where one thread reads, often all wait for it, so another one looks up what is read next. What is fetched from
        elsewhere to look it up, however, is read before more is fetched.
        """
        finds = [functools.partial(self._find, clip, cache, identities) for clip in clips]
        is_alone = cache and workers == 1 and not any(isinstance(clip.path, RemotePath) for clip in clips)
        with one_ahead(finds) if is_alone else nullcontext() as take:
            yield [
                functools.partial(self._source, clip, take or find, gain)
                for clip, find in zip(clips, finds, strict=True)
            ]

    def _source(self, clip: Clip, find: Callable[[], list[Found]], gain: float) -> Iterator[Any]:
        """Yield what the cache holds of a clip and, for the embedders without features, their windows block by block.

        The windows are tuples of the embedder's index, its reader, and windows or an error.
        """
        found = find()
        yield found
        missing = [index for index, each in enumerate(found) if each.features is None]
        if not missing:
            return
        rates = [self.embedders[index].sample_rate for index in missing]
        readers = dict(zip(missing, read_together(clip, rates, channel=self.config.channel, gain=gain), strict=True))
        waiting = {index: self.embedders[index].windows(reader) for index, reader in readers.items()}
        while waiting:  # in turns: what one has taken of the recording and another has not is held in memory
            for index, windows in list(waiting.items()):
                try:
                    yield index, readers[index], next(windows)
                except StopIteration:
                    del waiting[index]
                except AudioError as error:
                    del waiting[index]
                    yield index, readers[index], error

    def _results(self, clip: Clip, found: list[Found], lane: Iterator[Any]) -> list[ClipFeatures | Failure]:
        """Return the features of each embedder; those that were not found are computed from the lane's windows."""
        blocks: dict[int, list[tuple[Float32, Float64]]] = {}
        readers: dict[int, ClipReader] = {}
        errors: dict[int, AudioError] = {}
        item: Windows | AudioError
        for index, reader, item in lane:
            if index in errors:
                continue
            readers[index] = reader
            try:
                if isinstance(item, AudioError):
                    raise item
                blocks.setdefault(index, []).append(self.embedders[index].embed(clip, item))
            except AudioError as error:
                errors[index] = error
        results: list[ClipFeatures | Failure] = []
        for index, each in enumerate(found):
            if index in errors:
                results.append(Failure(clip, errors[index]))
            else:
                results.append(each.features or self.embedders[index].collect(readers[index], blocks[index]))
        return results

    def _keep(
        self,
        results: list[ClipFeatures | Failure],
        found: list[Found],
        cache: EmbeddingCache | None,
        described: list[str | None],
        began: float,
    ) -> None:
        """Note what new features cost, an equal share each, and keep them in the cache."""
        new = [i for i, result in enumerate(results) if isinstance(result, ClipFeatures) and not found[i].features]
        cost = Cost((time.perf_counter() - began) / len(new), peak_memory()) if new else Cost()
        for index in new:
            result = results[index]
            assert isinstance(result, ClipFeatures)
            result.cost = cost
            self.embedders[index].keep(result, found[index], cache, described[index])


def embed_all(
    pipeline: Pipeline, clips: Sequence[Clip], cache: EmbeddingCache, *, workers: int = 1
) -> Iterator[tuple[ClipFeatures, Cost] | Failure]:
    """Yield the embeddings of each clip in order, with their cost; as `Pipeline.embed_all`."""
    for result in pipeline.embed_all(clips, workers=workers, cache=cache):
        yield result if isinstance(result, Failure) else (result, result.cost)


def _digest(text: str | None) -> str | None:
    return hashlib.sha256(text.encode()).hexdigest() if text else None


@contextlib.contextmanager
def _named(branch: str | None) -> Iterator[None]:
    """Name the branch where one of several cannot be made."""
    try:
        yield
    except AsdError as error:
        if branch is None:
            raise
        raise type(error)(f"branch {branch!r}: {error}") from error
