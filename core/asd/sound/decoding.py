"""Decode a recording as a stream of blocks: libsndfile, helped where headers are wrong; PyAV for other formats."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self

from asd.errors import AudioError, RemoteError
from asd.files.remote import RemotePath
from asd.files.versions import Facts
from asd.records import Float32
from asd.sound.chunks import chunked
from asd.sound.frames import flac, mpeg, ogg, tag_length
from asd.sound.layout import Layout, Part, PartFile

if TYPE_CHECKING:
    _ConcretePath = Path
else:
    _ConcretePath = type(Path())  # Python 3.11 derives no class from Path itself

_BLOCK_SECONDS = 8.0
_BLOCK_VALUES = 1 << 22
RATES = (100, 10_000_000)
"""Sample rates in Hz that are plausible; others come from a damaged header."""
_PREROLL = 0.3
"""Seconds that lossy codecs decode before a position, so that what they carry over from frame to frame is right."""
_LARGEST_HEAD = 1 << 24
_ENDLESS = 1 << 60
_DENSEST = 8192
"""Samples in a byte that no codec reaches, not even for silence."""
_MPEG_SUFFIXES = frozenset({".mp1", ".mp2", ".mp3", ".mpga"})
_FOREIGN = (  # (what the file begins with from which byte, what it is, FFmpeg's name of it)
    (4, b"ftyp", "MPEG-4 (M4A, MP4, 3GP)", "mov"),
    (4, b"moov", "QuickTime", "mov"),
    (4, b"mdat", "QuickTime", "mov"),
    (4, b"wide", "QuickTime", "mov"),
    (0, b"\x1aE\xdf\xa3", "WebM or Matroska", "matroska"),
    (0, b"0&\xb2u\x8ef\xcf\x11", "WMA", "asf"),
    (0, b"#!AMR", "AMR", "amr"),
    (0, b"wvpk", "WavPack", "wv"),
    (0, b"MAC ", "Monkey's Audio", "ape"),
    (0, b"\x0bw", "AC-3", "ac3"),
    (0, b"\xff\xf1", "AAC", "aac"),
    (0, b"\xff\xf9", "AAC", "aac"),
    (28, b"\x7fFLAC", "FLAC in Ogg", "ogg"),
    (28, b"Speex   ", "Speex in Ogg", "ogg"),
)


class Sound(Protocol):
    """An opened recording.

    Attributes
    ----------
    rate : int
        Sample rate in Hz.
    channels : int
        Number of channels.
    frames : int or None
        Samples per channel; None: known only when all is decoded.
    is_float : bool
        Whether the file holds floating-point samples, which may be of any scale.
    is_mpeg : bool
        Whether it is of MPEG frames: those that are damaged are passed over.
    layout : Layout
        What the file holds.
    """

    rate: int
    channels: int
    frames: int | None
    is_float: bool
    is_mpeg: bool
    layout: Layout

    def blocks(self, first: int, count: int | None) -> Iterator[Float32]:
        """Yield blocks of shape (n, channels): `count` samples from the `first` on, or fewer where it ends before."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(self, *_: object) -> None:
        """Close the file."""


class SoundPath(_ConcretePath):
    """The path of a recording that knows itself how to open it. Paths made from it, such as its parent, do not."""

    def opened(self) -> Sound:
        """Return the recording; errors as for `open_sound`."""
        return open_sound(self)

    def with_segments(self, *parts: Any) -> Path:
        """Return the path that is made from this one: a plain one (Python 3.12 and later ask for it)."""
        return Path(*parts)


def open_sound(path: Path, *, facts: Facts | None = None, glance: bool = False) -> Sound:
    """Open a recording.

    Parameters
    ----------
    path : Path
        The file.
    facts, glance
        Of a file elsewhere, as for `asd.files.reading.opened`.

    Raises
    ------
    AudioError
        If it is missing, may not be read, is no regular file, empty, no sound, or cut off.
    """
    try:
        if isinstance(path, RemotePath):
            from asd.files.reading import opened

            file = opened(path, facts, glance=glance)
        else:
            status = path.stat()
            _check_kind(path, status)
            file = path.open("rb")
    except RemoteError as error:
        raise AudioError(f"{path}: {error.strerror}") from error
    except FileNotFoundError as error:
        raise AudioError(f"{path}: no such file") from error
    except PermissionError as error:
        raise AudioError(f"{path}: no permission to read it; check its permissions and its folder's") from error
    except (OSError, ValueError) as error:
        raise AudioError(f"{path}: cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    try:
        size = file.seek(0, os.SEEK_END)
        if not size:
            raise _empty(path)
        if foreign := _foreign(file, size):
            from asd.sound.fallback import AvSound

            return AvSound(path, file, *foreign)
        is_remote = isinstance(path, RemotePath)
        layout = _examined(path, file, size) if is_remote else examine(path, size, status.st_mtime_ns)
        return SndfileSound(path, file, layout)
    except OSError as error:
        file.close()
        raise _unreadable(path, error) from error
    except BaseException:
        file.close()
        raise


def _check_kind(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise AudioError(f"{path}: a folder, not a recording")
    if stat.S_ISFIFO(status.st_mode):
        raise AudioError(f"{path}: a pipe can be read only once, and recordings are read more often; save it to a file")
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(f"{path}: a device, not a recording; save the sound to a file")
    if status.st_size == 0:
        raise _empty(path)


def _empty(path: Path) -> AudioError:
    return AudioError(f"{path}: empty file (0 bytes); copy it again from its source")


def close(path: Path, file: BinaryIO, error: object) -> None:
    """Close a file that was read; `error`: what ended the reading, if anything did.

    Raises
    ------
    AudioError
        If it is a file elsewhere that is another one by now, so that the blocks are of two.
    """
    file.close()
    if error is None and isinstance(path, RemotePath):
        from asd.files.reading import check_unchanged

        try:
            check_unchanged(file)
        except OSError as problem:
            raise _unreadable(path, problem) from problem


def _unreadable(path: Path, error: OSError) -> AudioError:
    if isinstance(error, RemoteError):
        return AudioError(f"{path}: {error.strerror}")
    return AudioError(f"{path}: cannot be read ({error.strerror or error}); copy it again from its source")


@lru_cache(maxsize=1024)
def examine(path: Path, size: int, _: int) -> Layout:
    """Return where the sound lies in a file; its size and its time of change tell whether it is still the same file.

    Raises
    ------
    AudioError
        If the file is cut off.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        return _examined(path, file, size)


def _examined(path: Path, file: BinaryIO, size: int) -> Layout:
    begin = _after_tags(file, size)
    file.seek(begin)
    magic = file.read(4)
    try:
        layout: Layout | None
        if magic == b"fLaC":
            layout = flac(file, begin, size)
        elif magic == b"OggS":
            layout = ogg(file, begin, size)
        elif begin or magic[:1] == b"\xff" or path.suffix.lower() in _MPEG_SUFFIXES:
            layout = mpeg(file, 0, size)
        elif magic == b"PK\x03\x04":
            raise AudioError(f"an archive, not a recording; name what is in it: zip://::{path}")
        else:
            layout = chunked(file, 0, size)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from None
    return layout or Layout((Part(0, size),))


def _after_tags(file: BinaryIO, size: int) -> int:
    at = 0
    while at < size:
        file.seek(at)
        length = tag_length(file.read(16))
        if not length:
            return at
        at += length
    return 0


def _foreign(file: BinaryIO, size: int) -> tuple[str, str] | None:
    """Return the name of a format that libsndfile does not read, for users and for FFmpeg."""
    file.seek(_after_tags(file, size))
    head = file.read(64)
    for at, magic, name, ffmpeg_name in _FOREIGN:
        if head.startswith(magic, at):
            return name, ffmpeg_name
    return None


class SndfileSound:
    """A recording as libsndfile decodes it, its parts one after the other; see `Sound`."""

    def __init__(self, path: Path, file: BinaryIO, layout: Layout) -> None:
        self.path, self.layout, self._file = path, layout, file
        self._lengths: list[int | None] = []
        self.frames: int | None
        kinds = set()
        for part in layout.parts:
            sound, _ = self._open(part)
            self._lengths.append(_length(sound, part, path))
            kinds.add((int(sound.samplerate), int(sound.channels)))
            self.is_float = sound.subtype in ("FLOAT", "DOUBLE")
            self.is_mpeg = sound.format == "MP3"
            self._preroll = int(_PREROLL * sound.samplerate) if sound.format in ("MP3", "OGG") else 0
            sound.close()
        if len(kinds) > 1:
            raise AudioError(
                f"{path}: recordings of different sample rates or channel counts, one after the other; separate them"
            )
        ((self.rate, self.channels),) = kinds
        if not RATES[0] <= self.rate <= RATES[1]:
            raise AudioError(
                f"{path}: damaged: its header states a sample rate of {self.rate} Hz; copy it again from its source"
            )
        known = [length for length in self._lengths if length is not None]
        self.frames = sum(known) if len(known) == len(self._lengths) else None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: object = None, *_: object) -> None:
        """Close the file."""
        close(self.path, self._file, kind)

    def blocks(self, first: int, count: int | None) -> Iterator[Float32]:
        """Yield blocks of shape (n, channels); see `Sound.blocks`."""
        left = _ENDLESS if count is None else count
        for part, length in zip(self.layout.parts, self._lengths, strict=True):
            if length is not None and first >= length:
                first -= length
                continue
            for block in self._part_blocks(part, first, left):
                left -= len(block)
                yield block
            if left <= 0:
                return
            first = 0

    def _part_blocks(self, part: Part, first: int, left: int) -> Iterator[Float32]:
        import soundfile

        size = block_frames(self.rate, self.channels)
        data: PartFile | None = None
        try:
            sound, data, skipped = self._open_at(part, max(0, first - self._preroll))
            with sound:
                while left > 0:
                    block = sound.read(min(left, size), dtype="float32", always_2d=True)
                    if data.error:
                        raise _unreadable(self.path, data.error)
                    if not len(block):
                        return
                    if skipped < first:
                        skip = min(first - skipped, len(block))
                        skipped, block = skipped + skip, block[skip:]
                    left -= len(block)
                    if len(block):
                        yield block
        except soundfile.LibsndfileError as error:
            if data and data.error:
                raise _unreadable(self.path, data.error) from error
            raise AudioError(f"{self.path}: damaged: {_reason(error)}; copy it again from its source") from error

    def _open_at(self, part: Part, target: int) -> tuple[Any, PartFile, int]:
        """Open a part at a sample, or before it where the format has no positions; return the position too."""
        import soundfile

        sound, data = self._open(part)
        if not target:
            return sound, data, 0
        if not part.seekable:
            return self._vorbis_at(part, target, int(sound.frames)) or (sound, data, 0)
        try:
            sound.seek(target)
        except soundfile.LibsndfileError:
            return *self._open(part), 0
        return sound, data, target

    def _vorbis_at(self, part: Part, target: int, frames: int) -> tuple[Any, PartFile, int] | None:
        """Open a Vorbis stream of a number of frames at the page before a sample; None if there is none.

        libsndfile's own seeking can crash where the stream is damaged.
        """
        near = [byte for sample, byte in part.entries if sample <= target]
        if not near or part.header_end - part.start > _LARGEST_HEAD:
            return None
        self._file.seek(part.start)
        head = self._file.read(part.header_end - part.start)
        try:
            sound, data = self._open(Part(near[-1], part.end, head))
        except AudioError:
            return None
        at = frames - int(sound.frames)
        return (sound, data, at) if 0 <= at <= target else None

    def _open(self, part: Part) -> tuple[Any, PartFile]:
        import soundfile

        data = PartFile(self._file, part)
        try:
            sound = soundfile.SoundFile(data)
        except soundfile.LibsndfileError as error:
            if data.error:
                raise _unreadable(self.path, data.error) from error
            raise AudioError(
                f"{self.path}: not a recording that libsndfile can read ({_reason(error)}); "
                "expected WAV, FLAC, OGG, MP3 or AIFF"
            ) from error
        sound.seekable = lambda: False  # python-soundfile seeks after each block otherwise
        return sound, data


def block_frames(rate: int, channels: int) -> int:
    """Return how many samples per channel to decode at once."""
    return max(1, min(int(_BLOCK_SECONDS * rate), _BLOCK_VALUES // channels))


def _length(sound: Any, part: Part, path: Path) -> int | None:
    length = int(sound.frames)
    if length > _DENSEST * (part.end - part.start):
        return None  # unknown, or a number that a damaged page of Ogg makes up
    if part.frames and length < 0.99 * part.frames:
        raise AudioError(
            f"{path}: holds {part.frames / sound.samplerate:.4g} s of sound, libsndfile would stop after "
            f"{length / sound.samplerate:.4g} s; convert it to WAV or FLAC"
        )
    return length


def _reason(error: Any) -> str:
    text = str(error.error_string).strip().rstrip(".").removeprefix("Error : ")
    return text or f"libsndfile error {error.code}"
