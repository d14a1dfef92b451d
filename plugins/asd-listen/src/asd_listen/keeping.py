"""The folder of kept sound: written whole or not at all; the oldest goes when it is old, too much, or the disk full."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import logging
import os
import re
import shutil
import time as clock
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from asd.plugin import Event, Float32
from asd_listen.history import History, Write
from asd_listen.schema import HistoryError
from asd_listen.times import utc

_log = logging.getLogger("asd")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_HOUR = 3600.0
_MOST_CHANNELS = 8
"""Channels that FLAC can hold."""
COMPANIONS = (".json", ".png")


class Keeper:
    """Writes recordings, and deletes the oldest.

    Parameters
    ----------
    folder : Path
        Where they lie.
    history : History
        Where it is written down what is kept.
    keep_days, keep_gb, keep_free_mb : float
        As for `asd_listen.evidence.EvidenceSettings`.
    """

    def __init__(self, folder: Path, history: History, keep_days: float, keep_gb: float, keep_free_mb: float) -> None:
        self.folder = folder
        self._history = history
        self._days, self._most, self._free = keep_days, keep_gb * 1e9, keep_free_mb * 1e6
        self._gone: set[str] = set()
        self._shrunk: float | None = None
        self._lack: str | None = None
        history.make_room = self.make_room
        with contextlib.suppress(OSError, HistoryError):  # the first recording says why
            self._repair()

    def last_healthy(self) -> dict[str, float]:
        """Return when the last healthy clip of each machine was kept."""
        with contextlib.suppress(HistoryError):
            query = "SELECT machine, max(began) FROM evidence WHERE kind = 'healthy' GROUP BY machine"
            return {str(machine): float(began) for machine, began in self._history.ask(query)}
        return {}

    def keep(self, event: Event, samples: Float32, sample_rate: int, began: float) -> Path:
        """Write a recording and return its path.

        Parameters
        ----------
        event : Event
            Of which it is evidence.
        samples : float32 array of shape (n, channels)
            The sound; what is not finite becomes silence, what is beyond full scale is clipped.
        sample_rate : int
            In Hz.
        began : float
            When it begins, in seconds since 1970.

        Raises
        ------
        OSError
            If it cannot be written, although all other evidence may have gone.
        """
        place = self.folder / safe_name(event.machine)
        path = place / f"{utc(began)}_{event.kind}_{event.id[:16]}.flac"
        self._write(path, encoded(samples, sample_rate))
        return path

    def describe(self, path: Path, event: Event, began: float, seconds: float, facts: Mapping[str, Any]) -> None:
        """Write beside a recording, and to the history, what it is.

        Parameters
        ----------
        path : Path
            The recording.
        event : Event
            Of which it is evidence.
        began, seconds : float
            When it begins, and its length.
        facts : mapping of str to Any
            The explanation; JSON can hold it.
        """
        known = {
            "machine": event.machine,
            "kind": event.kind,
            "event": None if event.kind == "healthy" else event.id,
            "text": event.text,
            "began": began,
            "seconds": seconds,
            "explanation": dict(facts),
        }
        self._write(path.with_suffix(".json"), json.dumps(known, indent=1, default=str).encode())
        self._history.write([self._row(path, known)])

    def tidy(self, now: float | None = None) -> None:
        """Delete what is too old, what is too much, and what leaves the disk too little space."""
        now = clock.time() if now is None else now
        kept = self._kept()
        total = sum(size for _, size, _ in kept)
        for file, size, began in kept:
            if now - began > self._days * 24 * _HOUR:
                self._delete(file, f"older than {self._days:g} days")
            elif total > self._most:
                self._delete(file, f"more than {self._most / 1e9:g} GB were kept")
            elif self._lacks_space():
                self._delete(file, f"less than {self._free / 1e6:g} MB were free on the disk")
                self._tell(f"less than {self._free / 1e6:g} MB are free")
            else:
                break
            total -= size

    def make_room(self, size: int) -> bool:
        """Delete the oldest evidence because the disk is full, at least `size` bytes; return whether there was any."""
        freed = 0
        with contextlib.suppress(HistoryError):
            for file, bytes_held, _ in self._kept():
                if freed >= size:
                    break
                self._delete(file, "the disk was full")
                freed += bytes_held
        if freed:
            self._tell("the disk is full")
        return freed > 0

    def _kept(self) -> list[tuple[str, int, float]]:
        """Return file, bytes and time of what is kept, the oldest first."""
        rows = self._history.ask("SELECT file, bytes, began FROM evidence WHERE deleted IS NULL ORDER BY began, id")
        return [(str(file), int(size), float(began)) for file, size, began in rows if file not in self._gone]

    def _delete(self, file: str, reason: str) -> None:
        path = self.folder / file
        for each in (path, *(path.with_suffix(suffix) for suffix in COMPANIONS)):
            with contextlib.suppress(FileNotFoundError):
                each.unlink()
        self._gone.add(file)
        self._history.note_deleted(file, reason)

    def _lacks_space(self) -> bool:
        return shutil.disk_usage(self.folder).free < self._free

    @property
    def lack(self) -> str | None:
        """Why the oldest evidence goes, as one line for people; None: for an hour, none had to for lack of space."""
        is_recent = self._shrunk is not None and 0 <= clock.time() - self._shrunk < _HOUR
        return self._lack if is_recent else None

    def _tell(self, why: str) -> None:
        """Tell that evidence is deleted for lack of space."""
        text = f"{self.folder}: {why}: the oldest evidence is being deleted; free some space, or keep less"
        if self.lack is None:
            _log.warning("%s", text)
        self._shrunk, self._lack = clock.time(), text

    def _write(self, path: Path, content: bytes) -> None:
        """Write a file whole or not at all; if the disk is full, older evidence goes first."""
        while True:
            part = path.with_name(f".{path.name}.part")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with part.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
                return
            except OSError as error:
                with contextlib.suppress(OSError):
                    part.unlink()
                if error.errno not in _FULL or not self.make_room(len(content)):
                    raise

    def _row(self, path: Path, known: Mapping[str, Any]) -> Write:
        size = sum(each.stat().st_size for each in self._files(path))
        file = str(path.relative_to(self.folder))
        return (
            "INSERT INTO evidence (machine, event, kind, began, seconds, file, bytes, data) VALUES (?, ?, ?, ?, ?, ?, "
            "?, ?) ON CONFLICT (file) DO UPDATE SET seconds = excluded.seconds, bytes = excluded.bytes, "
            "data = excluded.data, deleted = NULL, reason = NULL",
            (
                *(known["machine"], known["event"], known["kind"], known["began"], known["seconds"], file, size),
                json.dumps(known["explanation"], default=str),
            ),
        )

    @staticmethod
    def _files(path: Path) -> list[Path]:
        return [each for each in (path, *map(path.with_suffix, COMPANIONS)) if each.exists()]

    def _repair(self) -> None:
        """Let folder and history agree after a kill: parts go, what was not written down is, what is gone is marked."""
        rows = {file for file, _, _ in self._kept()}
        for file in rows:
            if not (self.folder / file).is_file():
                self._history.note_deleted(file, "deleted by somebody else")
        for part in self.folder.glob("*/.*.part"):
            part.unlink()
        for note in self.folder.glob("*/*.json"):
            recording = note.with_suffix(".flac")
            if recording.is_file() and str(recording.relative_to(self.folder)) not in rows:
                with contextlib.suppress(ValueError, KeyError, TypeError):  # a file of somebody else
                    self._history.write([self._row(recording, json.loads(note.read_text()))])


def encoded(samples: Float32, sample_rate: int) -> bytes:
    """Return sound, float32[n, channels], as FLAC; errors of soundfile if it cannot be.

    What is not finite becomes silence, what is beyond full scale is clipped.
    """
    import soundfile

    content = io.BytesIO()
    sound = np.clip(np.nan_to_num(samples[:, :_MOST_CHANNELS], posinf=1.0, neginf=-1.0), -1.0, 1.0)
    soundfile.write(content, sound, sample_rate, format="FLAC", subtype="PCM_24")
    return content.getvalue()


def safe_name(machine: str) -> str:
    """Return a name for files and topics: letters, digits, ``-`` and ``_``, and another one for each machine."""
    plain = re.sub(r"[^a-z0-9_-]+", "-", machine.lower()).strip("-")[:40]
    if plain and plain == machine:
        return plain
    digest = hashlib.blake2b(machine.encode(errors="backslashreplace"), digest_size=4).hexdigest()
    return f"{plain or 'machine'}-{digest}"
