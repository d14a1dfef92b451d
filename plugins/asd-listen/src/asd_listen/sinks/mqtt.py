"""The sink ``mqtt``: events and the state of each machine to an MQTT broker, and by it to Home Assistant.

Topics, below ``topic``: ``MACHINE/event`` (each event), ``MACHINE/state`` (how it stands, retained),
``listener.event`` (of the listener itself), ``listener.status`` (``online`` or ``offline``, retained; the broker writes
``offline`` when the listener is gone). ``MACHINE`` is `safe_name`: a name has no way into a topic.
"""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import Any

from asd.errors import ConfigError, SinkError
from asd.plugin import Event, Sink, number, whole_number
from asd_listen.keeping import safe_name
from asd_listen.sinks.content import as_dict, line, secret

_ONCE = 1
"""Quality of service: the broker acknowledges each message, and may get it twice."""


class Mqtt(Sink):
    """Publishes events to an MQTT broker; one has arrived when the broker has acknowledged it.

    Parameters
    ----------
    host : str
        The broker.
    port : int
        Its port: usually 1883, or 8883 with TLS.
    topic : str
        What all topics begin with.
    discovery : str
        Prefix by which Home Assistant finds the machines by itself; empty: it does not.
    user : str
        Name to log in with; empty: no login.
    password_env, password_file : str, Path
        Environment variable or file with the password.
    tls : bool
        Whether the connection is encrypted; the broker's certificate must be valid.
    ca_file : Path
        Certificates that are trusted in place of the system's; implies ``tls``.
    timeout : float
        Seconds to wait for the connection, and for each acknowledgement.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int = 1883,
        topic: str = "asd",
        discovery: str = "homeassistant",
        user: str = "",
        password_env: str = "",
        password_file: Path | None = None,
        tls: bool = False,
        ca_file: Path | None = None,
        timeout: float = 10.0,
    ) -> None:
        self.host, self.user, self.ca_file = host, user, ca_file
        self.port = whole_number(self, "port", port, 1)
        self.topic, self.discovery = _topic("topic", topic), discovery and _topic("discovery", discovery)
        self.password_env, self.password_file = password_env, password_file
        self.tls = tls or ca_file is not None
        self.timeout = number(self, "timeout", timeout, above=0)
        self._password = secret("mqtt", "password", password_env, password_file)
        if self._password is not None and not user:
            raise ConfigError("mqtt: a password needs a user; give both")
        self._client: Any = None
        self._discovered: set[str] = set()

    def send(self, event: Event) -> None:
        """Publish an event, and how its machine stands; errors as in `Sink.send`."""
        client = self._connected()
        content = json.dumps(as_dict(event), default=str)
        try:
            if not event.machine:
                self._publish(client, f"{self.topic}/listener.event", content)
                return
            name = safe_name(event.machine)
            if self.discovery and name not in self._discovered:
                for topic, found in self._announcements(name, event.machine):
                    self._publish(client, topic, json.dumps(found), retain=True)
                self._discovered.add(name)
            if "phase" in event.data:
                self._publish(client, f"{self.topic}/{name}/state", json.dumps(_state(event)), retain=True)
            self._publish(client, f"{self.topic}/{name}/event", content)
        except SinkError:
            self._abandon()
            raise

    def close(self) -> None:
        """Say that the listener is offline, and leave the broker."""
        client, self._client = self._client, None
        if client is not None:
            told = client.publish(f"{self.topic}/listener.status", "offline", qos=_ONCE, retain=True)
            with contextlib.suppress(RuntimeError, ValueError):  # else the broker says so by itself
                told.wait_for_publish(self.timeout)
            client.disconnect()
            client.loop_stop()

    def _place(self) -> str:
        return f"MQTT broker {self.host}:{self.port}"

    def _connected(self) -> Any:
        """Return a client that the broker has accepted; it stays, so that the broker notices when we are gone."""
        if self._client is not None and self._client.is_connected():
            return self._client
        self._abandon()
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        answer: list[str] = []
        answered = threading.Event()

        def on_connect(client: Any, _: object, __: object, reason: Any, ___: object) -> None:
            answer.append(str(reason) if reason.is_failure else "")
            answered.set()
            if not reason.is_failure:
                client.publish(f"{self.topic}/listener.status", "online", qos=_ONCE, retain=True)

        client = paho.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        client.connect_timeout = self.timeout
        client.on_connect = on_connect
        client.will_set(f"{self.topic}/listener.status", "offline", qos=_ONCE, retain=True)
        if self.user:
            client.username_pw_set(self.user, self._password)
        try:
            if self.tls:
                client.tls_set(ca_certs=None if self.ca_file is None else str(self.ca_file))
            client.connect(self.host, self.port)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise SinkError(f"{self._place()}: cannot be reached ({line(reason)})") from None
        self._client = client
        client.loop_start()
        if not answered.wait(self.timeout) or answer[0]:
            self._abandon()
            why = f"refuses the connection: {line(answer[0])}; check user and password" if answer else "does not answer"
            raise SinkError(f"{self._place()}: {why}")
        return client

    def _publish(self, client: Any, topic: str, content: str, *, retain: bool = False) -> None:
        try:
            sent = client.publish(topic, content, qos=_ONCE, retain=retain)
            sent.wait_for_publish(self.timeout)
        except (RuntimeError, ValueError) as error:
            raise SinkError(f"{self._place()}: does not take the event ({line(str(error))})") from None
        if not sent.is_published():
            raise SinkError(f"{self._place()}: has not acknowledged the event within {self.timeout:g} s")

    def _abandon(self) -> None:
        """Leave a connection without a word: what it has not sent must not come later, beside the next attempt."""
        client, self._client = self._client, None
        if client is not None:
            client.loop_stop()
            if (connection := client.socket()) is not None:
                connection.close()

    def _announcements(self, name: str, machine: str) -> list[tuple[str, dict[str, Any]]]:
        """Return what Home Assistant reads of a machine: two binary sensors, and one for the phase."""
        shared = {
            "state_topic": f"{self.topic}/{name}/state",
            "json_attributes_topic": f"{self.topic}/{name}/state",
            "availability_topic": f"{self.topic}/listener.status",
            "device": {
                "identifiers": [f"asd_{name}"],
                "name": line(machine, 80),
                "manufacturer": "asd",
                "model": "anomalous sound detection",
            },
        }
        yes = "{{ 'ON' if value_json.%s else 'OFF' }}"
        sensors: dict[str, tuple[str, dict[str, Any]]] = {
            "alarm": (
                "binary_sensor",
                {"name": "Alarm", "device_class": "problem", "value_template": yes % "alarm"},
            ),
            "recording": (
                "binary_sensor",
                {
                    "name": "Recording at fault",
                    "device_class": "problem",
                    "entity_category": "diagnostic",
                    "value_template": yes % "conditions",
                },
            ),
            "phase": ("sensor", {"name": "Phase", "value_template": "{{ value_json.phase }}"}),
        }
        return [
            (f"{self.discovery}/{kind}/asd_{name}/{key}/config", {**shared, **own, "unique_id": f"asd_{name}_{key}"})
            for key, (kind, own) in sensors.items()
        ]

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, object]:
        """Return parameters for a trial."""
        return {"host": "127.0.0.1", "port": 9}


def _state(event: Event) -> dict[str, Any]:
    """Return how a machine stands after an event, as the retained state says it."""
    keys = ("phase", "conditions", "acknowledged", "evidence", "threshold", "since")
    return {
        "machine": event.machine,
        "alarm": event.data.get("phase") == "alarm",
        **{key: event.data.get(key) for key in keys},
        "event": event.id,
        "kind": event.kind,
        "text": event.text,
        "time": event.time,
    }


def _topic(parameter: str, text: str) -> str:
    if not text.strip("/") or any(each in text for each in "+#\0\n") or text.startswith("$"):
        raise ConfigError(
            f"mqtt: {parameter} must be the beginning of a topic, such as 'asd' or 'plant/asd', without + and #, got "
            f"{text!r}"
        )
    return text.strip("/")
