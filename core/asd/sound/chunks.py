"""Recordings in chunks (WAV, RF64, BW64, W64, AIFF, CAF, AU): find the sound, correct sizes that are not true."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from asd.errors import AudioError
from asd.sound.frames import mpeg, tag_length
from asd.sound.layout import Layout, Part

_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_W64_RIFF = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
_MAGICS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"caff", b".snd", b"dns.", _W64_RIFF)
_METADATA = frozenset(
    {b"LIST", b"bext", b"iXML", b"axml", b"JUNK", b"junk", b"PAD ", b"FLLR", b"fact", b"cue ", b"smpl", b"id3 "}
)
_MP3_IN_WAV = frozenset({0x50, 0x55})
_LARGEST_HEAD = 1 << 24
_MOST_CHUNKS = 10_000
_FOOTER = 4096
"""Bytes behind the sound that are too few to be sound that a header forgot."""


@dataclass(frozen=True)
class _Family:
    """How a family of formats writes its chunks: an id, a size, the content, padding."""

    size: struct.Struct
    sound: bytes
    first: int
    id_length: int = 4
    align: int = 2
    counts_header: bool = False
    trailing: bool = False  # what is needed for decoding may come behind the sound


_RIFF = _Family(struct.Struct("<I"), b"data", 12)
_RIFX = _Family(struct.Struct(">I"), b"data", 12)
_AIFF = _Family(struct.Struct(">I"), b"SSND", 12, trailing=True)
_CAF = _Family(struct.Struct(">q"), b"data", 8, align=1, trailing=True)
_W64 = _Family(struct.Struct("<Q"), b"data" + _W64_TAIL, 40, id_length=16, align=8, counts_header=True)


@dataclass(frozen=True)
class _Chunk:
    id: bytes
    size_at: int
    body: int
    size: int
    following: int

    @property
    def is_named(self) -> bool:
        """Whether its id is one that a program would write."""
        return self.id.endswith(_W64_TAIL[-6:]) if len(self.id) == 16 else all(32 <= byte < 127 for byte in self.id)


@dataclass(frozen=True)
class _Extent:
    """How far the sound goes; `another` is where a further recording begins."""

    length: int
    stated: float | None = None
    note: str | None = None
    another: int | None = None


def chunked(file: BinaryIO, begin: int, end: int) -> Layout | None:
    """Return the layout of a file whose first bytes are of one of the formats; None if it is of another.

    Raises
    ------
    AudioError
        If the header states more sound than there is (the text lacks the path).
    """
    layouts = []
    while begin < end and (layout := _first(file, begin, end)):
        layouts.append(layout)
        begin = layout.parts[-1].end
    if len(layouts) < 2:
        return layouts[0] if layouts else None
    parts, notes = zip(*((layout.parts, layout.notes) for layout in layouts), strict=True)
    return Layout(tuple(itertools.chain(*parts)), None, tuple(itertools.chain(*notes)))


def _first(file: BinaryIO, begin: int, end: int) -> Layout | None:
    """Return the layout of the recording that begins here, without what was appended to it."""
    magic = _read(file, begin, 16)
    if magic[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and magic[8:12] == b"WAVE":
        return _wave(file, begin, end, magic[:4])
    if magic[:4] == b"FORM" and magic[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(file, begin, end)
    if magic[:4] == b"caff":
        return _caf(file, begin, end)
    if magic == _W64_RIFF:
        return _w64(file, begin, end)
    if magic[:4] in (b".snd", b"dns."):
        return _au(file, begin, end, ">" if magic[:4] == b".snd" else "<")
    return None


def _wave(file: BinaryIO, begin: int, end: int, magic: bytes) -> Layout | None:
    family = _RIFX if magic == b"RIFX" else _RIFF
    found = {chunk.id: chunk for chunk in _chunks(file, family, begin + family.first, end)}
    if (data := found.get(b"data")) is None:
        return None
    ds64 = found.get(b"ds64") if magic in (b"RF64", b"BW64") else None
    size: int | None = data.size
    if ds64 and size == 0xFFFFFFFF:
        (size,) = struct.unpack("<Q", _read(file, ds64.body + 8, 8).ljust(8, b"\0"))
        size = None if size >= 1 << 63 else size
    elif _is_placeholder(data.size):
        size = None
    extent = _extent(file, family, begin, data.body, size, end)
    form = found.get(b"fmt ")
    if form and int.from_bytes(_read(file, form.body, 2), "little") in _MP3_IN_WAV:
        return mpeg(file, data.body, data.body + extent.length)
    head = b""
    if extent.length != size or magic == b"BW64":
        total = data.body - begin + extent.length
        if ds64:
            sizes = struct.pack("<QQ", total - 8, extent.length)
            patches = {begin: b"RF64", ds64.body: sizes, data.size_at: b"\xff" * 4}
            head = _head(file, begin, data.body, patches)
        elif total < 1 << 32:
            patches = {begin + 4: family.size.pack(total - 8), data.size_at: family.size.pack(extent.length)}
            head = _head(file, begin, data.body, patches)
        else:
            head = _head(file, begin, data.body, {data.size_at: b"\xff" * 4})
            sizes = struct.pack("<QQQI", total + 28, extent.length, 0, 0)
            head = b"RF64" + b"\xff" * 4 + b"WAVEds64" + struct.pack("<I", len(sizes)) + sizes + head[12:]
    return _layout(file, begin, data.body, end, extent, head)


def _aiff(file: BinaryIO, begin: int, end: int) -> Layout | None:
    data = _sound_chunk(file, _AIFF, begin, end)
    if data is None:
        return None
    skipped = 8 + int.from_bytes(_read(file, data.body, 4), "big")
    size = None if _is_placeholder(data.size) else max(0, data.size - skipped)
    body = data.body + skipped
    if body > end:
        return None
    extent = _extent(file, _AIFF, begin, body, size, end)
    head = b""
    if extent.length != size:
        total = body - begin + extent.length
        if total >= 1 << 32:
            raise AudioError("an AIFF file over 4 GiB, more than its format can hold; export it as WAV, W64 or FLAC")
        patches = {begin + 4: struct.pack(">I", total - 8), data.size_at: struct.pack(">I", extent.length + skipped)}
        head = _head(file, begin, body, patches)
    return _layout(file, begin, body, end, extent, head, _AIFF)


def _caf(file: BinaryIO, begin: int, end: int) -> Layout | None:
    data = _sound_chunk(file, _CAF, begin, end)
    if data is None:
        return None
    body = data.body + 4  # an edit count stands before the sound
    size = None if data.size == -1 else max(0, data.size - 4)
    extent = _extent(file, _CAF, begin, body, size, end)
    head = b""
    if extent.length != size:
        head = _head(file, begin, body, {data.size_at: struct.pack(">q", extent.length + 4)})
    return _layout(file, begin, body, end, extent, head, _CAF)


def _w64(file: BinaryIO, begin: int, end: int) -> Layout | None:
    data = _sound_chunk(file, _W64, begin, end)
    if data is None:
        return None
    size = None if data.size >= (1 << 63) - 64 else max(0, data.size)
    extent = _extent(file, _W64, begin, data.body, size, end)
    total = data.body - begin + extent.length
    patches = {begin + 16: struct.pack("<Q", total), data.size_at: struct.pack("<Q", extent.length + 24)}
    return _layout(file, begin, data.body, end, extent, _head(file, begin, data.body, patches))


def _au(file: BinaryIO, begin: int, end: int, order: str) -> Layout | None:
    offset, stated = struct.unpack(order + "II", _read(file, begin + 4, 8).ljust(8, b"\0"))
    body = begin + offset
    if not 24 <= offset <= end - begin:
        return None
    size = None if stated == 0xFFFFFFFF else stated
    extent = _extent(file, None, begin, body, size, end)
    head = b""
    if extent.length != size:
        head = _head(file, begin, body, {begin + 8: struct.pack(order + "I", min(extent.length, 0xFFFFFFFF))})
    return _layout(file, begin, body, end, extent, head)


def _layout(
    file: BinaryIO, begin: int, body: int, end: int, extent: _Extent, head: bytes, family: _Family | None = None
) -> Layout:
    """Return the layout of a recording whose sound begins at `body`."""
    stop = body + extent.length
    if extent.another is not None:
        stop = extent.another
    elif family and family.trailing:
        stop = end
    part = Part(body, stop, head) if head else Part(begin, stop)
    return Layout((part,), extent.stated, (extent.note,) if extent.note else ())


def _extent(file: BinaryIO, family: _Family | None, begin: int, body: int, size: int | None, end: int) -> _Extent:
    """Return how far the sound goes that begins at `body` and has `size` bytes by its header (None: unknown)."""
    there = max(0, end - body)
    if size is None:
        return _Extent(there)
    if size > there + body - begin:  # less is a header that counted itself
        raise AudioError(
            f"cut off: its header states {size} bytes of sound, the file holds {there}; copy it again from its source"
        )
    if size > there:
        return _Extent(there, size / there if there else None)
    rest = body + size
    if family:
        rest += -size % family.align
    if rest >= end:
        return _Extent(size)
    behind = _behind(file, family, rest, end)
    if behind is not None or _is_zero(file, rest, end):
        return _Extent(size, another=behind if behind is not None and behind < end else None)
    if end - rest < min(_FOOTER, size // 100):
        return _Extent(size, note=f"{end - rest} bytes behind the sound, which its header does not name, are left out")
    return _Extent(there, size / there)


def _is_placeholder(size: int) -> bool:
    """Return whether a size of 32 bits is what programs that write to a pipe leave: nearly 2 or 4 GiB."""
    return 0x7FFF0000 <= size <= 0x80010000 or size >= 0xFFFF0000


def _behind(file: BinaryIO, family: _Family | None, at: int, end: int) -> int | None:
    """Return where another recording begins behind tags and chunks, `end` if none does; None if they are not that."""
    seen = False
    while at < end:
        data = _read(file, at, 16)
        if data.startswith(_MAGICS):
            return at
        if length := tag_length(data):
            at += length
            continue
        chunk = next(_chunks(file, family, at, end), None) if family else None
        if family is None or chunk is None or not chunk.is_named or chunk.size < 0:
            return end if seen else None
        seen |= chunk.id in _METADATA
        if chunk.following - end >= family.align and not seen:
            return None
        at = chunk.following
    return end


def _is_zero(file: BinaryIO, begin: int, end: int) -> bool:
    file.seek(begin)
    while begin < end and (block := file.read(min(1 << 20, end - begin))):
        if block.strip(b"\0"):
            return False
        begin += len(block)
    return True


def _sound_chunk(file: BinaryIO, family: _Family, begin: int, end: int) -> _Chunk | None:
    chunks = _chunks(file, family, begin + family.first, end)
    return next((chunk for chunk in chunks if chunk.id == family.sound), None)


def _chunks(file: BinaryIO, family: _Family, at: int, end: int) -> Iterator[_Chunk]:
    """Yield the chunks from `at` on, up to the sound."""
    header = family.id_length + family.size.size
    for _ in range(_MOST_CHUNKS):
        if at + header > end:
            return
        data = _read(file, at, header)
        if len(data) < header:
            return
        size = family.size.unpack(data[family.id_length :])[0] - (header if family.counts_header else 0)
        body = at + header
        at = body + max(size, 0)
        at += -(at - body) % family.align
        yield _Chunk(data[: family.id_length], body - family.size.size, body, size, at)
        if data[: family.id_length] == family.sound:
            return


def _head(file: BinaryIO, begin: int, body: int, patches: dict[int, bytes]) -> bytes:
    """Return the bytes from `begin` to `body`, with `patches` written over the file's positions."""
    if body - begin > _LARGEST_HEAD:
        raise AudioError(f"its sound begins only after {body - begin} bytes, and its sizes are wrong; export it again")
    head = bytearray(_read(file, begin, body - begin))
    for at, data in patches.items():
        head[at - begin : at - begin + len(data)] = data
    return bytes(head)


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)
