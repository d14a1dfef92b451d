"""What decides the numbers that a pipeline computes, found without importing its components.

A result may be taken again if nothing has changed that could change it: components and their parameters, files that
these name, versions of all libraries involved, sources of what is installed in editable form, the machine.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import importlib.metadata
import importlib.util
import itertools
import json
import os
import platform
import re
import stat
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from asd.contract.installed import registry
from asd.contract.interfaces import Runtime
from asd.contract.plain import shown
from asd.detection.config import ResolvedConfig
from asd.files.digest import digest_of, digest_once
from asd.files.filesystems import failure
from asd.files.remote import RemotePath
from asd.files.versions import Facts
from asd.sound.memory import held
from asd_registry import Kind

_FRAMEWORK = "asd-framework"
_NAME_AND_EXTRAS = re.compile(r"([\w.-]*)\s*(\[[^\]]*\])?")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_SETTLED = 2.0
"""Seconds after which a change of a file shows in its times, also on file systems that count in whole seconds."""
_LARGE = 2**24
"""Bytes of a compiled library; no one changes such files by hand."""
_MOST_FILES = 1000
"""Files of a network's folder; what holds more is something else."""


def features_identity(
    config: ResolvedConfig, runtime: Runtime, frontend: Mapping[str, Any], extractor: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what decides the features that a pipeline makes of a clip.

    Parameters
    ----------
    config : ResolvedConfig
        The pipeline.
    runtime : Runtime
        How it computes.
    frontend, extractor : mapping of str to Any
        Parameters of the two components: all, or those that the user gave.

    Raises
    ------
    ValueError
        If a parameter names a folder with too many files to look at.
    """
    return {
        "frontend": _with_parameters(identity_of("frontend", config.frontend.name), frontend),
        "extractor": _with_parameters(identity_of("extractor", config.extractor.name), extractor),
        **_other_engine(config.extractor.name, runtime),
        "channel": config.channel,
        "short": config.short,
        "tail": config.tail,
        "runtime": runtime_identity(runtime),
        "batch_size": runtime.batch_size,
        "machine": {"hardware": hardware()} if _is_alike_by_threads(config, runtime) else machine_identity(),
    }


def _is_alike_by_threads(config: ResolvedConfig, runtime: Runtime) -> bool:
    """Return whether the components say that the number of threads changes no bit of what they compute."""
    extractor = registry().find("extractor", config.extractor.name).spec
    engines, chosen = extractor.engines, runtime.engine
    # What `auto` means of several engines has been found out by then (`asd.detection.embedder.with_engine`).
    is_usual = not engines or chosen == engines[0] or (chosen == "auto" and len(engines) == 1)
    return is_usual and extractor.any_threads and registry().find("frontend", config.frontend.name).spec.any_threads


def _other_engine(extractor: str, runtime: Runtime) -> dict[str, Any]:
    """Return what an engine brings that the extractor does not require, such as the plugin of a network in PyTorch.

    Which plugin that is, the extractor knows; so all count.
    """
    engines = registry().find("extractor", extractor).spec.engines
    if len(engines) < 2 or runtime.engine in ("auto", engines[0]):
        return {}
    involved = _installed(runtime.engine, *sorted(plugin.distribution for plugin in registry().plugins))
    sources = {distribution: _source_digest(root, "") for distribution, _, root in involved if root}
    return {"engine": {"libraries": {name: version for name, version, _ in involved}, "sources": sources}}


def _with_parameters(identity: dict[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {**identity, "parameters": shown(parameters), "named": named_files(parameters)}


def is_pinned(config: ResolvedConfig, description: Mapping[str, Any]) -> bool:
    """Return whether `features_identity` of the parameters that the user gave stands for the whole `description`.

    It does if each weight file is one that the plugin declares with its hash, or is among the files that a parameter
    names: a network that is named by an address or on a hub may be another one the next time. Former names of
    parameters do not count, so that their warning is said each time.
    """
    for kind in ("frontend", "extractor"):
        if not getattr(config, kind).parameters.keys() <= description[kind]["parameters"].keys():
            return False
    declared = tuple(weight.sha256 for weight in registry().find("extractor", config.extractor.name).spec.weights)
    named = description["extractor"]["named"].values()
    files = {each for each in named if isinstance(each, str)}
    in_folders = {name for each in named if not isinstance(each, str) for name in each}
    return all(
        sha256.startswith(declared) or sha256 in files or name in in_folders
        for name, sha256 in description["weights"].items()
    )


def identity_of(kind: Kind, name: str) -> dict[str, Any]:
    """Return what identifies this installation of a component: target, versions, sources, preset, weights.

    Of distributions that are installed in editable form the sources belong to it: they change, the version does not.
    """
    found = registry().find(kind, name)
    spec, plugin = found.spec, found.plugin
    package = spec.target.partition(":")[0].partition(".")[0]
    needed, sources = [plugin.distribution, _FRAMEWORK, *spec.requires], {}
    if plugin.distribution.endswith(".py"):  # a plugin that is one file does not declare what it imports
        needed += [info.name.partition("-")[0] for folder in sys.path for info in Path(folder).glob("*.dist-info")]
        beside = [each for file in _files_of(package) for each in sorted(file.parent.glob("*.py"))]
        sources[plugin.distribution] = _digest_of_all(beside)
    installed = _installed(*needed)
    for distribution, _, root in installed:
        if root:
            own = distribution == _normalised(plugin.distribution)
            sources[distribution] = _source_digest(root, package if own else "")
    return {
        "name": found.qualified_name,
        "target": spec.target,
        "version": plugin.version,
        "libraries": {distribution: version for distribution, version, _ in installed},
        "sources": sources,
        "preset": dict(spec.preset),
        "files": {weight.name: weight.sha256 for weight in spec.weights},
    }


def installed_versions(distribution: str) -> dict[str, str]:
    """Return the version of a distribution and of all that it needs; of editable ones with their sources."""
    return {
        name: f"{version} (sources {_source_digest(root, '')[:8]})" if root else version
        for name, version, root in _installed(distribution)
    }


@functools.cache
def _installed(*requirements: str) -> tuple[tuple[str, str, str], ...]:
    """Return the distributions that `requirements` need, directly or not, as far as they are installed.

    Returns
    -------
    tuple of (name, version, folder)
        The normalised name; the project's folder where it is installed in editable form, else "".
    """
    found = {}
    seen: set[str] = set()
    waiting = list(requirements)
    while waiting:
        name, extras = _NAME_AND_EXTRAS.match(waiting.pop()).groups("")  # type: ignore[union-attr]  # matches any text
        name = _normalised(name)
        if (asked := name + extras) in seen:
            continue
        seen.add(asked)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # not on this platform, a plugin file
            distribution = importlib.metadata.distribution(name)
            # importlib.metadata would parse the whole text, with its description, at each access.
            head = (distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or "").partition("\n\n")[0]
            version = ", ".join(re.findall(r"^Version: (.*)$", head, re.MULTILINE))
            found[name] = (name, version, _editable_root(distribution.read_text("direct_url.json")))
            needed = re.findall(r"^Requires-Dist: (.*)$", head, re.MULTILINE)
            waiting += (each for each in needed if "extra" not in each or _asked(each, extras))
    return tuple(found[name] for name in sorted(found))


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _editable_root(origin: str | None) -> str:
    """Return the folder that ``direct_url.json`` names; "" if the distribution was installed for good."""
    described = json.loads(origin or "{}")
    if not described.get("dir_info", {}).get("editable"):
        return ""
    from urllib.request import url2pathname  # brings HTTP and TLS along

    return url2pathname(urlsplit(described["url"]).path)


def _asked(requirement: str, extras: str) -> bool:
    """Return whether a requirement that may belong to an extra is one of `extras`, such as ``[audio,torch]``."""
    marker = requirement.partition(";")[2]
    named = re.findall(r"""extra\s*==\s*['"]([^'"]+)""", marker)
    return not named or any(extra in re.findall(r"[\w.-]+", extras) for extra in named)


def runtime_identity(runtime: Runtime) -> dict[str, str]:
    """Return what of a runtime decides numbers; with ``auto``, also what it is chosen by."""
    chosen = {"device": runtime.device, "precision": runtime.precision, "engine": runtime.engine}
    return {**chosen, "hardware": hardware()} if "auto" in (runtime.device, runtime.precision) else chosen


def machine_identity() -> dict[str, Any]:
    """Return what of the machine decides the last bits: processor, graphics cards, number of threads.

    Matrix products are summed up in another order on another processor and by another number of threads.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"hardware": hardware(), "processors": processors, **{name: os.environ.get(name) for name in _THREADS}}


@functools.cache
def hardware() -> str:
    """Return what computes, as a digest: the processor's abilities and the graphics cards."""
    cpuinfo = Path("/proc/cpuinfo")
    # Asking for the processor starts a process on Linux.
    lines = {platform.machine(), "" if cpuinfo.exists() else platform.processor()}
    for path in (cpuinfo, *Path("/proc/driver/nvidia/gpus").glob("*/information")):
        with contextlib.suppress(OSError):
            text = path.read_text(errors="replace")
            lines |= set(re.findall(r"^(?:flags|Features|Model:).*$", text, re.MULTILINE))
    lines |= {str(device) for device in Path("/dev").glob("nvidia[0-9]*")}
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def named_files(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of each file or folder that a component's parameters name.

    Returns
    -------
    dict
        Of a file its SHA-256; of a folder what `stamp_of` says of each file in it, by relative path.

    Raises
    ------
    ValueError
        If a folder holds too many files to look at.
    """
    found: dict[str, Any] = {}
    for value in parameters.values():
        for name in value if isinstance(value, list | tuple) else [value]:
            with contextlib.suppress(OSError, RuntimeError):
                if isinstance(name, str | os.PathLike) and (path := Path(name).expanduser()).exists():
                    found[str(name)] = content_of(path) if path.is_file() else _folder_state(path)
    return found


def _folder_state(folder: Path) -> dict[str, Any]:
    paths = list(itertools.islice((path for path in folder.rglob("*") if path.is_file()), _MOST_FILES + 1))
    if len(paths) > _MOST_FILES:
        raise ValueError(f"{folder}: more than {_MOST_FILES} files")
    return {str(path.relative_to(folder)): stamp_of(path) for path in sorted(paths)}


def stamp_of(path: Path) -> tuple[Any, ...]:
    """Return what changes whenever a file does: device, inode, size in bytes, and both times of change in ns.

    What is held in memory does not change. Of a file elsewhere it is what its server says of this version.

    Raises
    ------
    OSError
        If the file is not there, is a pipe or a device, which has no content to go by and may never end, or its server
        does not tell one version from another.
    """
    if held(path):
        return ()
    if isinstance(path, RemotePath):
        return _sure_facts(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _sure_facts(path: RemotePath) -> Facts:
    facts = path.facts()
    if not facts.is_sure:
        raise failure(path.url, "its server does not tell one version from another")
    return facts


def content_of(path: Path, stamp: tuple[Any, ...] | None = None) -> str:
    """Return the SHA-256 of a recording's content; a file is read once unless it changes.

    One elsewhere is fetched only if this version's digest is not known from an earlier run.

    Parameters
    ----------
    path : Path
        The recording.
    stamp : tuple, optional
        What `stamp_of` has just said of it.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    if sound := held(path):
        return sound.sha256
    if isinstance(path, RemotePath):
        from asd.files.reading import sha256_of

        try:
            return sha256_of(path, stamp if isinstance(stamp, Facts) else None)
        except FileNotFoundError as error:  # one line for the user, wherever it was needed
            raise failure(path.url, "no such object any more") from error
    stamp = stamp_of(path) if stamp is None else stamp
    if abs(time.time() - max(stamp[-2:]) / 1e9) < _SETTLED:  # it may change again without another time
        return digest_of(path)
    return _content(path, stamp)


@functools.lru_cache(maxsize=2**17)
def _content(path: Path, stamp: tuple[Any, ...]) -> str:
    return digest_once(path, stamp, stamp_of)


@functools.cache
def _source_digest(root: str, package: str) -> str:
    """Return the SHA-256 of the packages of a project's folder, wherever they are imported from, and of `package`."""
    packages = {file.parent.name for level in ("*", "*/*") for file in Path(root).glob(f"{level}/__init__.py")}
    files = [file for each in sorted({package, *packages}) for file in _files_of(each)]
    return _digest_of_all(files or sorted(Path(root).rglob("*.py")))


def _digest_of_all(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        digest.update(file.read_bytes() if size < _LARGE else str(stamp_of(file)).encode())
    return digest.hexdigest()


def _files_of(package: str) -> list[Path]:
    """Return the files of an installed top-level package or module, without importing it."""
    with contextlib.suppress(ImportError, ValueError):
        if found := importlib.util.find_spec(package):
            folders = [Path(folder) for folder in found.submodule_search_locations or ()]
            files = [file for folder in folders for file in folder.rglob("*")] or [Path(found.origin or "")]
            return sorted(file for file in files if file.is_file() and file.parent.name != "__pycache__")
    return []
