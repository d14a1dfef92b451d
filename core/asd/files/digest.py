"""Identify a file by its content, and find files of the same content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from asd.records import Recording


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file's content in hexadecimal, by an algorithm of `hashlib`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


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
