"""Bring a file over HTTP, going on where an earlier attempt stopped."""

from __future__ import annotations

import errno
import itertools
import math
import os
import re
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from asd.progress import track

if TYPE_CHECKING:
    import requests

MEGABYTE = 1_000_000
_CHUNK = 1 << 16
_TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""


class TransferError(Exception):
    """A download that did not succeed; `unfinished`: running it again goes on from where it stopped."""

    def __init__(self, reason: str, *, unfinished: bool = False) -> None:
        super().__init__(reason)
        self.unfinished = unfinished


class _StartOverError(Exception):
    """The server cannot go on from where the part file ends."""


def download(url: str, part: Path, description: str) -> None:
    """Bring what `url` serves into `part`; what `part` already holds is not asked for again if the server allows that.

    The content is not checked, and the beginning may stem from another version of the file: compare the hash.

    Parameters
    ----------
    url : str
        Address, http or https; redirects are followed.
    part : Path
        File to append to, created if absent. It stays when the download fails.
    description : str
        What the progress display says.

    Raises
    ------
    TransferError
        If the server can't be reached, refuses, or the connection breaks and a new one brings nothing more.
    OSError
        If `part` can't be written.
    """
    from requests import exceptions

    longest = -1
    while True:
        with part.open("ab") as file:
            receiver = _Receiver(file, description)
            try:
                return receiver.receive(url)
            except _StartOverError:
                if not file.tell():
                    raise TransferError(
                        f"{url} answers with a part of the file where the whole was asked for"
                    ) from None
                file.truncate(0)
            except exceptions.HTTPError as error:
                raise TransferError(f"{url} answers {receiver.answer}") from error
            except (exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError) as error:
                # A connection that brought something is worth another one; without the bound, a server that always
                # starts over and always breaks would be asked for ever.
                if not receiver.received and longest < 0:
                    raise TransferError(f"cannot reach {urlsplit(url).netloc} ({_reason(error)})") from error
                if file.tell() <= longest:
                    reason = f"the download broke off at {file.tell() / MEGABYTE:.1f} MB ({_reason(error)})"
                    raise TransferError(reason, unfinished=True) from error
                longest = file.tell()
            except exceptions.RequestException as error:
                raise TransferError(f"cannot fetch {url} ({_reason(error)})") from error


def require_space(folder: Path, size: int) -> None:
    """Raise the error of a full disk before `size` bytes fill the one that holds `folder`."""
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _Receiver:
    """What pooch's downloader writes to: appends to the part file, or starts it over when the server does."""

    def __init__(self, file: BinaryIO, description: str) -> None:
        self.received = False
        self.answer = ""
        self._file = file
        self._offset = file.tell()
        self._description = description
        self._total: int | None = None
        self._response: requests.Response | None = None
        self._megabytes: Generator[int, None, None] = track((), description)
        self._shown = 0

    def receive(self, url: str) -> None:
        """Bring `url` into the file."""
        import pooch
        import requests

        # A compressed answer's length and ranges would not be those of the file.
        headers = {"Accept-Encoding": "identity"}
        if self._offset:
            headers["Range"] = f"bytes={self._offset}-"
        fetch = pooch.HTTPDownloader(
            chunk_size=_CHUNK, headers=headers, hooks={"response": self._begin}, timeout=_TIMEOUT
        )
        try:
            fetch(url, self, None)
            if self._total not in (None, self._file.tell()):
                raise requests.ConnectionError(f"{self._file.tell()} of {self._total} bytes came")
            next(self._megabytes, None)  # past the last one: the display ends as finished
        finally:
            self._megabytes.close()
            if self._response is not None:
                self._response.close()

    def write(self, chunk: bytes) -> None:
        """Append `chunk` (pooch calls this)."""
        self._file.write(chunk)
        self.received = True
        self._show()

    def flush(self) -> None:
        """Hand what was written to the system, so that a kill loses nothing (pooch calls this)."""
        self._file.flush()

    def _begin(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """Look at the answer before its content is read (requests calls this, for redirects too)."""
        self._response = response
        self.answer = f"{response.status_code} {response.reason}"
        if response.status_code == 416 and self._offset:
            raise _StartOverError
        if response.is_redirect or not response.ok:
            return
        start, self._total = _extent(response)
        if start not in (0, self._offset):
            raise _StartOverError
        self._file.seek(self._file.truncate(start))
        if self._total is not None:
            require_space(Path(self._file.name).parent, self._total - start)
        count = itertools.count() if self._total is None else range(math.ceil(self._total / MEGABYTE))
        self._megabytes = track(count, self._description)
        self._show()

    def _show(self) -> None:
        size = self._file.tell()
        while self._shown < (math.ceil if size == self._total else math.floor)(size / MEGABYTE):
            next(self._megabytes, None)
            self._shown += 1


def _extent(response: requests.Response) -> tuple[int, int | None]:
    """Return where an answer's content begins in the file, and the file's length if the server says it."""
    if response.status_code == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if found is None:
            raise _StartOverError
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() and "Content-Encoding" not in response.headers else None


def _reason(error: BaseException) -> str:
    """Return what lies at the bottom of a chain of network errors, in the system's words."""
    while True:
        inner = [error.__cause__, getattr(error, "reason", None), *error.args]
        deeper = next((candidate for candidate in inner if isinstance(candidate, Exception)), None)
        if deeper is None:
            return str(getattr(error, "strerror", None) or error).strip().rstrip(".") or type(error).__name__
        error = deeper
