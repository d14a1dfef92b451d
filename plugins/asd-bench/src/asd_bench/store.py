"""Finished cells of a benchmark, kept in the results folder, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from asd.errors import DataError
from asd.plugin import Float64, open_database

T = TypeVar("T")

_TABLES = "CREATE TABLE IF NOT EXISTS cells (digest TEXT PRIMARY KEY, record TEXT NOT NULL, draws BLOB NOT NULL)"


@dataclass(frozen=True)
class Cell:
    """A finished cell.

    Parameters
    ----------
    record : dict
        Facts, as JSON holds them.
    draws : float64 array of shape (parts, draws)
        Bootstrap draws of each part of the score; none if the cell failed.
    """

    record: dict[str, Any]
    draws: Float64


class Store:
    """A file of cells by their digest; several processes may use it at once.

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
        self.path = folder / "cells.sqlite"
        self._explained(self._open)

    def _open(self) -> None:
        self._connection = open_database(self.path, _TABLES)
        self._connection.execute("BEGIN IMMEDIATE")  # says at once whether the folder takes anything
        self._connection.execute("COMMIT")

    def load(self, digest: str) -> Cell | None:
        """Return a finished cell, None if it is not finished."""
        query = "SELECT record, draws FROM cells WHERE digest = ?"
        row = self._explained(lambda: self._connection.execute(query, (digest,)).fetchone())
        if row is None:
            return None
        record = json.loads(row[0])
        parts, draws = len(record.get("parts", ())), np.frombuffer(row[1], np.float64)
        return Cell(record, draws.reshape(parts, -1) if parts else np.zeros((0, 0)))

    def keep(self, digest: str, cell: Cell) -> Cell:
        """Keep a cell and return what is kept: another process may have been faster, and all must tell the same."""
        row = (digest, json.dumps(cell.record, ensure_ascii=False), np.ascontiguousarray(cell.draws).tobytes())
        self._explained(lambda: self._connection.execute("INSERT OR IGNORE INTO cells VALUES (?, ?, ?)", row))
        return self.load(digest) or cell

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
