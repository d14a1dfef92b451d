"""Read recordings: any format, any rate, any channel count, in blocks."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import tee
from pathlib import Path
from typing import TypeVar

import numpy as np

from asd.errors import AudioError
from asd.files.remote import RemotePath
from asd.records import Audio, Channel, Clip, Float32
from asd.sound.decoding import Sound, SoundPath, open_sound
from asd.sound.levels import INTEGER_SCALE, SCALED_NOTE, Levels, first_implausible, has_integer_scale
from asd.sound.memory import held

T = TypeVar("T")

_TOLERANCE = 0.01
"""Seconds by which a part of a recording may reach beyond its end: what rounding in a manifest makes."""

_RESAMPLED_AT_A_TIME = 2**14
"""Samples; measured: a whole block takes two to three times as long, as its memory comes from the system each time."""


class ClipReader:
    """The samples of a clip, one channel at one rate, in blocks; facts about the clip once it was read.

    What can be decoded counts. A file whose header states a definite length that the file does not hold is cut off,
    an error; a length that is unknown (written to a pipe) or too small (the recorder was stopped) is replaced by the
    true one, and a note says so.

    Parameters
    ----------
    clip : Clip
        What to read.
    sample_rate : int or None
        Rate in Hz to resample to (soxr, high quality); None: the file's own.
    channel : "mix" or int
        The mean of all channels, or one channel counted from 1.
    gain : float
        What every sample is multiplied by, for trials of a louder or quieter machine; `level` is that of the file.

    Attributes
    ----------
    seconds : float
        Length of what was read so far, by the file's own clock.
    file_rate : int
        The file's own rate in Hz, 0 before reading.
    channels : int
        The file's number of channels, 0 before reading.
    silent : bool
        Whether all samples so far were zero.
    level : float
        Root mean square of the samples so far in dB of full scale; minus infinity for silence.
    notes : list of str
        What the user should know about the clip, complete after the last block.
    """

    def __init__(
        self, clip: Clip, *, sample_rate: int | None = None, channel: Channel = "mix", gain: float = 1.0
    ) -> None:
        self.clip = clip
        self.gain = gain
        self.sample_rate = sample_rate
        self.channel = channel
        self.seconds = 0.0
        self.file_rate = 0
        self.channels = 0
        self.silent = True
        self.level = -np.inf
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[Float32]:
        """Yield float32 blocks of shape (n,); errors as for `samples`."""
        return _resampled(self.samples(), self, self.sample_rate)

    def samples(self) -> Iterator[Float32]:
        """Yield float32 blocks of shape (n,) at the file's own rate.

        Raises
        ------
        AudioError
            If the file is missing, empty, not sound, cut off, holds NaN, infinite or implausible samples, or lacks the
            channel or the part.
        """
        for _, samples in self._read():
            yield samples if self.gain == 1.0 else samples * np.float32(self.gain)

    def frames(self) -> Iterator[Float32]:
        """Yield float32 blocks of shape (n, channels) at the file's own rate; errors as for `samples`."""
        for block, _ in self._read():
            yield block

    def _read(self) -> Iterator[tuple[Float32, Float32]]:
        """Yield blocks of shape (n, channels), each with the samples (n,) of the channel that is used."""
        path = self.clip.path
        with _opened(path) as sound:
            self.file_rate, self.channels = sound.rate, sound.channels
            channel = check_channel(self.channel, sound.channels, path)
            scale = INTEGER_SCALE if sound.is_float and _has_integer_scale(path, *_version(path)) else 1.0
            first, count = self._extent(sound)
            levels, read = Levels(channel is None), 0
            for block in sound.blocks(first, count):
                if scale != 1.0:
                    block /= np.float32(scale)
                self._check_plausible(block, first + read, scale)
                if channel is None and sound.channels > 1:
                    samples = block.mean(axis=1)
                else:  # the mean of one channel is that channel
                    samples = np.ascontiguousarray(block[:, channel or 0])
                levels.add(block if channel is None else samples[:, np.newaxis], samples)
                read += len(block)
                self.silent, self.level, self.seconds = levels.silent, levels.level, read / sound.rate
                yield block, samples
            self._check_length(sound, read, count)
            self.notes += [*levels.notes(), *([SCALED_NOTE] if scale != 1.0 else []), *self._length_notes(sound)]

    def _extent(self, sound: Sound) -> tuple[int, int | None]:
        """Return the first sample of the clip and how many there are, None if only decoding shows it."""
        first = round(self.clip.start * sound.rate)
        wanted = None if self.clip.duration is None else round(self.clip.duration * sound.rate)
        if sound.frames is None:
            return first, wanted
        if sound.frames == 0:
            raise AudioError(f"{self.clip.path}: holds no samples; record it again or leave it out")
        there = sound.frames - first
        if there <= 0 or (wanted is not None and wanted > there + _TOLERANCE * sound.rate):
            raise self._beyond(sound.frames / sound.rate)
        return first, there if wanted is None else min(wanted, there)

    def _beyond(self, seconds: float) -> AudioError:
        return AudioError(f"{self.clip}: reaches beyond the recording, which ends at {seconds:.6g} s")

    def _check_plausible(self, block: Float32, first: int, scale: float) -> None:
        at = first_implausible(block)
        if at is None:
            return
        row = block[at]
        value = float(row[np.argmax(~(np.abs(row) <= 1))]) * scale
        where = f"at {(first + at) / self.file_rate:.6g} s"
        if not np.isfinite(value):
            raise AudioError(f"{self.clip.path}: holds NaN or infinite samples, the first {where}; export it again")
        raise AudioError(
            f"{self.clip.path}: holds the value {value:.4g} {where}, which is no sound (full scale is {scale:g}): "
            "damaged, or of another scale; copy or export it again"
        )

    def _check_length(self, sound: Sound, read: int, count: int | None) -> None:
        """Raise an error if less could be decoded than the file's header states or the clip needs."""
        if count is None and read:
            return
        if count is not None and sound.frames is None and read < count - _TOLERANCE * sound.rate:
            raise self._beyond(self.clip.start + read / sound.rate)
        if not read and sound.frames is None:
            raise AudioError(f"{self.clip.path}: holds no samples; record it again or leave it out")
        if count is not None and read < count and sound.frames is not None:
            if not sound.is_mpeg:
                raise AudioError(
                    f"{self.clip.path}: cut off: its header states {count} samples, {read} can be read; "
                    "copy it again from its source"
                )
            self.notes.append(f"{(count - read) / sound.rate:.3g} s at its end cannot be decoded")

    def _length_notes(self, sound: Sound) -> list[str]:
        layout, found = sound.layout, list(sound.layout.notes)
        if len(layout.parts) > 1:
            found.append(f"{len(layout.parts)} recordings one after the other: all are used")
        if layout.stated is not None and sound.frames:
            seconds = sound.frames / sound.rate
            found.append(
                f"its header states {layout.stated * seconds:.6g} s, {seconds:.6g} s can be decoded: all of it is used"
            )
        return found


def _resampled(blocks: Iterable[Float32], reader: ClipReader, rate: int | None) -> Iterator[Float32]:
    """Yield blocks at `rate` from blocks at the rate of the file, which `reader` knows from the first block on."""
    resampler = None
    for block in blocks:
        if rate in (None, reader.file_rate):
            yield block
            continue
        if resampler is None:
            import soxr

            resampler = soxr.ResampleStream(reader.file_rate, rate, 1, dtype="float32", quality="HQ")
        for first in range(0, len(block), _RESAMPLED_AT_A_TIME):
            yield resampler.resample_chunk(block[first : first + _RESAMPLED_AT_A_TIME])
    if resampler is not None:
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


class _SharedReader(ClipReader):
    """A reader whose blocks another one decodes and resamples."""

    def __init__(self, decoder: ClipReader, sample_rate: int, blocks: Iterator[Float32]) -> None:
        super().__init__(decoder.clip, sample_rate=sample_rate, channel=decoder.channel)
        self._decoder = decoder
        self._blocks = blocks

    def __iter__(self) -> Iterator[Float32]:
        decoder = self._decoder
        for block in self._blocks:
            self.seconds, self.file_rate, self.channels = decoder.seconds, decoder.file_rate, decoder.channels
            self.silent, self.level = decoder.silent, decoder.level
            yield block
        self.notes += decoder.notes


class _Repeated(Iterator[T]):
    """An iterator that raises its error each time it is asked, where a generator would seem to have ended."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self._error: Exception | None = None

    def __next__(self) -> T:
        if self._error is not None:
            raise self._error
        try:
            return next(self._items)
        except StopIteration:
            raise
        except Exception as error:
            self._error = error
            raise


def read_together(
    clip: Clip, sample_rates: Sequence[int], *, channel: Channel = "mix", gain: float = 1.0
) -> list[ClipReader]:
    """Return a reader for each rate, all fed by one decoding, and by one resampling where rates are equal.

    What one reader has taken and another has not is held in memory: read them in turns. An error of the recording is
    raised by each of them.

    Parameters
    ----------
    clip : Clip
        What to read.
    sample_rates : sequence of int
        Rates in Hz.
    channel, gain
        As for `ClipReader`.
    """
    if len(sample_rates) == 1:
        return [ClipReader(clip, sample_rate=sample_rates[0], channel=channel, gain=gain)]
    decoder = ClipReader(clip, channel=channel, gain=gain)
    rates = list(dict.fromkeys(sample_rates))
    lanes: dict[int, Iterator[Iterator[Float32]]] = {}
    for rate, blocks in zip(rates, tee(_Repeated(decoder.samples()), len(rates)), strict=True):
        resampled = _Repeated(_resampled(blocks, decoder, rate))
        lanes[rate] = iter(tee(resampled, sample_rates.count(rate)))
    return [_SharedReader(decoder, rate, next(lanes[rate])) for rate in sample_rates]


def read(clip: Clip, *, sample_rate: int | None = None, channel: Channel = "mix") -> Audio:
    """Read a whole clip into memory; parameters and errors as for `ClipReader`."""
    reader = ClipReader(clip, sample_rate=sample_rate, channel=channel)
    samples = np.concatenate(list(reader))
    return Audio(samples[np.newaxis], sample_rate or reader.file_rate, str(clip))


@dataclass(frozen=True)
class RecordingFacts:
    """What is known of a recording before its sound is used.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    channels : int
        How many.
    seconds : float
        How many can be decoded; infinite: more than was asked for.
    """

    sample_rate: int
    channels: int
    seconds: float


def recording_facts(path: Path, most_seconds: float = math.inf) -> RecordingFacts:
    """Return rate, channels and length of a recording; little is decoded, however much a small file makes of itself.

    Parameters
    ----------
    path : Path
        The file.
    most_seconds : float
        Where only decoding tells the length, it ends after so many seconds, and the length is infinite.

    Raises
    ------
    AudioError
        If it cannot be opened or, where only decoding tells the length, decoded.
    """
    with _opened(path) as sound:
        frames, most = sound.frames, most_seconds * sound.rate
        if frames is None:
            frames = 0
            for block in sound.blocks(0, None):
                frames += len(block)
                if frames > most:
                    break
        return RecordingFacts(sound.rate, sound.channels, frames / sound.rate if frames <= most else math.inf)


def duration_of(path: Path) -> float:
    """Return how many seconds of a recording can be decoded.

    Raises
    ------
    AudioError
        If it cannot be opened or, where only decoding tells the length, decoded.
    """
    if isinstance(path, RemotePath):
        return _remote_duration(path)
    with _opened(path) as sound:
        if sound.frames is not None:
            return sound.frames / sound.rate
    return _decoded_duration(path, *_version(path))


def _remote_duration(path: RemotePath) -> float:
    """Return the length of a recording elsewhere; that of a version that is known is not asked for again."""
    from asd.files import known  # brings SQLite along

    try:
        facts = path.facts()
    except OSError:
        facts = None  # opening it says what is wrong
    if facts and facts.is_sure and (seconds := known.known(facts.key, "seconds")) is not None:
        return float(seconds)
    with open_sound(path, facts=facts, glance=True) as sound:
        frames = sound.frames
        if frames is None:
            frames = sum(len(block) for block in sound.blocks(0, None))
        seconds = frames / sound.rate
    if facts and facts.is_sure:
        known.remember(facts.key, "seconds", seconds)
    return seconds


def _opened(path: Path) -> Sound:
    return held(path) or (path.opened() if isinstance(path, SoundPath) else open_sound(path))


@lru_cache(maxsize=1024)
def _decoded_duration(path: Path, *_: Hashable) -> float:
    with _opened(path) as sound:
        return sum(len(block) for block in sound.blocks(0, None)) / sound.rate


@lru_cache(maxsize=1024)
def _has_integer_scale(path: Path, *_: Hashable) -> bool:
    with _opened(path) as sound:
        return has_integer_scale(sound.blocks(0, None))


def _version(path: Path) -> tuple[Hashable, ...]:
    """Return what changes when a file is written again."""
    if isinstance(path, RemotePath):
        facts = path.facts()
        return (facts.key,) if facts.is_sure else (object(),)
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def check_channel(channel: Channel, channels: int, path: Path) -> int | None:
    """Return the index of the channel to use of a recording; None: the mean of all.

    Raises
    ------
    AudioError
        If the recording, of so many channels, lacks it.
    """
    if channel == "mix":
        return None
    if not 1 <= channel <= channels:
        raise AudioError(
            f"{path}: has {channels} channel(s), asked for channel {channel}; use --channel mix or 1–{channels}"
        )
    return channel - 1
