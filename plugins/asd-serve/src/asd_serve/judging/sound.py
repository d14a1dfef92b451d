"""Take in what a client sends as sound: into a file of ours, whatever it is called, within limits.

No path, no address and no name from a client is opened. A recording is any that the core decodes; raw PCM becomes a
WAV file. What a small file makes of itself when it is decoded is found out before it is decoded.
"""

from __future__ import annotations

import asyncio
import os
import re
import struct
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

import asd
from asd.errors import AudioError
from asd.plugin import AUDIO_SUFFIXES, RecordingFacts, recording_facts
from asd_serve.errors import RequestError
from asd_serve.limits import Limits

FORMATS = {"u8": (1, 8), "s16le": (1, 16), "s24le": (1, 24), "s32le": (1, 32), "f32le": (3, 32)}
"""Raw PCM: the format code of WAV, and bits."""
RATES = (100, 1_000_000)
MOST_CHANNELS = 16
_HEADER = 44
_PIECE = 1 << 18
"""Bytes that are collected before they are written."""
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that no name needs, and that break lines or turn text around."""
_LONGEST_NAME = 200
_MOST_SAMPLES = 2_000_000_000
"""Samples of all channels that a recording has at most: an hour of 16 channels at 34.7 kHz."""


@dataclass(frozen=True)
class Pcm:
    """How raw PCM is to be read.

    Parameters
    ----------
    rate : int
        Sample rate in Hz.
    channels : int
        How many, interleaved.
    format : str
        A key of `FORMATS`.
    """

    rate: int
    channels: int
    format: str

    @property
    def frame(self) -> int:
        """Bytes of a sample of all channels."""
        return self.channels * FORMATS[self.format][1] // 8

    def header(self, size: int) -> bytes:
        """Return the header of a WAV file of so many bytes of samples."""
        code, bits = FORMATS[self.format]
        form = struct.pack("<HHIIHH", code, self.channels, self.rate, self.rate * self.frame, self.frame, bits)
        return b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt \x10\0\0\0" + form + b"data" + struct.pack("<I", size)


@dataclass
class Upload:
    """A recording that a client sent, in a file of ours. `close` deletes it.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        What the client calls it: text, never opened.
    facts : RecordingFacts
        Rate, channels, length.
    """

    path: Path
    name: str = "upload"
    facts: RecordingFacts = field(default_factory=lambda: RecordingFacts(0, 0, 0.0))

    def close(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)


def pcm_from(rate: str | None, channels: str | None, form: str | None) -> Pcm:
    """Return how PCM is to be read, as a client says it.

    Raises
    ------
    RequestError
        If the rate is missing, or something is out of range.
    """
    if rate is None:
        raise RequestError(422, "PCM needs its sample rate: audio/pcm;rate=48000;channels=1;format=s16le")
    hertz, count = _whole("rate", rate, *RATES), _whole("channels", channels or "1", 1, MOST_CHANNELS)
    form = form or "s16le"
    if form not in FORMATS:
        raise RequestError(422, f"format={form[:40]}: expected one of {', '.join(FORMATS)}")
    return Pcm(hertz, count, form)


def _whole(name: str, text: str, lowest: int, highest: int) -> int:
    if text.isascii() and text.isdecimal() and lowest <= int(text[:12]) <= highest:
        return int(text)
    raise RequestError(422, f"{name}={text[:40]}: expected a whole number from {lowest} to {highest:,}")


def safe_name(text: str) -> str:
    """Return a client's name of a recording as text that can be shown anywhere."""
    shown = " ".join(_FORBIDDEN.sub(" ", text).split())
    return (shown if len(shown) <= _LONGEST_NAME else f"{shown[:_LONGEST_NAME]}…") or "upload"


class _Spool:
    """A file of ours that is written piece by piece; large pieces by a thread, so that a slow disk stops nobody."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self.size = 0
        self._file, self._most = file, most
        self._pieces: list[bytes] = []
        self._held = 0

    async def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._most:
            raise RequestError(413, f"the recording has more than {self._most:,} bytes, the most; send less")
        self._pieces.append(data)
        self._held += len(data)
        if self._held >= _PIECE:
            await asyncio.to_thread(self._flush)

    def _flush(self) -> None:
        self._file.write(b"".join(self._pieces))
        self._pieces.clear()
        self._held = 0

    def finish(self, pcm: Pcm | None) -> None:
        """Write the rest, and the header of PCM."""
        self._flush()
        if pcm is not None:
            self._file.seek(0)
            self._file.write(pcm.header(self.size))


class _Form:
    """The part ``file`` of a multipart body, as it comes."""

    def __init__(self, boundary: bytes) -> None:
        self.found: list[bytes] = []
        self.name: str | None = None
        self.was_there = False
        self._headers: dict[bytes, bytes] = {}
        self._field = self._value = b""
        self._is_file = False
        self.parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._more("_field", data[start:end]),
                "on_header_value": lambda data, start, end: self._more("_value", data[start:end]),
                "on_header_end": self._header,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
            },
        )

    def _begin(self) -> None:
        self._headers = {}
        self._is_file = False

    def _more(self, which: str, data: bytes) -> None:
        setattr(self, which, getattr(self, which) + data)

    def _header(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._is_file = options.get(b"name") == b"file" and not self.was_there
        if self._is_file:
            self.was_there = True
            if b"filename" in options:
                self.name = options[b"filename"].decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.found.append(data[start:end])


async def received(request: Request, folder: Path, limits: Limits, name: str | None = None) -> Upload:
    """Take in the recording that a request brings.

    Parameters
    ----------
    request : Request
        Its body is a recording, PCM, or a form with one recording in ``file``.
    folder : Path
        Where files of ours lie.
    limits : Limits
        How much may come.
    name : str, optional
        What the client calls it. Default: the form's file name, or ``upload``.

    Raises
    ------
    RequestError
        If it is no recording that can be judged, or too much.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    given = {key.decode("latin-1"): value.decode("latin-1") for key, value in options.items()}
    pcm = pcm_from(given.get("rate"), given.get("channels"), given.get("format")) if kind == b"audio/pcm" else None
    form = _Form(options.get(b"boundary", b"")) if kind == b"multipart/form-data" else None
    if form is not None and not options.get(b"boundary"):
        raise RequestError(422, "multipart/form-data without a boundary; let the client's library make the header")
    handle, place = tempfile.mkstemp(prefix="upload-", dir=folder)
    upload = Upload(Path(place))
    try:
        with os.fdopen(handle, "wb", buffering=0) as file:
            if pcm:
                file.seek(_HEADER)
            spool = _Spool(file, limits.upload_bytes)
            async for data in _sound(request, form):
                await spool.write(data)
            spool.finish(pcm)
        _check_bytes(spool.size, pcm)
        upload.name = safe_name(name or (form and form.name) or "upload")
        suffix = Path(upload.name).suffix.lower()
        if suffix in AUDIO_SUFFIXES and pcm is None:  # decoders go by it where the content does not tell
            upload.path = upload.path.rename(f"{place}{suffix}")
        return upload
    except BaseException:
        upload.close()
        raise


async def _sound(request: Request, form: _Form | None) -> AsyncIterator[bytes]:
    """Yield the bytes of the recording in a request."""
    try:
        async for data in request.stream():
            if form is None:
                yield data
            elif data:
                form.parser.write(data)
                for part in form.found:
                    yield part
                form.found.clear()
        if form is not None:
            form.parser.finalize()
    except FormParserError as error:
        raise RequestError(422, f"the multipart body is broken ({error}); send it again") from None
    if form is not None and not form.was_there:
        raise RequestError(422, "the form has no part 'file'; send the recording in it: curl -F file=@clip.wav")


def _check_bytes(size: int, pcm: Pcm | None) -> None:
    if not size:
        raise RequestError(422, "no sound came: the body is empty; send the bytes of a recording")
    if pcm and size % pcm.frame:
        raise RequestError(
            422, f"PCM of {size:,} bytes: expected a multiple of {pcm.frame}, a sample of {pcm.channels} channel(s) in "
            f"{pcm.format}; was it cut off, or is it of another format?"
        )  # fmt: skip


def examine(upload: Upload, limits: Limits) -> None:
    """Find out what a recording holds, without decoding more than the limits allow.

    Raises
    ------
    RequestError
        If it is no recording, or longer than what is judged.
    """
    try:
        facts = recording_facts(upload.path, limits.sound_seconds)
    except AudioError as error:
        raise RequestError(422, told(str(error), upload)) from None
    if facts.channels > MOST_CHANNELS:
        raise RequestError(422, f"{upload.name}: {facts.channels} channels; at most {MOST_CHANNELS} are taken")
    if not RATES[0] <= facts.sample_rate <= RATES[1]:
        raise RequestError(
            422, f"{upload.name}: a sample rate of {facts.sample_rate:,} Hz; expected {RATES[0]} to {RATES[1]:,} Hz"
        )
    most = min(limits.sound_seconds, _MOST_SAMPLES / facts.sample_rate / facts.channels)
    if facts.seconds > most:
        length = "more" if facts.seconds == float("inf") else f"{facts.seconds:,.0f} s"
        raise RequestError(
            413, f"{upload.name}: {length} of sound; at most {most:,.0f} s are taken at a time: send it in parts"
        )
    upload.facts = facts


def told(text: str, upload: Upload) -> str:
    """Return a text with the client's name in place of our file's."""
    return text.replace(str(upload.path), upload.name)


def parts_of(upload: Upload, clips: list[asd.Clip], longest: float, most: int) -> list[asd.Clip]:
    """Return clips that can be judged in one request.

    Raises
    ------
    RequestError
        If they are too many, or one is too long.
    """
    if len(clips) > most:
        raise RequestError(
            413, f"{upload.name}: {len(clips):,} clips; at most {most:,} are judged at a time: send it in parts, or "
            "give longer ones (segment=SECONDS)"
        )  # fmt: skip
    length = max(upload.facts.seconds if each.duration is None else each.duration for each in clips)
    if length > longest:
        raise RequestError(
            413, f"{upload.name}: a clip of {length:,.0f} s; at most {longest:,.0f} s are judged as one: leave "
            "segment=none out"
        )  # fmt: skip
    return clips
