"""Addresses of files elsewhere, as fsspec writes them: ``s3://bucket/x.wav``, ``zip://x.wav::https://host/all.zip``."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from posixpath import normpath
from typing import Any
from urllib.parse import quote, unquote

from asd.errors import DataError

ARCHIVES = frozenset({"zip", "tar", "libarchive"})
"""Schemes of what lies inside a file, whose own address follows behind ``::``."""
_WEB = frozenset({"http", "https"})
_SECRET_NAMES = _WEB | {"webdav", "webdavs", "dav", "davs"}
"""Schemes whose user may be a token without a password."""
_LOCAL = frozenset({"file", "local"})
_HERE = frozenset({"memory", "data"})
"""Schemes that need no network."""
_THIS_HOST = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d*)?", re.IGNORECASE)
_URL = re.compile(r"((?:[A-Za-z][\w+.-]+::)*)([A-Za-z][\w+.-]+)://(.*)", re.DOTALL)
"""What stands before, such as ``simplecache::``; the scheme, of two letters or more, as C:// is a drive; the rest."""
_FOUND = re.compile(r"[A-Za-z][\w+.-]+://[^\s'\"<>]+")
_BETWEEN = re.compile(r"::(?![^\[]*\])")
"""What separates addresses, but not the groups of an IPv6 address in its brackets."""
_MASK = "***"
_SAFE = "/:@!$&'()*+,;=~"
"""What a name may hold in the path of an address as it is."""


@dataclass(frozen=True)
class Address:
    """The parts of an address.

    Parameters
    ----------
    before : str
        Schemes without a path of their own, such as ``simplecache::``.
    scheme : str
        In small letters.
    path : str
        What follows ``://``, the host or bucket included, without a query.
    query : str
        The query with its question mark; empty: there is none.
    archive : str
        Address or path of the archive that it lies in; empty: in none.
    """

    before: str
    scheme: str
    path: str
    query: str = ""
    archive: str = ""

    @classmethod
    def of(cls, url: str) -> Address:
        """Return the parts of an address.

        Raises
        ------
        DataError
            If it is none, or lacks the archive's address.
        """
        found = _URL.fullmatch(url)
        if not found:
            raise DataError(f"{url!r}: not an address such as s3://bucket/folder/clip.wav")
        before, scheme, rest = found[1], found[2].lower(), found[3]
        if scheme in ARCHIVES:
            path, archive = (*_BETWEEN.split(rest, maxsplit=1), "")[:2]
            if not archive:
                raise DataError(
                    f"{masked(url)}: name the archive, too: {scheme}://FOLDER_OR_FILE::ARCHIVE, or "
                    f"{scheme}://::ARCHIVE for all that is in it"
                )
            return cls(before, scheme, path.strip("/"), "", archive)
        path, mark, query = rest.partition("?") if scheme in _WEB else (rest, "", "")
        return cls(before, scheme, path, mark + query)

    def __str__(self) -> str:
        archive = f"::{self.archive}" if self.archive else ""
        return f"{self.before}{self.scheme}://{self.path}{self.query}{archive}"

    @property
    def is_web(self) -> bool:
        """Whether a web server has it, in whose paths letters are escaped."""
        return self.scheme in _WEB

    @property
    def needs_network(self) -> bool:
        """Whether it lies elsewhere than on this computer."""
        if self.scheme in ARCHIVES:
            return is_url(self.archive) and Address.of(self.archive).needs_network
        if self.is_web and _THIS_HOST.fullmatch(self.path.partition("/")[0].rpartition("@")[2]):
            return False
        return self.scheme not in _LOCAL | _HERE

    @property
    def parent(self) -> Address:
        """The folder that it lies in; at the top, itself."""
        head, slash, _ = self.path.rstrip("/").rpartition("/")
        path = head or ("" if self.archive or self.scheme in _HERE else slash or self.path)
        return replace(self, path=path, query="")

    def joined(self, name: str) -> Address:
        """Return the address of a name below this one, taken for a folder; ``..`` goes up, not beyond the top."""
        if self.is_web:
            name = quote(name, safe=_SAFE)
        has_top = not self.archive and self.scheme not in _HERE  # a host or a bucket
        top, _, own = self.path.strip("/").partition("/") if has_top else ("", "", self.path)
        below = normpath(f"/{own}/{name}").strip("/")
        lead = "/" if self.path.startswith("/") else ""
        return replace(self, path=lead + "/".join(part for part in (top, below) if part), query="")

    def as_path(self) -> str:
        """Return it as a path of the same name, suffix and folders, without secrets."""
        own = unquote(self.path) if self.is_web else self.path
        if self.archive:
            inside = Address.of(self.archive).as_path() if is_url(self.archive) else self.archive
            return f"{inside}/{own}"
        return f"{self.scheme}:/{_without_user(self.scheme, own)}"


def is_url(text: object) -> bool:
    """Return whether a text is an address, not the path of a file here."""
    return isinstance(text, str) and _URL.fullmatch(text) is not None


def is_server(text: str) -> bool:
    """Return whether a text names a server of `asd serve`, not a file: on the web, what ends with ``.asd`` is one."""
    return text.startswith(("http://", "https://")) and not text.partition("?")[0].endswith(".asd")


def local_path(url: str) -> Path | None:
    """Return the path of ``file://…``; None: it is another address."""
    found = _URL.fullmatch(url)
    if not found or found[1] or found[2].lower() not in _LOCAL:
        return None
    path = found[3]
    if found[2].lower() == "file" and path.startswith("localhost/"):
        path = path.removeprefix("localhost")
    return Path(unquote(path) if path.startswith("/") else path)


def masked(url: str) -> str:
    """Return an address without what opens it: user and password, and the values of its query."""
    return "::".join(_masked(link) for link in _BETWEEN.split(url))


def mask_in(text: str) -> str:
    """Return a text in which each address is masked."""
    return _FOUND.sub(lambda found: masked(found[0]), text)


def _masked(link: str) -> str:
    found = _URL.fullmatch(link)
    if not found:
        return link
    rest = _without_user(found[2].lower(), found[3])
    path, mark, query = rest.partition("?")
    query = re.sub(r"=[^&;#]*", f"={_MASK}", query) if "=" in query else query
    path = re.sub(r"(#[^=/]*)=.*", rf"\1={_MASK}", path) if found[2].lower() in _WEB else path
    return f"{found[1]}{found[2]}://{path}{mark}{query}"


def _without_user(scheme: str, rest: str) -> str:
    """Return what follows ``://`` with user and password masked."""
    host = re.match(r"[^/?#]*", rest)[0]  # type: ignore[index]  # it matches any text
    port = host.rpartition("@")[2].rpartition(":")
    if "@" not in host and port[1] and not port[2].isdigit() and not host.endswith("]") and "@" in rest:
        return f"{_MASK}@{rest.rpartition('@')[2]}"  # a password with a slash, which should have been escaped
    user, at, place = host.rpartition("@")
    if not at or not (":" in user or scheme in _SECRET_NAMES):  # container@account is how Azure writes
        return rest
    return f"{_MASK}@{place}{rest[len(host) :]}"


def manifest_path(folder: Path, name: str) -> Any:
    """Return the path of a name that a manifest in a folder gives: of a file beside it, or an address.

    Raises
    ------
    DataError
        If the folder is an address, and the name is that of a file on this computer: whoever wrote the manifest may not
        choose it.
    """
    from asd.files.remote import RemotePath, as_path

    is_remote = isinstance(folder, RemotePath)
    if not is_url(name):
        if is_remote and (name.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:[\\/]", name)):
            raise DataError(
                f"{name!r} is a file of this computer, and the manifest is not: name recordings beside it, or by their "
                "address"
            )
        return folder / name
    last = _BETWEEN.split(name)[-1]
    if is_remote and (not is_url(last) or local_path(last) is not None):
        raise DataError(f"{masked(name)!r} is a file of this computer, and the manifest is not: name it by its address")
    return as_path(name)


def shared_folder(paths: Iterable[str]) -> str:
    """Return the folder that all paths, or all addresses, are in; empty: there is none, or it is the root.

    Parameters
    ----------
    paths : iterable of str
        Texts of paths; what follows the name does not count.
    """
    given = list(paths)
    if any(map(is_url, given)):
        if any("::" in path for path in given):
            return ""
        steps = zip(*(path.split("/")[:-1] for path in given), strict=False)
        same = [step[0] for step in itertools.takewhile(lambda step: len(set(step)) == 1, steps)]
        return "/".join(same) if len(same) > 2 else ""
    folders = {Path(path).parent for path in given}
    folder = os.path.commonpath(folders) if folders and len({each.is_absolute() for each in folders}) == 1 else ""
    return "" if folder == os.sep else folder.rstrip(os.sep)
