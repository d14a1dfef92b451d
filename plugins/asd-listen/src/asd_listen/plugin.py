"""What the distribution offers, as data."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import CommandSpec, ComponentSpec, hookimpl

_SOURCES = {
    "microphone": (
        "sources.microphone:Microphone",
        "A microphone or another input of a sound card",
        ("sounddevice>=0.5",),
    ),
    "pcm": ("sources.pcm:Pcm", "Raw PCM samples on standard input, from FFmpeg or arecord", ()),
    "stream": ("sources.stream:Stream", "RTSP, HTTP and all that FFmpeg opens", ("av>=14",)),
    "folder": ("sources.folder:Folder", "A folder into which a recorder drops clips", ()),
    "file": ("sources.file:File", "Recordings as if they came now, in real time or faster", ()),
}
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
    "stream": ("url",),
    "folder": ("path",),
    "file": ("path",),
    "jsonl": ("path",),
    "webhook": ("url",),
    "mqtt": ("host",),
    "email": ("host", "sender", "to"),
    "apprise": ("urls_file",),
}


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the sources and the sinks."""
    for name, (target, summary, requires) in _SOURCES.items():
        yield ComponentSpec(
            kind="source",
            name=name,
            summary=summary,
            target=f"asd_listen.{target}",
            licence="LGPL-2.1-or-later (FFmpeg)" if name == "stream" else "Apache-2.0",
            requires=requires,
            needs=_NEEDS.get(name, ()),
        )
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
        name="listen",
        summary="Listen to machines day and night, and tell when one changes.",
        target="asd_listen.listen_command:listen",
    )
    yield CommandSpec(
        name="history",
        summary="Show, export and back up what a listener kept; acknowledge, give feedback.",
        target="asd_listen.history_command:history",
    )
