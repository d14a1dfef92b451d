"""Short sounds for a page's players."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)

Format = Literal["mp3", "flac"]


@dataclass(frozen=True)
class Sound:
    """A sound file's content.

    Parameters
    ----------
    data : bytes
        The content.
    media_type : str
        ``"audio/mpeg"`` or ``"audio/flac"``.
    seconds : float
        How long it is.
    whole : bool
        Whether it holds all samples that were given; False: its end was cut off.
    """

    data: bytes
    media_type: str
    seconds: float
    whole: bool


def encode(
    samples: npt.NDArray[np.floating],
    sample_rate: int,
    *,
    file_format: Format = "mp3",
    seconds: float = 15.0,
    limit: int = 300_000,
) -> Sound:
    """Return a sound as browsers play it; what is longer or larger than allowed loses its end.

    Parameters
    ----------
    samples : float array of shape (n,) or (channels, n)
        Full scale is ±1; what is above is clipped. Channels are mixed.
    sample_rate : int
        In Hz.
    file_format : {"mp3", "flac"}
        MP3 takes about 8 kB a second and every browser plays it. FLAC loses nothing and takes three times as much; it
        is also taken for rates that MP3 does not have, and where libsndfile cannot write MP3.
    seconds : float
        The longest that is kept.
    limit : int
        The largest content, in bytes.

    Raises
    ------
    ValueError
        If there are no samples.
    """
    import soundfile

    mono = np.asarray(samples, np.float32)
    mono = np.clip(np.nan_to_num(mono.mean(axis=0) if mono.ndim > 1 else mono), -1.0, 1.0)
    if not len(mono):
        raise ValueError("a sound needs samples, got none")
    mp3 = file_format == "mp3" and sample_rate in _MP3_RATES and "MP3" in soundfile.available_formats()
    kept = min(len(mono), max(1, round(seconds * sample_rate)))
    data = _encoded(mono[:kept], sample_rate, mp3=mp3)
    while len(data) > limit and kept > sample_rate // 10:
        kept = int(kept * min(0.9, limit / len(data)))
        data = _encoded(mono[:kept], sample_rate, mp3=mp3)
    return Sound(data, "audio/mpeg" if mp3 else "audio/flac", kept / sample_rate, kept == len(mono))


def _encoded(mono: npt.NDArray[np.float32], sample_rate: int, *, mp3: bool) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    subtype = "MPEG_LAYER_III" if mp3 else "PCM_16"
    soundfile.write(buffer, mono, sample_rate, format="MP3" if mp3 else "FLAC", subtype=subtype)
    return buffer.getvalue()
