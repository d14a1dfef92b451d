"""Read recordings: any format of libsndfile, any rate, any channel count, in blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from asd.errors import AudioError
from asd.records import Audio, Channel, Clip, Float32

_BLOCK_SECONDS = 8.0


class ClipReader:
    """The samples of a clip, one channel at one rate, in blocks; facts about the clip once it was read.

    Parameters
    ----------
    clip : Clip
        What to read.
    sample_rate : int or None
        Rate in Hz to resample to (soxr, high quality); None: the file's own.
    channel : "mix" or int
        The mean of all channels, or one channel counted from 1.

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

    def __init__(self, clip: Clip, *, sample_rate: int | None = None, channel: Channel = "mix") -> None:
        self.clip = clip
        self.sample_rate = sample_rate
        self.channel = channel
        self.seconds = 0.0
        self.file_rate = 0
        self.channels = 0
        self.silent = True
        self.level = -np.inf
        self.notes: list[str] = []

    def __iter__(self) -> Iterator[Float32]:
        """Yield float32 blocks of shape (n,).

        Raises
        ------
        AudioError
            If the file is missing, empty, not sound, cut off, holds NaN or infinite samples, or lacks the channel.
        """
        import soundfile

        with _open(self.clip.path) as file:
            self.file_rate, self.channels = file.samplerate, file.channels
            channel = _check_channel(self.channel, file.channels, self.clip.path)
            first = round(self.clip.start * file.samplerate)
            frames = file.frames - first
            if self.clip.duration is not None:
                frames = min(frames, round(self.clip.duration * file.samplerate))
            if frames <= 0:
                raise AudioError(f"{self.clip.path}: holds no samples; record it again or leave it out")
            resampler = self._resampler(file.samplerate)
            peak, power, left = 0.0, 0.0, frames
            try:
                file.seek(first)
                while left:
                    block = file.read(min(left, int(_BLOCK_SECONDS * file.samplerate)), dtype="float32", always_2d=True)
                    if not len(block):
                        if file.format == "MP3":  # an MP3 file's length is an estimate until it was decoded
                            break
                        raise AudioError(
                            f"{self.clip.path}: cut off: its header promises {frames} samples, {frames - left} can be "
                            "read; copy it again from its source"
                        )
                    left -= len(block)
                    samples = block.mean(axis=1) if channel is None else np.ascontiguousarray(block[:, channel])
                    if not np.isfinite(samples).all():
                        raise AudioError(f"{self.clip.path}: holds NaN or infinite samples; export it again")
                    peak = max(peak, float(np.abs(samples).max()))
                    self.silent = peak == 0.0
                    power += float(np.dot(samples, samples))
                    self.level = float(10 * np.log10(power / (frames - left))) if power else -np.inf
                    self.seconds += len(block) / file.samplerate
                    yield samples if resampler is None else resampler.resample_chunk(samples, last=left == 0)
            except soundfile.LibsndfileError as error:
                raise AudioError(
                    f"{self.clip.path}: damaged: {_reason(error)}; copy it again from its source"
                ) from error
            self._note(peak)

    def _resampler(self, file_rate: int) -> Any:
        if self.sample_rate in (None, file_rate):
            return None
        import soxr

        return soxr.ResampleStream(file_rate, self.sample_rate, 1, dtype="float32", quality="HQ")

    def _note(self, peak: float) -> None:
        if self.silent:
            self.notes.append("digital silence: is the microphone connected?")
        elif peak >= 1.0:
            self.notes.append("clipped: the level reaches full scale")


def read(clip: Clip, *, sample_rate: int | None = None, channel: Channel = "mix") -> Audio:
    """Read a whole clip into memory; parameters and errors as for `ClipReader`."""
    reader = ClipReader(clip, sample_rate=sample_rate, channel=channel)
    samples = np.concatenate(list(reader))
    return Audio(samples[np.newaxis], sample_rate or reader.file_rate, str(clip))


def duration_of(path: Path) -> float:
    """Return the length of a recording in seconds, from its header."""
    with _open(path) as file:
        return float(file.frames / file.samplerate)


def _open(path: Path) -> Any:
    import soundfile

    if not path.exists():
        raise AudioError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: empty file (0 bytes); copy it again from its source")
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        if not path.exists():  # pragma: no cover - deleted between the check and the opening
            raise AudioError(f"{path}: no such file") from error
        raise AudioError(
            f"{path}: not a recording that libsndfile can read ({_reason(error)}); expected WAV, FLAC, OGG, MP3 or AIFF"
        ) from error
    promised = re.search(r"^data\s*: (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    # Recorders that write to a pipe can't know the length: they leave the largest number there is.
    if promised and int(promised[2]) < int(promised[1]) < 0x7FFFF000:
        file.close()
        raise AudioError(
            f"{path}: cut off: its header promises {promised[1]} bytes of sound, the file holds {promised[2]}; "
            "copy it again from its source"
        )
    return file


def _check_channel(channel: Channel, channels: int, path: Path) -> int | None:
    if channel == "mix":
        return None
    if not 1 <= channel <= channels:
        raise AudioError(
            f"{path}: has {channels} channel(s), asked for channel {channel}; use --channel mix or 1–{channels}"
        )
    return channel - 1


def _reason(error: Any) -> str:
    text = str(error.error_string).strip().rstrip(".").removeprefix("Error : ")
    return text or f"libsndfile error {error.code}"
