"""The weight store: pretrained weights, downloaded once, verified by their SHA-256 at every use.

A component asks for the file that its spec names::

    path = asd.plugin.locate(spec.weights[0])

The store is the folder ``weights`` of the cache folder (`asd.files.folders`). A published file lies there under its own
name; a file that only a user names, by an address or an import, lies in a folder named by its hash, so that it never
takes the place of a published one.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from asd.contract.installed import registry
from asd.errors import WeightError
from asd.files.digest import digest_of
from asd.files.fetch import TransferError, fetch, writing
from asd.files.store import embedded_place, place_of, record_of, store_folder
from asd_registry import Component, WeightFile

State = Literal["embedded", "present", "absent", "damaged"]
"""``embedded``: whole, inside its distribution; ``present``: whole, in the store."""

_log = logging.getLogger("asd.files")


@dataclass(frozen=True)
class Entry:
    """A weight file and the installed components that use it."""

    weight: WeightFile
    components: tuple[Component, ...]

    @property
    def path(self) -> Path:
        """Where the file belongs, whether it is there or not."""
        if self.weight.url is None:
            return embedded_place(self.weight, self.components[0])
        return place_of(self.weight)

    @property
    def size(self) -> int | None:
        """Bytes: of the file if it is there, else as the publisher states."""
        return self.path.stat().st_size if _is_file(self.path) else self.weight.size

    def state(self) -> State:
        """Hash the file, if it is there, and return its state."""
        if not _is_file(self.path):
            return "absent"
        if not _is_good(self.path, self.weight):
            return "damaged"
        return "embedded" if self.weight.url is None else "present"


def catalogue(components: Iterable[Component] | None = None) -> list[Entry]:
    """Return every weight file that the installed components (or `components`) name, each once."""
    chosen = registry().of_kind() if components is None else components
    users: dict[WeightFile, list[Component]] = {}
    for component in chosen:
        for weight in component.spec.weights:
            users.setdefault(weight, []).append(component)
    return [Entry(weight, tuple(its_users)) for weight, its_users in users.items()]


def verify(weight: WeightFile) -> State:
    """Hash a weight file, if it is there, and return its state."""
    return _entry(weight).state()


def locate(weight: WeightFile, *, alternative: str | None = None, published: bool = True) -> Path:
    """Return the path of a verified local copy, downloading it if it is absent or damaged and the network is allowed.

    An interrupted download is resumed. Several processes may ask for the same file: one downloads it, the others wait.

    Parameters
    ----------
    weight : WeightFile
        The file; `url` None means the copy inside the distribution of the component that names it.
    alternative : str or None
        A component that needs no download, for the error's text; None: look for one of the same kind.
    published : bool
        Whether a component names the file; False: only a user does (see `place_of`).

    Raises
    ------
    WeightError
        If there is no such copy and none can be had; the text says how to get one.
    """
    if weight.url is None:
        return _embedded(weight)
    for place in (place_of(weight, published=published), place_of(weight, published=not published)):
        if _is_good(place, weight):
            return place
    place = place_of(weight, published=published)
    with _storing(weight.name, weight.size):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            fetch(weight.url, place, checksum=f"sha256:{weight.sha256}", size=weight.size)
        except TransferError as error:
            mend = "run the command again, it goes on from there" if error.unfinished else _mend(weight, alternative)
            raise WeightError(f"{weight.name}: {error}; {mend}") from error
    return place


def locate_on_first_use(name: str, url: str, check: Callable[[Path], object]) -> Path:
    """Return the path of a file whose publisher states no hash: the first download is trusted, nothing else later.

    The SHA-256 of the first good file is recorded beside it, as ``NAME.sha256``. From then on it is a weight file like
    any other: verified at every use, downloaded again if it is damaged, refused if the publisher's has changed.

    Parameters
    ----------
    name : str
        File name in the weight store.
    url : str
        Where the publisher offers it.
    check : callable
        Called with the path of the first file; raises an AsdError if it is not what is wanted.

    Raises
    ------
    WeightError
        If there is no copy and none can be had, or it is not the one that was recorded.
    """
    record = record_of(name)
    if not record.is_file():
        with _storing(name):
            if not record.is_file():  # no other process was faster
                _record_first_use(record, name, url, check)
    try:
        sha256 = record.read_text(encoding="utf-8", errors="replace").strip()
        weight = WeightFile(name=name, licence="unknown", url=url, sha256=sha256)
    except ValueError as error:
        raise WeightError(f"{record}: holds no SHA-256; delete it, and the next file is trusted instead") from error
    return locate(weight)


def _record_first_use(record: Path, name: str, url: str, check: Callable[[Path], object]) -> None:
    place = record.with_name(name)
    try:
        sha256 = fetch(url, place, check=check).partition(":")[2]
    except TransferError as error:
        mend = f"fetch {url} elsewhere and put it at {place}, or give its path as the parameter weights"
        raise WeightError(f"{name}: {error}; {mend}") from error
    part = record.with_name(f"{record.name}.part")
    part.write_text(f"{sha256}\n", encoding="ascii")
    part.replace(record)
    _log.warning("%s: its publisher states no checksum; from now on only sha256 %s is accepted", name, sha256)


def import_file(weight: WeightFile, file: Path) -> Path:
    """Copy `file` into the store as `weight`, if it is that, and return its path there.

    Raises
    ------
    WeightError
        If `file` is missing, cannot be read or is another file, or the store cannot be written.
    """
    if weight.url is None:
        raise WeightError(f"{weight.name} ships inside its plugin's distribution: there is nothing to import")
    if not _is_file(file):
        raise WeightError(f"{file}: no such file; give the path of a copy of {weight.url}")
    if not _is_good(file, weight):
        expected = weight.sha256 + ("…" if len(weight.sha256) < 64 else "")
        raise WeightError(
            f"{file} is not {weight.name}: its sha256 is {_digest(file)}, expected {expected}; "
            f"copy it again from its source, {weight.url}"
        )
    place = place_of(weight, published=_is_listed(weight))
    with _storing(weight.name, weight.size):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            fetch(file.absolute().as_uri(), place, checksum=f"sha256:{weight.sha256}")
        except TransferError as error:
            raise WeightError(f"{file} changed while it was copied ({error}); check its drive and try again") from error
    return place


def keep_content(weight: WeightFile, content: bytes) -> None:
    """Put `content`, which another computer sent, into the store as `weight`, unless it is there.

    Raises
    ------
    WeightError
        If it is something else, or the store cannot be written.
    """
    if not hashlib.sha256(content).hexdigest().startswith(weight.sha256):
        raise WeightError(f"{weight.name}: what was sent has another sha256 than {weight.sha256}; fetch it here")
    place = place_of(weight)
    with _storing(weight.name, weight.size):
        if not _is_good(place, weight):
            place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_name(f"{place.name}.sent")
            part.write_bytes(content)
            part.replace(place)


def _storing(name: str, size: int | None = None) -> AbstractContextManager[None]:
    """Hold the store's lock for the file `name`; errors as for `asd.files.fetch.writing`."""
    folder = store_folder()
    lock = folder / ".locks" / f"{name}.lock"
    return writing(name, folder, lock=lock, error=WeightError, remedy="set ASD_CACHE to a folder", size=size)


def _mend(weight: WeightFile, alternative: str | None) -> str:
    """Say how to get the file without this machine's network."""
    listed = _is_listed(weight)
    command = f"asd weights import {weight.name} FILE" + ("" if listed else f" --sha256 {weight.sha256}")
    place = place_of(weight, published=listed)
    text = f"fetch {weight.url} elsewhere and run '{command}', which puts it at {place}"
    alternative = alternative or _alternative(weight)
    return f"{text}; or use {alternative}, which needs no download" if alternative else text


def _is_listed(weight: WeightFile) -> bool:
    return any(entry.weight == weight for entry in catalogue())


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


def _is_good(path: Path, weight: WeightFile) -> bool:
    return _is_file(path) and _digest(path).startswith(weight.sha256)


def _is_file(path: Path) -> bool:
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
