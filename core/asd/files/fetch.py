"""The one downloader: files over HTTP, or from ``file://`` addresses, resumed, verified and within limits.

An unfinished file is ``NAME.part``; what the server says to identify its version (RFC 9110, section 8.8) lies beside it
as ``NAME.part.validator``. The file gets its name when it is whole and verified.
"""

from __future__ import annotations

import errno
import itertools
import logging
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn
from urllib.parse import urlsplit

from asd.errors import AsdError
from asd.files.digest import digest_of
from asd.progress import track

if TYPE_CHECKING:
    import requests

MEGABYTE = 1_000_000
_CHUNK = 1 << 16
_TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""

_PERIOD, _SLOWEST = 300.0, 1_000
"""Seconds, and bytes per second: a download that brings less over the period is given up."""

_LARGEST = 20_000_000_000
"""Bytes at which a file is given up whose size neither its publisher nor the server states."""

_PATIENCE = 1.0
"""Seconds to wait for another process before a line in the log says so."""

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_KEPT = "it was not kept: the publisher may have changed it, or a proxy's login page may have answered"

_log = logging.getLogger("asd.files")


class TransferError(Exception):
    """A file that could not be fetched; `unfinished`: running the command again resumes the download."""

    def __init__(self, reason: str, *, unfinished: bool = False) -> None:
        super().__init__(reason)
        self.unfinished = unfinished


class _StartOverError(Exception):
    """The server cannot continue the file that was begun."""


def is_offline() -> bool:
    """Return whether ``ASD_OFFLINE`` forbids the network."""
    return os.environ.get("ASD_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def require_space(folder: Path, size: int) -> None:
    """Raise the OSError of a full disk if the disk of `folder` has less than `size` bytes left."""
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def writing(
    what: str, folder: Path, *, lock: Path, error: type[AsdError], remedy: str, size: int | None = None
) -> Iterator[None]:
    """Hold a lock among processes while files are written, and explain why a folder takes none.

    Parameters
    ----------
    what : str
        What is written, for messages.
    folder : Path
        Where it is written.
    lock : Path
        Lock file; it is created with its folder, and stays.
    error : type of AsdError
        What an OSError inside the block becomes.
    remedy : str
        How the user chooses another folder, such as "set ASD_CACHE to a folder".
    size : int or None
        Bytes that are needed, if known.
    """
    import filelock

    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        waiting = filelock.FileLock(lock)
        try:
            held = waiting.acquire(timeout=_PATIENCE)
        except filelock.Timeout:
            _log.info("another process is fetching %s into %s; waiting for it", what, folder)
            held = waiting.acquire()
        with held:
            yield
    except OSError as problem:
        reason = problem.strerror or str(problem)
        if problem.errno not in _DISK_FULL:
            raise error(f"{what} cannot be kept in {folder} ({reason}); {remedy} that you may write to") from problem
        needed = f"{what}, {size / MEGABYTE:.1f} MB," if size else what
        raise error(
            f"no space left for {needed} in {folder} ({reason}); free some, or {remedy} on another disk"
        ) from problem


def fetch(
    url: str,
    place: Path,
    *,
    checksum: str | None = None,
    size: int | None = None,
    check: Callable[[Path], object] | None = None,
) -> str:
    """Put what `url` serves at `place`, unless a good copy is there, and return its checksum.

    An interrupted download is resumed, here and in a later call, if `checksum` or the server shows that the file has
    not changed since. Several processes may not fetch to one place at once: see `writing`.

    Parameters
    ----------
    url : str
        Address: http or https, whose redirects are followed, or file.
    place : Path
        Where the file belongs; its folder exists.
    checksum : str or None
        ``"sha256:…"`` (the leading digits are enough) or ``"md5:…"``; None accepts any content.
    size : int or None
        Bytes; more are refused while they arrive. Fewer are refused unless a whole SHA-256 identifies the file.
    check : callable or None
        Called with the path of a file that is otherwise good; raises an AsdError if the content is not what is wanted.

    Returns
    -------
    str
        ``"sha256:…"`` or ``"md5:…"``, by the algorithm of `checksum`.

    Raises
    ------
    TransferError
        If the file cannot be had, is another one than expected, or comes too slowly.
    OSError
        If `place` cannot be written. Nothing stays of the file if the disk is full.
    """
    expected = _Expected(checksum, size, check)
    part = place.with_name(f"{place.name}.part")
    if place.is_file():
        found, mismatch = expected.examine(place)
        if mismatch is None:
            return found
    try:
        found = _fetch_part(url, part, expected)
        part.replace(place)
    except OSError as error:
        if error.errno in _DISK_FULL:  # a full disk harms every program on the machine
            _discard(part)
        raise
    finally:
        if part.is_file() and not part.stat().st_size:
            _discard(part)
    _discard(part)
    return found


@dataclass(frozen=True)
class _Expected:
    """What a file must be; the parameters are those of `fetch`."""

    checksum: str | None
    size: int | None
    check: Callable[[Path], object] | None

    def examine(self, path: Path) -> tuple[str, str | None]:
        """Return a file's checksum, and in words how it differs from what is expected, None if it does not."""
        algorithm = (self.checksum or "sha256").partition(":")[0]
        checksum = f"{algorithm}:{digest_of(path, algorithm)}"
        return checksum, self._mismatch(path, checksum)

    def _mismatch(self, path: Path, checksum: str) -> str | None:
        size = path.stat().st_size
        found = f"{size} bytes, {checksum.replace(':', ' ')}"
        if self.checksum and not checksum.startswith(self.checksum):
            more = "…" if len(self.checksum) < len(checksum) else ""
            return f"{found}, expected {self.checksum.partition(':')[2]}{more}"
        identified = checksum == self.checksum and checksum.startswith("sha256:")
        if self.size not in (None, size) and not identified:
            return f"{found}, expected {self.size} bytes"
        try:
            if self.check is not None:
                self.check(path)
        except AsdError as error:
            return str(error)
        return None


def _fetch_part(url: str, part: Path, expected: _Expected) -> str:
    """Leave a good copy in `part` and return its checksum, or raise."""
    if not _is_resumable(part, expected):
        _discard(part)
    begun = part.is_file()
    # A good part that was begun: a kill came between the last byte and the name.
    if not begun or expected.checksum is None or expected.examine(part)[1]:
        _transfer(url, part, expected)
    found, mismatch = expected.examine(part)
    if mismatch is None:
        return found
    _discard(part)
    if begun:  # the beginning may be that of another version of the file
        return _fetch_part(url, part, expected)
    raise TransferError(f"{url} gave another file ({mismatch}); {_NOT_KEPT}")


def _transfer(url: str, part: Path, expected: _Expected) -> None:
    scheme = url.partition("://")[0].lower()
    if scheme == "file":
        from urllib.request import url2pathname  # brings HTTP and TLS along

        _copy(url, Path(url2pathname(urlsplit(url).path)), part, expected)
    elif scheme not in ("http", "https"):
        raise TransferError(f"{url} is not an address of http, https or file")
    elif is_offline():
        raise TransferError("no good copy is here, and the network is forbidden (ASD_OFFLINE or --offline)")
    else:
        _download(url, part, expected)


def _copy(url: str, source: Path, part: Path, expected: _Expected) -> None:
    try:
        given = source.open("rb")
    except FileNotFoundError as error:
        raise TransferError(f"{url} does not exist") from error
    except OSError as error:
        raise TransferError(f"{url} cannot be read ({error.strerror})") from error
    with given, part.open("wb") as file:
        _write(url, iter(partial(given.read, _CHUNK), b""), file, source.stat().st_size, expected)


def _download(url: str, part: Path, expected: _Expected) -> None:
    """Ask for the file until it is whole, or an attempt brings nothing more than the one before."""
    from requests import exceptions
    from urllib3.exceptions import HTTPError

    longest, pace = -1, _Pace()
    while True:
        with part.open("ab") as file:
            begun = file.tell()
            try:
                return _receive(url, part, file, expected, pace)
            except _StartOverError:
                if not begun:
                    raise TransferError(
                        f"{url} answers with a part of the file where the whole was asked for"
                    ) from None
                file.truncate(0)
            except (exceptions.ConnectionError, exceptions.Timeout, HTTPError) as error:
                # A server that always starts over and always breaks must not be asked for ever.
                reached = file.tell()
                if reached == begun and longest < 0:
                    raise TransferError(f"cannot reach {urlsplit(url).netloc} ({reason_of(error)})") from error
                resumable = _is_resumable(part, expected)
                if reached <= longest:
                    text = f"the download broke off at {reached / MEGABYTE:.1f} MB ({reason_of(error)})"
                    raise TransferError(text, unfinished=resumable) from error
                longest = reached
                if not resumable:
                    file.truncate(0)
            except exceptions.RequestException as error:
                raise TransferError(f"cannot fetch {url} ({reason_of(error)})") from error


def _receive(url: str, part: Path, file: BinaryIO, expected: _Expected, pace: _Pace) -> None:
    """Ask once for what `file` lacks, and append it; start the file over if the server does."""
    import requests

    offset, validator = file.tell(), _kept_validator(part)
    headers = {"Accept-Encoding": "identity"}  # length and ranges of a compressed answer are not those of the file
    if offset:
        headers["Range"] = f"bytes={offset}-"
        if validator:
            headers["If-Range"] = validator
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as response:
        if response.status_code == 416 and offset:
            raise _StartOverError
        if response.status_code not in (200, 206):
            raise TransferError(f"{url} answers {response.status_code} {response.reason}")
        start, total = _extent(response)
        stated = _validator_of(response)
        if start not in (0, offset) or (start and validator and stated not in ("", validator)):
            raise _StartOverError
        if not start:
            _keep_validator(part, stated)
        file.seek(file.truncate(start))
        if total is not None:
            require_space(part.parent, total - start)
        _write(url, _blocks(response, pace), file, total, expected)
    if total not in (None, file.tell()):
        raise requests.ConnectionError(f"{file.tell()} of {total} bytes came")


def _blocks(response: requests.Response, pace: _Pace) -> Iterator[bytes]:
    # read1 returns what there is; a larger read would wait for hours on a server that sends byte by byte.
    while block := response.raw.read1(_CHUNK, decode_content=True):
        pace.count(len(block))
        yield block


def _write(url: str, blocks: Iterator[bytes], file: BinaryIO, total: int | None, expected: _Expected) -> None:
    """Append `blocks` to `file`, within the limits of size; show the progress in megabytes."""
    limit = next(size for size in (expected.size, total, _LARGEST) if size is not None)
    if total is not None and total > limit:
        _refuse(file, f"{url} offers {total} bytes, expected {limit}; {_NOT_KEPT}")

    def megabytes() -> Iterator[int]:
        shown = 0
        for block in itertools.chain([b""], blocks):
            file.write(block)
            file.flush()  # so that a kill loses nothing
            size = file.tell()
            if size > limit:
                _refuse(file, f"{url} gives more than {limit} bytes; {_NOT_KEPT}")
            while shown < (math.ceil if size == total else math.floor)(size / MEGABYTE):
                yield shown
                shown += 1

    name = Path(file.name).name.removesuffix(".part")
    for _ in track(megabytes(), f"{name}, MB", None if total is None else math.ceil(total / MEGABYTE)):
        pass


def _refuse(file: BinaryIO, reason: str) -> NoReturn:
    file.truncate(0)
    raise TransferError(reason)


class _Pace:
    """Gives up a download that comes too slowly, over all of its connections."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._received = 0

    def count(self, size: int) -> None:
        self._received += size
        elapsed = time.monotonic() - self._begun
        if elapsed < _PERIOD:
            return
        if self._received < _SLOWEST * elapsed:
            text = f"the download is too slow: {self._received} bytes in {elapsed:.0f} s"
            raise TransferError(text, unfinished=True)
        self._begun, self._received = time.monotonic(), 0


def _extent(response: requests.Response) -> tuple[int, int | None]:
    """Return where an answer's content begins in the file, and the file's length if the server states it."""
    if response.status_code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if found is None:
            raise _StartOverError
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() and "Content-Encoding" not in response.headers else None


def _validator_of(response: requests.Response) -> str:
    """Return what identifies this version of the file; empty if the server states nothing that is certain."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _validator_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.validator")


def _keep_validator(part: Path, validator: str) -> None:
    if validator:
        _validator_file(part).write_text(validator, encoding="utf-8")
    else:
        _validator_file(part).unlink(missing_ok=True)


def _kept_validator(part: Path) -> str:
    file = _validator_file(part)
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _is_resumable(part: Path, expected: _Expected) -> bool:
    """Return whether a change of the file since it was begun would be noticed."""
    return expected.checksum is not None or bool(_kept_validator(part))


def _discard(part: Path) -> None:
    for file in (part, _validator_file(part)):
        file.unlink(missing_ok=True)


def reason_of(error: BaseException) -> str:
    """Return what lies at the bottom of a chain of network errors, in the system's words."""
    while True:
        inner = [error.__cause__, getattr(error, "reason", None), *error.args]
        deeper = next((candidate for candidate in inner if isinstance(candidate, Exception)), None)
        if deeper is None:
            return str(getattr(error, "strerror", None) or error).strip().rstrip(".") or type(error).__name__
        error = deeper
