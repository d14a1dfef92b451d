"""The sink ``webhook``: each event is posted as JSON to a web address, signed if there is a secret."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

from asd.errors import ConfigError, SinkError
from asd.plugin import Event, Sink, number
from asd_listen.sinks.content import as_dict, secret

HEADER = "X-Asd-Signature"
_REFUSED = (400, 413, 415, 422)
"""Answers that say that this very request is wrong: it will not become right."""


def sign(key: str, body: bytes, moment: int) -> str:
    """Return the value of the header ``X-Asd-Signature`` for a body that is sent at a moment (seconds since 1970).

    It is ``t=MOMENT,v1=HEX``, with the HMAC-SHA256 of ``MOMENT.BODY``: who replays an old request must keep its time.
    """
    signed = hmac.new(key.encode(), b"%d." % moment + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={signed}"


class Webhook(Sink):
    """Posts events to a web address; any answer from 200 to 299 means that one has arrived.

    The header ``Idempotency-Key`` holds the event's id, which is the same if it is sent again.

    Parameters
    ----------
    url : str
        The address, ``https://…`` or ``http://…``. Messages show only its host.
    url_env, url_file : str
        Environment variable or file with the address, if it is itself a secret.
    secret_env, secret_file : str
        Environment variable or file with the secret by which requests are signed (`sign`).
    ca_file : str
        Certificates that are trusted in place of the system's.
    timeout : float
        Seconds to wait for the connection, and for the answer.
    """

    def __init__(
        self,
        *,
        url: str = "",
        url_env: str = "",
        url_file: str = "",
        secret_env: str = "",
        secret_file: str = "",
        ca_file: str = "",
        timeout: float = 15.0,
    ) -> None:
        self.url, self.url_env, self.url_file = url, url_env, url_file
        self.secret_env, self.secret_file, self.ca_file = secret_env, secret_file, ca_file
        self.timeout = number(self, "timeout", timeout, above=0)
        hidden = secret("webhook", "url", url_env, url_file)
        if bool(url) == bool(hidden):
            raise ConfigError("webhook: give url, or url_env, or url_file: one of them")
        self._url = url or hidden or ""
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("webhook: the address must begin with https:// or http:// and name a host")
        self._place = f"{parts.scheme}://{parts.hostname}"
        is_here = parts.hostname in ("localhost", "::1") or parts.hostname.startswith("127.")
        self._proxies = {"no_proxy": parts.hostname} if is_here else None  # no proxy leads back to this computer
        self._key = secret("webhook", "secret", secret_env, secret_file)

    def __repr__(self) -> str:
        return f"Webhook({self._place})"

    def send(self, event: Event) -> None:
        """Post an event; errors as in `Sink.send`."""
        import requests

        body = json.dumps(as_dict(event), default=str).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "asd-listen", "Idempotency-Key": event.id}
        if self._key is not None:
            headers[HEADER] = sign(self._key, body, int(time.time()))
        try:
            with requests.post(
                self._url,
                data=body,
                headers=headers,
                timeout=self.timeout,
                allow_redirects=False,
                stream=True,  # whatever comes as an answer is not read
                verify=self.ca_file or True,
                proxies=self._proxies,
            ) as response:
                status = response.status_code
        except requests.exceptions.SSLError:
            raise SinkError(f"{self._place}: its certificate is not trusted; name it by ca_file, or renew it") from None
        except requests.exceptions.Timeout:
            raise SinkError(f"{self._place}: no answer within {self.timeout:g} s") from None
        except (requests.exceptions.RequestException, OSError) as error:  # their texts show the address
            raise SinkError(f"{self._place}: cannot be reached ({type(error).__name__})") from None
        if not 200 <= status < 300:
            hint = "; name the address to which it redirects" if 300 <= status < 400 else ""
            raise SinkError(f"{self._place}: answered {status}{hint}", permanent=status in _REFUSED)

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, object]:
        """Return parameters for a trial."""
        return {"url": "http://127.0.0.1:9/"}
