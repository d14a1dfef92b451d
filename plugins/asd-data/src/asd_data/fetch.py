"""Bring a dataset's files from their publisher: resumable, verified, unpacked.

What was brought is remembered in ``.asd-data.json`` in the dataset's folder, with its checksum: that of a file for
which the publisher's is not known is trusted at first use, and compared ever after.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from asd.errors import DataError
from asd.plugin import RemoteFile, TransferError, download, is_offline, require_space, track

_log = logging.getLogger("asd.data")

_STATE = ".asd-data.json"
_PATIENCE = 1.0
"""Seconds to wait for another process before saying so."""

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def missing(remotes: Sequence[RemoteFile], folder: Path) -> list[RemoteFile]:
    """Return those of `remotes` that were not brought into `folder` yet, or are not there any more."""
    state = _state(folder)
    return [remote for remote in remotes if not _is_done(remote, folder, state)]


def fetch(remotes: Sequence[RemoteFile], folder: Path, *, keep: bool = False) -> list[RemoteFile]:
    """Bring what is missing into `folder`, unpack zip archives, and return what was brought.

    A file that already lies in `folder` under its own name, brought by other means, is taken instead of a download.

    Parameters
    ----------
    remotes : sequence of RemoteFile
        What is wanted.
    folder : Path
        The dataset's folder, created if absent.
    keep : bool
        Whether archives stay after they were unpacked.

    Raises
    ------
    DataError
        If a file can't be had, is not what its publisher states, or can't be kept; the text says how to mend it.
    """
    with _working_in(folder):
        wanted = missing(remotes, folder)
        for remote in wanted:
            archive = folder / remote.name
            checksum = _bring(remote, archive)
            first = _place(remote, archive, folder, keep)
            state = _state(folder)
            state[remote.url] = {"checksum": checksum, "file": first}
            (folder / _STATE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    return wanted


def _bring(remote: RemoteFile, archive: Path) -> str:
    """Leave a good copy in `archive`, and return its checksum."""
    expected = remote.checksum or _state(archive.parent).get(remote.url, {}).get("checksum")
    if not archive.exists():
        part = archive.with_name(f"{archive.name}.part")
        if not (expected and part.exists() and _checksum(part, expected) == expected):  # a kill before the renaming
            begun = part.exists()
            _transfer(remote, part)
            if begun and expected and _checksum(part, expected) != expected:  # begun with another version of the file
                part.unlink()
                _transfer(remote, part)
        part.replace(archive)
    found = _checksum(archive, expected)
    if expected not in (None, found) or remote.size not in (None, archive.stat().st_size):
        size = archive.stat().st_size
        archive.unlink()
        raise DataError(
            f"{remote.url} gave another file ({size} bytes, {found}; expected {_stated(remote, expected)}); it was not "
            "kept: the publisher may have changed it, or a proxy's login page may have answered"
        )
    if remote.checksum is None:
        _log.info("%s: no checksum of its publisher is known; remembering %s", remote.name, found)
    return found


def _stated(remote: RemoteFile, checksum: str | None) -> str:
    size = f"{remote.size} bytes" if remote.size else None
    return ", ".join(stated for stated in (size, checksum) if stated)


def _transfer(remote: RemoteFile, part: Path) -> None:
    by_hand = f"download {remote.url} elsewhere, put it at {part.with_name(remote.name)} and run the command again"
    if is_offline():
        raise DataError(
            f"{remote.name} is not here, and the network is forbidden (ASD_OFFLINE or --offline): {by_hand}"
        )
    try:
        download(remote.url, part, f"{remote.name}, MB")
    except TransferError as error:
        mend = "run the command again, it goes on from there" if error.unfinished else f"or {by_hand}"
        raise DataError(f"{remote.name}: {error}; {mend}") from error


def _place(remote: RemoteFile, archive: Path, folder: Path, keep: bool) -> str:
    """Put a file where it belongs, and return the path of (the first of) what came of it, below `folder`."""
    home = folder / remote.folder
    if archive.suffix == ".zip":
        first = unpack(archive, home)
        if not keep:
            archive.unlink()
    else:
        first = home / remote.name
        first.parent.mkdir(parents=True, exist_ok=True)
        archive.replace(first)
    return first.relative_to(folder).as_posix()


def unpack(archive: Path, into: Path) -> Path:
    """Unpack a zip archive and return its first file; what is there already, of the same size, stays.

    Raises
    ------
    DataError
        If the archive is damaged, or a name in it leads out of `into`.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            if not members:
                raise DataError(f"{archive}: this archive is empty; delete it and fetch it again")
            for member in members:
                _check_name(archive, member.filename)
            new = [m for m in members if not _is_there(into / m.filename, m.file_size)]
            into.mkdir(parents=True, exist_ok=True)
            require_space(into, sum(member.file_size for member in new))
            for member in track(new, f"unpacking {archive.name}"):
                _extract(opened, member, into / member.filename)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        archive.unlink()
        raise DataError(
            f"{archive.name}: not a sound zip archive ({error}); it was not kept, fetch it again"
        ) from error
    return into / members[0].filename


def _check_name(archive: Path, name: str) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise DataError(f"{archive}: the name {name!r} in this archive leads out of its folder; nothing was unpacked")


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")  # a kill leaves no half recording behind
    with opened.open(member) as packed, part.open("wb") as file:
        shutil.copyfileobj(packed, file)
    part.replace(target)


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _is_done(remote: RemoteFile, folder: Path, state: dict[str, dict[str, str]]) -> bool:
    return remote.url in state and (folder / state[remote.url]["file"]).is_file()


def _checksum(path: Path, alike: str | None) -> str:
    """Return a file's checksum, by the algorithm of the one that it is compared with."""
    algorithm = (alike or "sha256").partition(":")[0]
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def _state(folder: Path) -> dict[str, dict[str, str]]:
    try:
        state: dict[str, dict[str, str]] = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / _STATE}: cannot be read ({error}); delete it to fetch everything again") from error
    return state


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; tell the user what keeps the folder from taking the files."""
    import filelock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".asd-data.lock")
        try:
            held = lock.acquire(timeout=_PATIENCE)
        except filelock.Timeout:
            _log.info("another process is fetching into %s; waiting for it", folder)
            held = lock.acquire()
        with held:
            yield
    except OSError as error:
        mend = "name a folder that you may write to"
        if error.errno in _DISK_FULL:
            mend = "free some space, or name a folder on another disk"
            for part in folder.rglob("*.part"):  # a full disk harms every program on the machine
                part.unlink()
        raise DataError(f"{folder}: cannot keep the files here ({error.strerror or error}); {mend}") from error
