"""Which version of which component computed something: what a cache must know to be right, without importing it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import platform
from pathlib import Path
from typing import Any

from asd.contract.installed import registry
from asd.contract.interfaces import Runtime
from asd_registry import Kind


def identity_of(kind: Kind, name: str) -> dict[str, Any]:
    """Return what tells this installation of a component from another: target, versions, preset, weights.

    Of a distribution that is installed in editable form the sources belong to it: they change, its version does not.
    """
    found = registry().find(kind, name)
    spec, plugin = found.spec, found.plugin
    return {
        "name": found.qualified_name,
        "target": spec.target,
        "version": plugin.version,
        "libraries": dict(libraries_of(plugin.distribution)),
        "source": _editable_source(plugin.distribution, spec.target.partition(":")[0].partition(".")[0]),
        "preset": dict(spec.preset),
        "files": {weight.name: weight.sha256 for weight in spec.weights},
    }


@functools.cache
def libraries_of(distribution: str) -> tuple[tuple[str, str], ...]:
    """Return name and installed version of each library that a distribution asks for: another may compute otherwise."""
    from packaging.requirements import Requirement

    try:
        needed = [Requirement(text) for text in importlib.metadata.requires(distribution) or ()]
    except importlib.metadata.PackageNotFoundError:  # a plugin that is one file
        return ()
    found = []
    for name in sorted({each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})}):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append((name, importlib.metadata.version(name)))
    return tuple(found)


def runtime_identity(runtime: Runtime) -> dict[str, str]:
    """Return what of a runtime decides numbers; with ``auto``, also what it is chosen by."""
    chosen = {"device": runtime.device, "precision": runtime.precision}
    return {**chosen, "hardware": _hardware()} if "auto" in chosen.values() else chosen


@functools.cache
def _hardware() -> str:
    """Return what ``auto`` chooses by, as a digest: the processor's abilities and the graphics cards."""
    told = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
        told += sorted({line for line in lines if line.startswith(("flags", "Features"))})
    told += sorted(str(device) for device in Path("/dev").glob("nvidia[0-9]*"))
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


@functools.cache
def _editable_source(distribution: str, package: str) -> str | None:
    """Return the SHA-256 of an editable package's Python files; None if it is installed for good."""
    try:
        origin = importlib.metadata.distribution(distribution).read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:  # a plugin that is one file
        origin = '{"dir_info": {"editable": true}}'
    if not (origin and json.loads(origin).get("dir_info", {}).get("editable")):
        return None
    found = importlib.util.find_spec(package)  # of a top-level package this imports nothing
    if found is None:
        return None
    folders = [Path(folder) for folder in found.submodule_search_locations or ()]
    files = [file for folder in folders for file in folder.rglob("*.py")] or [Path(found.origin or "")]
    digest = hashlib.sha256()
    for file in sorted(file for file in files if file.is_file()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
