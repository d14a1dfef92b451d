"""Recordings in frames or pages (MP3, Ogg, FLAC): count them, find where streams begin, complete what headers lack."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from asd.errors import AudioError
from asd.sound.layout import END_MISSING, Layout, Part

_BITRATES = {  # kbit/s by (is MPEG-1, layer), ISO 11172-3 and 13818-3
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_SURE = 4
"""Frames in a row that make sure of a stream; fewer can be chance."""
_DELAY = 1152
"""Samples that decoders of MP3 may leave out at the beginning."""
_OGG_CONTINUED, _OGG_FIRST, _OGG_LAST = 1, 2, 4
_ENTRY_BYTES = 1 << 16
"""Distance of the places in a Vorbis stream from which it can be decoded."""
_FLAC_MAGIC = b"fLaC\x00\x00\x00\x22"
_FLAC_TAIL = 1 << 18


@dataclass(frozen=True)
class _Frame:
    """A frame of MPEG audio; `kind` is (version, layer, rate), `xing_at` where a Xing header stands in it."""

    kind: tuple[int, int, int]
    length: int
    samples: int
    xing_at: int


@dataclass
class _Stream:
    """Frames of one kind; `stated` is their number by a header (a Xing header at `start`, or one of VBRI)."""

    first: _Frame
    start: int
    sound: int
    end: int
    template: bytes
    frames: int = 0
    stated: int | None = None
    has_xing: bool = False


def mpeg(file: BinaryIO, begin: int, end: int) -> Layout | None:
    """Return the layout of frames of MP3 (MP1, MP2); None if none are there.

    A stream whose header does not count its frames, or too few, is given one that does: libsndfile estimates the
    length from the first frame otherwise, and stops there.

    Raises
    ------
    AudioError
        If the header states more frames than there are (the text lacks the path).
    """
    streams: list[_Stream] = []
    is_whole = True
    for at, frame, data in _mpeg_frames(file, begin, end):
        following = at + frame.length
        if following > end:
            is_whole = False
            break
        stated, is_xing = _stated_frames(data, frame)
        if not streams or frame.kind != streams[-1].first.kind or (stated is not None and streams[-1].frames):
            streams.append(_Stream(frame, at, at, at, data[:4]))
        stream = streams[-1]
        stream.end = following
        if stated is None:
            stream.frames += 1
        else:
            stream.stated, stream.has_xing, stream.sound = stated, is_xing, following
    streams = [stream for stream in streams if stream.frames]
    if not streams:
        return None
    parts = tuple(_mpeg_part(stream) for stream in streams)
    last, share = streams[-1], None
    if len(parts) == 1:
        if last.stated and last.stated < last.frames - 2:
            share = last.stated / last.frames
        if not parts[0].head:
            parts = (Part(begin, end, frames=parts[0].frames),)
    return Layout(parts, share, () if is_whole or last.stated else (END_MISSING,))


def _mpeg_part(stream: _Stream) -> Part:
    frames, stated = stream.frames, stream.stated
    if stated is not None and stated > frames * 1.01 + 2:
        raise AudioError(
            f"cut off: its header states {stated} frames of sound, the file holds {frames}; "
            "copy it again from its source"
        )
    if stream.has_xing and stated is not None and stated >= frames - 2:
        return Part(stream.start, stream.end)
    count = max(0, frames * stream.first.samples - _DELAY)
    if stream.first.kind[1] != 3:  # only layer 3 has such headers
        return Part(stream.start, stream.end, frames=count)
    return Part(stream.sound, stream.end, _xing_frame(stream.template, frames), count)


def _mpeg_frames(file: BinaryIO, at: int, end: int) -> Iterator[tuple[int, _Frame, bytes]]:
    """Yield (position, frame, its first bytes), passing over tags and what is no frame."""
    kind = None
    while at < end:
        file.seek(at)
        data = file.read(64)
        if length := tag_length(data):
            at += length
            continue
        frame = _mpeg_frame(data)
        if frame and (frame.kind == kind or _is_run(file, at, end)):
            kind = frame.kind
            yield at, frame, data
            at += frame.length
        else:
            at = _find(file, b"\xff", at + 1, end)


def tag_length(data: bytes) -> int:
    """Return the length of the tag (ID3, APE) that begins here; 0 if none does."""
    if data[:3] == b"ID3" and len(data) >= 10:
        return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    if data[:3] == b"TAG":
        return 128
    if data[:8] == b"APETAGEX" and len(data) >= 16:
        return 32 + int.from_bytes(data[12:16], "little")
    return 0


def _is_run(file: BinaryIO, at: int, end: int) -> bool:
    kinds = set()
    for _ in range(_SURE):
        file.seek(at)
        frame = _mpeg_frame(file.read(4))
        if frame is None:
            return False
        kinds.add(frame.kind)
        at += frame.length
        if at >= end:
            break
    return len(kinds) == 1


def _mpeg_frame(data: bytes) -> _Frame | None:
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer = data[1] >> 3 & 3, 4 - (data[1] >> 1 & 3)
    bitrate, rate = data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    is_first = version == 3
    kilobits, hertz, padding = _BITRATES[is_first, layer][bitrate], _RATES[version][rate], data[2] >> 1 & 1
    is_mono = data[3] >> 6 == 3
    samples = 384 if layer == 1 else 1152 if layer == 2 or is_first else 576
    slot = 4 if layer == 1 else 1
    length = (samples // 8 // slot * kilobits * 1000 // hertz + padding) * slot
    return _Frame((version, layer, hertz), length, samples, 4 + ((17, 32), (9, 17))[not is_first][not is_mono])


def _stated_frames(data: bytes, frame: _Frame) -> tuple[int | None, bool]:
    """Return how many frames a Xing or VBRI header counts, None if this is a frame of sound, and whether it is Xing."""
    at = frame.xing_at
    if data[at : at + 4] in (b"Xing", b"Info") and len(data) >= at + 12:
        has_count = data[at + 7] & 1
        return (int.from_bytes(data[at + 8 : at + 12], "big") if has_count else 0), True
    if data[36:40] == b"VBRI" and len(data) >= 54:
        return int.from_bytes(data[50:54], "big"), False
    return None, False


def _xing_frame(template: bytes, frames: int) -> bytes:
    """Return an MP3 frame without sound that counts the frames behind it, of the kind of the header `template`."""
    header = bytes([0xFF, template[1] | 1, 0x80 | (template[2] & 0x0C), template[3]])
    frame = _mpeg_frame(header)
    assert frame is not None
    data = header.ljust(frame.xing_at, b"\0") + b"Xing" + struct.pack(">II", 1, frames)
    return data.ljust(frame.length, b"\0")


def ogg(file: BinaryIO, begin: int, end: int) -> Layout:
    """Return the layout of an Ogg file: a part for each link of the chain, by the pages that begin a stream."""
    parts: list[Part] = []
    start, entries, header_end = begin, list[tuple[int, int]](), begin
    was_first, reached, is_whole = True, 0, False
    for at, flags, granule, following in _ogg_pages(file, begin, end):
        is_first = bool(flags & _OGG_FIRST)
        if is_first and not was_first:
            parts.append(_ogg_part(file, start, at, entries, header_end))
            start, entries, reached = at, [], 0
        was_first = is_first
        if reached <= 0 < granule:
            header_end = at
        elif reached > 0 and not flags & _OGG_CONTINUED and at - (entries[-1][1] if entries else start) > _ENTRY_BYTES:
            entries.append((reached, at))
        reached = max(reached, granule)
        is_whole = following <= end and bool(flags & _OGG_LAST)
    parts.append(_ogg_part(file, start, end, entries, header_end))
    return Layout(tuple(parts), None, () if is_whole else (END_MISSING,))


def _ogg_part(file: BinaryIO, start: int, end: int, entries: list[tuple[int, int]], header_end: int) -> Part:
    file.seek(start)
    first = file.read(4096)
    if b"\x01vorbis" not in first and b"OpusHead" in first:
        return Part(start, end)
    # libsndfile can crash when it seeks in a Vorbis stream that is damaged.
    return Part(start, end, seekable=False, entries=tuple(entries), header_end=header_end)


def _ogg_pages(file: BinaryIO, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (position, flags, granule position, position behind it) of each page, passing over what is no page."""
    while at < end:
        file.seek(at)
        header = file.read(27)
        if len(header) < 27 or header[:4] != b"OggS":
            at = _find(file, b"OggS", at + 1, end)
            continue
        following = at + 27 + header[26] + sum(file.read(header[26]))
        yield at, header[5], int.from_bytes(header[6:14], "little", signed=True), following
        at = following


def flac(file: BinaryIO, begin: int, end: int) -> Layout | None:
    """Return the layout of a FLAC file; the last frame tells its length where the header does not.

    Raises
    ------
    AudioError
        If the header states more samples than there are (the text lacks the path).
    """
    starts = [begin]
    while (at := _find(file, _FLAC_MAGIC, starts[-1] + 1, end)) < end:
        starts.append(at)
    parts, notes, share = [], [], None
    for start, stop in zip(starts, [*starts[1:], end], strict=True):
        part, stated = _flac_part(file, start, stop)
        parts.append(part)
        if part.end < stop:
            notes.append(END_MISSING)
        if stated and part.frames and len(starts) == 1:
            share = stated / part.frames
    return Layout(tuple(parts), share, tuple(notes))


def _flac_part(file: BinaryIO, begin: int, end: int) -> tuple[Part, int]:
    """Return a stream and the number of samples that its header states."""
    file.seek(begin)
    info = file.read(42)
    stated = int.from_bytes(info[21:26], "big") & 0xFFFFFFFFF
    largest = int.from_bytes(info[15:18], "big")
    file.seek(max(begin + 42, end - (2 * largest + 1024 if largest else _FLAC_TAIL)))
    offset = file.tell()
    tail = file.read(max(0, end - offset))
    last = _last_flac_frame(tail, int.from_bytes(info[8:10], "big"))
    if len(info) < 42 or last is None:
        return Part(begin, end), stated
    at, first, count = last
    frames = first + count
    if frames == stated:
        return Part(begin, end), stated
    if frames < stated:
        raise AudioError(
            f"cut off: its header states {stated} samples, the file holds {frames}; copy it again from its source"
        )
    if not stated and _crc(tail[at:], 16, 0x8005):
        frames, end = first, offset + at
    head = info[:21] + (int.from_bytes(info[21:26], "big") - stated + frames).to_bytes(5, "big") + info[26:]
    return Part(begin + 42, end, head, frames), stated


def _last_flac_frame(tail: bytes, block_size: int) -> tuple[int, int, int] | None:
    """Return (position, first sample, number of samples) of the last frame that follows another, or is the first."""
    found: list[tuple[int, int, int]] = []
    at = tail.find(b"\xff")
    while at >= 0:
        if frame := _flac_frame(tail[at : at + 16], block_size):
            found.append((at, *frame))
        at = tail.find(b"\xff", at + 1)
    ends = {first + count for _, first, count in found} | {0}
    return next((frame for frame in reversed(found) if frame[1] in ends), None)


def _flac_frame(data: bytes, block_size: int) -> tuple[int, int] | None:
    """Return (first sample, number of samples) of a frame by its header (RFC 9639, 9.1); None if it is none."""
    if len(data) < 6 or data[1] & 0xFE != 0xF8 or data[3] & 1:
        return None
    size_code, rate_code = data[2] >> 4, data[2] & 15
    following = next((n for n in range(8) if not data[4] << n & 0x80), 8)
    length = 1 if following == 0 else following
    at = 4 + length
    size_bytes = {6: 1, 7: 2}.get(size_code, 0)
    check = at + size_bytes + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if size_code == 0 or rate_code == 15 or following in (1, 8) or len(data) <= check or _crc(data[: check + 1], 8, 7):
        return None
    number = data[4] & (0x7F >> following)
    for byte in data[5:at]:
        number = number << 6 | byte & 0x3F
    if size_bytes:
        count = int.from_bytes(data[at : at + size_bytes], "big") + 1
    else:
        count = 192 if size_code == 1 else 576 << size_code - 2 if size_code < 6 else 256 << size_code - 8
    return (number if data[1] & 1 else number * block_size), count


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    """Return the cyclic redundancy check of FLAC; 0 for data with their own check behind them."""
    top, mask, value = 1 << bits - 1, (1 << bits) - 1, 0
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
    return value


def _find(file: BinaryIO, wanted: bytes, at: int, end: int) -> int:
    """Return where `wanted` stands first from `at` on; `end` if nowhere."""
    size = 1 << 12
    while at < end:
        file.seek(at)
        block = file.read(min(size, end - at))
        size = min(2 * size, 1 << 20)
        if (found := block.find(wanted)) >= 0:
            return at + found
        if len(block) < len(wanted):
            return end
        at += len(block) - len(wanted) + 1
    return end
