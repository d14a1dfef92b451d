"""The sink ``email``: a message of plain text for each event, by SMTP."""

from __future__ import annotations

import smtplib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path
from typing import Literal, get_args

from asd.errors import ConfigError, SinkError
from asd.plugin import Event, Sink, number, one_of, whole_number
from asd_listen.sinks.content import message, secret, title

Security = Literal["starttls", "tls", "none"]


class Email(Sink):
    """Sends events by e-mail.

    Parameters
    ----------
    host : str
        The mail server.
    sender : str
        Address that the messages are from.
    to : str
        Addresses that they go to, separated by commas.
    port : int
        The server's port: usually 587 with ``starttls``, 465 with ``tls``, 25 with ``none``.
    security : {"starttls", "tls", "none"}
        How the connection is encrypted; the server's certificate must be valid. ``"none"`` refuses a password.
    user : str
        Name to log in with; empty: no login.
    password_env, password_file : str, Path
        Environment variable or file with the password.
    ca_file : Path
        Certificates that are trusted in place of the system's.
    timeout : float
        Seconds to wait for each answer.
    """

    def __init__(
        self,
        *,
        host: str,
        sender: str,
        to: str,
        port: int = 587,
        security: Security = "starttls",
        user: str = "",
        password_env: str = "",
        password_file: Path | None = None,
        ca_file: Path | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.host, self.sender, self.to, self.user, self.ca_file = host, sender, to, user, ca_file
        self.port = whole_number(self, "port", port, 1)
        self.security: Security = one_of(self, "security", security, get_args(Security))
        self.password_env, self.password_file = password_env, password_file
        self.timeout = number(self, "timeout", timeout, above=0)
        self._from = _address("sender", sender)
        self._to = [_address("to", each) for each in to.split(",") if each.strip()]
        if not self._to:
            raise ConfigError("email: to names nobody; give at least one address")
        self._password = secret("email", "password", password_env, password_file)
        if bool(user) != (self._password is not None):
            raise ConfigError("email: user and a password (password_env or password_file) belong together; give both")
        if self._password is not None and security == "none":
            raise ConfigError("email: a password is not sent unencrypted; use security 'starttls' or 'tls'")

    def send(self, event: Event) -> None:
        """Send a message; errors as in `Sink.send`."""
        place = f"mail server {self.host}:{self.port}"
        try:
            with self._connected() as server:
                server.send_message(self._message(event))
        except smtplib.SMTPAuthenticationError:
            raise SinkError(f"{place}: refuses the login of {self.user!r}; check user and password") from None
        except smtplib.SMTPDataError as error:
            raise SinkError(
                f"{place}: refuses the message ({error.smtp_code})", permanent=error.smtp_code >= 500
            ) from None
        except smtplib.SMTPRecipientsRefused:
            raise SinkError(f"{place}: refuses all of {self.to}; correct 'to'") from None
        except smtplib.SMTPNotSupportedError:
            raise SinkError(f"{place}: offers no encryption, or no login; change 'security' or 'user'") from None
        except ssl.SSLError:
            raise SinkError(f"{place}: its certificate is not trusted; name it by ca_file, or renew it") from None
        except smtplib.SMTPServerDisconnected:
            raise SinkError(f"{place}: has broken the connection off, or does not answer") from None
        except smtplib.SMTPException as error:
            raise SinkError(f"{place}: does not take the message ({type(error).__name__})") from None
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise SinkError(f"{place}: cannot be reached ({reason})") from None

    def _connected(self) -> smtplib.SMTP:
        trusted = ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        if self.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout, context=trusted)
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=self.timeout)
        try:
            if self.security == "starttls":
                server.starttls(context=trusted)
            if self._password is not None:
                try:
                    server.login(self.user, self._password)
                except smtplib.SMTPServerDisconnected as error:  # as some do after a wrong password
                    raise smtplib.SMTPAuthenticationError(535, str(error)) from error
        except BaseException:
            server.close()
            raise
        return server

    def _message(self, event: Event) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = title(event)
        mail["From"] = self._from
        mail["To"] = self._to
        mail["Date"] = formatdate(event.time, localtime=True)
        mail["Message-ID"] = f"<{event.id}@asd.invalid>"
        mail["Auto-Submitted"] = "auto-generated"
        if event.severity == "alarm":
            mail["X-Priority"] = "1"
        mail.set_content(message(event))
        return mail

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, object]:
        """Return parameters for a trial."""
        return {"host": "127.0.0.1", "port": 9, "sender": "asd@example.org", "to": "me@example.org"}


def _address(parameter: str, text: str) -> Address:
    try:
        return Address(addr_spec=text.strip())
    except (ValueError, IndexError, TypeError):
        pass
    except Exception:  # of the parser: email.errors, and others for strange texts
        pass
    raise ConfigError(f"email: {parameter} must be an address such as plant@example.org, got {text.strip()!r}")
