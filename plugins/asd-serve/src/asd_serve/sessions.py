"""Sessions: a browser that has shown a key once gets a cookie in its place, which scripts cannot read.

The server keeps the SHA-256 of the cookie's 256 random bits. The CSRF token is computed from the cookie, so that it
needs no place; it is told to pages of this server only.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time

from asd_serve.database import Database
from asd_serve.keys import Key

IDLE = 7 * 86400.0
"""Seconds after which a session ends that nobody uses."""
LONGEST = 30 * 86400.0
"""Seconds after which it ends in any case."""
_NOTED = 60.0
_MOST = 100
"""Sessions of a key at a time; the one that was idle longest gives way."""


class Sessions:
    """The sessions of a server.

    Parameters
    ----------
    database : Database
        Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, key: Key) -> str:
        """Begin a session of whoever has shown this key, and return the text of its cookie."""
        token, now = secrets.token_urlsafe(32), time.time()
        self._database.change("DELETE FROM sessions WHERE used < ? OR made < ?", now - IDLE, now - LONGEST)
        self._database.change(
            "DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE key = ? ORDER BY used DESC LIMIT -1 "
            "OFFSET ?)",
            *(key.id, _MOST - 1),
        )
        self._database.change("INSERT INTO sessions VALUES (?, ?, ?, ?)", _hash(token), key.id, now, now)
        return token

    def find(self, token: str) -> Key | None:
        """Return the key whose session this is; None: it has ended, or never was."""
        now = time.time()
        rows = self._database.rows(
            "SELECT keys.id, name, role, keys.made, keys.used, revoked, sessions.made, sessions.used FROM sessions "
            "JOIN keys ON keys.id = sessions.key WHERE sessions.hash = ? AND revoked IS NULL",
            _hash(token),
        )
        if not rows or now - rows[0][-2] > LONGEST or now - rows[0][-1] > IDLE:
            return None
        if now - rows[0][-1] > _NOTED:
            self._database.note("UPDATE sessions SET used = ? WHERE hash = ?", now, _hash(token))
        return Key(*rows[0][:-2])

    def end(self, token: str) -> None:
        """End a session."""
        self._database.change("DELETE FROM sessions WHERE hash = ?", _hash(token))


def csrf_of(token: str) -> str:
    """Return what a request that changes something must carry, beside such a cookie, as ``X-CSRF-Token``."""
    return hmac.new(token.encode(), b"asd csrf", hashlib.sha256).hexdigest()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
