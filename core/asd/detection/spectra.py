"""Levels of frequency bands over time: what an explanation compares a clip with healthy clips by.

Frames of 64 ms overlap by half. Bands are a sixth of an octave wide, but at least two bins of the spectrum: a Hann
window does not resolve finer. All is in dB of full scale, so that people can read it.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from asd.detection.embeddings import EmbeddingCache
from asd.records import Channel, Clip, Float32, Float64
from asd.sound.mel import power_spectrogram
from asd.sound.reading import ClipReader

FRAME = 0.064
"""Seconds that a frame looks at."""
HOP = FRAME / 2
"""Seconds from frame to frame."""
FLOOR = -110.0
"""dB of full scale; what is quieter counts as this."""
LONGEST = 60.0
"""Seconds of a healthy clip that are looked at."""

_PER_OCTAVE = 6
_LOWEST_BIN = 2
_BINS_OF_A_BAND = 2
_HIGHEST = 100_000.0

_log = logging.getLogger("asd")


@dataclass(frozen=True)
class Spectra:
    """Levels of the bands of a clip.

    Parameters
    ----------
    levels : float32 array of shape (n_frames, n_bands)
        In dB of full scale, the lowest band first.
    edges : float64 array of shape (n_bands + 1,)
        Lowest frequency of each band in Hz, and the highest of the last.
    """

    levels: Float32
    edges: Float64

    @property
    def seconds(self) -> float:
        """How long the frames last together."""
        return (len(self.levels) - 1) * HOP + FRAME

    def up_to(self, bands: int) -> Spectra:
        """Return the lowest bands."""
        return Spectra(self.levels[:, :bands], self.edges[: bands + 1])


def band_edges(highest: float) -> Float64:
    """Return the bands' edges in Hz, up to `highest`, float64[n_bands + 1]; they are the same for all sample rates."""
    stop = min(highest, _HIGHEST) * FRAME
    edges = [float(_LOWEST_BIN)]
    while (above := max(edges[-1] + _BINS_OF_A_BAND, round(edges[-1] * 2 ** (1 / _PER_OCTAVE)))) <= stop:
        edges.append(above)
    return (np.array(edges) - 0.5) / FRAME


def read_spectra(clip: Clip, *, channel: Channel = "mix", longest: float | None = None) -> Spectra:
    """Return the levels of a clip.

    Parameters
    ----------
    clip : Clip
        What to read.
    channel : "mix" or int
        As for `asd.Config`.
    longest : float, optional
        Seconds after which to stop.

    Raises
    ------
    AudioError
        If it cannot be read; a clip shorter than a frame counts as followed by silence.
    """
    reader = ClipReader(clip, channel=channel)
    blocks, count = [], 0
    for samples in _chunks(reader):
        blocks.append(levels_of(samples, reader.file_rate))
        count += len(blocks[-1])
        if longest is not None and count * HOP > longest:
            break
    return Spectra(np.concatenate(blocks), band_edges(reader.file_rate / 2))


def levels_of(samples: Float32, sample_rate: int) -> Float32:
    """Return the levels of the bands of samples, float32[n_frames, n_bands]; of less than a frame, one frame's."""
    n_fft, hop = frame_length(sample_rate), frame_length(sample_rate) // 2
    if len(samples) < n_fft:
        samples = np.pad(samples, (0, n_fft - len(samples)))
    bins = bins_of(band_edges(sample_rate / 2))
    # A Hann window's squares sum to 3/8 of its length.
    power = power_spectrogram(samples, n_fft=n_fft, hop_length=hop).T * np.float32(16 / 3 / n_fft**2)
    bands = np.add.reduceat(power[:, : bins[-1]], bins[:-1], axis=1)
    return np.asarray(10 * np.log10(np.maximum(bands, np.float32(10 ** (FLOOR / 10)))), np.float32)


def bins_of(edges: Float64) -> list[int]:
    """Return the first bin of each band, and the bin after the last."""
    return [round(edge * FRAME + 0.5) for edge in edges]


def frame_length(sample_rate: int) -> int:
    """Return how many samples, an even number, a frame looks at."""
    return max(2 * (_LOWEST_BIN + _BINS_OF_A_BAND), 2 * round(sample_rate * HOP))


def kept_spectra(
    clip: Clip, content: str, *, channel: Channel, longest: float, cache: EmbeddingCache | None
) -> Spectra | None:
    """Return the levels of a healthy clip, from the embedding cache if it has them; None: its file cannot be read.

    Parameters
    ----------
    clip : Clip
        A clip that can be read, or was read once.
    content : str
        SHA-256 of its recording.
    channel : "mix" or int
        As for `asd.Config`.
    longest : float
        Seconds after which to stop.
    cache : EmbeddingCache, optional
        Where levels are kept.
    """
    asked = json.dumps(["band levels 1", content, clip.start, clip.duration, channel, longest])
    key = hashlib.sha256(asked.encode()).hexdigest()
    found = cache.load(key) if cache else None
    if found:
        return Spectra(found[0], band_edges(_HIGHEST)[: found[0].shape[1] + 1])
    if not clip.path.exists():
        return None
    spectra = read_spectra(clip, channel=channel, longest=longest)
    if cache:
        start = np.arange(len(spectra.levels), dtype=np.float64) * HOP
        cache.store(key, DESCRIBED, spectra.levels, start, {})
    return spectra


DESCRIBED = json.dumps(
    {
        "frontend": {"name": "asd-framework:(explanations)"},
        "extractor": {"name": "asd-framework:band levels"},
        "runtime": {"precision": "fp32"},
    }
)
"""What ``asd cache show`` says of them."""


def _chunks(reader: ClipReader) -> Iterator[Float32]:
    """Yield samples that overlap by half a frame, so that their frames are those of the whole clip."""
    pending = np.zeros(0, np.float32)
    fresh = False
    for block in reader:
        pending, fresh = np.concatenate([pending, block]), True
        length = frame_length(reader.file_rate)
        hop = length // 2
        count = (len(pending) - length) // hop + 1
        if count >= 1:
            yield pending[: (count - 1) * hop + length]
            pending, fresh = pending[count * hop :], False
    if fresh and len(pending) and reader.seconds * reader.file_rate < frame_length(reader.file_rate):
        yield pending
