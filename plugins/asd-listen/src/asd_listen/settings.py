"""What is listened to, and how: a TOML file, or the command line's options for one source."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from asd.errors import AsdError, ConfigError
from asd.plugin import Sink, Source, create
from asd_listen.alerts import AlertSettings
from asd_listen.evidence import EvidenceSettings
from asd_listen.history import HistorySettings
from asd_listen.routes import Route
from asd_registry import did_you_mean

DEFAULT_FOLDER = "asd-listen"
DEFAULT_HOP = 1.0
_LONGEST_NAME = 200
"""Characters: percent-encoded in an address, it still passes through a proxy."""
_OF_SOURCE = ("name", "kind", "model", "false_alarms", "hop")
_OF_SINK = ("name", "kind", "at_least", "quiet_hours", "quiet_alarms", "machines")
_HEADER = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.+?)`(?: - at `\$(.*?)`)?$")
_PLACE = re.compile(r"^(.*?)(?: - at `\$(.*?)`)?$")


class SourceSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A table ``[[source]]``; what it holds besides is for the source itself, in `parameters`.

    Parameters
    ----------
    kind : str
        Name of the source, such as ``"microphone"``.
    name : str
        Name of the machine; empty: that of the source.
    model : str
        File of its model; empty: the model of all.
    false_alarms : str
        False alarms that are promised; empty: those of all.
    hop : float
        Seconds from one clip to the next; 0: that of all.
    parameters : dict
        Parameters of the source.
    """

    kind: str
    name: str = ""
    model: str = ""
    false_alarms: str = ""
    hop: float = 0.0
    parameters: dict[str, Any] = {}


class SinkSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A table ``[[sink]]``, as for `asd_listen.routes.Route`; what it holds besides is for the sink itself."""

    kind: str
    name: str = ""
    at_least: str = "info"
    quiet_hours: str = ""
    quiet_alarms: bool = True
    machines: list[str] = []
    parameters: dict[str, Any] = {}


class Settings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """All that a listener is told.

    Parameters
    ----------
    model : str
        File of the model of all sources that name none.
    folder : str
        Where history, monitors and evidence are kept; made if it is not there.
    false_alarms : str
        False alarms that are promised for each machine, such as ``"1/month"``.
    hop : float
        Seconds from the start of one clip to the start of the next.
    source : list of SourceSettings
        One for each machine.
    sink : list of SinkSettings
        Who is told.
    alerts, evidence, history
        See `AlertSettings`, `EvidenceSettings` and `HistorySettings`.
    """

    model: str = ""
    folder: str = DEFAULT_FOLDER
    false_alarms: str = ""
    hop: float = DEFAULT_HOP
    source: list[SourceSettings] = []
    sink: list[SinkSettings] = []
    alerts: AlertSettings = AlertSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    history: HistorySettings = HistorySettings()


def read_settings(path: Path) -> Settings:
    """Return the settings in a TOML file.

    Raises
    ------
    ConfigError
        If it cannot be read, or holds a mistake: the text names its line, and what may be meant.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: the settings cannot be read ({getattr(error, 'strerror', None) or error})"
        ) from error
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: no TOML: {error}") from error
    try:
        return settings_from(given)
    except SettingError as error:
        line = _line_of(text, error.table, error.key)
        raise ConfigError(f"{path}{f', line {line}' if line else ''}: {error}") from error


def settings_from(given: Mapping[str, Any]) -> Settings:
    """Return settings from plain data, with a name for each source and sink.

    Raises
    ------
    ConfigError
        If they hold a mistake.
    """
    tables = dict(given)
    for kind, own in (("source", _OF_SOURCE), ("sink", _OF_SINK)):
        if kind in tables:
            tables[kind] = _split(kind, tables[kind], own)
    try:
        settings = msgspec.convert(tables, Settings)
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from error
    if not settings.source:
        raise SettingError('no source; add a table [[source]] with kind = "microphone", say', "", "")
    _check_rates(settings)
    settings = msgspec.structs.replace(settings, source=_named("source", settings.source))
    settings = msgspec.structs.replace(settings, sink=_named("sink", settings.sink))
    tables_of: dict[str, Sequence[SourceSettings | SinkSettings]] = {"source": settings.source, "sink": settings.sink}
    for kind, each in tables_of.items():
        for index, component in enumerate(each):
            _component(kind, index, component)  # a mistake in one is told before anything starts
    return settings


def source_of(settings: SourceSettings) -> Source:
    """Return a new source; errors as for `asd.plugin.create`."""
    return create("source", settings.kind, settings.parameters)


def route_of(settings: SinkSettings) -> Route:
    """Return a new sink with what goes there; errors as for `asd.plugin.create` and `Route`."""
    sink: Sink = create("sink", settings.kind, settings.parameters)
    level: Any = settings.at_least
    return Route(settings.name, sink, level, settings.quiet_hours, settings.quiet_alarms, tuple(settings.machines))


class SettingError(ConfigError):
    """A mistake in settings: in which table, counted from 0, and at which key."""

    def __init__(self, text: str, table: str, key: str) -> None:
        super().__init__(text)
        self.table, self.key = table, key


def _split(kind: str, tables: Any, own: Sequence[str]) -> list[dict[str, Any]]:
    """Return tables whose unknown keys are parameters of the component."""
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise SettingError(f"{kind}: expected tables, each under a line [[{kind}]]", kind, "")
    found = []
    for index, table in enumerate(tables):
        if "kind" not in table:
            raise SettingError(f"a {kind} without kind; 'asd plugins' lists what there is", f"{kind}[{index}]", "")
        known = {key: value for key, value in table.items() if key in own}
        rest = {key: value for key, value in table.items() if key not in own}
        found.append({**known, "parameters": rest})
    return found


def _explained(text: str) -> SettingError:
    unknown = _UNKNOWN.search(text)
    if unknown:
        key, table = unknown[1], (unknown[2] or "").lstrip(".")
        return SettingError(f"unknown setting {key!r}; {did_you_mean(key, _names_of(table))}", table, key)
    match = _PLACE.match(text)
    place = (match[2] or "").lstrip(".") if match else ""
    table, _, key = place.rpartition(".")
    what = match[1] if match else text
    if not table and key in ("alerts", "evidence", "history"):  # their own checks name the key
        table, key = key, what.split(" ")[0]
        place = table
    return SettingError(f"{place or 'the settings'}: {what[:1].lower()}{what[1:]}", table, key)


def _names_of(table: str) -> Sequence[str]:
    owners: dict[str, Any] = {"alerts": AlertSettings, "evidence": EvidenceSettings, "history": HistorySettings}
    return tuple(owners.get(table, Settings).__struct_fields__)


def _check_rates(settings: Settings) -> None:
    rows = [("", settings.hop), *((f"source[{i}]", each.hop or settings.hop) for i, each in enumerate(settings.source))]
    for table, hop in rows:
        if not (math.isfinite(hop) and hop > 0):
            raise SettingError(f"hop: expected seconds above 0, got {hop:g}", table, "hop")


def _named(kind: str, tables: Sequence[Any]) -> list[Any]:
    several = len(tables) > 1
    found = [
        each if each.name else msgspec.structs.replace(each, name=f"{each.kind}-{i + 1}" if several else each.kind)
        for i, each in enumerate(tables)
    ]
    names = [each.name for each in found]
    what = "machine" if kind == "source" else "sink"
    for index, name in enumerate(names):
        mistake = None
        if name in names[:index]:
            mistake = f"two {what}s are called {name!r}; give each a name of its own"
        elif not name.strip():
            mistake = f"the name {name!r} cannot be seen; give the {what} a name with letters or digits"
        elif len(name) > _LONGEST_NAME:
            mistake = f"a name of {len(name):,} characters, expected at most {_LONGEST_NAME}; shorten it"
        if mistake is not None:
            raise SettingError(mistake, f"{kind}[{index}]", "name")
    return found


def _component(kind: str, index: int, own: SourceSettings | SinkSettings) -> None:
    try:
        source_of(own) if isinstance(own, SourceSettings) else route_of(own)
    except AsdError as error:
        keys = ("kind", *own.parameters)
        key = next((each for each in reversed(keys) if f"'{each}'" in str(error)), "kind")
        key = next((each for each in own.__struct_fields__ if f"{each} must" in str(error)), key)
        raise SettingError(str(error), f"{kind}[{index}]", key) from error


def _line_of(text: str, table: str, key: str) -> int | None:
    """Return the line of a key, or of its table, counted from 1; None: it cannot be told."""
    name, _, number = table.partition("[")
    wanted = int(number.rstrip("]")) if number else 0
    current, seen, header = "", -1, None
    for count, line in enumerate(text.splitlines(), start=1):
        if match := _HEADER.match(line):
            current = match[1].strip().strip('"')
            if current == name:
                seen, header = seen + 1, count if seen + 1 == wanted else header
        elif current == name and (not name or seen == wanted) and re.match(rf'\s*"?{re.escape(key)}"?\s*=', line):
            return count
    return header
