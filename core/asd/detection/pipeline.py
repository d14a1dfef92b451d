"""From clips to features: audio → front end → extractor, in blocks, decoding ahead of the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from asd.contract.create import create, load_class
from asd.contract.installed import registry
from asd.contract.interfaces import Runtime
from asd.contract.parameters import parameters_of, present_names
from asd.detection.config import Choice, Config
from asd.detection.prefetch import prefetch
from asd.errors import AudioError, ConfigError
from asd.records import Audio, Clip, Float32, Float64, Windows
from asd.sound.reading import ClipReader
from asd_registry import Kind

_BLOCK_SECONDS = 30.0
"""Sound that is turned into windows at once: bounds memory, whatever the length of a recording."""


@dataclass
class ClipFeatures:
    """The embeddings of one clip.

    Parameters
    ----------
    clip : Clip
        The clip.
    values : float32 array of shape (n_windows, dimension)
        One embedding per window.
    start : float64 array of shape (n_windows,)
        Start of each window in seconds from the beginning of the clip.
    seconds : float
        Length of the clip.
    file_rate : int
        The recording's own rate in Hz.
    silent : bool
        Whether every sample is zero.
    notes : list of str
        What the user should know about the clip.
    """

    clip: Clip
    values: Float32
    start: Float64
    seconds: float
    file_rate: int
    silent: bool
    notes: list[str] = field(default_factory=list)


@dataclass
class Failure:
    """A clip that could not be used, and why."""

    clip: Clip
    error: AudioError

    def as_dict(self) -> dict[str, str]:
        """Return what JSON output says of it."""
        return {"clip": str(self.clip), "error": str(self.error)}


class Pipeline:
    """A front end and an extractor that fit. As a context manager, it closes itself at the end of the block.

    Parameters
    ----------
    config : Config
        The configuration; components that it leaves open are resolved.
    runtime : Runtime
        How to compute.

    Raises
    ------
    PluginError, ConfigError
        If a component cannot be created, or the extractor does not take what the front end gives.
    """

    def __init__(self, config: Config, runtime: Runtime | None = None) -> None:
        self.config = config.resolved()
        self.runtime = runtime or Runtime()
        frontend, extractor, seed = self.config.frontend, self.config.extractor, self.config.seed
        self.frontend = create("frontend", frontend.name, seeded("frontend", frontend, seed))
        self.extractor = create("extractor", extractor.name, seeded("extractor", extractor, seed))
        if not self.extractor.consumes.accepts(self.frontend.produces):
            raise ConfigError(self._misfit(frontend.name, extractor.name))
        if self.frontend.isolation or self.extractor.isolation:
            from asd.contract.isolation import isolated

            self.frontend = isolated(self.frontend, frontend.name)
            self.extractor = isolated(self.extractor, extractor.name)
        self.frontend.runtime = self.extractor.runtime = self.runtime

    def close(self) -> None:
        """End the worker processes of the components; the next use starts them again."""
        self.frontend.close()
        self.extractor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _misfit(self, frontend: str, extractor: str) -> str:
        """Return why the two do not fit and, if only the rate is wrong, what to add."""
        takes, gives = self.extractor.consumes, self.frontend.produces
        if not takes.accepts(replace(gives, sample_rate=None)):
            return f"{extractor} takes {takes}; {frontend} gives {gives}"
        settable = "sample_rate" in parameters_of(type(self.frontend))
        mend = f"add --frontend.sample_rate {takes.sample_rate}" if settable else "choose another front end"
        return (
            f"{extractor} takes {takes.kind} at {takes.sample_rate} Hz; "
            f"{frontend} gives it at {gives.sample_rate} Hz: {mend}"
        )

    def windows(self, reader: ClipReader) -> Iterator[Windows]:
        """Yield the windows of a clip block by block, their starts counted from the beginning of the clip.

        Raises
        ------
        AudioError
            If the clip cannot be read, or is shorter than a window and the configuration refuses that.
        """
        rate = self.frontend.sample_rate
        for offset, samples in self._blocks(reader):
            audio = Audio(samples[np.newaxis], rate, str(reader.clip))
            windows = self.frontend(audio)
            yield Windows(windows.values, windows.start + offset / rate, windows.duration)

    def _blocks(self, reader: ClipReader) -> Iterator[tuple[int, Float32]]:
        """Yield (offset in samples, samples) so that the blocks' windows are those of the whole recording."""
        length, hop = self.frontend.window_length, self.frontend.window_hop
        if length is None:
            yield 0, np.concatenate(list(reader))
            return
        advance = max(1, int(_BLOCK_SECONDS * self.frontend.sample_rate) // hop) * hop
        needed = advance - hop + length
        pad_start = self.frontend.pad_start
        pending = [np.zeros(pad_start, np.float32)]
        size, offset = pad_start, -pad_start
        for samples in reader:
            pending.append(samples)
            size += len(samples)
            while size >= needed + hop:  # one window more is to come: the last block is never empty
                joined = np.concatenate(pending)
                yield offset, joined[:needed]
                pending, size, offset = [joined[advance:]], size - advance, offset + advance
        joined = np.concatenate(pending)
        before = max(0, -offset)  # what was put before the recording does not make it long enough
        last = np.concatenate([joined[:before], self._padded(joined[before:], length, reader)])
        yield offset, np.pad(last, (0, (length - len(last)) % hop)) if self.frontend.pad_end else last

    def _padded(self, samples: Float32, length: int, reader: ClipReader) -> Float32:
        if len(samples) >= length:
            return samples
        rate = self.frontend.sample_rate
        told = f"{len(samples) / rate:.3g} s is shorter than a window of {length / rate:.3g} s"
        if self.config.short == "refuse":
            raise AudioError(f"{reader.clip}: {told}; record longer clips or use --short pad")
        reader.notes.append(f"{told}: padded with its own repetition")
        return np.resize(samples, length)

    def embed(self, clip: Clip) -> ClipFeatures:
        """Return the embeddings of one clip; errors as for `windows`."""
        reader = self._reader(clip)
        return self._collect(reader, self.windows(reader))

    def embed_all(self, clips: list[Clip], *, workers: int = 1) -> Iterator[ClipFeatures | Failure]:
        """Yield the embeddings of each clip in order, decoding and windowing ahead in `workers` threads."""
        readers = [self._reader(clip) for clip in clips]
        for reader, windows in zip(readers, prefetch([self._source(r) for r in readers], workers), strict=True):
            try:
                yield self._collect(reader, windows)
            except AudioError as error:
                yield Failure(reader.clip, error)

    def _source(self, reader: ClipReader) -> Any:
        return lambda: self.windows(reader)

    def _reader(self, clip: Clip) -> ClipReader:
        return ClipReader(clip, sample_rate=self.frontend.sample_rate, channel=self.config.channel)

    def _collect(self, reader: ClipReader, windows: Iterator[Windows]) -> ClipFeatures:
        values, starts = [], []
        for block in windows:
            values.append(self.extractor.embed(block.values))
            starts.append(block.start)
        return ClipFeatures(
            clip=reader.clip,
            values=np.concatenate(values),
            start=np.concatenate(starts),
            seconds=reader.seconds,
            file_rate=reader.file_rate,
            silent=reader.silent,
            notes=reader.notes,
        )


def seeded(kind: Kind, choice: Choice, seed: int) -> dict[str, Any]:
    """Return the parameters of a chosen component; a ``seed`` that the user did not set is the pipeline's."""
    cls = load_class(registry().find(kind, choice.name))
    given = present_names(cls, f"{kind} {choice.name!r}", choice.parameters)
    return {"seed": seed, **given} if "seed" in parameters_of(cls) else given
