"""The last clips that a monitor watched, one by one, in columns: all their memory is taken when the monitor begins.

As objects of Python they took a megabyte, which grew for five and a half hours: what looks like a leak cannot be told
from one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from asd.detection.bag import BINS
from asd.detection.states import MOST

RECENT = 2000
"""Clips that are remembered one by one: five and a half hours, if each lasts 10 s."""

_ARRAY = 0xDD
"""What an array of MessagePack begins with, whose length has 32 bits."""
_AT_ONCE = 50

Bin = Annotated[int, Meta(ge=0, lt=BINS * (MOST + 1))]
Count = Annotated[int, Meta(ge=0)]
Rows = npt.NDArray[np.void]


class Watched(msgspec.Struct, array_like=True):
    """A clip that was watched, as the file has it: when, its name, and its bin in the bag.

    Further its p-values among the clips watched and by the model, whether a bag holds it, and which: that of an
    accepted sound, or 0; and whether somebody took it for healthy later: its p-value is then not a healthy one.
    """

    time: float
    clip: str
    number: Bin
    p_value: float
    of_fit: float
    counted: bool
    sound: Count = 0
    taken: bool = False


_TYPES: dict[str, Any] = {"time": "f8", "clip": "O", "number": "i8", "p_value": "f8", "of_fit": "f8"}
_ROW = np.dtype([*_TYPES.items(), ("counted", "?"), ("sound", "i8"), ("taken", "?")])
"""The fields of `Watched`."""


class Recent:
    """The last `RECENT` clips.

    Parameters
    ----------
    clips : iterable of Watched
        In the order of time; of more than `RECENT` the last ones.
    """

    def __init__(self, clips: Iterable[Watched] = ()) -> None:
        self._rows = np.zeros(2 * RECENT, _ROW)  # the clips wander to its end, and begin anew at its start
        self._rows["p_value"] = self._rows["of_fit"] = 1.0  # writes into all of it, or it would be taken bit by bit
        self._end = 0
        for each in clips:
            self.append(each)

    def __len__(self) -> int:
        """Return how many there are."""
        return min(self._end, RECENT)

    @property
    def rows(self) -> Rows:
        """The clips, structured array of shape (n,) with the fields of `Watched`, in the order of time.

        It is a view until the next `append`: what is written into one of its fields is kept.
        """
        return self._rows[max(0, self._end - RECENT) : self._end]

    def append(self, clip: Watched) -> None:
        """Remember a clip, and forget the oldest one, if there are too many."""
        if self._end == len(self._rows):
            self._rows[:RECENT] = self._rows[RECENT:]
            self._end = RECENT
        self._rows[self._end] = msgspec.structs.astuple(clip)
        self._end += 1
        if self._end > RECENT:
            self._rows["clip"][self._end - RECENT - 1] = 0  # its name is of no use any more


def plain(value: object) -> Any:
    """Return the clips as MessagePack, made some at a time: thousands of objects at once would need new memory.

    The ``enc_hook`` of msgspec.
    """
    if isinstance(value, Recent):
        encoder = msgspec.msgpack.Encoder()
        packed = bytearray(struct.pack(">BI", _ARRAY, len(value)))
        for first in range(0, len(value), _AT_ONCE):
            for row in value.rows[first : first + _AT_ONCE].tolist():
                encoder.encode_into(row, packed, -1)
        return msgspec.Raw(packed)
    raise NotImplementedError(f"{type(value).__name__} is not kept in a monitor's file")


def made(kind: type, value: Any) -> Any:
    """Return the clips that `plain` gave; the ``dec_hook`` of msgspec.

    Raises
    ------
    msgspec.ValidationError
        If they are none.
    """
    if kind is Recent:
        return Recent(msgspec.convert(value, list[Watched]))
    raise NotImplementedError(f"{kind.__name__} is not kept in a monitor's file")
