"""What a model keeps of the sound of its healthy clips, so that it can say later what differs: no audio, but levels.

For 20 clips of 10 s at 16 kHz it takes 14 kB, for 400, the most that are looked at, 240 kB.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asd.detection import scan
from asd.detection.embeddings import EmbeddingCache
from asd.detection.scan import DIRECTIONS, MAPS, Region
from asd.detection.spectra import DESCRIBED, HOP, LONGEST, Spectra, kept_spectra
from asd.errors import AudioError
from asd.progress import track
from asd.records import Channel, Clip, Float32, Float64

Arrays = dict[str, npt.NDArray[Any]]

MOST_CLIPS = 400
"""Healthy clips that are looked at, evenly chosen."""
LEAST_CLIPS = 3
"""From fewer nothing usual can be learned."""

LENGTHS = (1, round(1.0 / HOP))
"""Frames over which levels are averaged to find how loud a healthy clip ever gets; a third one is the whole clip."""

_TOTAL = 4000.0
"""Seconds of sound that are looked at: bounds time and memory."""
_PARTS = 5
"""The clips of each part are compared with those of the others."""
_LEAST_STRENGTH = 20.0
"""Of a region that healthy clips are taken to have in any case."""
_TO_ITS_END = -1.0

_NAMES = ("edges", "content", "place", "mean", "extremes", "usual", "strengths")


@dataclass(frozen=True)
class Reference:
    """What the healthy clips sound like.

    Parameters
    ----------
    edges : float64 array of shape (n_bands + 1,)
        Of the bands, in Hz.
    content : uint8 array of shape (n_clips, 32)
        SHA-256 of each clip's recording.
    place : float64 array of shape (n_clips, 2)
        Start and duration of each clip in its recording in seconds; -1: to its end.
    mean : float16 array of shape (n_clips, n_bands)
        Mean level of each band in dB of full scale.
    extremes : float16 array of shape (n_clips, 2, 3, n_bands)
        For each of `asd.detection.scan.DIRECTIONS` the highest mean of the loudest levels, or the lowest of the
        quietest, over any stretch of `LENGTHS` frames and over the clip.
    usual : float64 array of shape (2, 3, n_bands)
        As `asd.detection.scan.usual_of` returns it.
    strengths : float32 array of shape (n_clips, 2)
        How unlike the other healthy clips each one is, in each of `asd.detection.scan.MAPS`.
    """

    edges: Float64
    content: npt.NDArray[np.uint8]
    place: Float64
    mean: npt.NDArray[np.float16]
    extremes: npt.NDArray[np.float16]
    usual: Float64
    strengths: Float32

    @classmethod
    def learned(
        cls,
        clips: Sequence[Clip],
        contents: Mapping[Path, str],
        *,
        channel: Channel = "mix",
        cache: EmbeddingCache | None = None,
    ) -> Reference | None:
        """Return what the levels of healthy clips are; None if too few of them can be read.

        Parameters
        ----------
        clips : sequence of Clip
            The clips; at most `MOST_CLIPS` of them are looked at, a minute of each, and a good hour of all.
        contents : mapping of Path to str
            SHA-256 of each recording.
        channel : "mix" or int
            As for `asd.Config`.
        cache : EmbeddingCache, optional
            Where levels are kept; it is asked for those whose recordings are not there.
        """
        chosen = _evenly(clips, MOST_CLIPS)
        places = [[contents[clip.path], clip.start, clip.duration] for clip in chosen]
        key = hashlib.sha256(json.dumps(["healthy levels 1", places, channel]).encode()).hexdigest()
        if cache and (kept := cache.load(key)):
            return cls(**_unpacked(*kept))
        longest = min(LONGEST, _TOTAL / max(len(chosen), 1))
        found: dict[Clip, Spectra] = {}
        for clip in track(chosen, "healthy levels", len(chosen)):
            try:
                spectra = kept_spectra(clip, contents[clip.path], channel=channel, longest=longest, cache=cache)
            except AudioError:  # it could be read a moment ago: the recording is being replaced
                continue
            if spectra is not None and len(spectra.levels) >= scan.WIDTH:
                found[clip] = spectra
        reference = cls._of(found, contents) if len(found) >= LEAST_CLIPS else None
        if cache:
            if reference and len(found) == len(chosen):
                cache.store(key, DESCRIBED, *_packed(reference.arrays()))
            cache.flush()
        return reference

    @classmethod
    def _of(cls, found: Mapping[Clip, Spectra], contents: Mapping[Path, str]) -> Reference:
        bands = min(each.levels.shape[1] for each in found.values())
        edges = next(iter(found.values())).edges[: bands + 1]
        levels = [each.levels[:, :bands] for each in found.values()]
        samples = [scan.sampled(each) for each in levels]
        digests = [contents[clip.path] for clip in found]
        place = [[clip.start, _TO_ITS_END if clip.duration is None else clip.duration] for clip in found]
        return cls(
            edges=edges,
            content=np.array([list(bytes.fromhex(digest)) for digest in digests], np.uint8),
            place=np.array(place, np.float64),
            mean=np.array([each.mean(axis=0) for each in levels], np.float16),
            extremes=np.array([_extremes(each) for each in levels], np.float16),
            usual=scan.usual_of(samples),
            strengths=_held_out(samples, digests),
        )

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def bands(self) -> int:
        """How many bands there are."""
        return len(self.edges) - 1

    def up_to(self, bands: int) -> Reference:
        """Return what is known of the lowest bands."""
        if bands >= self.bands:
            return self
        return replace(
            self,
            edges=self.edges[: bands + 1],
            mean=self.mean[:, :bands],
            extremes=self.extremes[..., :bands],
            usual=self.usual[..., :bands],
        )

    def united(self, other: Reference) -> Reference:
        """Return what the clips of both are; what is usual becomes the mean of both, as wide as both.

        Of more than `MOST_CLIPS` clips, so many are kept, evenly chosen.
        """
        bands = min(self.bands, other.bands)
        a, b = self.up_to(bands), other.up_to(bands)
        share = len(a) / (len(a) + len(b))
        usual = share * a.usual + (1 - share) * b.usual
        between = np.abs(a.usual[:, 0] - b.usual[:, 0]) / 2
        usual[:, 1:] = np.maximum(a.usual[:, 1:], b.usual[:, 1:])
        usual[:, 1] += between
        kept = np.linspace(0, len(a) + len(b) - 1, min(len(a) + len(b), MOST_CLIPS)).round().astype(int)
        rows = {
            name: np.concatenate([getattr(a, name), getattr(b, name)])[kept]
            for name in ("content", "place", "mean", "extremes", "strengths")
        }
        return Reference(edges=a.edges, usual=usual, **rows)

    def candidates(self, levels: Float32, *, most: int) -> list[tuple[Region, float]]:
        """Return the regions of a clip that differ most, with the chance that a healthy clip has one as strong.

        Parameters
        ----------
        levels : float32 array of shape (n_frames, n_bands)
            Of a clip, in dB; as many bands as there are here.
        most : int
            How many, of each map.

        Returns
        -------
        list of (Region, float)
            The most unusual first, regions that overlap with a more unusual one left out; the second is about the
            p-value of the region's strength.
        """
        ranked: list[tuple[float, Region, float]] = []
        for index, which in enumerate(MAPS):
            own = self.strengths[:, index]
            scale = max(float(np.quantile(own, 0.9)), _LEAST_STRENGTH)
            for region in scan.regions(levels, which, self.usual, most=most):
                as_strong = int(np.count_nonzero(np.maximum(own, _LEAST_STRENGTH) >= region.strength))
                p_value = (1 + as_strong) / (len(own) + 1)
                ranked.append((region.strength / scale, region, p_value))
        ranked.sort(key=lambda each: -each[0])
        kept: list[tuple[Region, float]] = []
        for _, region, p_value in ranked:
            if not any(_overlap(region, other) for other, _ in kept):
                kept.append((region, p_value))
        return kept[:most]

    def beyond(self, region: Region, levels: Float32) -> tuple[float, float, int]:
        """Return by how many dB a region differs from what is usual, and from any healthy clip; and from how many.

        Parameters
        ----------
        region : Region
            Where.
        levels : float32 array of shape (n_frames, n_bands)
            Of the clip, in dB.

        Returns
        -------
        tuple of float, float, int
            Means over the region's bands: from the median of healthy clips; from the healthy clip that goes farthest in
            any stretch at most as long, each band wherever it does, below 0 if one goes further than the region; and
            how many healthy clips go less far.
        """
        sign = 1.0 if region.direction == "louder" else -1.0
        direction, bands = DIRECTIONS.index(region.direction), slice(region.low, region.high)
        own = scan.envelope(levels, region.direction)[region.first : region.last, bands].mean(axis=0, dtype=float)
        length = _length_index(region.last - region.first, len(levels))
        healthy = self.extremes[:, direction, length, bands].astype(np.float64)
        gaps = (sign * (own - healthy)).mean(axis=1)
        usual = float((sign * (own - self.usual[direction, 0, bands])).mean())
        return usual, float(gaps.min()), int(np.count_nonzero(gaps > 0))

    def nearest(self, mean: Float64) -> tuple[int, float]:
        """Return the number of the healthy clip most like a clip, by its mean levels, and the median difference in dB.

        The median over the bands: what is unusual about a clip must not decide.
        """
        gaps = np.median(np.abs(self.mean.astype(np.float64) - mean), axis=1)
        return int(gaps.argmin()), float(gaps.min())

    def digest(self, clip: int) -> str:
        """Return the SHA-256 of the recording of a clip."""
        return bytes(self.content[clip]).hex()

    def extent(self, clip: int) -> tuple[float, float | None]:
        """Return start and duration of a clip in its recording; None: to its end."""
        start, duration = self.place[clip].tolist()
        return start, None if duration == _TO_ITS_END else duration

    def healthy_band(self) -> Float64:
        """Return the 5, 50 and 95 % quantiles of the healthy clips' mean levels, float64[3, n_bands], in dB."""
        return np.asarray(np.quantile(self.mean.astype(np.float64), [0.05, 0.5, 0.95], axis=0))

    def arrays(self) -> Arrays:
        """Return what a model file holds of it."""
        return {name: getattr(self, name) for name in _NAMES}

    @classmethod
    def restored(cls, arrays: Mapping[str, Any]) -> Reference:
        """Return what `arrays` gave, checked.

        Raises
        ------
        ValueError
            If it does not fit together.
        """
        if arrays.keys() != set(_NAMES):
            raise ValueError(f"reference must have the arrays {', '.join(_NAMES)}")
        clips, bands = len(arrays["mean"]), len(arrays["edges"]) - 1
        expected: dict[str, tuple[Any, tuple[int, ...]]] = {
            "edges": (np.float64, (bands + 1,)),
            "content": (np.uint8, (clips, 32)),
            "place": (np.float64, (clips, 2)),
            "mean": (np.float16, (clips, bands)),
            "extremes": (np.float16, (clips, 2, len(LENGTHS) + 1, bands)),
            "usual": (np.float64, (2, 3, bands)),
            "strengths": (np.float32, (clips, len(MAPS))),
        }
        for name, (dtype, shape) in expected.items():
            array = arrays[name]
            if not (clips and bands > 0 and array.dtype == dtype and array.shape == shape and np.isfinite(array).all()):
                raise ValueError(f"reference.{name} must be finite numbers, {np.dtype(dtype)}{list(shape)}")
        if not ((np.diff(arrays["edges"]) > 0).all() and arrays["edges"][0] > 0 and (arrays["usual"][:, 1:] > 0).all()):
            raise ValueError("reference.edges must ascend from above 0, and deviations must be above 0")
        return cls(**arrays)


def _evenly(clips: Sequence[Clip], most: int) -> list[Clip]:
    different = list(dict.fromkeys(clips))
    if len(different) <= most:
        return different
    return [different[index] for index in np.linspace(0, len(different) - 1, most).round().astype(int)]


def _extremes(levels: Float32) -> Float64:
    """Return how loud and how quiet a clip ever gets, float64[2, 3, n_bands]; see `Reference`."""
    found = []
    for direction in DIRECTIONS:
        own = scan.envelope(levels, direction).astype(np.float64)
        lengths = [min(length, len(own)) for length in (*LENGTHS, len(own))]
        sums = np.concatenate([np.zeros((1, own.shape[1])), np.cumsum(own, axis=0)])
        means = [(sums[length:] - sums[:-length]) / length for length in lengths]
        found.append([each.max(axis=0) if direction == "louder" else each.min(axis=0) for each in means])
    return np.array(found)


def _length_index(frames: int, whole: int) -> int:
    """Return which of the lengths a stretch is compared with: the longest that is no longer than it is."""
    return len(LENGTHS) if frames >= whole else max(i for i, length in enumerate(LENGTHS) if length <= max(frames, 1))


def _held_out(clips: list[scan.Sampled], digests: list[str]) -> Float32:
    """Return how unlike the clips of other recordings each clip is, float32[n_clips, 2]."""
    recordings = sorted(set(digests))
    parts = min(_PARTS, len(recordings))
    part_of = {digest: index % parts for index, digest in enumerate(recordings)}
    strengths = np.zeros((len(clips), len(MAPS)), np.float32)
    for part in range(parts):
        others = [each for each, digest in zip(clips, digests, strict=True) if part_of[digest] != part]
        usual = scan.usual_of(others or clips)
        for index, digest in enumerate(digests):
            if part_of[digest] == part:
                strengths[index] = [scan.strongest(clips[index], which, usual) for which in MAPS]
    return strengths


def _packed(arrays: Arrays) -> tuple[Float32, Float64, dict[str, Any]]:
    """Return arrays as the cache takes them: their bytes as one array, a start that means nothing, and their layout."""
    content = b"".join(array.tobytes() for array in arrays.values())
    content += bytes(-len(content) % 4)
    layout = [[name, array.dtype.str, array.shape] for name, array in arrays.items()]
    return np.frombuffer(content, np.float32)[np.newaxis], np.zeros(1), {"layout": layout}


def _unpacked(values: Float32, _: Float64, facts: Mapping[str, Any]) -> Arrays:
    content, place, arrays = values.tobytes(), 0, {}
    for name, dtype, shape in facts["layout"]:
        count = math.prod(shape)
        arrays[name] = np.frombuffer(content, dtype, count, place).reshape(shape)
        place += arrays[name].nbytes
    return arrays


def _overlap(one: Region, other: Region) -> bool:
    """Return whether regions tell of the same: half of the smaller one's time and bands, in the same direction."""
    time = min(one.last, other.last) - max(one.first, other.first)
    bands = min(one.high, other.high) - max(one.low, other.low)
    shorter = min(one.last - one.first, other.last - other.first)
    narrower = min(one.high - one.low, other.high - other.low)
    return one.direction == other.direction and 2 * time > shorter and 2 * bands > narrower
