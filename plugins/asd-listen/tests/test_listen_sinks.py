"""Sinks against real servers: a file, a web server, mosquitto and Apprise."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.server
import json
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sending import NASTY, made, tls

from asd.errors import ConfigError, SinkError
from asd.plugin import Event
from asd_listen.history import History
from asd_listen.keeping import safe_name
from asd_listen.outbox import Outbox, OutboxLimits, Route
from asd_listen.sinks.webhook import Webhook
from waiting import PATIENCE, until

# ---------------------------------------------------------------------------------------------------------- jsonl


def test_a_line_for_each_event(tmp_path: Path, said: Any) -> None:
    sink = made("jsonl", path=tmp_path / "events.jsonl")
    for number in range(3):
        sink.send(said.event(number, machine=NASTY, data={"evidence": 5.2}))
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["text"] for event in events] == ["event 0", "event 1", "event 2"]
    assert events[0]["machine"] == NASTY
    assert events[0]["utc"] == "2027-01-15T08:00:00.000Z"
    assert set(events[0]) == {"id", "time", "utc", "machine", "kind", "severity", "text", "data"}


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path, said: Any) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"id": "a"}\n{"id": "cut o')
    made("jsonl", path=path).send(said.event(1))
    assert path.read_text().splitlines()[1:2] == ['{"id": "cut o']
    assert json.loads(path.read_text().splitlines()[2])["text"] == "event 1"


def test_a_large_file_is_begun_anew(tmp_path: Path, said: Any) -> None:
    path = tmp_path / "events.jsonl"
    sink = made("jsonl", path=path, max_mb=0.001)
    for number in range(12):
        sink.send(said.event(number))
    assert path.stat().st_size <= 1000
    assert (tmp_path / "events.jsonl.1").stat().st_size <= 1000
    assert json.loads(path.read_text().splitlines()[-1])["text"] == "event 11"


def test_a_full_disk_keeps_the_lines_whole(small_disk: Callable[[str], Path], said: Any) -> None:
    path = small_disk("size=16k") / "events.jsonl"
    sink = made("jsonl", path=path)
    sent = 0
    with contextlib.suppress(SinkError):
        while sent < 1000:
            sink.send(said.event(sent))
            sent += 1
    assert 0 < sent < 1000
    with pytest.raises(SinkError, match=r"events.jsonl: cannot be written \(No space left on device\); free space"):
        sink.send(said.event(sent, text="x" * 5000))
    assert all(json.loads(line) for line in path.read_text().splitlines())
    with pytest.raises(SinkError, match="cannot be written"):
        made("jsonl", path=path / "below" / "a.jsonl").send(said.event(0))
    with pytest.raises(SinkError, match="No space left"):
        made("jsonl", path=Path("/dev/full")).send(said.event(0))


# -------------------------------------------------------------------------------------------------------- webhook


class Web(http.server.ThreadingHTTPServer):
    """A web server that answers as it is told and keeps what it gets."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.answers: list[Any] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.ends = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that leave."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook/very-secret-token"


class Answers(http.server.BaseHTTPRequestHandler):
    server: Web

    def do_POST(self) -> None:
        """Answer the next thing: a status, or bytes in place of an answer, or silence."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.server.answers.pop(0) if self.server.answers else 200
        if answer == "silence":
            self.server.ends.wait(PATIENCE)
            return
        if isinstance(answer, bytes):
            self.wfile.write(answer)
            self.close_connection = True
            return
        self.server.got.append((dict(self.headers), body))
        self.send_response(answer)
        self.send_header("Location", "https://elsewhere.example.org/") if 300 <= answer < 400 else None
        self.end_headers()
        self.wfile.write(b"<html>\xff garbage" * 1000)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.ends.set()
    server.shutdown()
    server.server_close()


def test_an_event_is_posted_and_signed(web: Web, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # leads to other computers alone
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name)
    sink = made("webhook", url=web.url, secret_env="HOOK_SECRET")
    sink.send(said.event(7, machine=NASTY))
    ((headers, body),) = web.got
    assert json.loads(body)["machine"] == NASTY
    assert headers["Idempotency-Key"] == f"{7:016x}"
    moment, signature = (part.partition("=")[2] for part in headers["X-Asd-Signature"].split(","))
    assert abs(int(moment) - time.time()) < PATIENCE
    assert signature == hmac.new(b"s3cret", f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    assert "s3cret" not in repr(sink)
    assert "very-secret" not in repr(sink)


@pytest.mark.parametrize(
    ("answer", "expected", "permanent"),
    [
        (500, "answered 500", False),
        (429, "answered 429", False),
        (401, "answered 401", False),
        (422, "answered 422", True),
        (302, "answered 302; name the address to which it redirects", False),
        (b"\x00\xffthis is no HTTP\r\n\r\n", r"cannot be reached \(ConnectionError\)", False),
        ("silence", "no answer within 0.2 s", False),
    ],
)
def test_what_a_web_server_may_do(web: Web, said: Any, answer: Any, expected: str, permanent: bool) -> None:
    web.answers.append(answer)
    with pytest.raises(SinkError, match=expected) as raised:
        made("webhook", url=web.url, timeout=0.2 if answer == "silence" else PATIENCE).send(said.event())
    assert raised.value.permanent is permanent
    assert "very-secret" not in str(raised.value)
    assert str(raised.value).startswith("http://127.0.0.1: ")


def test_a_web_server_that_is_down_for_a_while(web: Web, tmp_path: Path, said: Any) -> None:
    """Refused, 500, silent and garbage, then well again: each event arrives once, in order."""
    web.answers += [500, 503, b"garbage", "silence"]
    with History.open(tmp_path) as history:
        outbox = Outbox(history, [Route("hook", Webhook(url=web.url, timeout=2))], OutboxLimits(first_pause=0.01))
        outbox.start()
        for number in range(5):
            history.event(said.event(number))
        history.commit()
        until(lambda: {row["state"] for row in history.rows("deliveries")} == {"delivered"})
        outbox.close()
        content = (tmp_path / "history.sqlite").read_bytes() + (tmp_path / "history.sqlite-wal").read_bytes()
    assert b"very-secret" not in content
    arrived = [json.loads(body)["text"] for headers, body in web.got]
    assert arrived[-5:] == [f"event {n}" for n in range(5)]
    answered = {json.loads(body)["id"] for _, body in web.got}
    assert len(answered) == 5


def test_addresses_may_be_secret(web: Web, said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "address"
    file.write_text(f"{web.url}\n")
    made("webhook", url_file=file).send(said.event())
    assert len(web.got) == 1
    for parameters, expected in (
        ({}, "give url, or url_env, or url_file: one of them"),
        ({"url": web.url, "url_file": file}, "give url, or url_env, or url_file: one of them"),
        ({"url": "file:///etc/passwd"}, "must begin with https:// or http:// and name a host"),
        ({"url_env": "NO_SUCH"}, "the environment variable NO_SUCH, for the url, is not set; set it"),
        ({"url_env": "A", "url_file": file}, "url_env and url_file exclude each other; name one"),
        ({"url": web.url, "secret_file": tmp_path / "no"}, r"for the secret, cannot be read \(No such file"),
        ({"url": web.url, "timeout": 0}, "timeout must be a number above 0, got 0"),
    ):
        with pytest.raises(ConfigError, match=expected):
            made("webhook", **parameters)
    with pytest.raises(SinkError, match=r"http://127.0.0.1: cannot be reached \(ConnectionError\)"):
        made("webhook", url="http://127.0.0.1:9/secret").send(said.event())


def test_a_certificate_must_be_trusted(certificate: tuple[Path, Path], said: Any) -> None:
    server = Web(tls(certificate))
    url = server.url.replace("http:", "https:")
    with pytest.raises(SinkError, match="its certificate is not trusted; name it by ca_file"):
        made("webhook", url=url).send(said.event())
    made("webhook", url=url, ca_file=certificate[0]).send(said.event())
    assert len(server.got) == 1
    server.shutdown()
    server.server_close()


# ----------------------------------------------------------------------------------------------------------- mqtt


class Listener:
    """A client that keeps what it gets, by topic."""

    def __init__(self, port: int) -> None:
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.got: dict[str, list[tuple[Any, bool]]] = {}
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = self._keep
        ready = threading.Event()
        self.client.on_subscribe = lambda *_: ready.set()
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("#", qos=1)
        self.client.loop_start()
        assert ready.wait(PATIENCE)

    def _keep(self, _: object, __: object, found: Any) -> None:
        text = found.payload.decode()
        self.got.setdefault(found.topic, []).append((json.loads(text) if text[:1] == "{" else text, found.retain))

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def listening() -> Iterator[Callable[[int], Listener]]:
    found: list[Listener] = []

    def start(port: int) -> Listener:
        found.append(Listener(port))
        return found[-1]

    yield start
    for each in found:
        each.close()


HOME_ASSISTANT = {
    *("name", "unique_id", "device", "device_class", "entity_category", "icon", "origin", "qos", "encoding"),
    *("state_topic", "value_template", "expire_after", "force_update", "enabled_by_default", "json_attributes_topic"),
    *("json_attributes_template", "availability", "availability_mode", "availability_topic", "availability_template"),
    *("payload_available", "payload_not_available", "payload_on", "payload_off", "off_delay", "object_id"),
}
"""What an MQTT binary sensor may hold by the documentation of Home Assistant (a sensor has no payloads and delay)."""
OF_DEVICE = {
    *("identifiers", "connections", "name", "manufacturer", "model", "model_id", "serial_number", "sw_version"),
    *("hw_version", "suggested_area", "configuration_url", "via_device"),
}


def takes(topic: str, config: dict[str, Any], state: dict[str, Any]) -> None:
    """Check an announcement as Home Assistant does: topic, keys, values, and what the template makes of a state."""
    discovered = re.fullmatch(r"homeassistant/(binary_sensor|sensor)/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+/config", topic)
    assert discovered, topic
    assert config.keys() <= HOME_ASSISTANT
    assert config["device"].keys() <= OF_DEVICE
    assert config["device"]["identifiers"]
    assert config["unique_id"]
    assert config.get("device_class", "problem") == "problem"
    assert config.get("entity_category", "diagnostic") in ("config", "diagnostic")
    jinja2 = pytest.importorskip("jinja2")
    shown = jinja2.Template(config["value_template"], undefined=jinja2.StrictUndefined).render(value_json=state)
    assert shown in (("ON", "OFF") if discovered[1] == "binary_sensor" else {state["phase"]})


def test_home_assistant_finds_machines_and_their_state(
    broker: Callable[..., int], listening: Callable[[int], Listener], said: Any
) -> None:
    port = broker()
    sink = made("mqtt", host="127.0.0.1", port=port)
    standing = {"phase": "alarm", "conditions": [], "acknowledged": False, "evidence": 5.4, "threshold": 5.0}
    sink.send(said.event(1, data=standing))
    late = listening(port)  # what is retained is there for who comes later
    until(lambda: "asd/listener.status" in late.got and len(late.got) == 5)
    assert late.got["asd/listener.status"] == [("online", True)]
    ((state, retained),) = late.got["asd/pump/state"]
    assert (state["alarm"], state["phase"], state["machine"], retained) == (True, "alarm", "pump", True)
    configs = {topic: content[0][0] for topic, content in late.got.items() if topic.endswith("/config")}
    assert set(configs) == {
        "homeassistant/binary_sensor/asd_pump/alarm/config",
        "homeassistant/binary_sensor/asd_pump/recording/config",
        "homeassistant/sensor/asd_pump/phase/config",
    }
    for topic, config in configs.items():
        takes(topic, config, state)
    alarm = configs["homeassistant/binary_sensor/asd_pump/alarm/config"]
    assert alarm["device"]["name"] == "pump"
    assert (alarm["state_topic"], alarm["availability_topic"]) == ("asd/pump/state", "asd/listener.status")
    assert alarm["unique_id"] == "asd_pump_alarm"
    sink.send(said.event(2, "info", kind="cleared", data={**standing, "phase": "cleared"}))
    until(lambda: len(late.got["asd/pump/state"]) == 2 and "asd/pump/event" in late.got)
    assert late.got["asd/pump/state"][1][0]["alarm"] is False
    (event,) = late.got["asd/pump/event"]  # the first one was before the listener, and is not retained
    assert (event[0]["kind"], event[1]) == ("cleared", False)
    sink.close()
    until(lambda: late.got["asd/listener.status"][-1][0] == "offline")


def test_a_killed_listener_is_offline(
    broker: Callable[..., int], listening: Callable[[int], Listener], said: Any
) -> None:
    port = broker()
    sink: Any = made("mqtt", host="127.0.0.1", port=port)
    sink.send(said.event(1))
    late = listening(port)
    sink._client.socket().shutdown(socket.SHUT_RDWR)  # as a kill does
    until(lambda: late.got.get("asd/listener.status", [("", True)])[-1][0] == "offline")


def test_a_broker_that_goes_and_comes(
    broker: Any, listening: Callable[[int], Listener], said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = broker()
    sink = made("mqtt", host="127.0.0.1", port=port, timeout=20)
    may_send, waits = threading.Event(), threading.Event()
    may_send.set()
    send = sink.send

    def send_if_it_may(event: Event) -> None:
        if not may_send.is_set():
            waits.set()
            may_send.wait(PATIENCE)
        send(event)

    monkeypatch.setattr(sink, "send", send_if_it_may)
    with History.open(tmp_path) as history:
        outbox = Outbox(history, [Route("broker", sink)], OutboxLimits(first_pause=0.05, longest_pause=0.2))
        outbox.start()
        history.event(said.event(0))
        history.commit()
        until(lambda: [row["state"] for row in history.rows("deliveries")] == ["delivered"])
        broker.stop()
        for number in (1, 2):
            history.event(said.event(number))
        history.commit()
        refused = f"MQTT broker 127.0.0.1:{port}: cannot be reached (Connection refused)"
        until(lambda: outbox.states()[0].error == refused, lambda: outbox.states()[0].error)
        may_send.clear()
        assert waits.wait(PATIENCE)
        broker(port=port)
        late = listening(port)  # before anything is sent, which is not retained
        may_send.set()
        until(lambda: {row["state"] for row in history.rows("deliveries")} == {"delivered"})
        until(lambda: len(late.got.get("asd/pump/event", [])) >= 2)
        outbox.close()
    assert [event["text"] for event, _ in late.got["asd/pump/event"]] == ["event 1", "event 2"]


# paho leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_login_and_encryption(
    broker: Callable[..., int], certificate: tuple[Path, Path], said: Any, tmp_path: Path
) -> None:
    passwords = tmp_path / "passwords"
    try:
        subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "ann", "s3cret"], check=True)
    except FileNotFoundError:
        pytest.skip("mosquitto_passwd is not installed")
    port = broker(
        "listener PORT 127.0.0.1", f"certfile {certificate[0]}", f"keyfile {certificate[1]}",
        "allow_anonymous false", f"password_file {passwords}",
    )  # fmt: skip
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("s3cret\n")
    wrong.write_text("guessed\n")
    common: dict[str, Any] = {"host": "127.0.0.1", "port": port, "user": "ann", "timeout": PATIENCE}
    sink = made("mqtt", **common, password_file=right, ca_file=certificate[0])
    sink.send(said.event())
    assert "s3cret" not in repr(sink)
    sink.close()
    with pytest.raises(SinkError, match="refuses the connection: Not authorized; check user and password") as raised:
        made("mqtt", **common, password_file=wrong, ca_file=certificate[0]).send(said.event())
    assert "guessed" not in str(raised.value)
    with pytest.raises(SinkError, match=r"cannot be reached \(.*certificate verify failed"):
        made("mqtt", **common, password_file=right, tls=True).send(said.event())


def test_a_broker_that_does_not_speak_is_given_up(said: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(SinkError, match=f"MQTT broker 127.0.0.1:{port}: does not answer"):
            made("mqtt", host="127.0.0.1", port=port, timeout=0.3).send(said.event())


@pytest.mark.parametrize("topic", ["", "/", "a/#", "+", "a\0b", "$SYS"])
def test_topics_are_checked(topic: str) -> None:
    with pytest.raises(ConfigError, match="mqtt: topic must be the beginning of a topic, such as 'asd' or 'plant/asd'"):
        made("mqtt", host="127.0.0.1", topic=topic)


def test_a_name_has_no_way_into_a_topic(
    broker: Callable[..., int], listening: Callable[[int], Listener], said: Any
) -> None:
    port = broker()
    late = listening(port)
    sink = made("mqtt", host="127.0.0.1", port=port, discovery="")
    sink.send(said.event(1, machine=NASTY))
    until(lambda: len(late.got) == 2)
    topic = f"asd/{safe_name(NASTY)}/event"
    assert late.got[topic][0][0]["machine"] == NASTY
    sink.close()


# -------------------------------------------------------------------------------------------------------- apprise


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # imported by Apprise
def test_apprise_sends_to_its_services(web: Web, said: Any, tmp_path: Path) -> None:
    pytest.importorskip("apprise")
    file = tmp_path / "urls"
    file.write_text(f"json://127.0.0.1:{web.server_address[1]}/very-secret-token\n")
    sink = made("apprise", urls_file=file)
    sink.send(said.event(1))
    assert json.loads(web.got[0][1])["title"] == "[alarm] event 1"
    web.answers.append(500)
    with pytest.raises(SinkError, match="apprise: not all of 1 services took the event") as raised:
        sink.send(said.event(2))
    assert "very-secret" not in str(raised.value) + repr(sink)
    file.write_text("nonsense\n")
    with pytest.raises(SinkError, match="address 1 of 1 is none that it knows; correct it"):
        made("apprise", urls_file=file).send(said.event(3))
    with pytest.raises(ConfigError, match="give urls_env or urls_file"):
        made("apprise")
