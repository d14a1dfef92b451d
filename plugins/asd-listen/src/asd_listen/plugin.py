"""What the distribution offers, as data."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import CommandSpec, ComponentSpec, hookimpl

_SINKS = {
    "jsonl": ("sinks.jsonl:JsonLines", "A line of JSON for each event, at the end of a file", ()),
    "webhook": ("sinks.webhook:Webhook", "Events posted to a web address, signed by HMAC-SHA256", ("requests>=2.32",)),
    "mqtt": ("sinks.mqtt:Mqtt", "Events and states to an MQTT broker; Home Assistant finds them", ("paho-mqtt>=2.0",)),
    "email": ("sinks.mail:Email", "Events by e-mail (SMTP)", ()),
    "apprise": (
        "sinks.by_apprise:Apprise",
        "Events to chat, telephone or push services, by Apprise",
        ("apprise>=1.9",),
    ),
}
_NEEDS = {
    "jsonl": ("path",),
    "webhook": ("url",),
    "mqtt": ("host",),
    "email": ("host", "sender", "to"),
    "apprise": ("urls_file",),
}


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the sinks."""
    for name, (target, summary, requires) in _SINKS.items():
        yield ComponentSpec(
            kind="sink",
            name=name,
            summary=summary,
            target=f"asd_listen.{target}",
            licence="EPL-2.0 OR BSD-3-Clause (paho-mqtt)" if name == "mqtt" else "Apache-2.0",
            requires=requires,
            needs=_NEEDS[name],
        )


@hookimpl
def asd_commands() -> Iterator[CommandSpec]:
    """Yield the commands."""
    yield CommandSpec(
        name="history",
        summary="Show, export and back up what a listener kept; acknowledge, give feedback.",
        target="asd_listen.history_command:history",
    )
