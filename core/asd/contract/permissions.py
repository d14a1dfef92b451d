"""What a model file may ask of components: whoever made the file does not decide what is fetched, opened or run here.

A component's spec declares such parameters (`asd_registry.ComponentSpec.restricted`). The rule holds inside
`model_file_rules` for every component that is created there, those that other components create included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from asd.contract.installed import registry
from asd.contract.own import OwnSpec
from asd.contract.parameters import parameters_of
from asd.errors import ModelFileError
from asd_registry import Component as Registered
from asd_registry import Kind
from asd_registry.discovery import load_target

_PATH_OR_ADDRESS = re.compile(r"[/\\]|^~|^[A-Za-z]:|\.[A-Za-z]\w{0,9}$")
"""A separator (of an address, too), a home folder, a drive, or a file's suffix."""

_SHOWN = 60
"""Characters of a refused value that the message shows."""

_model_file: ContextVar[str | None] = ContextVar("the model file whose components are made", default=None)


@contextmanager
def model_file_rules(path: str | Path) -> Iterator[None]:
    """Refuse, inside the block, to create components with parameters that need consent.

    Parameters
    ----------
    path : str or Path
        The model file, for messages.
    """
    token = _model_file.set(str(path))
    try:
        yield
    finally:
        _model_file.reset(token)


def check_parameters(kind: Kind, name: str, parameters: Mapping[str, Any]) -> None:
    """Raise an error if a component's parameters need consent; outside of `model_file_rules` everything is allowed.

    Parameters
    ----------
    kind : {"frontend", "extractor", "detector", "dataset", "source", "sink", "engine"}
        What the component is.
    name : str
        Its registered name.
    parameters : mapping of str to Any
        Those that the model file gives.

    Raises
    ------
    ModelFileError
        The text names the file, the component and the values, and says how to consent.
    """
    path = _model_file.get()
    if path is None:
        return
    registered = registry().find(kind, name)
    if isinstance(registered.spec, OwnSpec):
        raise ModelFileError(f"{path}: asks for {kind} {registered.qualified_name}, which no plugin offers; fit anew")
    asked = [key for key, value in parameters.items() if not _is_harmless(registered, key, value)]
    if asked:
        values = ", ".join(f"{key} = {_shown(parameters[key])}" for key in asked[:3])
        raise ModelFileError(
            f"{path}: its {kind} {registered.qualified_name} asks for {values}; for a model file nothing is fetched, "
            "opened or run but the weights that a plugin contains or publishes: if you trust whoever made this file, "
            "add --trust (in Python: trust=True), which is remembered for its very content"
        )


def _is_harmless(registered: Registered, name: str, value: Any) -> bool:
    restricted = registered.spec.restricted
    if name in restricted:
        allowed = restricted[name]
        return value is None or allowed is None or value in allowed
    return not any(map(_may_be_path_or_address, _texts(value))) or _is_default(registered, name, value)


def _texts(value: Any) -> Iterator[str]:
    """Yield every text inside a value of a manifest, keys included."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple):
            waiting += part
        elif isinstance(part, Path):
            yield f"./{part}"


def _may_be_path_or_address(text: str) -> bool:
    if _PATH_OR_ADDRESS.search(text):
        return True
    try:
        return bool(text) and Path(text).is_file()
    except (OSError, ValueError):  # such as a text that is too long for a name
        return False


def _is_default(registered: Registered, name: str, value: Any) -> bool:
    known = parameters_of(load_target(registered))
    return name in known and known[name].default == (tuple(value) if isinstance(value, list) else value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
