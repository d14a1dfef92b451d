"""The results of finished trials, kept in the results folder, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from asd.errors import DataError
from asd.plugin import has_address, open_database
from asd_bench.trial import Trial, TrialResult

T = TypeVar("T")

_DAMAGED = "delete it, and the trial is computed again"

_TABLES = "CREATE TABLE IF NOT EXISTS results (digest TEXT PRIMARY KEY, record TEXT NOT NULL, draws BLOB NOT NULL)"


class ResultStore(Protocol):
    """Where the results of finished trials are kept; several processes may use it at once."""

    def load(self, trial: Trial) -> TrialResult | None:
        """Return the result of a trial; None if it is not finished."""

    def keep(self, result: TrialResult) -> TrialResult:
        """Keep a result and return the kept one: another process may have been faster, and all must give the same."""

    def close(self) -> None:
        """Close it."""


def store_at(place: Path) -> ResultStore:
    """Return the results in a folder, here or at an address; errors as for `Store`."""
    return StoreElsewhere(place) if has_address(place) else Store(place)


class Store:
    """A file of results by the digest of their trial; several processes may use it at once.

    Parameters
    ----------
    folder : Path
        The results folder; it is made if it is not there.

    Raises
    ------
    DataError
        If the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "results.sqlite"
        self._explained(self._open)

    def _open(self) -> None:
        self._connection = open_database(self.path, _TABLES)
        self._connection.execute("BEGIN IMMEDIATE")  # fails at once if the folder cannot be written to
        self._connection.execute("COMMIT")

    def load(self, trial: Trial) -> TrialResult | None:
        """Return the result of a trial; None if it is not finished."""
        query = "SELECT record, draws FROM results WHERE digest = ?"
        row = self._explained(lambda: self._connection.execute(query, (trial.digest,)).fetchone())
        if row is None:
            return None
        record = json.loads(row[0])
        draws = np.frombuffer(row[1], np.float64).reshape(len(record["measures"]), -1)
        return TrialResult(trial, record, draws, computed=False)

    def keep(self, result: TrialResult) -> TrialResult:
        """Keep a result and return the kept one: another process may have been faster, and all must give the same."""
        record = json.dumps(result.record, ensure_ascii=False)
        row = (result.trial.digest, record, np.ascontiguousarray(result.draws).tobytes())
        self._explained(lambda: self._connection.execute("INSERT OR IGNORE INTO results VALUES (?, ?, ?)", row))
        kept = self.load(result.trial) or result
        return TrialResult(kept.trial, kept.record, kept.draws)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _explained(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except (sqlite3.Error, OSError) as error:
            raise DataError(
                f"{self.folder}: results cannot be kept here ({error}); name a folder that you may write to with -o"
            ) from error


class StoreElsewhere:
    """An object for each result, below ``trials`` at an address, as soon as the trial is finished.

    What is there is listed once.

    Parameters
    ----------
    folder : Path
        The results folder, of an address.

    Raises
    ------
    DataError
        If it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._objects: Any = folder / "trials"  # its paths write what is new, too
        self._there = self._explained(self._listed)

    def load(self, trial: Trial) -> TrialResult | None:
        """Return the result of a trial; None if it is not finished."""
        return self._read(trial) if trial.digest in self._there else None

    def keep(self, result: TrialResult) -> TrialResult:
        """Keep a result and return the kept one."""
        trial, draws = result.trial, np.ascontiguousarray(result.draws)
        content = json.dumps(result.record, ensure_ascii=False).encode() + b"\n" + draws.tobytes()
        path = self._objects / trial.digest
        try:
            path.write_bytes(content, overwrite=False)
        except OSError as error:
            if not self._explained(path.is_file):
                raise DataError(f"{path}: the result cannot be kept there ({error.strerror or error})") from error
        self._there.add(trial.digest)
        kept = self._read(trial) or result
        return TrialResult(kept.trial, kept.record, kept.draws)

    def close(self) -> None:
        """Do nothing: each result was put there at once."""

    def _read(self, trial: Trial) -> TrialResult | None:
        path = self._objects / trial.digest
        try:
            head, _, draws = self._explained(path.read_bytes).partition(b"\n")
            record = json.loads(head)
            return TrialResult(
                trial, record, np.frombuffer(draws, np.float64).reshape(len(record["measures"]), -1), computed=False
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}: damaged ({error}); {_DAMAGED}") from error

    def _listed(self) -> set[str]:
        try:
            return {path.name for path in self._objects.iterdir()}
        except FileNotFoundError:
            return set()

    def _explained(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise DataError(f"{self.folder}: results cannot be kept there ({error.strerror or error})") from error
