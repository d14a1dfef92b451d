"""Recordings that are arrays in memory: they have a path like any other, and no file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from asd.errors import DataError
from asd.records import Float32
from asd.sound.decoding import RATES, block_frames
from asd.sound.layout import Layout
from asd.sound.levels import INTEGER_SCALE, SCALED_NOTE, has_integer_scale

if TYPE_CHECKING:
    _ConcretePath = Path
else:
    _ConcretePath = type(Path())  # Python 3.11 derives no class from Path itself

MOST_CHANNELS = 16
"""More are no channels: an array of shape (n_clips, n) would be mixed to a single clip."""
_INTEGER_BYTES = (1, 2, 4)


class ArraySound:
    """Sound in memory, opened like a file; see `asd.sound.decoding.Sound`.

    Parameters
    ----------
    samples : float32 array of shape (n, channels)
        Full scale is ±1. It must not change any more.
    rate : int
        Sample rate in Hz.
    notes : tuple of str
        What the user should know about it.
    given_as : str
        The type of the samples before they were converted.

    Attributes
    ----------
    sha256 : str
        Identifies the content: samples and rate.
    """

    is_float = False
    is_mpeg = False

    def __init__(self, samples: Float32, rate: int, notes: tuple[str, ...] = (), given_as: str = "float32") -> None:
        self.samples = samples
        self.given_as = given_as
        self.rate = rate
        self.frames, self.channels = samples.shape
        self.layout = Layout((), notes=notes)
        digest = hashlib.sha256(f"array {samples.shape} {rate}".encode())
        digest.update(samples.data)
        self.sha256 = digest.hexdigest()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Keep the samples: they may be read again."""

    def blocks(self, first: int, count: int | None) -> Iterator[Float32]:
        """Yield blocks of shape (n, channels); see `asd.sound.decoding.Sound.blocks`."""
        end = self.frames if count is None else min(self.frames, first + count)
        size = block_frames(self.rate, self.channels)
        for start in range(first, end, size):
            yield self.samples[start : min(start + size, end)].copy()


class ArrayPath(_ConcretePath):
    """The path of a recording that is an array: its name says so, and its content is in memory.

    Equal are paths of one name and one content. Paths made from it, such as its parent, hold no sound.
    """

    sound: ArraySound | None = None

    @classmethod
    def of(cls, name: str, sound: ArraySound) -> Self:
        """Return the path of a sound, under a name of the caller's choice."""
        seconds = sound.frames / sound.rate
        path = cls(f"{name} ({seconds:.{3 if seconds < 1000 else 6}g} s, {sound.rate} Hz)")
        path.sound = sound
        return path

    def exists(self, **options: Any) -> bool:
        """Return whether there is something to read: the sound, if the path holds it."""
        return self.sound is not None or super().exists(**options)

    def with_segments(self, *parts: Any) -> Path:
        """Return the path that is made from this one: a plain one (Python 3.12 and later ask for it)."""
        return Path(*parts)

    def __eq__(self, other: object) -> bool:
        own, its = self.sound, held(other)
        if own is None or its is None:
            return own is its and super().__eq__(other)
        return str(self) == str(other) and own.sha256 == its.sha256

    def __hash__(self) -> int:
        return hash((str(self), self.sound and self.sound.sha256))

    def __reduce__(self) -> Any:
        return _restored, (str(self), self.sound)


def _restored(name: str, sound: ArraySound | None) -> ArrayPath:
    path = ArrayPath(name)
    path.sound = sound
    return path


def held(path: object) -> ArraySound | None:
    """Return the sound of a path that is an array; None: it is that of a file."""
    return path.sound if isinstance(path, ArrayPath) else None


def sound_of(samples: Any, rate: Any, name: str) -> ArraySound:
    """Return a copy of an array as sound.

    Parameters
    ----------
    samples : array of shape (n,), (n, channels) or (channels, n)
        The longer axis is time. Floating-point samples have a full scale of ±1; integers, signed or unsigned, of 8,
        16 or 32 bits have that of their type. Anything that NumPy can read, such as a tensor on the CPU.
    rate : int
        Sample rate in Hz.
    name : str
        What the text of an error calls it.

    Raises
    ------
    DataError
        If it is no such array, or `rate` no sample rate.
    """
    given = _as_array(samples, name)
    hertz = _rate(rate, name)
    values, notes = _full_scale(_time_first(given, name), name)
    return ArraySound(values, hertz, notes, given.dtype.name)


def _as_array(samples: Any, name: str) -> npt.NDArray[Any]:
    if isinstance(samples, np.ma.MaskedArray) and (masked := int(np.ma.getmaskarray(samples).sum())):
        raise DataError(f"{name}: {masked} of {samples.size} samples are masked; fill them, or cut the array there")
    try:
        array = np.asarray(samples)
    except Exception as error:  # a tensor with a gradient, or of another device, raises what it likes
        reason = " ".join(str(error).split()).partition(". ")[0]
        mend = "give .detach().cpu().float() of it" if hasattr(samples, "detach") else "convert it"
        raise DataError(f"{name}: NumPy cannot read this {type(samples).__name__} ({reason}); {mend}") from error
    if array.dtype.kind not in "fiu":
        hint = "give its parts by themselves, as a list of arrays" if array.dtype.kind == "O" else "convert it"
        raise DataError(f"{name}: holds values of type {array.dtype}, expected floats or integers; {hint}")
    return array


def _time_first(array: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """Return an array (n, channels); the longer axis is time."""
    if array.ndim == 1:
        return array[:, np.newaxis]
    shown = f"{name}: has the shape {array.shape}"
    if array.ndim != 2:
        raise DataError(
            f"{shown}, expected (n,), (n, channels) or (channels, n); several clips are a list of arrays, list(array)"
        )
    time_first = array if array.shape[0] > array.shape[1] else array.T
    if not array.size:
        return time_first.reshape(0, 1)
    if array.shape[0] == array.shape[1] > 1:
        raise DataError(f"{shown}: which axis is time cannot be told; give one channel, or more samples")
    if time_first.shape[1] > MOST_CHANNELS:
        raise DataError(
            f"{shown}: {time_first.shape[1]} channels, at most {MOST_CHANNELS} are taken; if each row is a clip, give "
            "list(array)"
        )
    return time_first


def _rate(rate: Any, name: str) -> int:
    if rate is None:
        raise DataError(f"{name}: its sample rate is not known; give rate=16000 (in Hz), or (samples, rate) pairs")
    try:
        whole = int(rate)
        fits = whole == rate and not isinstance(rate, bool) and RATES[0] <= whole <= RATES[1]
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise DataError(
            f"{name}: the sample rate is {rate!r}, expected Hz, a whole number from {RATES[0]} to {RATES[1]:,}"
        )
    return whole


def _full_scale(array: npt.NDArray[Any], name: str) -> tuple[Float32, tuple[str, ...]]:
    """Return a copy of an array as samples of full scale ±1, and what is to be said of it."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "f":
        with np.errstate(over="ignore"):  # what is beyond single precision is no sound: reading it says so
            samples = np.array(array, np.float32, order="C")
        if not has_integer_scale([samples]):
            return samples, ()
        return samples / np.float32(INTEGER_SCALE), (SCALED_NOTE,)
    if size not in _INTEGER_BYTES:
        raise DataError(
            f"{name}: {array.dtype} has no full scale of sound: convert it to the type that it was recorded in, such "
            "as array.astype('int16'), or divide it by its full scale"
        )
    full_scale = 2.0 ** (8 * size - 1)
    middle = full_scale if kind == "u" else 0.0  # unsigned samples are offset, as in 8-bit WAV files
    return np.array((array - middle) / full_scale, np.float32, order="C"), ()
