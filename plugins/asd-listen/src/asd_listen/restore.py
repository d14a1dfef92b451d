"""Put a backup back: verified before anything is touched; what was there is kept aside."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sqlite3
import time as clock
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from asd_listen.archive import FOLDERS, HISTORY, LISTING, SERVER, Entry, Listing, read_listing
from asd_listen.reader import Reader
from asd_listen.schema import MIGRATIONS, HistoryError, explained, located
from asd_listen.times import utc

_BLOCK = 2**20
_SQLITE = b"SQLite format 3\0"
_PARTS = (*FOLDERS, SERVER, HISTORY)
"""What is put back, the history last."""
_STAGE = ".restore.part"
_SPARE = 2**24
"""Bytes that a disk must have besides those of the backup."""


def restore(path: str | Path, source: Path, *, force: bool = False) -> tuple[Listing | None, Path | None]:
    """Put a backup in the place of a listener's history, monitors and evidence.

    Parameters
    ----------
    path : str or Path
        The listener's folder, made if it is not there, or the history in it.
    source : Path
        What `asd_listen.archive.back_up_all` wrote, or a copy of the history alone.
    force : bool
        Whether a history that is there may go aside; default: no.

    Returns
    -------
    Listing or None
        What the archive held; None: it was a copy of the history alone.
    Path or None
        The folder that what was there before is in now; None: there was nothing.

    Raises
    ------
    HistoryError
        If the backup is damaged, of a newer version, or no backup; if there is a history and `force` is not given; if
        a listener or a server uses it. Nothing has changed then.
    """
    place = located(Path(path)) if Path(path).is_dir() or Path(path).suffix == ".sqlite" else Path(path) / HISTORY
    folder = place.parent
    if place.name != HISTORY:
        raise HistoryError(f"{place}: a backup is put back as {HISTORY}; name the listener's folder")
    if not source.is_file():
        raise HistoryError(f"{source}: no such file; name one that 'asd history HISTORY backup FILE.zip' made")
    if not force and (there := [part for part in _PARTS if (folder / part).exists() and _holds(folder / part)]):
        raise HistoryError(
            f"{folder}: has {', '.join(there)} already; --force puts the backup in its place, and keeps that aside"
        )
    stage = folder / _STAGE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            shutil.rmtree(stage, ignore_errors=True)  # left by a kill
            stage.mkdir(mode=0o700)
            try:
                listing = _unpacked(source, stage)
                _check_history(stage / HISTORY, source)
                return listing, _exchange(folder, stage, whole=listing is not None)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
    except (sqlite3.Error, OSError) as error:
        raise explained(error, folder) from error


def _holds(part: Path) -> bool:
    return part.is_file() or any(part.iterdir())


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep listeners and servers from the folder inside the block."""
    import filelock

    with contextlib.ExitStack() as stack:
        for name, who in ((HISTORY, "a listener (asd listen)"), (SERVER, "a server (asd serve)")):
            try:
                stack.enter_context(filelock.FileLock(folder / f".{name}.lock", timeout=0))
            except filelock.Timeout:
                raise HistoryError(f"{folder}: {who} is using it; end that first, then restore") from None
        yield


def _unpacked(source: Path, stage: Path) -> Listing | None:
    """Copy what a backup holds, verified, below `stage`."""
    with source.open("rb") as file:
        beginning = file.read(len(_SQLITE))
    if beginning == _SQLITE:
        _require_space(stage, source.stat().st_size)
        shutil.copyfile(source, stage / HISTORY)
        return None
    try:
        with zipfile.ZipFile(source) as archive:
            listing = read_listing(archive, source)
            _check_listing(archive, listing, source)
            _require_space(stage, sum(entry.bytes for entry in listing.files))
            for entry in listing.files:
                _unpack(archive, entry, stage / entry.name, source)
    except zipfile.BadZipFile as error:
        raise HistoryError(f"{source}: damaged, cut off, or no backup ({error}); use another backup") from None
    return listing


def _check_listing(archive: zipfile.ZipFile, listing: Listing, source: Path) -> None:
    """Refuse a newer history, and names that are no place for a part of a backup."""
    if listing.schema > len(MIGRATIONS):
        raise HistoryError(
            f"{source}: holds a history of version {listing.schema}, this asd knows versions up to {len(MIGRATIONS)}: "
            "pip install --upgrade asd-listen"
        )
    names = [entry.name for entry in listing.files]
    for name in names:
        if not _is_ours(name):
            raise HistoryError(f"{source}: holds {name[:80]!r}, which is no part of a backup; nothing was put back")
    folded = {name.casefold() for name in names}
    if len(folded) < len(names) or sorted(archive.namelist()) != sorted([*names, LISTING]) or HISTORY not in names:
        raise HistoryError(f"{source}: its content is not what its list says; use another backup")


def _is_ours(name: str) -> bool:
    """Return whether a name is a place below the listener's folder where parts of a backup belong."""
    if name in (HISTORY, SERVER):
        return True
    parts = PurePosixPath(name).parts
    return (
        str(PurePosixPath(name)) == name
        and len(parts) > 1
        and parts[0] in FOLDERS
        and not any(part.startswith(".") or re.search(r"[\\:\x00-\x1f]", part) for part in parts)
    )


def _unpack(archive: zipfile.ZipFile, entry: Entry, target: Path, source: Path) -> None:
    """Write one file, at most as long as it should be, and compare its content."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), entry.bytes
    try:
        with archive.open(entry.name) as packed, target.open("xb") as file:
            while block := packed.read(min(_BLOCK, left + 1)):
                left -= len(block)
                if left < 0:
                    break
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        raise HistoryError(f"{source}: {entry.name} is damaged ({error}); use another backup") from None
    except Exception as error:
        if type(error).__module__ == "zlib":
            raise HistoryError(f"{source}: {entry.name} is damaged ({error}); use another backup") from None
        raise
    if left or digest.hexdigest() != entry.sha256:
        raise HistoryError(f"{source}: {entry.name} is not what the backup's list says; use another backup")


def _require_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE:
        raise HistoryError(
            f"{folder.parent}: the backup needs {size / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; free some on this "
            "disk"
        )


def _check_history(copy: Path, source: Path) -> None:
    """Refuse a copy of the history that is damaged, too new, or none."""
    try:
        with Reader(copy) as reader:
            found = reader.check()
    except HistoryError as error:
        raise HistoryError(str(error).replace(str(copy), str(source))) from None
    if found:
        raise HistoryError(f"{source}: its history is damaged ({found[0][:100]}); use another backup")


def _exchange(folder: Path, stage: Path, *, whole: bool) -> Path | None:
    """Put what `stage` holds in its place, and what was there into a folder of its own; return that.

    There is a history at each moment, the former one or that of the backup: a kill leaves all of both, and the command
    can be given again. `whole`: evidence and monitors that are not in the backup have no place beside its history.
    """
    _settle(folder / HISTORY)
    parts = [part for part in _PARTS if (stage / part).exists() or (whole and part in ("evidence", "monitors"))]
    aside = _named_anew(folder, clock.time())
    try:
        for part in parts:
            former, new = folder / part, stage / part
            if former.exists():
                aside.mkdir(exist_ok=True)
                _put_aside(former, aside / part, stays=former.is_file())
            if new.exists():
                new.replace(former)
    except OSError as error:
        raise HistoryError(
            f"{folder}: {part} cannot be replaced ({error.strerror}); what was put aside is in {aside}: mend that, and "
            "restore with --force"
        ) from error
    return aside if aside.exists() else None


def _put_aside(former: Path, aside: Path, *, stays: bool) -> None:
    """Bring a part of the former folder away; `stays`: it is replaced afterwards, and is there until then."""
    for end in ("-wal", "-shm"):  # where the log could not be brought into the file: it was damaged
        log = former.with_name(f"{former.name}{end}")
        if log.exists():
            log.rename(aside.with_name(f"{aside.name}{end}"))
    if not stays:
        former.rename(aside)
        return
    try:
        os.link(former, aside)
    except OSError:  # a file system without links
        shutil.copyfile(former, aside)


def _settle(history: Path) -> None:
    """Bring what SQLite's log holds into the file, as far as it is a database."""
    with contextlib.suppress(sqlite3.Error):
        if history.is_file():
            with contextlib.closing(sqlite3.connect(history)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _named_anew(folder: Path, now: float) -> Path:
    name = f"before-restore-{utc(now)}"
    found, number = folder / name, 2
    while found.exists():
        found, number = folder / f"{name}-{number}", number + 1
    return found
