"""How much a client may ask for: bytes, seconds, requests, connections; and what happens beyond."""

from __future__ import annotations

import math
import time
import tomllib
from collections import OrderedDict
from pathlib import Path

import msgspec

from asd.errors import ConfigError

_REMEMBERED = 10_000
"""Callers whose requests are counted; beyond, the one that was quiet longest is forgotten."""

LINGER = 2.0
"""Seconds in which what still comes from a refused client is thrown away: a connection that is closed over unread bytes
is reset, and with it goes the answer that says why."""


class Limits(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a client may ask for; ``serve.toml`` in the server's folder changes it.

    Parameters
    ----------
    upload_bytes : int
        Bytes of a recording that is sent. Default: 100 MB.
    body_bytes : int
        Bytes of any other request. Default: 1 MB.
    sound_seconds : float
        Seconds of sound in a request; what is longer is refused, not cut. Default: an hour.
    rate : float
        Requests a second with a key, on average. Default: 500.
    burst : int
        Requests with a key that may come at once. Default: 1,000.
    open_rate : float
        Requests a second of an address without a key, on average: the page's own files. Default: 30.
    open_burst : int
        Requests of an address without a key that may come at once. Default: 150.
    at_once : int
        Requests with a key that are answered at the same time. Default: 64.
    at_once_in_all : int
        Requests that are answered at the same time. Default: 256.
    sockets : int
        WebSockets with a key that are open at the same time. Default: 128.
    messages : float
        Messages a second that a WebSocket takes, on average; more wait. Default: 200.
    message_bytes : int
        Bytes of a WebSocket's message. Default: 1 MB.
    connections : int
        Connections that are open at the same time, with or without a key. Default: 512.
    connections_each : int
        Of these, from one address. Default: 256.
    wrong_keys : int
        Wrong keys in a row that an address may show at once; then one each ten seconds. Default: 10.
    header_seconds : float
        Seconds in which the head of a request must be there. Default: 10.
    silent_seconds : float
        Seconds that a client may be silent within a body, or not read an answer. Default: 20.
    slowest : float
        Bytes a second that a body must come with, after so many seconds. Default: 1,000.
    answer_seconds : float
        Seconds that judging a recording may take; what takes longer is given up. Default: 300.
    drain_seconds : float
        Seconds that requests under way have when the server is stopped. Default: 20.
    """

    upload_bytes: int = 100_000_000
    body_bytes: int = 1_000_000
    sound_seconds: float = 3600.0
    rate: float = 500.0
    burst: int = 1000
    open_rate: float = 30.0
    open_burst: int = 150
    at_once: int = 64
    at_once_in_all: int = 256
    sockets: int = 128
    messages: float = 200.0
    message_bytes: int = 1_000_000
    connections: int = 512
    connections_each: int = 256
    wrong_keys: int = 10
    header_seconds: float = 10.0
    silent_seconds: float = 20.0
    slowest: float = 1000.0
    answer_seconds: float = 300.0
    drain_seconds: float = 20.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be above 0, got {value}")

    @classmethod
    def read(cls, path: Path) -> Limits:
        """Return the limits of a TOML file, or the usual ones if there is none.

        Raises
        ------
        ConfigError
            If it is no TOML, or has a name or a value that does not fit.
        """
        try:
            return msgspec.convert(tomllib.loads(path.read_text("utf-8-sig")), cls)
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            names = ", ".join(cls.__struct_fields__)
            raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or error}; known are {names}") from error


class Buckets:
    """Counts what callers do: each may do so much at once, and so much a second on average.

    Parameters
    ----------
    rate : float
        How much a second.
    burst : float
        How much at once.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str, cost: float = 1.0, *, take: bool = True) -> float:
        """Return 0 if a caller may do it now, which then counts; else the seconds until it may.

        Parameters
        ----------
        caller : str
            Who.
        cost : float
            How much it is.
        take : bool
            Whether it counts.
        """
        now = time.monotonic()
        left, then = self._left.pop(caller, (self.burst, now))
        left = min(self.burst, left + (now - then) * self.rate)
        waits = max(0.0, (cost - left) / self.rate)
        if take and not waits:
            left -= cost
        self._left[caller] = left, now
        if len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)
        return waits
