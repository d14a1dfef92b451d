"""Keys: who may use a server, and for what.

A key is ``asd_<id>_<secret>``. Its secret has 190 random bits, so that its SHA-256, which alone is kept, cannot be
turned back, and a slow hash would only slow down the server (decision 0047).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
import time
from dataclasses import dataclass
from typing import Literal, get_args

from asd.errors import ConfigError
from asd_serve.database import Database

Role = Literal["look", "feedback", "administer"]
"""What a key allows; each includes the ones before it."""
ROLES: tuple[Role, ...] = get_args(Role)
_LETTERS = string.ascii_letters + string.digits
_LENGTH = 32
_LONGEST_NAME = 60
_NOTED = 60.0
"""Seconds between two notes of when a key was used."""


@dataclass(frozen=True)
class Key:
    """What is known of a key, without its secret. Times in seconds since 1970.

    Parameters
    ----------
    id : str
        Its part that is no secret.
    name : str
        Who uses it.
    role : str
        What it allows.
    made : float
        When it was made.
    used : float or None
        When it was last used, to a minute.
    revoked : float or None
        Since when it is of no use.
    """

    id: str
    name: str
    role: Role
    made: float
    used: float | None = None
    revoked: float | None = None


class Keys:
    """The keys of a server.

    Parameters
    ----------
    database : Database
        Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, role: Role) -> tuple[Key, str]:
        """Make a key, and return what is known of it and its text, which is kept nowhere.

        Raises
        ------
        ConfigError
            If the name is empty, too long or taken, or the role is none.
        """
        if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
            raise ConfigError(f"a key's name must have 1 to {_LONGEST_NAME} printable characters, got {name!r}")
        if role not in ROLES:
            raise ConfigError(f"a key's role must be look, feedback or administer, got {role!r}")
        if any(each.name == name and each.revoked is None for each in self.all()):
            raise ConfigError(f"there is a key named {name!r}; choose another name, or revoke that one first")
        key = Key(secrets.token_hex(4), name, role, time.time())
        secret = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
        self._database.change(
            "INSERT INTO keys (id, name, role, hash, made) VALUES (?, ?, ?, ?, ?)",
            *(key.id, name, role, _hash(secret), key.made),
        )
        return key, f"asd_{key.id}_{secret}"

    def all(self) -> list[Key]:
        """Return all keys, the oldest first; those that were revoked, too."""
        return [
            Key(*row)
            for row in self._database.rows("SELECT id, name, role, made, used, revoked FROM keys ORDER BY made, id")
        ]

    def find(self, text: str) -> Key | None:
        """Return the key with such a text; None: there is none, or it was revoked."""
        parts = text.split("_")
        if len(parts) != 3 or parts[0] != "asd" or len(text) > 100 or not text.isascii():
            return None
        rows = self._database.rows(
            "SELECT id, name, role, made, used, revoked, hash FROM keys WHERE id = ? AND revoked IS NULL", parts[1]
        )
        kept = rows[0][-1] if rows else bytes(32)
        if not hmac.compare_digest(_hash(parts[2]), kept) or not rows:
            return None
        return Key(*rows[0][:-1])

    def is_valid(self, key: str) -> bool:
        """Return whether the key with this id is in use."""
        return bool(self._database.rows("SELECT 1 FROM keys WHERE id = ? AND revoked IS NULL", key))

    def revoke(self, name: str) -> Key:
        """Make a key useless, at once, and end its sessions.

        Parameters
        ----------
        name : str
            Its name or its id.

        Raises
        ------
        ConfigError
            If there is no such key.
        """
        valid = [each for each in self.all() if each.revoked is None]
        found = [each for each in valid if name in (each.name, each.id)]
        if not found:
            known = ", ".join(repr(each.name) for each in valid) or "none"
            raise ConfigError(f"no key {name!r} is in use; in use: {known}")
        self._database.change("UPDATE keys SET revoked = ? WHERE id = ?", time.time(), found[0].id)
        self._database.change("DELETE FROM sessions WHERE key = ?", found[0].id)
        return found[0]

    def was_used(self, key: Key) -> None:
        """Note that a key was used, once a minute at most."""
        now = time.time()
        if key.used is None or now - key.used > _NOTED:
            self._database.note("UPDATE keys SET used = ? WHERE id = ?", now, key.id)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
