"""Files elsewhere: they have a path like any other, and an address of fsspec instead of a place on a disk."""

from __future__ import annotations

import errno
import fnmatch
import io
import os
import stat
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from asd.errors import DataError
from asd.files.address import Address, is_url, local_path, masked
from asd.files.filesystems import explaining, failure, filesystem_of
from asd.files.versions import Facts, facts_from, local_facts

if TYPE_CHECKING:
    _ConcretePath = Path
else:
    _ConcretePath = type(Path())  # Python 3.11 derives no class from Path itself

_BUCKETS = {"gs": "bucket", "gcs": "bucket", "az": "container", "abfs": "container", "abfss": "container"}
_HTML = ("text/html", "application/xhtml+xml")


class RemotePath(_ConcretePath):
    """The path of a file that has an address such as ``s3://bucket/pump/1.wav``.

    Its text is the address, without user, password and the values of a query; its name, suffix and folders are those of
    the path in it. It can be pickled, whole. What it is asked is asked of the server, each time.

    Attributes
    ----------
    url : str
        The address, secrets included: for opening, not for showing.
    """

    url: str = ""
    _sealed = False
    _kind = ""

    @classmethod
    def of(cls, url: str, *, sealed: bool = False, kind: str = "") -> Self:
        """Return the path of an address.

        Parameters
        ----------
        url : str
            The address.
        sealed : bool
            Whether it is only a name, from a file that somebody else made: it is never asked for.
        kind : {"", "file", "directory"}
            What a listing says that it is.

        Raises
        ------
        DataError
            If it is no address.
        """
        path = cls(Address.of(url).as_path())
        path.url, path._sealed, path._kind = url, sealed, kind
        return path

    def __str__(self) -> str:
        return masked(self.url) if self.url else super().__str__()

    def __fspath__(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return self.url == other.url if isinstance(other, RemotePath) else False

    def __hash__(self) -> int:
        return hash(self.url)

    def __lt__(self, other: Any) -> bool:
        return str(self) < str(other)

    def __reduce__(self) -> Any:
        return _restored, (self.url, self._sealed, self._kind)

    @property
    def address(self) -> Address:
        """The parts of its address."""
        return Address.of(self.url)

    @property
    def parent(self) -> Any:
        """The folder that it lies in; at the top, itself."""
        return self._at(self.address.parent)

    @property
    def parents(self) -> Any:
        """The folders that it lies in, the nearest first."""
        found: list[RemotePath] = []
        path = self
        while (above := path.parent) != path:
            found.append(above)
            path = above
        return tuple(found)

    def with_segments(self, *parts: Any) -> Path:
        """Return the path that is made from this one: a plain one (Python 3.12 and later ask for it)."""
        return Path(*parts)

    def absolute(self) -> Self:
        """Return itself: an address is absolute."""
        return self

    def resolve(self, strict: bool = False) -> Self:
        """Return itself."""
        return self

    def expanduser(self) -> Self:
        """Return itself."""
        return self

    def is_absolute(self) -> bool:
        """Return True."""
        return True

    def __truediv__(self, name: Any) -> Any:
        return self._at(self.address.joined(os.fspath(name)))

    def joinpath(self, *names: Any) -> Any:
        """Return the path of names below this folder."""
        path: Any = self
        for name in names:
            path = path / name
        return path

    def with_name(self, name: str) -> Any:
        """Return the path of another file in the same folder."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> Any:
        """Return the path of another file with the same name before its suffix."""
        return self.with_name(f"{self.stem}{suffix}")

    def relative_to(self, *other: Any, **options: Any) -> Any:
        """Return the plain path from a folder above to this one."""
        above = other[0]
        if not isinstance(above, RemotePath):
            return Path(*self.parts).relative_to(*other, **options)
        return Path(*self.parts).relative_to(Path(*above.parts))

    def facts(self) -> Facts:
        """Return size and version, as the server says now.

        Raises
        ------
        OSError
            If it is not there, is a folder, or cannot be reached; `strerror` says why.
        """
        info = self._info()
        if info.get("type") == "directory":
            raise IsADirectoryError(errno.EISDIR, "a folder", str(self))
        return self._facts(info)

    def _facts(self, info: dict[str, Any]) -> Facts:
        archive = as_path(self.address.archive) if self.address.archive else None
        outer: Facts | None = None
        if archive is not None:
            outer = archive.facts() if isinstance(archive, RemotePath) else local_facts(archive)
        return facts_from(self.url, self.address.scheme, info, outer)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return kind, size and time of change; the rest is zero. Errors as for `facts`."""
        info = self._info()
        if info.get("type") == "directory":
            return os.stat_result((stat.S_IFDIR | 0o555, 0, 0, 1, 0, 0, 0, 0, 0, 0))
        facts = self._facts(info)
        changed = int(facts.modified or 0)
        return os.stat_result((stat.S_IFREG | 0o444, 0, 0, 1, 0, 0, facts.size or 0, changed, changed, changed))

    def exists(self, **_: Any) -> bool:
        """Return whether it is there now, whatever a listing said; errors as for `facts`."""
        try:
            return bool(self._info())
        except FileNotFoundError:
            return False

    def is_file(self, **_: Any) -> bool:
        """Return whether it is a file; errors as for `facts`."""
        return self._type() == "file"

    def is_dir(self, **_: Any) -> bool:
        """Return whether it is a folder; errors as for `facts`."""
        return self._type() == "directory"

    def is_fifo(self) -> bool:
        """Return False."""
        return False

    def is_symlink(self) -> bool:
        """Return False."""
        return False

    def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """Return the file, open for reading; see `asd.files.reading.opened`.

        Raises
        ------
        OSError
            If it cannot be read; `strerror` says why.
        """
        from asd.files.reading import opened

        if set(mode) - set("rbt"):
            raise failure(self.url, "can be opened for reading only; use write_bytes")
        file = opened(self)
        return file if "b" in mode else io.TextIOWrapper(file, encoding or "utf-8", errors, newline)

    def write_bytes(self, data: Any, *, overwrite: bool = True) -> int:
        """Put content there, whole or not at all; see `asd.files.writing.put`."""
        from asd.files.writing import put

        content = memoryview(data).cast("B")
        put(self, io.BytesIO(content), overwrite=overwrite)
        return len(content)

    def write_text(
        self, data: str, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> int:
        """Put a text there, whole or not at all."""
        text = data if newline in (None, "", "\n") else data.replace("\n", newline)
        return self.write_bytes(text.encode(encoding or "utf-8", errors or "strict"))

    def iterdir(self) -> Generator[Any]:
        """Yield what lies in the folder; errors as for `files_below`."""
        yield from self._listed("ls")

    def rglob(self, pattern: str) -> Generator[Any]:
        """Yield the files and folders below whose name matches a pattern."""
        yield from (path for path in self._listed("find", withdirs=True) if fnmatch.fnmatch(path.name, pattern))

    def glob(self, pattern: str) -> Generator[Any]:
        """Yield what matches a pattern below this folder."""
        if "/" in pattern:
            yield from matching(f"{self.url.rstrip('/')}/{pattern}")
        else:
            yield from (path for path in self.iterdir() if fnmatch.fnmatch(path.name, pattern))

    def files_below(self) -> list[RemotePath]:
        """Return the files below this folder that are not hidden, in the order of their addresses.

        Raises
        ------
        OSError
            If it cannot be listed; `strerror` says why.
        """
        return sorted(path for path in self._listed("find") if path._kind != "directory")

    def _listed(self, how: str, **options: Any) -> list[RemotePath]:
        self._check_open()
        with explaining(self.address):
            fs, place = filesystem_of(self.address)
            found = getattr(fs, how)(place, detail=True, **options)
            entries = found if isinstance(found, dict) else {entry["name"]: entry for entry in found}
            return _named(self.url, place, entries)

    def _type(self) -> str:
        """Return ``"file"``, ``"directory"``, or nothing where there is neither."""
        if self._kind:
            return self._kind
        try:
            return str(self._info().get("type") or "file")
        except FileNotFoundError:
            return ""

    def _info(self) -> dict[str, Any]:
        self._check_open()
        with explaining(self.address):
            fs, place = filesystem_of(self.address)
            if self.address.is_web and self.address.path.endswith("/"):
                return {"type": "directory"}
            if not place.strip("/") and self.address.archive:
                return {"type": "directory"}
            return dict(fs.info(place))

    def _check_open(self) -> None:
        if self._sealed:
            raise FileNotFoundError(errno.ENOENT, "only a name in a file of embeddings", str(self))

    def _at(self, address: Address) -> Any:
        return type(self).of(str(address), sealed=self._sealed)


def _restored(url: str, sealed: bool, kind: str) -> RemotePath:
    return RemotePath.of(url, sealed=sealed, kind=kind)


def as_path(name: Any) -> Path:
    """Return the path that a user named: of a file here (``~/`` is the user's folder), or of an address.

    Raises
    ------
    DataError
        If an address lacks something.
    """
    if isinstance(name, Path):
        return name
    text = os.fsdecode(name)
    if not is_url(text):
        return Path(text).expanduser() if text.startswith("~/") else Path(text)
    return local_path(text) or RemotePath.of(text)


def sealed_path(name: str) -> Path:
    """Return the path that a file of somebody else names, for showing: an address is never asked for."""
    return RemotePath.of(name, sealed=True) if is_url(name) else Path(name)


def has_address(path: object) -> bool:
    """Return whether a path is that of an address, such as ``s3://…``, not of a file on this computer."""
    return isinstance(path, RemotePath)


def url_of(path: Any) -> str:
    """Return what `as_path` takes for a path again; it may hold secrets."""
    return path.url if isinstance(path, RemotePath) else os.fsdecode(path)


def has_magic(url: str) -> bool:
    """Return whether an address is a pattern of several; of web servers, ``?`` begins a query."""
    address = Address.of(url)
    path = address.path[_host_end(address.path) :] if address.is_web else address.path
    return any(letter in path for letter in _magic(address))


def matching(url: str) -> list[RemotePath]:
    """Return what matches a pattern, files and folders, in the order of their addresses.

    Raises
    ------
    OSError
        If that cannot be listed; `strerror` says why.
    """
    address = Address.of(url)
    with explaining(address):
        fs, place = filesystem_of(address)
        found = _named(url, place, dict(fs.glob(place, detail=True)), pattern=True)
    return sorted(found)


def _named(url: str, place: str, entries: dict[str, Any], *, pattern: bool = False) -> list[RemotePath]:
    """Return the paths of what a file system lists below a place; hidden ones are left out."""
    address = Address.of(url)
    top, own = place, address.path
    if pattern:
        top, own = _before_pattern(top, address), _before_pattern(own, address)
    top, own = top.rstrip("/"), own.rstrip("/")
    found = []
    for name, entry in entries.items():
        below = name.rstrip("/").removeprefix(top)
        if top and not below.startswith("/"):  # the folder itself; on a page of a web server, a link to elsewhere
            continue
        below = below.strip("/")
        if not below or any(part.startswith(".") for part in below.split("/")):
            continue
        slash = "/" if address.is_web and entry.get("type") == "directory" else ""
        path = (f"{own}/{below}" if own else below) + slash
        found.append(RemotePath.of(str(replace(address, path=path, query="")), kind=entry.get("type", "")))
    return found


def _before_pattern(text: str, address: Address) -> str:
    """Return the folder before the first letter that is a pattern's."""
    begin = _host_end(text) if address.is_web else 0
    first = min(at for letter in _magic(address) if (at := text.find(letter, begin)) >= 0)
    return text[: text.rfind("/", 0, first) + 1]


def _magic(address: Address) -> str:
    return "*[" if address.is_web else "*?["


def _host_end(text: str) -> int:
    """Return where the host of a web server ends, which may be in brackets."""
    return (text + "/").index("/", text.find("://") + 3 if "://" in text else 0)


def missing_bucket(path: RemotePath) -> str:
    """Return that the bucket of an object that is not there is missing, too; empty: it is there, or nothing tells."""
    top: RemotePath = (path, *path.parents)[-1]
    what = _BUCKETS.get(path.address.scheme)
    with suppress(OSError):  # who may read in it need not be told of it
        if what and not top.exists():
            return f"no such {what} ({top.address.path}); is it written correctly?"
    return ""


def check_page(path: RemotePath) -> None:
    """Refuse a page of a web server in place of a file: a folder's address ends with a slash there.

    Raises
    ------
    DataError
        If it is one.
    """
    if path.address.is_web and path._info().get("mimetype") in _HTML:
        raise DataError(f"{path}: a web page, not a recording; the address of a folder ends with /")
