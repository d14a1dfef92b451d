"""The weight store: pretrained weights, fetched once, verified by their SHA-256 at every use.

A component asks for the file that its spec names::

    path = asd.plugin.locate(spec.weights[0])

The store is the folder ``weights`` of the cache folder (`asd.files.folders`); each file lies there under its own name.
While it comes, it is ``NAME.part``; it gets its name when its hash is right.
"""

from __future__ import annotations

import errno
import importlib.util
import logging
import os
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from asd.contract.installed import registry
from asd.errors import WeightError
from asd.files.digest import digest_of
from asd.files.fetch import MEGABYTE, TransferError, download, require_space
from asd.files.folders import cache_folder
from asd.progress import track
from asd_registry import Component, WeightFile

State = Literal["embedded", "present", "absent", "damaged"]
"""``embedded``: whole, inside its distribution; ``present``: whole, in the store."""

_log = logging.getLogger("asd.weights")

_PATIENCE = 1.0
"""Seconds to wait for another process before saying so."""

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True)
class Entry:
    """A weight file and the installed components that use it."""

    weight: WeightFile
    components: tuple[Component, ...]

    @property
    def path(self) -> Path:
        """Where the file belongs, whether it is there or not."""
        return self._inside_distribution() if self.weight.url is None else place_of(self.weight)

    @property
    def size(self) -> int | None:
        """Bytes: of the file where it is here, else as the publisher says."""
        return self.path.stat().st_size if _is_here(self.path) else self.weight.size

    def state(self) -> State:
        """Hash the file, if it is there, and say how it is."""
        if not _is_here(self.path):
            return "absent"
        if not _is_good(self.path, self.weight):
            return "damaged"
        return "embedded" if self.weight.url is None else "present"

    def _inside_distribution(self) -> Path:
        package = self.components[0].spec.target.partition(":")[0].partition(".")[0]
        found = importlib.util.find_spec(package)  # of a top-level package this imports nothing
        folders = [Path(folder) for folder in (found and found.submodule_search_locations) or ()]
        files = (file for folder in folders for file in folder.rglob(self.weight.name))
        return next(files, Path(package, self.weight.name))


def is_offline() -> bool:
    """Return whether ``ASD_OFFLINE`` forbids the network."""
    return os.environ.get("ASD_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def store_folder() -> Path:
    """Return the folder of the weight store; it may not exist yet."""
    return cache_folder() / "weights"


def place_of(weight: WeightFile) -> Path:
    """Return where a downloaded weight file belongs, whether it is there or not."""
    if Path(weight.name).name != weight.name:
        raise WeightError(f"{weight.name!r} is no file name: a weight file's name holds no folders")
    return store_folder() / weight.name


def catalogue(components: Iterable[Component] | None = None) -> list[Entry]:
    """Return every weight file that the installed components (or `components`) name, each once."""
    chosen = registry().of_kind() if components is None else components
    users: dict[WeightFile, list[Component]] = {}
    for component in chosen:
        for weight in component.spec.weights:
            users.setdefault(weight, []).append(component)
    return [Entry(weight, tuple(its_users)) for weight, its_users in users.items()]


def verify(weight: WeightFile) -> State:
    """Hash a weight file, if it is there, and say how it is."""
    return _entry(weight).state()


def locate(weight: WeightFile, *, alternative: str | None = None) -> Path:
    """Return the path of a verified local copy, downloading it if it is absent or damaged and the network is allowed.

    An interrupted download goes on where it stopped. Several processes may ask for the same file: one brings it, the
    others wait.

    Parameters
    ----------
    weight : WeightFile
        What is wanted; `url` None means the copy inside the distribution of the component that names it.
    alternative : str or None
        A component that needs no download, for the error's text; None: look for one of the same kind.

    Raises
    ------
    WeightError
        If there is no such copy and none can be had; the text says how to bring one.
    """
    if weight.url is None:
        return _embedded(weight)
    place = place_of(weight)
    if _is_good(place, weight):
        return place
    with _storing(weight):
        if _is_good(place, weight):  # another process was faster
            return place
        part = _part_of(place)
        try:
            _bring(weight, weight.url, part)
        except TransferError as error:
            if error.unfinished:
                raise WeightError(f"{weight.name}: {error}; run the command again, it goes on from there") from error
            raise WeightError(f"{weight.name}: {error}; {_mend(weight, alternative)}") from error
        part.replace(place)
    return place


def import_file(weight: WeightFile, file: Path) -> Path:
    """Copy `file` into the store as `weight`, if it is that, and return its path there.

    Raises
    ------
    WeightError
        If `file` is missing, can't be read or is another file, or the store can't take it.
    """
    if weight.url is None:
        raise WeightError(f"{weight.name} ships inside its plugin's distribution: there is nothing to import")
    if not _is_here(file):
        raise WeightError(f"{file}: no such file; give the path of a copy of {weight.url}")
    if not _is_good(file, weight):
        raise WeightError(
            f"{file} is not {weight.name}: its sha256 is {_digest(file)}, expected {_expected(weight)}; "
            f"copy it again from its source, {weight.url}"
        )
    with _storing(weight):
        part = _part_of(place_of(weight))
        _copy(file, part, weight)
        if not _is_good(part, weight):
            part.unlink()
            raise WeightError(f"{file}: changed while it was copied; is the drive sound? Import it again")
        part.replace(place_of(weight))
    return place_of(weight)


def _bring(weight: WeightFile, url: str, part: Path) -> None:
    """Leave a good copy in `part`, or raise."""
    if _is_good(part, weight):  # a kill came between the last byte and the renaming
        return
    begun = part.exists()
    _transfer(weight, url, part)
    if begun and not _is_good(part, weight):  # the beginning may be that of another version of the file
        part.unlink()
        _transfer(weight, url, part)
    if not _is_good(part, weight):
        got, size = _digest(part), part.stat().st_size
        part.unlink()
        raise TransferError(
            f"{url} gave another file ({size} bytes, sha256 {got}, expected {_expected(weight)}); it was not kept: the "
            "publisher may have changed it, or a proxy's login page may have answered"
        )


def _transfer(weight: WeightFile, url: str, part: Path) -> None:
    address = urlsplit(url)
    if address.scheme == "file":
        source = Path(urllib.request.url2pathname(address.path))
        if not _is_here(source):
            raise TransferError(f"{url} does not exist")
        _copy(source, part, weight)
    elif address.scheme not in ("http", "https"):
        raise TransferError(f"{url} is not an address of http, https or file")
    elif is_offline():
        raise TransferError("no good copy is here, and the network is forbidden (ASD_OFFLINE or --offline)")
    else:
        download(url, part, f"{weight.name}, MB")


def _copy(source: Path, part: Path, weight: WeightFile) -> None:
    size = source.stat().st_size
    require_space(part.parent, size)
    with source.open("rb") as given, part.open("wb") as kept:
        blocks = iter(partial(given.read, MEGABYTE), b"")
        for block in track(blocks, f"{weight.name}, MB", ceil(size / MEGABYTE)):
            kept.write(block)


@contextmanager
def _storing(weight: WeightFile) -> Iterator[None]:
    """Hold the store's lock for `weight`; tell the user what keeps the store from taking the file."""
    try:
        with _locked(store_folder() / ".locks" / f"{weight.name}.lock"), _returning_space(_part_of(place_of(weight))):
            yield
    except OSError as error:
        reason, folder = error.strerror or str(error), store_folder()
        if error.errno in _DISK_FULL:
            size = f", {weight.size / MEGABYTE:.1f} MB," if weight.size else ""
            raise WeightError(
                f"no space left for {weight.name}{size} in {folder} ({reason}); free some, or set ASD_CACHE to a "
                "folder on another disk"
            ) from error
        raise WeightError(
            f"{weight.name} cannot be kept in {folder} ({reason}); set ASD_CACHE to a folder that you may write to"
        ) from error


def _locked(file: Path) -> AbstractContextManager[Any]:
    import filelock

    file.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(file)
    try:
        return lock.acquire(timeout=_PATIENCE)
    except filelock.Timeout:
        _log.info("another process is bringing %s; waiting for it", file.stem)
        return lock.acquire()


@contextmanager
def _returning_space(part: Path) -> Iterator[None]:
    """Remove `part` when the disk is full: a full disk harms every program on the machine."""
    try:
        yield
    except OSError as error:
        if error.errno in _DISK_FULL:
            part.unlink(missing_ok=True)
        raise


def _mend(weight: WeightFile, alternative: str | None) -> str:
    """Say how the file gets to its place without this machine's network."""
    known = any(entry.weight == weight for entry in catalogue())
    command = f"asd weights import {weight.name} FILE" + ("" if known else f" --sha256 {weight.sha256}")
    text = f"fetch {weight.url} elsewhere and run '{command}', which puts it at {place_of(weight)}"
    alternative = alternative or _alternative(weight)
    return f"{text}; or use {alternative}, which needs no download" if alternative else text


def _alternative(weight: WeightFile) -> str | None:
    """Return a component that does the same with embedded weights, if one is installed: the most alike."""
    users = [component for component in registry().of_kind() if weight in component.spec.weights]
    if not users:
        return None
    user = users[0]
    ready = [
        component
        for component in registry().of_kind(user.spec.kind)
        if component.spec.weights and all(w.url is None for w in component.spec.weights) and not component.problem
    ]
    alike = [c for c in ready if (c.spec.frontend, c.spec.shape) == (user.spec.frontend, user.spec.shape)]
    return min(alike, key=lambda c: c.plugin != user.plugin).spec.name if alike else None


def _embedded(weight: WeightFile) -> Path:
    entry = _entry(weight)
    if (state := entry.state()) != "embedded":
        distribution = entry.components[0].plugin.distribution
        raise WeightError(
            f"{weight.name} is {state}, and should be inside {distribution}: "
            f"pip install --force-reinstall --no-deps {distribution}"
        )
    return entry.path


def _entry(weight: WeightFile) -> Entry:
    found = next((entry for entry in catalogue() if entry.weight == weight), Entry(weight, ()))
    if weight.url is None and not found.components:
        raise WeightError(f"{weight.name} has no url, and no installed component names it: is its plugin installed?")
    return found


def _part_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.part")


def _is_good(path: Path, weight: WeightFile) -> bool:
    return _is_here(path) and _digest(path).startswith(weight.sha256)


def _is_here(path: Path) -> bool:
    with _reading(path):
        return path.is_file()


def _digest(path: Path) -> str:
    with _reading(path):
        return digest_of(path)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WeightError(f"{path}: cannot read it ({error.strerror}); check its permissions and its drive") from error


def _expected(weight: WeightFile) -> str:
    return weight.sha256 + ("…" if len(weight.sha256) < 64 else "")
