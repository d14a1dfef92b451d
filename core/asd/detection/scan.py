"""Where levels over time and frequency are unlike what is usual: rectangles in which most is unlike, the largest first.

A map has a cell for each frame and band: how far the loudest (or quietest) level of a quarter of a second is from the
usual one, in deviations of healthy sound, less what a healthy cell may have. The rectangle with the largest sum (the
maximum subarray of Bentley 1984, Programming Pearls, over all ranges of bands) is where something lasts: knocks and
their pauses belong together, a single loud frame is little.

There are two maps, since two questions differ: is it unlike all healthy clips (``"level"``), and does it set in within
the clip (``"change"``), whatever level the clip as a whole has? Healthy clips differ from each other more than in
themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from asd.detection.spectra import HOP
from asd.records import Float32, Float64

Direction = Literal["louder", "quieter"]
DIRECTIONS: tuple[Direction, ...] = ("louder", "quieter")
Map = Literal["level", "change"]
MAPS: tuple[Map, ...] = ("level", "change")

WIDTH = 8
"""Frames, a quarter of a second, whose loudest (or quietest) counts: so far apart may knocks or gaps be."""

_ALLOWED = 2.0
"""Deviations that a cell may have for nothing."""
_MOST = 6.0
"""Deviations that count at most: one loud cell must not outweigh a hundred that are clearly unlike."""
_NARROW = 0.5
"""Of the largest difference in dB: a region is told with the bands that have at least this."""
_SPREAD = 0.1
"""Quantiles of a band over the clip between which its own usual level may lie."""
_LEAST_DEVIATION = 1.0
"""In dB; few healthy clips show by chance too little of what a band does."""
_QUANTILE, _NORMAL_QUANTILE = 0.95, 1.645
_STEP = 4
"""Of so many frames, an eighth of a second, one is looked at to find what is usual: the envelope changes slowly."""
_TOGETHER = 64
"""Frames whose sums over all ranges of bands are in memory at once: 3 MB for 74 bands."""
_SIDE = 4
"""Bands on each side whose deviations are no guide less than a band's own."""


@dataclass(frozen=True)
class Region:
    """A rectangle of time and frequency.

    Parameters
    ----------
    direction : {"louder", "quieter"}
        In which direction the levels are unlike.
    first, last : int
        Its first frame, and the frame after the last.
    low, high : int
        Its lowest band, and the band after the highest.
    strength : float
        Sum over its cells.
    reach : tuple of int
        Lowest band, and the band after the highest, of those that are unlike with it, though less.
    """

    direction: Direction
    first: int
    last: int
    low: int
    high: int
    strength: float
    reach: tuple[int, int] = (0, 0)

    @property
    def start(self) -> float:
        """When it begins in seconds: halfway between the middles of frames."""
        return self.first * HOP + (HOP / 2 if self.first else 0.0)

    @property
    def end(self) -> float:
        """When it ends in seconds."""
        return self.last * HOP + HOP / 2


def envelope(levels: Float32, direction: Direction) -> Float32:
    """Return the loudest or quietest level of the frames about each frame, float32[n_frames, n_bands]."""
    sign = np.float32(1 if direction == "louder" else -1)
    padded = np.pad(sign * levels, ((WIDTH // 2, WIDTH - WIDTH // 2 - 1), (0, 0)), mode="edge")
    running = padded[: len(levels)]
    for shift in range(1, WIDTH):
        running = np.maximum(running, padded[shift : shift + len(levels)])
    return np.asarray(sign * running)


@dataclass(frozen=True)
class Sampled:
    """A clip, looked at every few frames.

    Parameters
    ----------
    envelopes : float32 array of shape (2, n_frames / 4, n_bands)
        In each of `DIRECTIONS`.
    spread : tuple of float64 arrays of shape (2, n_bands)
        For each of them, between which levels the clip's own usual one may lie.
    """

    envelopes: Float32
    spread: tuple[Float64, Float64]


def sampled(levels: Float32) -> Sampled:
    """Return the envelopes of a clip every few frames, and what is asked of them again and again."""
    envelopes = np.array([envelope(levels, direction)[::_STEP] for direction in DIRECTIONS])
    return Sampled(envelopes, (_spread(envelopes[0]), _spread(envelopes[1])))


def usual_of(clips: Sequence[Sampled]) -> Float64:
    """Return what is usual in healthy clips.

    Parameters
    ----------
    clips : sequence of Sampled
        The clips.

    Returns
    -------
    float64 array of shape (2, 3, n_bands)
        For each of `DIRECTIONS` the median, the deviation of the ``"level"`` and that of the ``"change"``.
    """
    found = []
    for index, direction in enumerate(DIRECTIONS):
        together = np.concatenate([clip.envelopes[index] for clip in clips])
        median = np.median(together, axis=0).astype(np.float64)
        own = np.concatenate([clip.envelopes[index] - _offset(clip.spread[index], median) for clip in clips])
        found.append([median, _deviation(together, direction), _deviation(own, direction)])
    return np.array(found, np.float64)


def _deviation(levels: Float32 | Float64, direction: Direction) -> Float64:
    """Return the deviation of each band in the direction that counts; at least that of the bands about it."""
    middle, end = np.quantile(levels, [0.5, _QUANTILE if direction == "louder" else 1 - _QUANTILE], axis=0)
    deviation = np.abs(end - middle) / _NORMAL_QUANTILE
    side = min(_SIDE, len(deviation) - 1)
    padded = np.pad(deviation, side, mode="reflect")
    about = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * side + 1), axis=1)
    return np.asarray(np.maximum(np.maximum(deviation, about), _LEAST_DEVIATION))


def _spread(levels: Float32) -> Float64:
    return np.asarray(np.quantile(levels, [_SPREAD, 1 - _SPREAD], axis=0))


def _offset(spread: Float64, median: Float64) -> Float64:
    """Return how far a clip's own usual level is from the median: not at all where part of the clip has the median."""
    return np.asarray(np.clip(median, *spread) - median)


def differences(levels: Float32, direction: Direction, which: Map, usual: Float64) -> Float64:
    """Return how many dB the envelope lies beyond the usual in a direction, float64[n_frames, n_bands].

    Parameters
    ----------
    levels : float32 array of shape (n_frames, n_bands)
        Of a clip, in dB.
    direction : {"louder", "quieter"}
        Which way counts.
    which : {"level", "change"}
        Compared with healthy clips as they are, or shifted to the clip's own usual level.
    usual : float64 array of shape (2, 3, n_bands)
        As `usual_of` returns it.
    """
    own = envelope(levels, direction)
    return _beyond(own, _spread(own) if which == "change" else None, direction, usual)


def _beyond(own: Float32, spread: Float64 | None, direction: Direction, usual: Float64) -> Float64:
    """Return the same of an envelope; without a spread compared with healthy clips as they are."""
    median = usual[DIRECTIONS.index(direction), 0]
    offset = 0.0 if spread is None else _offset(spread, median)
    return np.asarray((own - offset - median) * (1.0 if direction == "louder" else -1.0))


def strongest(clip: Sampled, which: Map, usual: Float64) -> float:
    """Return the strength of the region of a clip that is most unlike the usual; 0: there is none."""
    found = []
    for own, spread, direction in zip(clip.envelopes, clip.spread, DIRECTIONS, strict=True):
        beyond = _beyond(own, spread if which == "change" else None, direction, usual)
        found.append(_largest(_cells(beyond, direction, which, usual), direction).strength)
    return _STEP * max(found)


def regions(levels: Float32, which: Map, usual: Float64, *, most: int = 1, least: float = 0.0) -> list[Region]:
    """Return the regions that are most unlike the usual, the strongest first.

    Parameters
    ----------
    levels, which, usual
        As for `differences`.
    most : int
        How many to look for.
    least : float
        Strength that a region has at least.
    """
    beyond = {each: differences(levels, each, which, usual) for each in DIRECTIONS}
    maps = {each: _cells(beyond[each], each, which, usual) for each in DIRECTIONS}
    found: list[Region] = []
    while len(found) < most:
        best = max((_largest(cells, each) for each, cells in maps.items()), key=lambda region: region.strength)
        if best.strength <= max(least, 0.0):
            break
        own = maps[best.direction]
        narrow = _lasting(_narrowed(best, beyond[best.direction]), own)
        found.append(_without_margin(narrow, len(levels)))
        for each in (best, narrow):
            # A little more than the region is done with: what is left of its rim is no finding of its own.
            rim = slice(max(0, each.first - WIDTH), each.last + WIDTH), slice(max(0, each.low - 1), each.high + 1)
            own[rim] = -_ALLOWED
    return found


def largest_interval(values: Float64) -> tuple[int, int]:
    """Return the first index, and the index after the last, of the stretch of values with the largest sum."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    last = int(np.argmax(sums - np.minimum.accumulate(sums)))
    return int(np.argmin(sums[: last + 1])), last


def _cells(beyond: Float64, direction: Direction, which: Map, usual: Float64) -> Float64:
    deviation = usual[DIRECTIONS.index(direction), 1 + MAPS.index(which)]
    return np.asarray(np.clip(beyond / deviation, 0.0, _MOST) - _ALLOWED)


def _largest(cells: Float64, direction: Direction) -> Region:
    """Return the strongest region; of equal ones that with the lowest band, the fewest bands and the earliest end.

    All ranges of bands, `[highest, lowest]`, go through time together: in NumPy that takes less than one by one.
    """
    frames, bands = cells.shape
    sums, lowest, best, gain = np.zeros((4, bands, bands))
    for begin in range(0, frames, _TOGETHER):
        part = cells[begin : begin + _TOGETHER]
        ranges = np.zeros((len(part), bands, bands))
        for high in range(bands):
            ranges[:, high, high] = part[:, high]
            np.add(ranges[:, high - 1, :high], part[:, high, np.newaxis], out=ranges[:, high, :high])
        for each in ranges:
            sums += each
            np.minimum(lowest, sums, out=lowest)
            np.maximum(best, np.subtract(sums, lowest, out=gain), out=best)
    low, high = divmod(int(best.T.argmax()), bands)
    if not best[high, low] > 0:
        return Region(direction, 0, 0, 0, 0, 0.0)
    first, last = largest_interval(np.cumsum(cells[:, low : high + 1], axis=1)[:, -1])
    return Region(direction, first, last, low, high + 1, float(best[high, low]))


def _without_margin(region: Region, frames: int) -> Region:
    """Return the region without the frames that are unlike only because they look at their neighbours."""
    before, after = WIDTH - WIDTH // 2 - 1, WIDTH // 2
    first = region.first if region.first == 0 else region.first + before
    last = region.last if region.last == frames else region.last - after
    if first >= last:
        first = min((region.first + region.last) // 2, frames - 1)
        last = first + 1
    return replace(region, first=first, last=last)


def _lasting(region: Region, cells: Float64) -> Region:
    """Return the region for as long as its bands are unlike: that may be longer than others are along with them."""
    first, last = largest_interval(cells[:, region.low : region.high].sum(axis=1))
    return replace(region, first=first, last=last) if first < region.last and region.first < last else region


def _narrowed(region: Region, beyond: Float64) -> Region:
    """Return the region with the bands about the one that differs most which differ at least half as much in dB."""
    mean = beyond[region.first : region.last].mean(axis=0)
    low = region.low + int(mean[region.low : region.high].argmax())
    high, least = low + 1, _NARROW * mean[low]
    while low > region.low and mean[low - 1] >= least:
        low -= 1
    while high < region.high and mean[high] >= least:
        high += 1
    return replace(region, low=low, high=high, reach=(region.low, region.high))
