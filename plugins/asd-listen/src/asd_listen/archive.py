"""A listener's folder in one file: history, monitors, evidence, and what a server keeps beside them, while all run.

A zip archive, whose last entry lists every other one with its length and its SHA-256. Monitors are taken before the
history: one that lags behind catches up with the verdicts of the history when a listener starts, as after a kill. Of
the evidence, what the history names is taken; what retention has deleted meanwhile is marked as deleted in the copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import time as clock
import zipfile
from io import BufferedReader
from pathlib import Path
from typing import Any

import msgspec

from asd_listen.keeping import COMPANIONS
from asd_listen.reader import Reader
from asd_listen.schema import HistoryError, explained, located

FORMAT = 1
"""Version of the archive's form; a newer one is refused."""
LISTING = "asd-history.json"
"""The entry that lists all others; the last one."""
HISTORY, SERVER = "history.sqlite", "serve.sqlite"
FOLDERS = ("evidence", "monitors", "models", "recordings")
"""Folders of a listener and of a server whose files are taken."""
PACKED = (".flac", ".png", ".asd")
"""What does not become smaller."""
_WORDS = (
    ("evidence", ".flac", "recording of evidence", "recordings of evidence"),
    ("monitors", ".monitor", "monitor", "monitors"),
    ("models", ".asd", "model", "models"),
    ("recordings", "", "healthy recording", "healthy recordings"),
)
_BLOCK = 2**20
_TRIES = 5


class Entry(msgspec.Struct, frozen=True):
    """A file of an archive: its name there, its length in bytes, and the SHA-256 of its content."""

    name: str
    bytes: int
    sha256: str


class Listing(msgspec.Struct, frozen=True):
    """What an archive holds.

    Parameters
    ----------
    format : int
        Version of the archive's form.
    schema : int
        Version of the history's tables.
    made : float
        When, in seconds since 1970.
    files : tuple of Entry
        Its other entries.
    """

    format: int
    schema: int
    made: float
    files: tuple[Entry, ...]


def back_up_all(path: str | Path, target: Path) -> Listing:
    """Copy all that a listener keeps, and a server beside it, into a new archive, while both may be running.

    Parameters
    ----------
    path : str or Path
        The history, or the listener's folder.
    target : Path
        The archive, a new file; a kill leaves none, only its beginning as ``.NAME.part``.

    Raises
    ------
    HistoryError
        If the target is there already or cannot be written, or the history cannot be read; nothing is left of it then.
    """
    if target.exists():
        raise HistoryError(f"{target}: is there already; name a new file")
    folder = located(Path(path)).parent
    part, copy = (target.with_name(f".{target.name}.{kind}") for kind in ("part", "sqlite"))
    try:
        for old in (part, copy):
            old.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                listing = _filled(_Writer(archive), folder, located(Path(path)), copy)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except (sqlite3.Error, OSError) as error:
        raise explained(error, target) from error
    finally:
        for each in (part, copy):
            with contextlib.suppress(OSError):
                each.unlink(missing_ok=True)
    return listing


class _Writer:
    """Writes files into an archive, and notes what they are."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.entries: list[Entry] = []

    def add(self, name: str, file: Path) -> None:
        """Write a file as it is now.

        Raises
        ------
        FileNotFoundError
            If it is gone; nothing is written then.
        """
        with file.open("rb") as source:
            self.add_open(name, source)

    def add_open(self, name: str, source: BufferedReader) -> None:
        """Write what can be read of an open file."""
        about = zipfile.ZipInfo(name, clock.localtime()[:6])
        about.compress_type = zipfile.ZIP_STORED if name.endswith(PACKED) else zipfile.ZIP_DEFLATED
        about.external_attr = 0o600 << 16
        digest, size = hashlib.sha256(), 0
        with self._archive.open(about, "w", force_zip64=True) as entry:
            while block := source.read(_BLOCK):
                entry.write(block)
                digest.update(block)
                size += len(block)
        self.entries.append(Entry(name, size, digest.hexdigest()))

    def finish(self, schema: int) -> Listing:
        """Write the listing."""
        listing = Listing(FORMAT, schema, clock.time(), tuple(self.entries))
        self._archive.writestr(LISTING, json.dumps(msgspec.to_builtins(listing), indent=1))
        return listing


def _filled(writer: _Writer, folder: Path, history: Path, copy: Path) -> Listing:
    """Write all parts; `copy` is where the copy of the history lies meanwhile."""
    with Reader(history) as reader, contextlib.ExitStack() as opened:
        for file in _with_history(reader, folder / "monitors", copy, opened):
            writer.add_open(f"monitors/{Path(file.name).name}", file)
    connection = sqlite3.connect(copy, isolation_level=None)
    try:
        schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
        _add_evidence(writer, folder / "evidence", connection)
        connection.execute("PRAGMA journal_mode = DELETE")  # one file, that can be read anywhere
    finally:
        connection.close()
    writer.add(HISTORY, copy)
    _add_server(writer, folder, copy)
    return writer.finish(schema)


def _with_history(reader: Reader, folder: Path, copy: Path, opened: contextlib.ExitStack) -> list[BufferedReader]:
    """Copy the history, and return the monitors, open, as they were just before.

    Each is replaced by a new file when it changes. One that lags behind catches up with verdicts, not with what people
    said of them: if that has reached it in between, all are taken again.
    """
    for _ in range(_TRIES):
        began = clock.time()
        opened.close()
        monitors = []
        for file in _plain_files(folder):
            with contextlib.suppress(FileNotFoundError):
                monitors.append(opened.enter_context(file.open("rb")))
        copy.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(copy)) as target, reader.connection() as connection:
            connection.backup(target)
            if not target.execute("SELECT 1 FROM feedback WHERE done >= ? LIMIT 1", (began,)).fetchone():
                break
    return monitors


def _plain_files(folder: Path) -> list[Path]:
    """Return the files of a folder that are whole: no links, no locks, none that are being written."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        file
        for file in found
        if file.is_file() and not file.is_symlink() and file.name[0] != "." and file.suffix not in (".part", ".lock")
    ]


def _add_evidence(writer: _Writer, folder: Path, copy: sqlite3.Connection) -> None:
    """Write the kept sound that the copy names, and mark in the copy what is gone."""
    for (name,) in copy.execute("SELECT file FROM evidence WHERE deleted IS NULL ORDER BY began, id").fetchall():
        file = folder / name
        try:
            writer.add(f"evidence/{name}", file)
        except FileNotFoundError:
            copy.execute(
                "UPDATE evidence SET deleted = ?, reason = 'deleted before it was backed up' WHERE file = ?",
                (clock.time(), name),
            )
            continue
        for companion in map(file.with_suffix, COMPANIONS):
            with contextlib.suppress(FileNotFoundError):
                writer.add(str(Path("evidence", name).with_suffix(companion.suffix)), companion)


def _add_server(writer: _Writer, folder: Path, copy: Path) -> None:
    """Write what a server keeps in the same folder: its database, models fitted from the page, recordings."""
    if (folder / SERVER).is_file():
        copy.unlink()
        with (
            contextlib.closing(sqlite3.connect(f"file:{_quoted(folder / SERVER)}?mode=ro", uri=True)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # as for the history
        writer.add(SERVER, copy)
    for part in ("models", "recordings"):
        for place in sorted({folder / part, *(folder / part).rglob("*")}):
            if place.is_dir() and not place.is_symlink():
                for file in _plain_files(place):
                    with contextlib.suppress(FileNotFoundError):
                        writer.add(file.relative_to(folder).as_posix(), file)


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path.absolute()))


def spoken(listing: Listing) -> str:
    """Return what an archive holds, in words."""
    said = ["the history"]
    for folder, suffix, one, several in _WORDS:
        count = sum(entry.name.startswith(f"{folder}/") and entry.name.endswith(suffix) for entry in listing.files)
        if count:
            said.append(f"{count} {one if count == 1 else several}")
    if any(entry.name == SERVER for entry in listing.files):
        said.append("keys and sessions of the server")
    return ", ".join(said)


def is_archive(path: Path) -> bool:
    """Return whether a backup is to be, by its name, an archive of everything."""
    return path.suffix.lower() == ".zip"


def read_listing(archive: zipfile.ZipFile, path: Path) -> Listing:
    """Return what an archive says that it holds.

    Raises
    ------
    HistoryError
        If it is no backup, damaged, of a newer version, or not what it says.
    """
    try:
        text: Any = json.loads(archive.read(LISTING))
        if isinstance(text, dict) and isinstance(text.get("format"), int) and text["format"] > FORMAT:
            raise HistoryError(
                f"{path}: a backup of version {text['format']}, this asd knows versions up to {FORMAT}: "
                "pip install --upgrade asd-listen"
            )
        listing = msgspec.convert(text, Listing)
    except KeyError:
        raise HistoryError(
            f"{path}: a zip archive, but no backup of asd; name one that 'asd history HISTORY backup FILE.zip' made"
        ) from None
    except (ValueError, zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError) as error:
        raise HistoryError(f"{path}: the list of its content is damaged ({error}); use another backup") from None
    return listing
