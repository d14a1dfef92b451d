"""Judge sound while it comes: overlapping clips of several streams by one model.

Clips of one stream overlap, so most of a clip's windows have been embedded for the clips before it: each window is cut
and embedded once, and the new windows of all streams go through a network together. A clip gets the windows that it
would get as a file; what differs are the last bits of batches, and of resampling at a clip's ends, where a stream has
sound and a file has none.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asd.detection.calibration import LENGTHS
from asd.detection.embedder import Embedder, Facts
from asd.detection.features import PADDED, Failure
from asd.detection.joint import Cut, Slot, embed_together, judge_together
from asd.detection.results import clip_errors, windows_of
from asd.errors import AudioError, ConfigError
from asd.records import Audio, Clip, Float32, Float64
from asd.sound.decoding import RATES
from asd.sound.levels import Levels, first_implausible
from asd.sound.reading import check_channel

if TYPE_CHECKING:
    from asd.detection.model import Model
    from asd.detection.verdict import Verdict

DEFAULT_HOP = 1.0
_SHORTEST_HOP = 0.05


@dataclass
class LiveClip:
    """A clip of a stream, its windows cut. Made by `LiveStream`.

    Parameters
    ----------
    clip : Clip
        Its name.
    offset : float
        Seconds of sound from the stream's last start to the clip's.
    seconds : float
        Length.
    file_rate, channels : int
        Sample rate in Hz and number of channels of the stream.
    level : float
        Root mean square in dB of full scale; minus infinity for silence.
    silent : bool
        Whether every sample is zero.
    notes : list of str
        What the user should know.
    apart : bool
        Whether it overlaps no other clip that is apart: only these count for a monitor, whose promise is for clips that
        share no sound.
    """

    clip: Clip
    offset: float
    seconds: float
    file_rate: int
    channels: int
    level: float
    silent: bool
    notes: list[str]
    apart: bool
    windows: list[Cut] = field(default_factory=list, repr=False)

    def facts(self, embedder: int) -> Facts:
        """Return what is known of the clip; the same for every embedder."""
        return self


@dataclass
class ComingClip:
    """Windows of clips of a stream that are not complete yet. Made by `LiveStream.coming`."""

    clip: Clip
    windows: list[Cut] = field(repr=False)


class LiveScorer:
    """Judges clips of sound while it comes, of several streams by one model.

    Parameters
    ----------
    model : Model
        The model; its embedding cache is not used.
    hop : float
        Seconds from the start of one clip to the start of the next.
    seconds : float or None
        Length of a clip; None: that of the clips that calibrate the model.

    Attributes
    ----------
    seconds : float
        Length of a clip.

    Examples
    --------
    >>> live = asd.LiveScorer(asd.load("pump.asd"))  # doctest: +SKIP
    >>> stream = live.stream("pump")  # doctest: +SKIP
    >>> for block in sound:  # float32 of shape (n, channels)  # doctest: +SKIP
    ...     for verdict in live.judge(stream.push(block, 48000)):
    ...         print(verdict.clip, verdict.p_value)

    Raises
    ------
    ConfigError
        If `hop` or `seconds` is none.
    ModelFileError
        If the weights are others than those of the fit.
    """

    def __init__(self, model: Model, *, hop: float = DEFAULT_HOP, seconds: float | None = None) -> None:
        self.model = model
        self.hop = float(hop)
        self.seconds = model.calibration.clip_seconds if seconds is None else float(seconds)
        if not 0 < self.seconds < math.inf:
            raise ConfigError(f"clips of {self.seconds:g} s cannot be judged; give seconds above 0")
        if not _SHORTEST_HOP <= self.hop <= self.seconds:
            raise ConfigError(
                f"a hop of {self.hop:g} s: expected {_SHORTEST_HOP:g} s to {self.seconds:.3g} s, the length of a clip"
            )
        model.check_weights()

    def stream(self, name: str, *, delay: float = 0.0) -> LiveStream:
        """Return a new stream.

        Parameters
        ----------
        name : str
            What its clips are named after.
        delay : float
            Seconds of sound before its first clip. Streams that begin together, with delays of their own below the hop,
            complete their clips one after the other, so that none waits for the verdicts on all.
        """
        return LiveStream(self, name, delay)

    def judge(self, clips: Sequence[LiveClip]) -> Iterator[Verdict | Failure]:
        """Yield a verdict per clip, or a failure for one that cannot be judged, in order.

        Parameters
        ----------
        clips : sequence of LiveClip
            Of any streams of this scorer; more at a time cost less each.
        """
        yield from judge_together([(self.model, each) for each in clips])

    def prepare(self, streams: Iterable[LiveStream]) -> None:
        """Embed what has come of clips that are not complete yet: their verdicts take less time then, and are the same.

        Parameters
        ----------
        streams : iterable of LiveStream
            Of this scorer. Those that have nothing new cost nothing.
        """
        found = [waiting for stream in streams for waiting in stream.coming()]
        if found:
            embed_together([(self.model, each) for each in found])


class _Ring:
    """The last sound of a stream at one rate: samples by their number since the start."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.first = 0
        self._parts: list[Float32] = []
        self.end = 0

    def add(self, samples: Float32) -> None:
        if len(samples):
            self._parts.append(samples)
            self.end += len(samples)

    def part(self, first: int, stop: int) -> Float32:
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0][first - self.first : stop - self.first]

    def forget(self, before: int) -> None:
        gone = min(before, self.end) - self.first
        if gone > 0:
            self._parts = [self.part(self.first + gone, self.end).copy()]
            self.first += gone


class LiveStream:
    """The sound of one machine while it comes. Made by `LiveScorer.stream`.

    Attributes
    ----------
    name : str
        What its clips are named after; may be changed.
    delay : float
        Seconds from a start to the first clip; may be changed before sound comes.
    """

    def __init__(self, scorer: LiveScorer, name: str, delay: float = 0.0) -> None:
        self.name = name
        self.delay = delay
        self._scorer = scorer
        self._embedders = scorer.model.pipeline.embedders
        self._channel = scorer.model.config.channel
        self.restart()

    def restart(self) -> None:
        """Forget the sound so far: no clip reaches over a gap, or from one recording into the next."""
        self._form: tuple[int, int] | None = None
        self._taken = 0
        self._next = 0
        self._prepared: int | None = None
        self._apart_from = 0
        self._levels: list[tuple[int, Levels]] = []
        self._slots: list[dict[int, Slot]] = [{} for _ in self._embedders]
        self._rings: dict[int, _Ring] = {}
        self._resamplers: dict[int, Any] = {}

    @property
    def heard(self) -> float:
        """Seconds of sound since the last start."""
        return self._taken / self._form[0] if self._form else 0.0

    def push(self, samples: Float32, sample_rate: int) -> list[LiveClip]:
        """Take in sound, and return the clips that are complete now.

        Parameters
        ----------
        samples : float32 array of shape (n, channels)
            Full scale is ±1.
        sample_rate : int
            In Hz; where it or the number of channels changes, the stream starts again.

        Raises
        ------
        AudioError
            If shape, type, rate or a sample is not that of sound, or the pipeline's channel is not there; nothing is
            taken in.
        """
        if samples.ndim != 2 or samples.dtype.kind != "f":
            raise AudioError(
                f"{self.name}: a block is float32[n, channels] of full scale ±1, got "
                f"{samples.dtype}{list(samples.shape)}; of one channel give samples[:, np.newaxis]"
            )
        if not RATES[0] <= sample_rate <= RATES[1]:
            raise AudioError(f"{self.name}: a sample rate of {sample_rate} Hz; expected {RATES[0]} to {RATES[1]:,} Hz")
        channels = samples.shape[1]
        channel = check_channel(self._channel, channels, Path(self.name))
        at = first_implausible(samples)
        if at is not None:
            raise AudioError(f"{self.name}: holds the value {samples[at].max():.4g}, which is no sound")
        if self._form != (sample_rate, channels):
            self.restart()
            self._form = sample_rate, channels
        found: list[LiveClip] = []
        hop = max(1, round(self._scorer.hop * sample_rate))
        delay = round(self.delay * sample_rate)
        first = 0
        while first < len(samples):  # a long block must not be held at every rate, and levels are by the hop
            stop = min(len(samples), first + hop - (self._taken - delay) % hop)
            self._take(samples[first:stop], channel)
            found += self._cut(sample_rate)
            first = stop
        return found

    def finish(self) -> list[LiveClip]:
        """Return the rest of a recording that has ended as a clip, if none was cut of it, and start again.

        It is a clip if it is at least four fifths as long as those that calibrate the model.
        """
        found: list[LiveClip] = []
        if self._form and self._next == 0:
            seconds = self._taken / self._form[0]
            for rate, ring in self._rings.items():
                if rate in self._resamplers:
                    ring.add(self._resamplers[rate].resample_chunk(np.zeros(0, np.float32), last=True))
            if seconds >= LENGTHS[0] * self._scorer.seconds:
                found = [self._clip(0, seconds)]
        self.restart()
        return found

    def _take(self, block: Float32, channel: int | None) -> None:
        assert self._form is not None
        rate = self._form[0]
        if channel is None and block.shape[1] > 1:
            samples = block.mean(axis=1)
        else:
            samples = np.ascontiguousarray(block[:, channel or 0])
        levels = Levels(channel is None)
        levels.add(block if channel is None else samples[:, np.newaxis], samples)
        self._taken += len(samples)
        self._levels.append((self._taken, levels))
        for needed in {each.sample_rate for each in self._embedders}:
            ring = self._rings.setdefault(needed, _Ring(needed))
            ring.add(samples if needed == rate else self._resampler(rate, needed).resample_chunk(samples))

    def _resampler(self, rate: int, needed: int) -> Any:
        if needed not in self._resamplers:
            import soxr

            self._resamplers[needed] = soxr.ResampleStream(rate, needed, 1, dtype="float32", quality="HQ")
        return self._resamplers[needed]

    def _cut(self, rate: int) -> Iterator[LiveClip]:
        seconds = self._scorer.seconds
        while all(
            ring.end >= round(self._start(self._next) * ring.rate) + round(seconds * ring.rate)
            for ring in self._rings.values()
        ):
            yield self._clip(self._next, seconds)
            self._next += 1
            self._forget(rate)

    def _start(self, number: int) -> float:
        """Return the seconds from the start to a clip."""
        return self.delay + number * self._scorer.hop

    def coming(self) -> list[ComingClip]:
        """Return windows of clips that are not complete, for `LiveScorer.prepare`: what is new, once in a hop."""
        if not self._rings:
            return []
        heard = min(ring.end / ring.rate for ring in self._rings.values())
        hops = math.floor((heard - self.delay) / self._scorer.hop + 1e-9)
        if hops == self._prepared:
            return []
        since, self._prepared = self._prepared, hops
        clip = Clip(Path(self.name), self._start(self._next), self._scorer.seconds)
        windows: list[Cut] = []
        for embedder, slots in zip(self._embedders, self._slots, strict=True):
            positions = self._complete(embedder, heard, -math.inf if since is None else self._start(since))
            ring, length = self._rings[embedder.sample_rate], embedder.frontend.window_length or 0
            missing = sorted(each for each in positions if each not in slots)
            try:
                for run in _runs(missing, embedder.frontend.window_hop):
                    values = _cut(embedder, ring, ring.part(run[0], run[-1] + length), clip).values
                    slots |= {at: Slot(values[i : i + 1]) for i, at in enumerate(run)}
            except AudioError as error:  # told when its clip is complete
                windows.append(error)
                continue
            windows.append([(slots[at], np.array([at / ring.rate])) for at in missing])
        return [ComingClip(clip, windows)]

    def _complete(self, embedder: Embedder, heard: float, since: float) -> set[int]:
        """Return the first samples of windows, of clips to come, that are complete now and were not `since`."""
        frontend, rate = embedder.frontend, embedder.sample_rate
        length, hop, before = frontend.window_length, frontend.window_hop, frontend.pad_start
        found: set[int] = set()
        if length is None:
            return found
        end, former = math.floor(heard * rate), max(0, math.floor(max(since, 0.0) * rate) - 1)
        count = round(self._scorer.seconds * rate)
        for number in itertools.count(self._next):
            first = round(self._start(number) * rate)
            if first + length > end:
                return found
            lowest = max(before, former - length - first + before)  # counted from the silence before the clip
            highest = before + min(end - first, count) - length
            found.update(first + at - before for at in range(-(-lowest // hop) * hop, highest + 1, hop))
        return found

    def _forget(self, rate: int) -> None:
        start = self._start(self._next)
        for ring in self._rings.values():
            ring.forget(round(start * ring.rate))
        for slots, embedder in zip(self._slots, self._embedders, strict=True):
            first = round(start * embedder.sample_rate)
            for each in [position for position in slots if position < first]:
                del slots[each]
        kept = round(start * rate)
        self._levels = [each for each in self._levels if each[0] > kept]

    def _clip(self, number: int, seconds: float) -> LiveClip:
        assert self._form is not None
        start = self._start(number)
        rate, channels = self._form
        levels = Levels.joined([each for end, each in self._levels if end <= round((start + seconds) * rate) + 1])
        apart = number >= self._apart_from
        if apart:
            self._apart_from = number + int(np.ceil(seconds / self._scorer.hop - 1e-9))
        live = LiveClip(
            clip=Clip(Path(self.name), start, seconds),
            offset=start,
            seconds=seconds,
            file_rate=rate,
            channels=channels,
            level=levels.level,
            silent=levels.silent,
            notes=levels.notes(),
            apart=apart,
        )
        for embedder, slots in zip(self._embedders, self._slots, strict=True):
            live.windows.append(self._windows(embedder, slots, live))
        return live

    def _windows(self, embedder: Embedder, slots: dict[int, Slot], live: LiveClip) -> Cut:
        ring = self._rings[embedder.sample_rate]
        first = round(live.offset * ring.rate)
        count = min(round(live.seconds * ring.rate), ring.end - first)
        try:
            return _cut_windows(embedder, slots, ring, first, count, live)
        except AudioError as error:
            return error


def _cut_windows(
    embedder: Embedder, slots: dict[int, Slot], ring: _Ring, first: int, count: int, live: LiveClip
) -> list[tuple[Slot, Float64]]:
    """Return the windows of the clip of `count` samples from `first` on, and their starts in seconds, as a file's."""
    frontend, rate = embedder.frontend, ring.rate
    length, hop, before = frontend.window_length, frontend.window_hop, frontend.pad_start

    cut = partial(_cut, embedder, ring, clip=live.clip)
    if length is None:
        whole = cut(ring.part(first, first + count))
        return [(Slot(whole.values), whole.start)]
    samples = ring.part(first, first + count)
    if count < length:
        reason = f"{count / rate:.3g} s is shorter than a window of {length / rate:.3g} s"
        if embedder.config.short == "refuse":
            raise AudioError(f"{live.clip}: {reason}; listen to longer clips or fit with --short pad")
        live.notes.append(f"{reason}: {PADDED}")
        samples = np.resize(samples, length)
    padded = before + len(samples)  # positions are counted from the silence before the clip
    rest = (padded - length) % hop
    starts = list(range(0, padded - length + 1, hop))
    if rest and frontend.pad_end:
        starts.append(starts[-1] + hop)
    elif rest and embedder.config.tail == "move":
        starts.append(padded - length)
    own = [at for at in starts if at < before or at + length > before + count]
    found = {at: Slot(cut(_with_silence(samples, at - before, length)).values) for at in own}
    shared = [at for at in starts if at not in found]
    missing = [at for at in shared if first + at - before not in slots]
    for run in _runs(missing, hop):
        values = cut(samples[run[0] - before : run[-1] - before + length]).values
        for i, at in enumerate(run):
            slots[first + at - before] = Slot(values[i : i + 1])
    found |= {at: slots[first + at - before] for at in shared}
    return [(found[at], np.array([(at - before) / rate])) for at in starts]


def _cut(embedder: Embedder, ring: _Ring, samples: Float32, clip: Clip) -> Any:
    with clip_errors(clip):
        return windows_of(embedder.frontend, Audio(samples[np.newaxis], ring.rate, str(clip)))


def _with_silence(samples: Float32, start: int, length: int) -> Float32:
    part = samples[max(start, 0) : start + length]
    return np.pad(part, (max(-start, 0), length - len(part) - max(-start, 0)))


def _runs(positions: list[int], hop: int) -> Iterator[list[int]]:
    """Yield positions in groups that lie `hop` apart: a front end cuts each group at once."""
    run: list[int] = []
    for at in positions:
        if run and at != run[-1] + hop:
            yield run
            run = []
        run.append(at)
    if run:
        yield run
