"""Fetch a data set's files from their publisher: resumed, verified, unpacked.

Each fetched file is recorded in ``.asd-data.json`` in the data set's folder, with its checksum. If the publisher states
no checksum, the first download is trusted, and later ones must be equal to it.
"""

from __future__ import annotations

import errno
import json
import logging
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from asd.errors import DataError
from asd.plugin import RemoteFile, TransferError, require_space, track, writing
from asd.plugin import fetch as fetch_file

_log = logging.getLogger("asd.data")

_STATE = ".asd-data.json"
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def missing(remotes: Sequence[RemoteFile], folder: Path) -> list[RemoteFile]:
    """Return those of `remotes` that were not fetched into `folder` yet, or are not there any more."""
    state = _state(folder)
    return [remote for remote in remotes if not _is_done(remote, folder, state)]


def fetch(remotes: Sequence[RemoteFile], folder: Path, *, keep: bool = False) -> list[RemoteFile]:
    """Fetch what is missing into `folder`, unpack zip archives, and return what was fetched.

    A good file that lies in `folder` under its own name already, copied there by the user, is not downloaded.

    Parameters
    ----------
    remotes : sequence of RemoteFile
        What is wanted.
    folder : Path
        The data set's folder, created if absent.
    keep : bool
        Whether archives stay after they were unpacked.

    Raises
    ------
    DataError
        If a file cannot be had, is not what its publisher states, or cannot be kept; the text says how to mend it.
    """
    with _writing_to(folder):
        wanted = missing(remotes, folder)
        for remote in wanted:
            archive = folder / remote.name
            checksum = _download(remote, archive)
            first = _place(remote, archive, folder, keep)
            state = _state(folder)
            state[remote.url] = {"checksum": checksum, "file": first}
            (folder / _STATE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    return wanted


def _download(remote: RemoteFile, archive: Path) -> str:
    """Leave a good copy in `archive`, and return its checksum."""
    expected = remote.checksum or _state(archive.parent).get(remote.url, {}).get("checksum")
    try:
        found = fetch_file(remote.url, archive, checksum=expected, size=remote.size)
    except TransferError as error:
        mend = f"or download {remote.url} elsewhere, put it at {archive} and run the command again"
        if error.unfinished:
            mend = "run the command again, it goes on from there"
        raise DataError(f"{remote.name}: {error}; {mend}") from error
    if remote.checksum is None:
        _log.info("%s: no checksum of its publisher is known; remembering %s", remote.name, found)
    return found


def _place(remote: RemoteFile, archive: Path, folder: Path, keep: bool) -> str:
    """Move or unpack a file to where it belongs; return the path, below `folder`, of it or of the first unpacked."""
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
    """Unpack a zip archive and return its first file; files that are there already with the same size stay.

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
            f"{archive.name}: not a valid zip archive ({error}); it was not kept, fetch it again"
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


def _state(folder: Path) -> dict[str, dict[str, str]]:
    try:
        state: dict[str, dict[str, str]] = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / _STATE}: cannot be read ({error}); delete it to fetch everything again") from error
    return state


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; say why the folder cannot keep the files."""
    lock = folder / ".asd-data.lock"
    with writing("the data set", folder, lock=lock, error=DataError, remedy="name a folder"):
        try:
            yield
        except OSError as error:
            if error.errno in _DISK_FULL:  # a full disk harms every program on the machine
                for part in folder.rglob("*.part"):
                    part.unlink()
            raise
