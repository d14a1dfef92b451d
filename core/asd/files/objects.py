"""Named contents that several computers share: in a folder of a network drive, or in an object store.

A content is there whole or not at all, and is never changed but by another one of the same name. No locks are needed,
which network drives often do not keep.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from asd.files.address import Address
from asd.files.filesystems import explaining, filesystem_of

_NETWORK = re.compile(
    r"(nfs4?|cifs|smb[23]?|smbfs|9p|afs|ncpfs|lustre|gpfs|beegfs\w*|ceph|glusterfs|panfs|orangefs|pvfs2"
    r"|fuse\.(sshfs|s3fs|glusterfs|ceph\S*|gcsfuse|rclone|blobfuse2?|juicefs|mount-s3))"
)
"""Types of file systems that other computers may have open at the same time, as ``/proc/mounts`` calls them."""
_WITH_FOLDERS = ("sftp", "ssh", "smb", "ftp", "webdav", "hdfs", "webhdfs")
_MOUNTS = Path("/proc/mounts")
_OLD = 86400.0
"""Seconds after which a content that is only half written has been given up."""
_PART = ".part"


@dataclass(frozen=True)
class Entry:
    """A content: its name, bytes, and when it was written, in seconds since 1970."""

    name: str
    size: int
    written: float


class Objects(Protocol):
    """Where the contents are."""

    def get(self, name: str) -> bytes | None:
        """Return a content; None: there is none. Raises an OSError."""

    def put(self, name: str, content: bytes) -> None:
        """Keep a content. Raises an OSError."""

    def remove(self, name: str) -> None:
        """Remove a content, if it is there. Raises an OSError."""

    def entries(self) -> Iterator[Entry]:
        """Yield what there is. Raises an OSError."""


def objects_at(place: Path | str) -> Objects:
    """Return the contents in a folder, or at an fsspec address such as ``s3://bucket/folder``.

    Raises
    ------
    OSError
        If the address cannot be understood, or what it needs is not installed.
    """
    return Folder(place) if isinstance(place, Path) else Bucket(place)


class Folder:
    """A folder; other computers may use it at the same time."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, name: str) -> bytes | None:
        """Return a content."""
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, name: str, content: bytes) -> None:
        """Write the content beside its place, then move it there."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex}{_PART}")
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # else a crash may leave the name without the content
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def remove(self, name: str) -> None:
        """Remove a content."""
        (self.root / name).unlink(missing_ok=True)

    def entries(self) -> Iterator[Entry]:
        """Yield what there is; remove what was never finished."""
        for path in self.root.rglob("*"):
            try:
                if not path.is_file():
                    continue
                status = path.stat()
            except FileNotFoundError:  # another computer was faster
                continue
            if path.suffix != _PART:
                yield Entry(path.relative_to(self.root).as_posix(), status.st_size, status.st_mtime)
            elif time.time() - status.st_mtime > _OLD:
                path.unlink(missing_ok=True)


class Bucket:
    """What an fsspec address names; credentials are found as fsspec finds them."""

    def __init__(self, url: str) -> None:
        self._address = Address.of(url)
        self._system, self._root = filesystem_of(self._address)

    def get(self, name: str) -> bytes | None:
        """Return a content."""
        try:
            content: bytes = self._asked(self._system.cat_file, self._path(name))
        except FileNotFoundError:
            return None
        return content

    def put(self, name: str, content: bytes) -> None:
        """Keep a content, in one request."""
        path = self._path(name)
        try:
            self._asked(self._system.pipe_file, path, content)
        except FileNotFoundError:
            if self._address.scheme not in _WITH_FOLDERS:  # a bucket is not made by the way
                raise
            self._asked(self._system.makedirs, path.rpartition("/")[0], exist_ok=True)
            self._asked(self._system.pipe_file, path, content)

    def remove(self, name: str) -> None:
        """Remove a content."""
        try:
            self._asked(self._system.rm_file, self._path(name))
        except FileNotFoundError:
            return

    def entries(self) -> Iterator[Entry]:
        """Yield what there is."""
        self._system.invalidate_cache()
        try:
            found: dict[str, dict[str, Any]] = self._asked(self._system.find, self._root, detail=True)
        except FileNotFoundError:
            return
        for path, info in found.items():
            written = info.get("LastModified") or info.get("mtime") or info.get("created") or 0.0
            seconds = written.timestamp() if hasattr(written, "timestamp") else float(written)
            yield Entry(path[len(self._root) :].lstrip("/"), int(info.get("size") or 0), seconds)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _asked(self, request: Any, *args: Any, **options: Any) -> Any:
        with explaining(self._address):
            return request(*args, **options)


def is_on_network(folder: Path) -> bool:
    """Return whether a folder, or where it would be made, is on a drive that other computers may have, too.

    What cannot be found out (not Linux) is taken for a drive of this computer.
    """
    try:
        lines = [line.split() for line in _MOUNTS.read_text(errors="replace").splitlines()]
    except OSError:
        return False
    path = os.path.realpath(folder)
    mounts = [(fields[1].encode().decode("unicode_escape"), fields[2]) for fields in lines if len(fields) > 2]
    holding = [(len(place), kind) for place, kind in mounts if os.path.commonpath([place, path]) == place]
    return bool(holding) and _NETWORK.fullmatch(max(holding)[1]) is not None
