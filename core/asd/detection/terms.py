"""On what terms workers work: the versions of the process that asks, its plugin files, its weight files.

Other versions compute other numbers, so a worker that has them is refused: all of them at the start, and one that comes
later with its first piece. Weight files that a worker lacks are sent to it, once.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import socket
import sys
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from asd.contract.installed import registry, use_plugin_file
from asd.contract.interfaces import WorkEngine
from asd.detection.identity import identity_of, installed_versions
from asd.errors import AsdError, PluginError, WeightError
from asd.files.store import place_of
from asd.files.weights import keep_content, locate
from asd_registry import Kind, WeightFile
from asd_registry.files import remedy

_COMPUTING = re.compile(
    r"asd-|numpy|scipy|scikit-learn|soundfile|soxr|av$|onnxruntime|torch|transformers|essentia|openl3"
)
"""Distributions whose version decides numbers; a newer one of another, such as a downloader, does no harm."""

_log = logging.getLogger("asd")

Names = tuple[tuple[Kind, str], ...]


@dataclass(frozen=True)
class Terms:
    """What a worker must have in common with the process that asks for the work.

    Parameters
    ----------
    components : tuple of (str, str)
        Kind and name of each component that is used.
    versions : tuple of (str, str)
        Distributions that they need, and versions.
    plugin_files : tuple of str
        Files that the user named as plugins.
    weights : tuple of WeightFile
        Published weight files that the components declare and this process has.
    offline : bool
        Whether the user allows no network.
    """

    components: Names = ()
    versions: tuple[tuple[str, str], ...] = ()
    plugin_files: tuple[str, ...] = ()
    weights: tuple[WeightFile, ...] = ()
    offline: bool = False


def terms_of(components: Iterable[tuple[str, str]]) -> Terms:
    """Return the terms of this process, for work that uses these components."""
    names: Names = tuple(dict.fromkeys(components))  # type: ignore[arg-type]  # kinds are texts
    weights = [
        weight
        for kind, name in names
        for weight in registry().find(kind, name).spec.weights
        if weight.url is not None and place_of(weight).is_file()
    ]
    return Terms(
        names,
        tuple(sorted(_versions(names).items())),
        tuple(_plugin_files()),
        tuple(dict.fromkeys(weights)),
        bool(os.environ.get("ASD_OFFLINE")),
    )


def agreed(engine: WorkEngine, components: Sequence[tuple[str, str]]) -> Terms:
    """Return the terms of work that uses these components, after all workers there are accepted them.

    Raises
    ------
    PluginError
        If a worker has another version, or lacks a plugin; the text names the worker and both versions.
    """
    terms = terms_of(components)
    known = _agreed.setdefault(engine, set())
    if terms in known:
        return terms
    found = engine.everywhere(check, terms)
    refusing = [(address, problem) for address, (problem, _) in sorted(found.items()) if problem]
    if refusing:
        address, problem = refusing[0]
        others = f" (and {len(refusing) - 1} of {len(found)} workers besides)" if len(refusing) > 1 else ""
        raise PluginError(f"worker {address}{others}: {problem}")
    send_weights(engine, tuple(dict.fromkeys(weight for _, lacking in found.values() for weight in lacking)))
    known.add(terms)
    return terms


_agreed: weakref.WeakKeyDictionary[WorkEngine, set[Terms]] = weakref.WeakKeyDictionary()


def send_weights(engine: WorkEngine, weights: Sequence[WeightFile]) -> None:
    """Send weight files to the workers that lack them.

    Raises
    ------
    WeightError
        If one cannot keep them.
    """
    for weight in weights:
        _log.info("sending %s to the workers", weight.name)
        for address, problem in engine.everywhere(take_weights, weight, content_of_weights(weight)).items():
            if problem:
                raise WeightError(f"worker {address}: {problem}")


def check(terms: Terms) -> tuple[str | None, tuple[WeightFile, ...]]:
    """Return what keeps this process from working on these terms, None: nothing; and the weight files that it lacks."""
    if terms.offline:
        os.environ.setdefault("ASD_OFFLINE", "1")
    try:
        for file in terms.plugin_files:
            if Path(file).name not in {plugin.distribution for plugin in registry().plugins}:
                use_plugin_file(file)
        own = _versions(terms.components)
    except AsdError as error:
        return f"{error}; it needs what the process has that asks for the work", ()
    for distribution, version in terms.versions:
        if (here := own.get(distribution)) != version:
            return _difference(distribution, here, version), ()
    return None, tuple(weight for weight in terms.weights if not place_of(weight).is_file())


def refused(terms: Terms) -> tuple[WeightFile, ...]:
    """Return the weight files that this worker lacks; what `check` finds, once for the same terms.

    Raises
    ------
    PluginError
        If this worker must not work on these terms.
    """
    problem, lacking = check(terms) if terms not in _accepted else (None, ())
    if problem is not None:
        raise PluginError(f"worker {socket.gethostname()} (process {os.getpid()}): {problem}")
    if not lacking:
        _accepted.add(terms)
    return lacking


_accepted: set[Terms] = set()


def content_of_weights(weight: WeightFile) -> bytes:
    """Return the content of a weight file of this process."""
    return locate(weight).read_bytes()


def take_weights(weight: WeightFile, content: bytes) -> str | None:
    """Keep a weight file that was sent, if it is what it should be and not here yet; return why it cannot be kept."""
    try:
        keep_content(weight, content)
    except WeightError as error:
        return str(error)
    return None


def _versions(components: Names) -> dict[str, str]:
    """Return the version of each distribution that decides numbers; of an editable one, its sources besides."""
    found = dict(_framework())
    plugins = set()
    for kind, name in components:
        identity = identity_of(kind, name)
        plugins.add(identity["name"].partition(":")[0])
        for distribution, version in identity["libraries"].items():
            source = identity["sources"].get(distribution)
            found[distribution] = f"{version} (sources {source[:8]})" if source else version
        if identity["name"].partition(":")[0].endswith(".py"):
            found[identity["name"].partition(":")[0]] = identity["version"]
    return {name: version for name, version in found.items() if _COMPUTING.match(name) or name in plugins}


@functools.cache
def _framework() -> tuple[tuple[str, str], ...]:
    return tuple(installed_versions("asd-framework").items())


def _plugin_files() -> list[str]:
    files = []
    for plugin in registry().plugins:
        if plugin.distribution.endswith(".py"):
            with suppress(KeyError, TypeError):
                files.append(str(Path(str(sys.modules[plugin.name].__file__)).resolve()))
    return files


def _difference(distribution: str, here: str | None, version: str) -> str:
    plain = version.partition(" ")[0]
    if here is None:
        return f"{distribution} {version} is not installed there: {_install(distribution, plain)}"
    mend = "let both have the same sources" if here.partition(" ")[0] == plain else _install(distribution, plain)
    return f"has {distribution} {here}, the process that asks for the work has {version}: {mend}"


def _install(distribution: str, version: str) -> str:
    if distribution.endswith(".py"):
        return remedy(distribution)
    return f"pip install {distribution}=={version}, and start the worker again"
