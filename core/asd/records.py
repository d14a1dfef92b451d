"""Records of a pipeline: sound, its windows, and the description of what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

Channel = Literal["mix"] | int
"""``"mix"`` (the mean of all channels) or the number of one channel, counted from 1."""


@dataclass(frozen=True)
class Audio:
    """A stretch of sound.

    Parameters
    ----------
    samples : float32 array of shape (channels, n)
        Full scale is ±1.
    sample_rate : int
        In Hz.
    source : str or None
        Where it comes from, for messages.
    """

    samples: Float32
    sample_rate: int
    source: str | None = None


@dataclass(frozen=True)
class Clip:
    """A recording, or a part of one, that is judged as a unit.

    Parameters
    ----------
    path : Path
        The file.
    start : float
        Start of the part in seconds.
    duration : float or None
        Length of the part in seconds; None: to the end of the file.
    group : str or None
        State, speed, machine or place that it belongs to; None: not known. Clips that differ in it alone are equal.
    """

    path: Path
    start: float = 0.0
    duration: float | None = None
    group: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        if self.duration is None:
            return f"{self.path} [{self.start:g} s–]" if self.start else str(self.path)
        return f"{self.path} [{self.start:g}–{self.start + self.duration:g} s]"


@dataclass(frozen=True)
class Representation:
    """What a front end produces and an extractor takes.

    Parameters
    ----------
    kind : str
        ``"image"`` (channels, height, width), ``"patch"`` (bands, frames), ``"vector"`` (values,) or
        ``"waveform"`` (samples,); plugins may add kinds.
    shape : tuple of (int or None)
        Shape of one window; None stands for any size.
    sample_rate : int or None
        Rate in Hz of the sound it was made from; None: any.
    """

    kind: str
    shape: tuple[int | None, ...]
    sample_rate: int | None = None

    def accepts(self, other: Representation) -> bool:
        """Return whether an input that asks for this representation can be fed `other`."""
        if self.kind == "any":
            return True
        return (
            self.kind == other.kind
            and len(self.shape) == len(other.shape)
            and all(a is None or b is None or a == b for a, b in zip(self.shape, other.shape, strict=True))
            and (None in (self.sample_rate, other.sample_rate) or self.sample_rate == other.sample_rate)
        )

    def __str__(self) -> str:
        sizes = ", ".join("any" if size is None else str(size) for size in self.shape)
        return f"{self.kind} ({sizes}{',' if len(self.shape) == 1 else ''})"


@dataclass(frozen=True)
class Windows:
    """What a front end makes of a stretch of sound.

    Parameters
    ----------
    values : array of shape (n_windows, *shape)
        A NumPy array, or anything with ``__dlpack__``.
    start : float64 array of shape (n_windows,)
        Start of each window in seconds from the beginning of the stretch.
    duration : float
        Length of a window in seconds.
    """

    values: Any
    start: Float64
    duration: float


@dataclass(frozen=True)
class Rows:
    """Where the rows of training features come from.

    Parameters
    ----------
    clip : int64 array of shape (n,)
        Number of the clip that each row comes from; equal numbers: one clip. Windows of one clip are near-copies.
    group : int64 array of shape (n,), or None
        Number of the group (state, speed, machine) that each row's clip belongs to, -1: not known; None: no clip's
        group is known.
    """

    clip: Int64
    group: Int64 | None = None


@dataclass(frozen=True)
class FeatureInfo:
    """What one value of an embedding measures, for the explanation of a score.

    Parameters
    ----------
    name : str
        The quantity (``"level"``, ``"fast fluctuation"``).
    unit : str
        Its unit (``"dB"``); empty if it has none.
    band : tuple of (float, float), or None
        Lowest and highest frequency in Hz that it covers; None: all, or it is no matter of frequency.
    """

    name: str
    unit: str = ""
    band: tuple[float, float] | None = None


@dataclass(frozen=True)
class Recording:
    """A file of a dataset, with what the dataset says of it.

    Parameters
    ----------
    path : Path
        The file.
    machine : str
        Machine type, as the dataset writes it (``"fan"``, ``"ToyCar"``).
    section : str
        Machine id or section; empty if the dataset has none.
    split : {"train", "test"} or None
        The official split; None if the dataset leaves it to the experiment.
    anomalous : bool or None
        The label; None if it is not published.
    domain : {"source", "target"} or None
        The recording conditions that training knows well, or hardly; None if the dataset makes no difference.
    attributes : mapping of str to str
        Further facts (speed, load, noise, signal-to-noise ratio …) by the dataset's own names.
    """

    path: Path
    machine: str
    section: str = ""
    split: Literal["train", "test"] | None = None
    anomalous: bool | None = None
    domain: Literal["source", "target"] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RemoteFile:
    """A file that a dataset's publisher offers.

    Parameters
    ----------
    url : str
        Where the publisher offers it; its last part is the file's name.
    folder : str
        Where it belongs, or is unpacked if it is a zip archive, below the dataset's folder.
    checksum : str or None
        ``"md5:…"`` or ``"sha256:…"`` as the publisher states it; None if that is not known.
    size : int or None
        Bytes as the publisher states them; None if that is not known.
    """

    url: str
    folder: str = ""
    checksum: str | None = None
    size: int | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Block:
    """A stretch of sound that a source delivers while it comes.

    Parameters
    ----------
    samples : float32 array of shape (n, channels)
        Full scale is ±1. Values that are not finite are the listener's to tell.
    sample_rate : int
        In Hz; may change from block to block, which the listener tells.
    time : float
        When the first sample was recorded, in seconds since 1970.
    name : str or None
        Of sound that comes in files: the file; no clip reaches from one into the next. None: one endless recording.
    """

    samples: Float32
    sample_rate: int
    time: float
    name: str | None = None


Severity = Literal["info", "warning", "alarm"]


@dataclass(frozen=True)
class Event:
    """Something that happened to a machine, or to the listening itself, and that somebody is to be told.

    Parameters
    ----------
    id : str
        Unique, for ever; what is delivered twice has the same.
    time : float
        In seconds since 1970.
    machine : str
        Name of the machine, as the user gave it; may hold any characters.
    kind : str
        ``"alarm"``, ``"cleared"``, ``"unlike"``, ``"drift"``, ``"acknowledged"``, ``"condition"`` (the recording is at
        fault: silence, a gap …), ``"condition-over"``, ``"started"``, ``"stopped"``.
    severity : {"info", "warning", "alarm"}
        How urgent it is.
    text : str
        One sentence for people.
    data : mapping of str to Any
        Details that JSON can hold: evidence, p-value, name of the condition, explanation, files kept.
    """

    id: str
    time: float
    machine: str
    kind: str
    severity: Severity
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
