"""Runs the application: the port, TLS, and an end without loss."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import math
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from asd.errors import ConfigError
from asd_serve.limits import Limits
from asd_serve.protocol import Loop, limited

_BACKLOG = 256
_PASSES = 10
"""Passes of the event loop in which a connection is accepted, its request read and handed over."""


class Server(uvicorn.Server):
    """A server that says when it answers.

    Parameters
    ----------
    config : uvicorn.Config
        As `configured` makes it.
    answering : callable
        Called once, when it answers.
    """

    def __init__(self, config: uvicorn.Config, answering: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._answering = answering

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin."""
        await super().startup(sockets=sockets)
        self._answering()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End; first those requests are taken that had come before, but which a busy loop has not looked at yet."""
        for _ in range(_PASSES):
            await asyncio.sleep(0)
        await super().shutdown(sockets=sockets)

    def serve_on(self, sockets: Sequence[socket.socket]) -> None:
        """Answer until SIGTERM, Ctrl-C, or `should_exit`; what is under way then is answered before this returns."""
        with _quiet_end(), asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(self.serve(sockets=list(sockets)))


def configured(app: Any, limits: Limits, tls: tuple[Path, Path] | None, proxies: Sequence[str]) -> uvicorn.Config:
    """Return uvicorn's settings for an application.

    Parameters
    ----------
    app : ASGI application
        The application.
    limits : Limits
        The limits.
    tls : tuple of Path, optional
        Files of certificate and key, which `check_tls` has checked.
    proxies : sequence of str
        Addresses and networks of proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed.
    """
    http, websocket = limited(limits, proxies)
    Loop.handshake_seconds = limits.header_seconds
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of each request that is no HTTP
    return uvicorn.Config(
        app,
        http=http,
        ws=websocket,
        ws_max_size=limits.message_bytes,
        ws_per_message_deflate=False,  # sound does not become smaller by it
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        server_header=False,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=math.ceil(limits.drain_seconds),
        backlog=_BACKLOG,
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
    )


@contextlib.contextmanager
def _quiet_end() -> Any:
    """Let SIGTERM and Ctrl-C end the server, not the process: uvicorn raises them again when it has ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGTERM, signal.SIGINT)
    former = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def listen_at(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen: one for each address of a name.

    Parameters
    ----------
    host : str
        Address or name.
    port : int
        Port; 0: a free one.

    Raises
    ------
    ConfigError
        If there is no such address here, or the port is taken or not allowed.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"--host {host}: no such address ({_reason(error)}); give an address of this computer"
        ) from error
    sockets: list[socket.socket] = []
    trouble: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        place: Any = (address[0], sockets[0].getsockname()[1] if sockets else port, *address[2:])
        try:
            sockets.append(socket.create_server(place, family=family, backlog=_BACKLOG))
        except OSError as error:
            trouble = error
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                break
            continue
        # Accepted connections take it from here, as asyncio sets it on sockets of its own alone: else the second
        # packet of an answer, its body, waits 40 ms until the first is acknowledged.
        sockets[-1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if trouble is not None and (not sockets or trouble.errno in (errno.EADDRINUSE, errno.EACCES)):
        for each in sockets:
            each.close()
        raise ConfigError(_taken(host, port, trouble)) from trouble
    return sockets


def _taken(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} of {host} is in use, perhaps by another 'asd serve'; stop that one, or choose another --port"
        )
    if error.errno == errno.EACCES:
        return f"port {port} of {host} is not allowed to you; choose one above 1023, and put a proxy before it"
    return f"--host {host}: cannot be listened at ({_reason(error)}); give an address of this computer"


def _reason(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    known = isinstance(error, OSError) and number in errno.errorcode
    return os.strerror(number) if known and number is not None else getattr(error, "strerror", None) or str(error)


def is_loopback(host: str) -> bool:
    """Return whether only this computer reaches an address."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def check_tls(certificate: Path | None, key_file: Path | None) -> tuple[Path, Path] | None:
    """Return the files of certificate and key; None: there are none.

    Raises
    ------
    ConfigError
        If one is missing, is none, needs a password, or does not belong to the other.
    """
    if certificate is None:
        if key_file is not None:
            raise ConfigError("--key-file needs --certificate: the file with the certificate that belongs to the key")
        return None
    for path in (certificate, key_file or certificate):
        try:
            text = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: {_reason(error)}; expected a file in PEM form") from error
        if b"-----BEGIN" not in text:
            raise ConfigError(f"{path}: not in PEM form; expected lines from -----BEGIN … to -----END …")
    key = key_file or certificate
    if b"ENCRYPTED" in key.read_bytes():
        raise ConfigError(
            f"{key}: needs a password, which nobody types at night; give a key without (openssl pkey -in …)"
        )
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise ConfigError(_tls_trouble(certificate, key, error)) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{certificate}, {key}: {_reason(error)}") from error
    return certificate, key


def _tls_trouble(certificate: Path, key: Path, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"{key}: not the key of the certificate in {certificate}; give the key that it was made with"
    return f"{certificate}, {key}: no certificate with its key ({error.reason or error}); expected PEM files"
