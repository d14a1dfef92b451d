"""Decode what libsndfile cannot read (AAC, WMA, WebM …) with PyAV, if it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from asd.errors import AudioError
from asd.records import Float32
from asd.sound.layout import Layout

FALLBACK_SUFFIXES = frozenset(
    {
        *(".3gp", ".aac", ".ac3", ".amr", ".ape", ".asf", ".m4a", ".m4b", ".mka", ".mov", ".mp4", ".spx"),
        *(".webm", ".wma", ".wv"),
    }
)
INSTALL = "pip install av"
_INDEXED = frozenset({"mov", "matroska"})
"""Formats whose index makes seeking exact."""
_TIMED = frozenset({"mov", "asf"})
"""Formats whose header states a length."""
_PREROLL = 1.0
"""Seconds that are decoded before a position, so that the codec has settled there."""
_TOLERANCE = 0.5
"""Seconds that a header may promise too many: codecs add padding and take it away."""


def is_installed() -> bool:
    """Return whether PyAV can be imported."""
    spec = importlib.util.find_spec("av")
    return spec is not None and spec.origin is not None  # a folder of that name has no origin


class AvSound:
    """A recording as FFmpeg decodes it; see `asd.sound.decoding.Sound`."""

    frames: int | None = None
    is_mpeg = False

    def __init__(self, path: Path, file: BinaryIO, name: str, ffmpeg_name: str) -> None:
        if not is_installed():
            raise AudioError(f"{path}: {name}, which libsndfile cannot read; {INSTALL}, or convert it to WAV or FLAC")
        self.path, self.name, self._file, self._format = path, name, file, ffmpeg_name
        self.layout = Layout(())
        frame = next(self._frames(0.0), None)
        if frame is None:
            raise AudioError(f"{path}: {name} without a sample of sound; record it again or leave it out")
        self.rate, self.channels = frame.sample_rate, frame.layout.nb_channels
        self.is_float = self._codec.startswith("pcm_f")
        self._origin = self._second_of(frame)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: object = None, *_: object) -> None:
        """Close the file."""
        from asd.sound.decoding import close

        close(self.path, self._file, kind)

    def blocks(self, first: int, count: int | None) -> Iterator[Float32]:
        """Yield blocks of shape (n, channels); see `asd.sound.decoding.Sound.blocks`."""
        end = first + count if count is not None else None
        position = None
        for frame in self._frames(first / self.rate - _PREROLL):
            if (frame.sample_rate, frame.layout.nb_channels) != (self.rate, self.channels):
                raise AudioError(f"{self.path}: changes its sample rate or its channels on the way; convert it to WAV")
            if position is None:
                second = self._second_of(frame)
                position = 0 if second is None or self._origin is None else round((second - self._origin) * self.rate)
            samples = _samples(frame)[max(0, first - position) :]
            position += frame.samples
            if end is not None and position > end:
                samples = samples[: len(samples) - (position - end)]
            if len(samples):
                yield samples
            if end is not None and position >= end:
                return
        self._check_end((position or 0) / self.rate)

    def _frames(self, second: float) -> Iterator[Any]:
        """Yield decoded frames from a second on, or from before it."""
        import av

        self._file.seek(0)
        try:
            with av.open(self._file, "r", format=self._format, metadata_errors="replace") as container:
                stream = next(iter(container.streams.audio), None)
                if stream is None or stream.codec_context is None:
                    return
                self._codec = stream.codec_context.name
                self._promised = float(stream.duration * (stream.time_base or 0)) if stream.duration else None
                if second > 0 and self._format in _INDEXED:
                    container.seek(int(second * 1_000_000))
                yield from container.decode(stream)
        except av.FFmpegError as error:
            raise AudioError(
                f"{self.path}: damaged {self.name}: {error.strerror}; copy it again from its source"
            ) from error

    def _second_of(self, frame: Any) -> float | None:
        return None if frame.pts is None else float(frame.pts * frame.time_base)

    def _check_end(self, seconds: float) -> None:
        promised = self._promised if self._format in _TIMED else None
        if promised and promised - _TOLERANCE > seconds:
            raise AudioError(
                f"{self.path}: cut off: its header states {promised:.4g} s, {seconds:.4g} s can be decoded; "
                "copy it again from its source"
            )


def _samples(frame: Any) -> Float32:
    """Return a frame's samples of shape (n, channels), full scale ±1."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    if values.dtype == np.uint8:
        return np.asarray((values.T - np.float32(128)) / np.float32(128), np.float32)
    scale = 1 if values.dtype.kind == "f" else -np.iinfo(values.dtype).min
    return np.asarray(values.T / np.float32(scale), np.float32)
