"""What a stretch of time and frequency adds to a clip's score: it is replaced by healthy sound, and scored again.

This works for any pipeline. Healthy sound is that of the most similar healthy clip, if its file is at hand; otherwise
the same clip where nothing is unusual; otherwise noise of the healthy levels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from asd.detection.features import ClipFeatures
from asd.detection.fusion import deviations
from asd.detection.spectra import bins_of, frame_length, levels_of
from asd.records import Channel, Clip, Float32, Float64

if TYPE_CHECKING:
    from asd.detection.model import Model

_LEAST_OWN = 16
"""Frames, half a second, of the clip's own usual sound that can stand for the rest."""
_LEAST_EXCESS = 0.5
"""Deviations by which a score must lie above the healthy median to be shared out."""

Spectrum = npt.NDArray[np.complex64]


@dataclass(frozen=True)
class Patch:
    """A rectangle of frames and bands: ``first`` to before ``last``, ``low`` to before ``high``."""

    first: int
    last: int
    low: int
    high: int


@dataclass(frozen=True)
class Scores:
    """How unusual versions of a clip are.

    Parameters
    ----------
    fused : float64 array of shape (n_versions,)
        Score, or what the branches' scores fuse to, in deviations above the median of healthy clips.
    branches : float64 array of shape (n_versions, n_branches)
        The same of each branch; NaN: it cannot judge the version.
    """

    fused: Float64
    branches: Float64

    def lost(self) -> Float64:
        """Return which fraction of the first version's score the others have lost, float64[n − 1, 1 + n_branches].

        The first column is of the fused score. Below 0: the score has risen; 0 where the first version is hardly above
        healthy clips.
        """
        return _lost(np.concatenate([self.fused[:, np.newaxis], self.branches], axis=1))


def _lost(scores: Float64) -> Float64:
    whole, others = scores[0], scores[1:]
    shares = np.where(whole > _LEAST_EXCESS, (whole - others) / np.maximum(whole, _LEAST_EXCESS), 0.0)
    return np.asarray(np.nan_to_num(shares))


def shared_out(scored: Callable[[Sequence[Sequence[int]]], Float64], count: int) -> Float64:
    """Return what each of several places adds to a score, float64[count, ...], from 0 to 1.

    Two places may be unusual enough for one score each. So a place is replaced alone, and after all others: the mean of
    what the score loses in both cases is its share (of two places, the value of Shapley 1953).

    Parameters
    ----------
    scored : callable
        Returns the fractions of the score that are lost, float64[n, ...], where n sets of places are replaced.
    count : int
        How many places there are.
    """
    every = range(count)
    sets = dict.fromkeys([*((i,) for i in every), *(tuple(j for j in every if j != i) for i in every), tuple(every)])
    sets.pop((), None)
    lost = dict(zip(sets, np.clip(scored(list(sets)), 0.0, 1.0), strict=True)) if sets else {}
    none = np.zeros_like(next(iter(lost.values()))) if lost else np.zeros(0)
    last = [lost[tuple(every)] - lost.get(tuple(j for j in every if j != i), none) for i in every]
    return np.array([np.clip((lost[(i,)] + last[i]) / 2, 0.0, 1.0) for i in every])


class Occluder:
    """Replaces parts of a clip.

    Parameters
    ----------
    samples : float32 array of shape (n,)
        The clip.
    sample_rate : int
        In Hz.
    edges : float64 array of shape (n_bands + 1,)
        Of the bands that are spoken of, in Hz.
    healthy : float32 array of shape (m,) or None
        A healthy clip at the same rate.
    usual : float64 array of shape (n_bands,) or None
        Mean level of healthy clips in dB.
    """

    def __init__(
        self,
        samples: Float32,
        sample_rate: int,
        edges: Float64,
        *,
        healthy: Float32 | None = None,
        usual: Float64 | None = None,
    ) -> None:
        self.sample_rate, self._usual = sample_rate, usual
        self._samples = samples
        self._length = frame_length(sample_rate)
        self._bins = bins_of(edges)
        self._bins[0], self._bins[-1] = 0, self._length // 2 + 1  # the lowest and the highest band take the rest
        self._spectrum = _transformed(samples, self._length)
        self._count = max(1, (len(samples) - self._length) // (self._length // 2) + 1)
        self._healthy = None if healthy is None else _transformed(healthy, self._length)

    @property
    def knows_healthy(self) -> bool:
        """Whether a healthy clip stands for what is replaced."""
        return self._healthy is not None

    def without(self, patches: Sequence[Patch], unusual: Sequence[Patch] = ()) -> Float32:
        """Return the samples with healthy sound in patches; none of the unusual patches' time may stand for it."""
        spectrum = self._spectrum.copy()
        for patch in patches:
            self._replace(spectrum, patch, unusual)
        return _inverted(spectrum, self._length)[: len(self._samples)]

    def _replace(self, spectrum: Spectrum, patch: Patch, unusual: Sequence[Patch]) -> None:
        frames = self._frames(patch)
        bins = slice(self._bins[patch.low], self._bins[patch.high])
        if self._healthy is not None:
            spectrum[frames, bins] = self._healthy[frames % len(self._healthy), bins]
        else:
            own = np.ones(len(spectrum), bool)
            for each in (patch, *unusual):
                own[max(0, each.first) : each.last + 2] = False
            kept = np.flatnonzero(own)
            if len(kept) >= _LEAST_OWN:
                spectrum[frames, bins] = self._spectrum[kept[np.arange(len(frames)) % len(kept)], bins]
            elif self._usual is not None:
                self._noise(spectrum, frames, patch)

    def _frames(self, patch: Patch) -> npt.NDArray[np.intp]:
        """Return the patch's frames in the spectrum, which begins half a frame before the clip and ends after it."""
        first = patch.first + 1 if patch.first else 0
        last = patch.last + 1 if patch.last < self._count else len(self._spectrum)
        return np.arange(first, max(first, last))

    def _noise(self, spectrum: Spectrum, frames: npt.NDArray[np.intp], patch: Patch) -> None:
        """Put noise of the usual levels into the bands of frames."""
        assert self._usual is not None
        white = np.random.default_rng(0).normal(size=len(self._samples)).astype(np.float32)
        noise, levels = _transformed(white, self._length), levels_of(white, self.sample_rate).mean(axis=0)
        for band in range(patch.low, patch.high):
            bins = slice(self._bins[band], self._bins[band + 1])
            gain = np.float32(10 ** ((self._usual[band] - levels[band]) / 20))
            spectrum[frames, bins] = gain * noise[frames, bins]


def scores_of_versions(
    model: Model, clip: Clip, versions: Iterator[Float32], sample_rate: int, channel: Channel
) -> Scores:
    """Return the scores of a clip and of changed versions of it.

    Parameters
    ----------
    model : Model
        Who judges.
    clip : Clip
        The clip.
    versions : iterator of float32 array of shape (n,)
        The changed samples.
    sample_rate : int
        Theirs, in Hz.
    channel : "mix" or int
        The channel that the model uses.
    """
    import soundfile

    rows = [_judged(model, clip)]
    with tempfile.TemporaryDirectory(prefix="asd-explain-") as folder:
        path = Path(folder) / "version.wav"
        for samples in versions:
            channels = 1 if channel == "mix" else int(channel)
            loudest = max(1.0, float(np.abs(samples).max()))
            soundfile.write(path, np.tile(samples[:, np.newaxis] / loudest, channels), sample_rate, subtype="FLOAT")
            rows.append(_judged(model, Clip(path, group=clip.group), gain=loudest))
    own, fused = zip(*rows, strict=True)
    return Scores(np.array(fused), np.array(own))


def _judged(model: Model, clip: Clip, gain: float = 1.0) -> tuple[Float64, float]:
    """Return deviations above the healthy median by each branch, float64[n_branches], and of what they fuse to."""
    (results,) = model.pipeline.embed_branches([clip], cache=None, gain=gain)
    scores = np.full((len(model.branches[0].members), len(model.branches)), np.nan)
    for b, (branch, features) in enumerate(zip(model.branches, results, strict=True)):
        if isinstance(features, ClipFeatures):
            scores[:, b] = branch.clip_scores(features)
    own = []
    for b in range(len(model.branches)):
        held_out = model.calibration.of_branch(b).scores
        usual = float(np.median(deviations(held_out, held_out)))
        own.append(float(deviations(scores[:, b], held_out).mean()) - usual)
    fusing = model.calibration.branches
    if fusing is None:
        return np.array(own), own[0]
    return np.array(own), float(fusing.fused(scores).mean() - np.median(model.calibration.scores))


def _transformed(samples: Float32, length: int) -> Spectrum:
    """Return the spectra of frames that overlap by half, the first from half a frame before the samples.

    complex64[n_frames, length // 2 + 1]
    """
    hop = length // 2
    padded = np.pad(samples, (hop, length + (-len(samples)) % hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::hop]
    return np.fft.rfft(frames * _window(length), axis=1).astype(np.complex64)


def _inverted(spectrum: Spectrum, length: int) -> Float32:
    hop = length // 2
    frames = np.fft.irfft(spectrum, length, axis=1) * _window(length)
    samples = np.zeros((len(frames) + 1) * hop)
    samples[: len(frames) * hop] += frames[:, :hop].ravel()
    samples[hop:] += frames[:, hop:].ravel()
    return samples[hop:].astype(np.float32)


def _window(length: int) -> Float32:
    """Return the root of a periodic Hann window: applied twice, frames that overlap by half add up to the signal."""
    return np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)
