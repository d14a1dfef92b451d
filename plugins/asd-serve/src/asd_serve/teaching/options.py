"""The settings of the listener that runs here: read for a form, and written with their comments, if they are right."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
import tomlkit
from tomlkit.items import AoT, Table

from asd.command import described_parameters, registry
from asd.errors import AsdError
from asd_listen import SettingError, Settings, SinkSettings, SourceSettings, read_settings, settings_from
from asd_serve.errors import RequestError

MASK = "••••••"
_SECRET = re.compile(r"(password|passwd|secret|token|key|credentials?)s?$", re.IGNORECASE)
_KINDS = ("source", "sink")
_TABLES = ("alerts", "evidence")
_PLAIN = ("false_alarms", "hop")
_FIXED = ("folder", "model", "history")
"""What stays as it is: to change it means another history, or a model that nobody has loaded here."""


def shown(path: Path) -> dict[str, Any]:
    """Return the settings in a file for a form, with secrets masked, and what can be chosen.

    Raises
    ------
    ConfigError
        If they cannot be read.
    """
    settings = read_settings(path)
    return {
        "settings": masked(plain(settings)),
        "path": str(path),
        "digest": digest_of(path),
        "machines": [each.name for each in settings.source],
        "sources": offered("source"),
        "sinks": offered("sink"),
        "editable": os.access(path, os.W_OK) and os.access(path.parent, os.W_OK),
    }


def plain(settings: Settings) -> dict[str, Any]:
    """Return settings as the tables of their file; what is left out there stays left out."""
    return {
        **{name: getattr(settings, name) for name in (*_PLAIN, "folder", "model")},
        **{name: msgspec.to_builtins(getattr(settings, name)) for name in (*_TABLES, "history")},
        "source": [_table(each) for each in settings.source],
        "sink": [_table(each) for each in settings.sink],
    }


def _table(own: SourceSettings | SinkSettings) -> dict[str, Any]:
    given: dict[str, Any] = msgspec.to_builtins(own)
    parameters = given.pop("parameters")
    defaults = {each.name: each.default for each in msgspec.structs.fields(type(own))}
    own_keys = {key: value for key, value in given.items() if value != defaults[key] and value != []}
    return {**own_keys, **parameters}


def masked(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables in which every secret of sources and sinks is a mask."""
    return {
        name: [{key: _masked(key, value) for key, value in each.items()} for each in value] if name in _KINDS else value
        for name, value in tables.items()
    }


def _masked(key: str, value: Any) -> Any:
    """Return a parameter as it may be seen: of an address only where it leads, as its path and query may be secrets."""
    if not isinstance(value, str) or not value:
        return value
    if _SECRET.search(key):
        return MASK
    parts = urlsplit(value) if "://" in value else None
    if parts is None:
        return value
    _, at, host = parts.netloc.rpartition("@")
    is_stream = parts.scheme in ("rtsp", "rtsps", "file") or "url" not in key
    path = parts.path if is_stream or parts.path in ("", "/") else f"/{MASK}"
    return urlunsplit((parts.scheme, f"{MASK}@{host}" if at else host, path, MASK if parts.query else "", ""))


def offered(kind: Any) -> list[dict[str, Any]]:
    """Return the sources or sinks that can be chosen, with their parameters."""
    found = []
    for component in registry().of_kind(kind):
        row: dict[str, Any] = {"name": component.spec.name, "summary": component.spec.summary, "state": "ready"}
        try:
            row["parameters"] = described_parameters(component)
        except AsdError as error:
            row |= {"parameters": [], "state": str(error)}
        found.append(row)
    return sorted(found, key=lambda row: str(row["name"]))


def digest_of(path: Path) -> str:
    """Return what tells whether a file was changed meanwhile."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def changed(path: Path, wanted: Mapping[str, Any], models: Mapping[str, Path]) -> tuple[str, Settings]:
    """Return the text of a settings' file after a change, and what it says; nothing is written.

    Parameters
    ----------
    path : Path
        The file.
    wanted : mapping
        Tables to change: those of ``alerts`` and ``evidence`` are merged, ``source`` and ``sink`` replace all of these.
        Secrets that are masked stay as they are.
    models : mapping of str to Path
        Files of the models that are served, by name: a source may name one of these.

    Raises
    ------
    SettingError
        If a setting is wrong.
    RequestError
        If it may not be changed here.
    """
    text = path.read_text(encoding="utf-8-sig")
    before = plain(settings_from(tomllib.loads(text)))
    document = tomlkit.parse(text)
    unknown = [name for name in wanted if name not in (*_PLAIN, *_TABLES, *_KINDS, *_FIXED)]
    if unknown:
        raise SettingError(
            f"unknown setting {unknown[0][:60]!r}; known: {', '.join((*_PLAIN, *_TABLES, *_KINDS))}", "", ""
        )
    for name in _FIXED:
        if name in wanted and wanted[name] != before[name]:
            raise RequestError(
                409, f"{name} is not changed from here: edit {path} where the server runs, and restart it"
            )
    for name in _PLAIN:
        if name in wanted and wanted[name] != before[name]:
            document[name] = wanted[name]
    for name in _TABLES:
        _merge(document, name, before[name], wanted.get(name, {}))
    for name in _KINDS:
        if name in wanted:
            _replace(document, name, before[name], _checked(name, wanted[name], before[name], models))
    after = tomlkit.dumps(document)
    return after, settings_from(tomllib.loads(after))


def with_model(text: str, machine: str, model: str) -> str:
    """Return the text of a settings' file in which the source of a machine names another model."""
    document = tomlkit.parse(text)
    names = [each.name for each in settings_from(tomllib.loads(text)).source]
    tables: Any = document["source"]
    tables[names.index(machine)]["model"] = model
    return tomlkit.dumps(document)


def _merge(document: Any, name: str, before: Mapping[str, Any], wanted: Any) -> None:
    if not isinstance(wanted, Mapping):
        raise SettingError(f"{name}: expected a table, got {type(wanted).__name__}", name, "")
    for key, value in wanted.items():
        if key not in before or value != before[key]:
            if name not in document:
                document[name] = tomlkit.table()
            document[name][key] = _whole(value, before.get(key))


def _whole(value: Any, before: Any) -> Any:
    """Return a number as it stands in a file: JSON does not tell 15 from 15.0."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def _checked(
    kind: str, wanted: Any, before: Sequence[Mapping[str, Any]], models: Mapping[str, Path]
) -> list[dict[str, Any]]:
    """Return tables with their secrets, of components that are installed."""
    if not isinstance(wanted, list) or not all(isinstance(each, Mapping) for each in wanted):
        raise SettingError(f"{kind}: expected a list of tables", kind, "")
    names = {each["name"] for each in offered(kind)}
    found = []
    for index, each in enumerate(wanted):
        place = f"{kind}[{index}]"
        former = next((old for old in before if _name(old) == _name(each)), {})
        own = {key: value for key, value in each.items() if value is not None}
        if own.get("kind") != former.get("kind") and own.get("kind") not in names:
            known = ", ".join(sorted(names))
            raise SettingError(
                f"kind: {str(own.get('kind'))[:60]!r} is not installed here; known: {known}", place, "kind"
            )
        for key, value in own.items():
            own[key] = _unmasked(place, key, value, own, former)
        if own.get("model") != former.get("model") and own.get("model"):
            if own["model"] not in models:
                raise SettingError(
                    f"model: {own['model']!r} is not served here; known: {', '.join(models)}", place, "model"
                )
            own["model"] = str(models[own["model"]])
        found.append(own)
    return found


def _unmasked(place: str, key: str, value: Any, own: Mapping[str, Any], former: Mapping[str, Any]) -> Any:
    """Return a secret that came back as its mask; it goes nowhere but where it went before."""
    if not isinstance(value, str) or MASK not in value:
        return value
    moved = [each for each in ("kind", "host", "port", "server") if own.get(each) != former.get(each)]
    if key not in former or _masked(key, former[key]) != value or moved:
        why = f"{moved[0]} was changed" if moved else "it was changed beside its mask"
        raise SettingError(
            f"{key}: the hidden part is kept only if nothing else changes ({why}); give all of it", place, key
        )
    return former[key]


def _name(table: Mapping[str, Any]) -> Any:
    return table.get("name") or table.get("kind")


def _replace(
    document: Any, kind: str, before: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]
) -> None:
    """Let the tables of a kind be these; one that is there already keeps its comments."""
    there = document.get(kind)
    old = list(there) if isinstance(there, AoT) else []
    by_name = {_name(table): item for table, item in zip(before, old, strict=True)}
    kept = tomlkit.aot()
    for table in wanted:
        item = by_name.get(_name(table))
        kept.append(_filled(tomlkit.table() if item is None else item, table))
    if kind in document:
        document[kind] = kept
    elif wanted:
        document.append(kind, kept)
    if not wanted and kind in document:
        del document[kind]


def _filled(item: Table, table: Mapping[str, Any]) -> Table:
    for key in [key for key in item if key not in table]:
        del item[key]
    for key, value in table.items():
        if key not in item or item[key] != value:
            item[key] = _whole(value, None)
    return item


def write(path: Path, text: str) -> Path:
    """Write settings whole or not at all, and keep those from before beside them; return where these are.

    Raises
    ------
    AsdError
        If they cannot be written; the file is as it was.
    """
    target = Path(os.path.realpath(path))
    backup, part = target.with_name(f"{target.name}.before"), target.with_name(f".{target.name}.part")
    try:
        mode = target.stat().st_mode & 0o777
        _written(part, target.read_text(encoding="utf-8"), mode)
        part.replace(backup)
        _written(part, text, mode)
        part.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise AsdError(
            f"{path}: the settings cannot be written ({error.strerror}); they are as before: see rights and disk"
        ) from error
    return backup


def _written(path: Path, text: str, mode: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        path.chmod(mode)  # whatever the umask
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
