"""The sink of e-mail against a real SMTP server."""

from __future__ import annotations

import email
import email.policy
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sending import NASTY, made, tls

from asd.errors import ConfigError, SinkError
from asd.plugin import Event
from asd_listen.sinks.content import message, title
from waiting import PATIENCE


class Post:
    """What an SMTP server has got, and how it answers."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self.answers: list[str] = []

    async def handle_DATA(self, _: Any, __: Any, envelope: Any) -> str:  # noqa: N802  # aiosmtpd's name
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer.startswith("250"):
            self.got.append(envelope)
        return answer


@pytest.fixture
def post() -> Iterator[Callable[..., tuple[Post, int]]]:
    controllers: list[Any] = []

    def start(**options: Any) -> tuple[Post, int]:
        from aiosmtpd.controller import Controller

        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            port = chosen.getsockname()[1]
        handler = Post()
        controllers.append(Controller(handler, hostname="127.0.0.1", port=port, ready_timeout=PATIENCE, **options))
        controllers[-1].start()
        return handler, port

    yield start
    for each in controllers:
        each.stop()


ADDRESSES = {"host": "127.0.0.1", "sender": "asd@example.org", "to": "ann@example.org, bob@example.org"}


def test_a_message_of_plain_text(post: Callable[..., tuple[Post, int]], said: Any) -> None:
    handler, port = post()
    event = said.event(3, machine=NASTY, text=f"{NASTY}: the sound has changed")
    made("email", **ADDRESSES, port=port, security="none").send(event)
    (envelope,) = handler.got
    assert envelope.rcpt_tos == ["ann@example.org", "bob@example.org"]
    mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert mail["Subject"].startswith('[alarm] pump "A" #1/+ Bcc: eve@example.org <script>')
    assert mail["Bcc"] is None
    assert mail["From"] == "asd@example.org"
    assert mail["Message-ID"] == f"<{3:016x}@asd.invalid>"
    assert mail.get_content_type() == "text/plain"
    assert "eve@example.org" not in envelope.rcpt_tos
    assert f"Event: {3:016x}" in mail.get_content()


@given(text=st.text(st.characters(codec=None), max_size=100), machine=st.text(st.characters(codec=None), max_size=30))
@settings(max_examples=200, deadline=None)
def test_no_text_adds_a_header(text: str, machine: str) -> None:
    from asd_listen.sinks.mail import Email

    sink = Email(host="127.0.0.1", sender="asd@example.org", to="ann@example.org", security="none", port=25)
    mail = sink._message(Event("id", 1.8e9, machine, "alarm", "alarm", f"{machine}: {text}"))
    back = email.message_from_bytes(mail.as_bytes(), policy=email.policy.default)
    assert sorted(back.keys()) == sorted(mail.keys())
    assert "\n" not in title(Event("id", 1.8e9, machine, "alarm", "alarm", text))
    assert "\r" not in message(Event("id", 1.8e9, machine, "alarm", "alarm", text))


def test_a_summary_lists_its_events(said: Any) -> None:
    events = [{"time": said.noon, "severity": "alarm", "text": f"pump {n}: changed"} for n in range(2)]
    text = message(said.event(machine="", data={"events": events}, text="2 events in quiet hours"))
    assert text.splitlines()[0] == "2 events in quiet hours"
    assert "[alarm] pump 1: changed" in text
    assert "Machine: (the listener itself)" in text


@pytest.mark.parametrize(
    ("answer", "permanent"), [("451 try later", False), ("554 this is spam", True), ("552 too large", True)]
)
def test_a_refused_message(post: Callable[..., tuple[Post, int]], said: Any, answer: str, permanent: bool) -> None:
    handler, port = post()
    handler.answers.append(answer)
    with pytest.raises(
        SinkError, match=rf"mail server 127.0.0.1:{port}: refuses the message \({answer[:3]}\)"
    ) as error:
        made("email", **ADDRESSES, port=port, security="none").send(said.event())
    assert error.value.permanent is permanent


def test_login_after_encryption(
    post: Callable[..., tuple[Post, int]], certificate: tuple[Path, Path], said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiosmtpd.smtp import AuthResult, LoginPassword

    def check(_: Any, __: Any, ___: Any, ____: Any, given: Any) -> Any:
        return AuthResult(success=given == LoginPassword(b"ann", b"s3cret"))

    handler, port = post(tls_context=tls(certificate), require_starttls=True, authenticator=check, auth_required=True)
    monkeypatch.setenv("MAIL_PASSWORD", "s3cret")
    monkeypatch.setenv("WRONG_PASSWORD", "guessed")
    common: dict[str, Any] = {**ADDRESSES, "port": port, "user": "ann", "timeout": 10}
    sink = made("email", **common, password_env="MAIL_PASSWORD", ca_file=certificate[0])
    sink.send(said.event())
    assert len(handler.got) == 1
    assert "s3cret" not in repr(sink)
    with pytest.raises(SinkError, match="refuses the login of 'ann'; check user and password") as raised:
        made("email", **common, password_env="WRONG_PASSWORD", ca_file=certificate[0]).send(said.event())
    assert "guessed" not in str(raised.value)
    with pytest.raises(SinkError, match="its certificate is not trusted; name it by ca_file"):
        made("email", **common, password_env="MAIL_PASSWORD").send(said.event())


def test_a_mail_server_that_is_down_or_mute(said: Any) -> None:
    with pytest.raises(SinkError, match=r"mail server 127.0.0.1:9: cannot be reached \(Connection refused\)"):
        made("email", **ADDRESSES, port=9, security="none").send(said.event())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(SinkError, match="has broken the connection off, or does not answer"):
            made("email", **ADDRESSES, port=port, security="none", timeout=0.3).send(said.event())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"to": " , "}, "to names nobody; give at least one address"),
        ({"to": "ann@example.org\nBcc: eve@example.org"}, "to must be an address such as plant@example.org, got"),
        ({"sender": "nobody"}, "sender must be an address such as plant@example.org, got 'nobody'"),
        ({"user": "ann"}, "user and a password .* belong together; give both"),
        ({"user": "ann", "password_env": "HOME", "security": "none"}, "a password is not sent unencrypted"),
        ({"security": "maybe"}, "security"),
        ({"port": 0}, "port must be a whole number of at least 1, got 0"),
    ],
)
def test_mail_settings_are_checked(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        made("email", **{**ADDRESSES, **changes})
