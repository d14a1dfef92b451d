"""Identify a file by its content, and find files of the same content."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from asd.files.folders import cache_folder, size_in
from asd.records import Recording

_SMALL = 2**16
"""Bytes below which reading a file takes no longer than looking up what is known of it."""
_BLOCK = 4096


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file's content in hexadecimal, by an algorithm of `hashlib`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def digest_once(path: Path, stamp: tuple[Any, ...], stamp_of: Callable[[Path], tuple[Any, ...]]) -> str:
    """Return the SHA-256 of a file's content in hexadecimal; that of a file that has not changed is kept between runs.

    A file is taken for unchanged if its stamp is as it was, and three blocks of its content: where a card comes from a
    recorder without a clock, other recordings may have the names, sizes and times of those before.

    Parameters
    ----------
    path : Path
        The file.
    stamp : tuple
        What changes whenever the file does, such as its inode, size and times.
    stamp_of : callable
        Gives it; it must be the same after reading.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    if not _keeps(os.environ.get("ASD_CACHE"), os.environ.get("ASD_CACHE_SIZE")):
        return digest_of(path)
    from asd.files import known  # brings SQLite along

    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size < _SMALL:
            return digest_of(path)
        seen = hashlib.sha256(repr((*stamp, size)).encode())
        for place in (0, size // 2, size - _BLOCK):
            file.seek(place)
            seen.update(file.read(_BLOCK))
        key = seen.hexdigest()
        if found := known.known(key, "sha256"):
            return str(found)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if stamp_of(path) == stamp:  # else it changed while it was read
        known.remember(key, "sha256", digest)
    return digest


@functools.lru_cache(maxsize=4)
def _keeps(*_: str | None) -> bool:
    """Return whether the cache, by these variables, is of this computer: numbers of files say nothing to another one.

    Raises
    ------
    ConfigError
        If its size is none.
    """
    from asd.files.objects import is_on_network

    return bool(size_in("ASD_CACHE_SIZE", "2GB", "no cache")) and not is_on_network(cache_folder())


def duplicates(
    known: Iterable[Recording], others: Iterable[Recording], digest: Callable[[Path], str] = digest_of
) -> list[tuple[Recording, Recording]]:
    """Return the pairs of recordings, one of each side, whose files have the same content.

    Parameters
    ----------
    known, others : iterable of Recording
        Training and test clips, for instance.
    digest : callable
        Gives a file's digest; pass a look-up where the digests are known already.
    """
    by_size: dict[int, list[Recording]] = {}
    for recording in known:
        by_size.setdefault(recording.path.stat().st_size, []).append(recording)
    by_digest: dict[int, dict[str, Recording]] = {}
    found = []
    for other in others:
        size = other.path.stat().st_size
        if size in by_size:  # only files of one size can be alike
            if size not in by_digest:
                by_digest[size] = {digest(recording.path): recording for recording in by_size[size]}
            if same := by_digest[size].get(digest(other.path)):
                found.append((same, other))
    return found
