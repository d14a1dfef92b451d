"""Files elsewhere, opened: small ones whole in memory, large ones in blocks if their format allows, or spooled."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import threading
from collections import OrderedDict
from typing import Any, BinaryIO

from asd.errors import RemoteError
from asd.files import known, spool
from asd.files.address import Address
from asd.files.filesystems import explaining, failure, filesystem_of
from asd.files.remote import RemotePath
from asd.files.versions import Facts

_WHOLE = 1 << 23
"""Bytes up to which a file is read whole into memory, by one request."""
_IN_MEMORY = 1 << 26
"""Bytes of such files that a process keeps: what was read for its digest is not fetched again for its sound."""
_BLOCK, _BLOCKS = 1 << 22, 6
"""Bytes of a block, and how many a file keeps."""
_GLANCE = 1 << 16
"""Bytes of a block where only a header is looked at."""
_COPIED = 1 << 20
_IN_ORDER = (
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"BW64",
    b"riff",
    b"FORM",
    b"caff",
    b".snd",
    b"dns.",
    b"PK\x03\x04",
    b"PK\x05\x06",
)
"""What files begin with whose parts are found without reading all of them: sound in chunks, and zip archives."""

_LOOKED_THROUGH = frozenset({".flac", ".mp2", ".mp3", ".oga", ".ogg", ".opus"})
"""Suffixes of sound whose length is found by looking through all of it."""

_lock = threading.Lock()
_bodies: OrderedDict[tuple[int, str], bytes] = OrderedDict()
_without_parts: dict[str, bool] = {}
"""Hosts that were asked for a part of a file, and whether they sent the whole."""


def opened(path: RemotePath, facts: Facts | None = None, *, glance: bool = False) -> BinaryIO:
    """Return a file, open for reading at any position.

    Parameters
    ----------
    path : RemotePath
        The file.
    facts : Facts, optional
        What its server has just said of it.
    glance : bool
        Whether little of it will be read, such as its header.

    Raises
    ------
    OSError
        If it is not there or cannot be read; `strerror` says why. The same while it is read, if it changes.
    """
    facts = facts or path.facts()
    if there := _at_hand(facts):
        return there
    is_glance = glance and path.suffix.lower() not in _LOOKED_THROUGH
    if facts.size is not None and facts.size <= (_GLANCE if is_glance else _WHOLE):
        return _whole(path, facts)
    if blocks := _in_blocks(path, facts, glance=glance):
        return blocks
    if facts.size is not None and facts.size <= _WHOLE:
        return _whole(path, facts)
    return _spooled(path, facts)


def sha256_of(path: RemotePath, facts: Facts | None = None) -> str:
    """Return the SHA-256 of a file's content; a version whose digest is known is not read again.

    Parameters
    ----------
    path : RemotePath
        The file.
    facts : Facts, optional
        What its server has just said of it.

    Raises
    ------
    OSError
        If it cannot be read, or changes meanwhile; `strerror` says why.
    """
    facts = facts or path.facts()
    if facts.is_sure and (found := known.known(facts.key, "sha256")):
        return str(found)
    digest = _digest(path, facts)
    if facts.version and path.facts().version != facts.version:
        raise _changed(path)
    if facts.is_sure:
        known.remember(facts.key, "sha256", digest)
    return digest


def check_unchanged(file: Any) -> None:
    """Refuse what was read in several parts if it is another version by now.

    Raises
    ------
    RemoteError
        If it is.
    """
    if not isinstance(file, _Blocks) or file.block == _GLANCE or not file.facts.version:
        return
    if file.path.facts().version != file.facts.version:
        raise _changed(file.path)


def _changed(path: RemotePath) -> RemoteError:
    return failure(path.url, "it changed while it was read; read it again when it is written to its end")


def _at_hand(facts: Facts) -> BinaryIO | None:
    """Return what was fetched before."""
    if not facts.version:
        return None
    with _lock:
        body = _bodies.get((os.getpid(), facts.key))
        if body is not None:
            _bodies.move_to_end((os.getpid(), facts.key))
            return io.BytesIO(body)
    return spool.kept(facts.key)


def _whole(path: RemotePath, facts: Facts) -> BinaryIO:
    address = path.address
    with explaining(address):
        fs, place = filesystem_of(address)
        body: bytes = fs.cat_file(place)
    _check_length(path, len(body), facts)
    if facts.version:
        with _lock:
            _bodies[os.getpid(), facts.key] = body
            while sum(map(len, _bodies.values())) > _IN_MEMORY:
                _bodies.popitem(last=False)
    return io.BytesIO(body)


def _check_length(path: RemotePath, length: int, facts: Facts) -> None:
    if facts.size is not None and length != facts.size:
        raise failure(
            path.url, f"{length} bytes came, {facts.size} were announced: cut off, or written to meanwhile; try again"
        )


def _in_blocks(path: RemotePath, facts: Facts, *, glance: bool) -> BinaryIO | None:
    """Return the file as blocks that are fetched when they are needed; None: its server or its format is not so."""
    address = path.address
    host = f"{address.scheme}://{address.path.partition('/')[0]}"
    if not facts.in_parts or address.archive or address.before or _without_parts.get(host):
        return None
    file = _Blocks(path, facts, _GLANCE if glance else _BLOCK)
    if file.read(16).startswith(_IN_ORDER) or file.size > spool.spool_size():
        try:
            if address.is_web and host not in _without_parts:
                file.seek(min(file.block, file.size - 1))  # of a position behind the first block, a part must be sent
                file.read(1)
                _without_parts[host] = False
            file.seek(0)
            return file  # type: ignore[return-value]  # a raw file reads alike
        except _NoPartsError:
            _without_parts[host] = True
    file.close()
    return None


def _spooled(path: RemotePath, facts: Facts) -> BinaryIO:
    def fill(file: BinaryIO, most: int) -> None:
        with explaining(path.address, spool.TooLargeError):
            _copy(path.address, spool.bounded(file, most))
        _check_length(path, file.tell(), facts)

    try:
        return spool.spooled(facts.key if facts.version else os.urandom(16).hex(), facts.size, fill)
    except spool.TooLargeError:
        size = f"{facts.size / 1e6:.0f} MB" if facts.size else "more"
        raise failure(
            path.url,
            f"it cannot be read in parts, and a whole copy takes {size}, the spool holds "
            f"{spool.spool_size() / 1e6:.0f} MB: set ASD_SPOOL_SIZE, or copy it here",
        ) from None
    except RemoteError:
        raise
    except OSError as error:
        if error.errno == errno.ENOENT and error.filename == str(path):
            raise
        raise failure(
            path.url,
            f"no whole copy can be kept in {spool.spool_folder()} ({error.strerror or error}); set ASD_SPOOL to a "
            "folder with room that you may write to",
        ) from error


def _copy(address: Address, write: Any) -> None:
    """Write a whole file, by one request where the file system can."""
    fs, place = filesystem_of(address)
    if address.is_web:  # its size may be unknown, so that what comes is counted
        with fs.open(place, "rb", block_size=0) as file:
            while data := file.read(_COPIED):
                write(data)
        return
    with fs.open(place, "rb", block_size=_BLOCK, cache_type="readahead") as file:
        while data := file.read(_COPIED):
            write(data)


def _digest(path: RemotePath, facts: Facts) -> str:
    fits = facts.size is None or facts.size <= spool.spool_size()
    there = _at_hand(facts)
    if there is None and facts.size is not None and facts.size <= _WHOLE:
        there = _whole(path, facts)
    if there is None and fits:
        there = _spooled(path, facts)
    if there is not None:
        with there:
            return hashlib.file_digest(there, "sha256").hexdigest()  # type: ignore[arg-type]  # each reads into a buffer
    digest, length = hashlib.sha256(), 0

    def add(data: bytes) -> None:
        nonlocal length
        digest.update(data)
        length += len(data)

    with explaining(path.address):
        _copy(path.address, add)
    _check_length(path, length, facts)
    return digest.hexdigest()


class _NoPartsError(OSError):
    """A server that sends the whole file where a part is asked for."""


class _Blocks(io.RawIOBase):
    """A file that is fetched block by block by fsspec, the last few kept; what goes wrong is an OSError."""

    def __init__(self, path: RemotePath, facts: Facts, block: int) -> None:
        assert facts.size is not None
        self.path, self.facts, self.block, self.size = path, facts, block, facts.size
        with explaining(path.address):
            fs, place = filesystem_of(path.address)
            kept = {"maxblocks": _BLOCKS}
            size = {"size": facts.size} if path.address.is_web or path.address.scheme == "hf" else {}
            self._file = fs.open(place, "rb", block_size=block, cache_type="blockcache", cache_options=kept, **size)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes."""
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.size}[whence]
        return int(self._file.seek(max(0, base + offset)))

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`; return the number of bytes that there were."""
        try:
            at = self.tell()
            with explaining(self.path.address):
                data: bytes = self._file.read(len(buffer))
        except RemoteError as error:
            if isinstance(error.__cause__, ValueError) and "range requests" in str(error.__cause__):
                raise _NoPartsError(errno.EIO, error.strerror) from error
            raise
        if len(data) < min(len(buffer), self.size - at):
            raise failure(self.path.url, "fewer bytes came than were announced: cut off; try again")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Give the blocks back."""
        if not self.closed:
            self._file.close()
        super().close()
