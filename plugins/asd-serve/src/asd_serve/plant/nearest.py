"""The healthy clip to compare an alarm with by ear: of those that were kept, the one that sounds most like it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from asd.plugin import Float64
from asd_listen import Kept, LevelMeter

_LOOKED_AT = 60
"""Healthy clips that are compared: some weeks of them."""
_LEAST = 1.0
"""Seconds of sound from the alarm on that are enough to be compared; with less, all that was kept is."""


@dataclass(frozen=True)
class Nearest:
    """The healthy clip to compare with.

    Parameters
    ----------
    clip : Kept
        The clip.
    distance : float or None
        Difference in dB that half of the 1/3-octave bands are below.
    by : {"levels", "time"}
        By what it is the nearest.
    text : str
        The same for people.
    """

    clip: Kept
    distance: float | None
    by: str
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return {
            "time": self.clip.began,
            "seconds": self.clip.seconds,
            "distance": self.distance,
            "by": self.by,
            "text": self.text,
        }


def nearest(sound: Kept | None, moment: float, healthy: list[Kept]) -> Nearest | None:
    """Return the healthy clip that is most like a sound: by the levels in bands, or if they are not known by time.

    The median over bands is compared: a fault raises some of them, and must not choose the clip.

    Parameters
    ----------
    sound : Kept or None
        What was kept of the alarm.
    moment : float
        When the alarm was raised.
    healthy : list of Kept
        The healthy clips of the machine.
    """
    there = [(clip, path) for clip in healthy if (path := clip.path()) is not None]
    if not there:
        return None
    there.sort(key=lambda each: abs(each[0].began - moment))
    path = sound.path() if sound is not None else None
    own = None if sound is None or path is None else _measured(path, max(0.0, moment - sound.began))
    found = []
    for clip, file in there[:_LOOKED_AT] if own is not None else ():
        other = _measured(file)
        if other is not None and own is not None:
            count = min(len(own), len(other))
            found.append((float(np.median(np.abs(own[:count] - other[:count]))), clip))
    if not found:
        return Nearest(there[0][0], None, "time", f"of {len(there)} healthy clips that were kept, the nearest in time")
    distance, clip = min(found, key=lambda each: each[0])
    text = (
        f"of {len(found)} healthy clips that were kept, the one most like it: half of the 1/3-octave bands differ by "
        f"at most {distance:.1f} dB"
    )
    return Nearest(clip, round(distance, 2), "levels", text)


def _measured(path: Path, start: float = 0.0) -> Float64 | None:
    try:
        status = path.stat()
    except OSError:  # deleted meanwhile
        return None
    return _bands(str(path), start, status.st_mtime_ns, status.st_size)


@lru_cache(512)
def _bands(path: str, start: float, _changed: int, _size: int) -> Float64 | None:
    """Return the mean level in dB of each 1/3-octave band of a recording, or of what follows `start`."""
    import soundfile

    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError):
        return None
    first = round(start * rate)
    mono = samples.mean(axis=1)
    used = mono[first:] if len(mono) - first >= _LEAST * rate else mono
    seconds = LevelMeter().add(np.ascontiguousarray(used), rate, 0.0)
    if not seconds:
        return None
    mean = np.mean([second.bands for second in seconds], axis=0)
    return np.asarray(10 * np.log10(np.maximum(mean, 1e-15)))
