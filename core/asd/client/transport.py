"""Requests to a server: the key, what is tried again, and what an answer that is none means."""

from __future__ import annotations

import datetime
import email.utils
import io
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from asd.errors import ConfigError, ServerError
from asd.files.fetch import is_offline, reason_of

if TYPE_CHECKING:
    import requests

_log = logging.getLogger("asd")

INTERFACE = 1
"""Version of the interface over HTTP that this client knows; a server says its own in ``X-ASD-API``."""
_CONNECT, _READ = 10.0, 300.0
"""Seconds until a server must have accepted a connection, and until the next part of its answer must come."""
_PAUSE = (0.5, 8.0)
"""Seconds before the first further try, and at most before a later one."""
_AGAIN = (429, 502, 503, 504)
"""Answers that say that nothing was done, yet."""
_LONGEST = 300


def address_of(url: str) -> str:
    """Return a server's address without a slash at its end.

    Raises
    ------
    ConfigError
        If it is none, or holds a key.
    """
    try:
        parts = urlsplit(url.strip())
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or (parts.port, False)[1]
    except ValueError:
        wrong = True
    if wrong:
        raise ConfigError(f"{url[:_LONGEST]!r} is no address of a server; expected http://HOST:PORT or https://HOST")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError(
            f"{parts.scheme}://{parts.hostname}…: a key has no place in an address, where histories and logs keep it; "
            "give the address alone, and the key in ASD_KEY"
        )
    return url.strip().rstrip("/")


def server_and_model(url: str) -> tuple[str, str | None]:
    """Return the server's address and the model's name in ``http://HOST:PORT/MODEL``; None: it names no model.

    Raises
    ------
    ConfigError
        As for `address_of`.
    """
    parts = urlsplit(address_of(url))
    place, _, name = parts.path.rpartition("/")
    return f"{parts.scheme}://{parts.netloc}{place}", unquote(name) or None


class Transport:
    """Sends requests to one server, and tries again what is safe to try again. Several threads may use it.

    Parameters
    ----------
    url : str
        The server's address.
    key : str or None
        The key; None: that in ``ASD_KEY``, or none.
    patience : float
        Seconds for which a request may be tried again, or wait.

    Raises
    ------
    ConfigError
        If the address or the key cannot be one.
    ServerError
        If the network is forbidden, and the server is not on this computer.
    """

    def __init__(self, url: str, key: str | None, patience: float) -> None:
        self.url = address_of(url)
        self._key = (os.environ.get("ASD_KEY", "") if key is None else key).strip()
        if not (self._key.isascii() and self._key.isprintable()) or " " in self._key:
            raise ConfigError(
                "the key holds characters that no key has; copy it again, as 'asd serve key create' gave it"
            )
        self.patience = patience
        self._own = threading.local()
        self._reached = False
        self.host = urlsplit(self.url).hostname or ""
        self.is_here = self.host in ("localhost", "::1") or self.host.startswith("127.")
        if not self.is_here and is_offline():
            raise ServerError(f"{self.url}: the network is forbidden (ASD_OFFLINE or --offline)")
        if not self.is_here and self._key and self.url.startswith("http://"):
            _log.warning("%s: the key goes through the network unencrypted; use https if others can listen", self.url)

    def headers(self) -> dict[str, str]:
        """Return the headers that carry the key."""
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def close(self) -> None:
        """Close this thread's connections; those of others close with their threads."""
        if session := getattr(self._own, "session", None):
            session.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Callable[[], Any] | None = None,
        kind: str | None = None,
        json: Any = None,
        safe: bool | None = None,
    ) -> requests.Response:
        """Send a request, and return the answer to it.

        Parameters
        ----------
        method, path : str
            Such as ``"GET"`` and ``"/api/models"``.
        query : mapping, optional
            Parameters of the address; those that are None are left out.
        body : callable, optional
            Returns what is sent, anew for each try: bytes or a file, which is closed afterwards.
        kind : str, optional
            Type of the body's content.
        json : optional
            What is sent as JSON, in place of a body.
        safe : bool, optional
            Whether it may be done twice without harm; default: of GET alone. A request that is not is tried again only
            where the server has not begun it.

        Raises
        ------
        ServerError
            If the server cannot be reached, or refuses; `ServerError.status` has the answer's code.
        """
        safe = method == "GET" if safe is None else safe
        until, pause = time.monotonic() + self.patience, _PAUSE[0]
        while True:
            answer, problem = self._try(method, path, query, body, kind, json)
            if answer is not None and answer.status_code not in _AGAIN:
                return self._checked(answer)
            wait = pause if answer is None else _asked_to_wait(answer, pause)
            if answer is None and not (self._reached and (safe or _never_sent(problem))):
                raise self._unreachable(problem)
            if time.monotonic() + wait > until:
                raise self._unreachable(problem) if answer is None else self._busy(answer, wait)
            if answer is not None:
                answer.close()
            _log.debug("%s%s: tried again in %.1f s", self.url, path, wait)
            time.sleep(wait)
            pause = min(2 * pause, _PAUSE[1])

    def _try(
        self, method: str, path: str, query: Any, body: Callable[[], Any] | None, kind: str | None, json: Any
    ) -> tuple[requests.Response | None, Exception | None]:
        import requests

        content = None if body is None else body()
        try:
            answer = self._session().request(
                method,
                self.url + path,
                params={key: value for key, value in (query or {}).items() if value is not None},
                data=content,
                json=json,
                headers={"Content-Type": kind} if kind else None,
                timeout=(_CONNECT, _READ),
                allow_redirects=False,  # the key is for this server alone
                proxies={"no_proxy": self.host} if self.is_here else None,  # which cannot lead back
            )
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            return None, error
        except requests.RequestException as error:
            raise ServerError(f"{self.url}: cannot be asked ({reason_of(error)})") from error
        finally:
            if isinstance(content, io.IOBase):
                content.close()
        self._reached = True
        return answer, None

    def _session(self) -> requests.Session:
        import requests

        session: requests.Session | None = getattr(self._own, "session", None)
        if session is None:
            session = self._own.session = requests.Session()
            session.auth = self._sign  # in place of what a file .netrc may say
            session.headers["Accept"] = "application/json, */*"
        return session

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self.headers())
        return request

    def _checked(self, answer: requests.Response) -> requests.Response:
        version = answer.headers.get("X-ASD-API", "")
        if version.isdecimal() and int(version) > INTERFACE:
            raise ServerError(
                f"{self.url}: speaks version {version} of the interface, this asd knows {INTERFACE}: "
                "pip install --upgrade asd-framework",
                answer.status_code,
            )
        if answer.ok and not answer.is_redirect and 200 <= answer.status_code < 300:
            return answer
        raise ServerError(f"{self.url}: {self._meaning(answer)}", answer.status_code)

    def _meaning(self, answer: requests.Response) -> str:
        """Return what an answer other than 2xx says, and how to go on."""
        if 300 <= answer.status_code < 400:
            target = answer.headers.get("Location", "another address")[:_LONGEST]
            return f"answers that it is at {target}; name that address, if you trust it"
        said = _said(answer)
        if answer.status_code == 401:
            given = "does not accept this key" if self._key else "asks for a key"
            return f"{given}; 'asd serve key create' makes one on the server: set ASD_KEY to it"
        if said is None:
            return f"answers {answer.status_code} {answer.reason}, but not as 'asd serve' does; is the address right?"
        return said

    def _busy(self, answer: requests.Response, wait: float) -> ServerError:
        said = _said(answer) or f"answers {answer.status_code} {answer.reason}"
        return ServerError(
            f"{self.url}: {said}; it is not tried again within {self.patience:.0f} s (it would be in {wait:.0f} s)",
            answer.status_code,
        )

    def _unreachable(self, problem: Exception | None) -> ServerError:
        reason = reason_of(problem) if problem else "no answer"
        if self._reached:
            return ServerError(f"{self.url}: does not answer any more ({reason}); does 'asd serve' still run there?")
        return ServerError(f"{self.url}: no server answers ({reason}); is the address right, and does 'asd serve' run?")


def _said(answer: requests.Response) -> str | None:
    """Return a server's own line about an error; None: it gave none."""
    try:
        found = answer.json()
    except ValueError:
        return None
    text = found.get("error") if isinstance(found, dict) else None
    return " ".join(text.split())[:2000] if isinstance(text, str) else None


def _asked_to_wait(answer: requests.Response, pause: float) -> float:
    """Return after how many seconds a server wants to be asked again."""
    text = answer.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
        return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())
    except (ValueError, TypeError):
        return pause


def _never_sent(problem: Exception | None) -> bool:
    """Return whether a request failed before the server can have seen it."""
    import requests
    from urllib3.exceptions import NewConnectionError

    inner = getattr(problem.args[0] if problem and problem.args else None, "reason", None)
    return isinstance(problem, requests.ConnectTimeout) or isinstance(inner, NewConnectionError)
