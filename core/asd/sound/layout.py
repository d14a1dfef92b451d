"""Where the sound lies in a file: a description of its streams, and a view of the bytes of one."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import BinaryIO

END_MISSING = "its end is missing (cut off, or the recorder was stopped): what can be decoded is used"


@dataclass(frozen=True)
class Part:
    """An encoded stream in a file.

    Parameters
    ----------
    start, end : int
        The bytes of the file that belong to it.
    head : bytes
        A corrected header to read before them.
    frames : int or None
        How many samples per channel it holds at least; None: as many as the decoder says.
    seekable : bool
        Whether libsndfile may seek in it.
    entries : tuple of (int, int)
        Where decoding may begin besides the start, if it may not: (sample, byte), in order.
    header_end : int
        Where the sound begins: the bytes before it are needed to decode from an entry.
    """

    start: int
    end: int
    head: bytes = b""
    frames: int | None = None
    seekable: bool = True
    entries: tuple[tuple[int, int], ...] = ()
    header_end: int = 0


@dataclass(frozen=True)
class Layout:
    """What a file holds.

    Parameters
    ----------
    parts : tuple of Part
        Streams that follow each other; more than one where recordings were concatenated.
    stated : float or None
        The length that the header states as a share of the true one, where the two differ.
    notes : tuple of str
        What the user should know about the file.
    """

    parts: tuple[Part, ...]
    stated: float | None = None
    notes: tuple[str, ...] = ()


class PartFile(io.RawIOBase):
    """The bytes of a part as a file of its own, for decoders in C.

    Nothing is raised: seeking to where a damaged header says goes to the nearest position, and an error of reading
    ends the file and is kept in `error`.
    """

    def __init__(self, file: BinaryIO, part: Part) -> None:
        self.error: OSError | None = None
        self._file, self._part, self._position = file, part, 0
        self._size = len(part.head) + part.end - part.start

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position, or to the nearest that there is."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = min(max(base + offset, 0), self._size)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer`; return the number of bytes that there were."""
        wanted = len(buffer)
        head = self._part.head[self._position : self._position + wanted]
        begin = self._part.start + max(self._position - len(self._part.head), 0)
        try:
            self._file.seek(begin)
            data = head + self._file.read(max(0, min(wanted - len(head), self._part.end - begin)))
        except OSError as error:
            self.error = error
            return 0
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
