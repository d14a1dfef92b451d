"""Files elsewhere, written: whole or not at all."""

from __future__ import annotations

import errno
import shutil
import uuid
from contextlib import suppress
from typing import Any, BinaryIO

from asd.files.address import Address
from asd.files.filesystems import explaining, failure, filesystem_of
from asd.files.remote import RemotePath, missing_bucket

_AT_ONCE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hf", "oss"})
"""Stores in which an object appears when the last of its bytes is there."""
_IF_NEW = frozenset({"s3", "s3a"})
"""Stores that can be asked to write only what is not there yet."""
_COPIED = 1 << 20
EXISTS = "exists already; choose another name, or overwrite it with --force"


def check_target(path: RemotePath, *, overwrite: bool) -> None:
    """Refuse what cannot be written, before the work.

    Raises
    ------
    OSError
        If it exists and may not be overwritten, is a folder, or its store refuses or cannot be reached; `strerror` says
        why.
    """
    address = path.address
    if address.is_web:
        raise failure(path.url, "a web server is only read from; write to a file, or to a store such as s3://")
    if address.archive or address.before:
        raise failure(path.url, "nothing can be written into an archive; write to a file, or to a store such as s3://")
    if not path.name or path.url.endswith("/") or path.is_dir():
        raise failure(path.url, "is a folder; name a file in it")
    if not overwrite and path.exists():
        raise failure(path.url, EXISTS)


def check_address(path: Any, *, overwrite: bool) -> None:
    """Refuse an address that cannot or must not be written, before the work: by what is there, and by a trial.

    Parameters
    ----------
    path : Path
        Where, of an address.
    overwrite : bool
        Whether what is there may be replaced.

    Raises
    ------
    RemoteError
        If so.
    """
    check_target(path, overwrite=overwrite)
    try_to_write(path)


def try_to_write(path: RemotePath) -> None:
    """Write an empty object beside a path and delete it again: a store that refuses shows before the work.

    The hub, which would keep both for ever, is asked instead.

    Raises
    ------
    OSError
        If it refuses; `strerror` says why.
    """
    probe = beside(path)
    try:
        with explaining(path.address):
            fs, place = filesystem_of(probe)
            if probe.scheme == "hf":
                fs.check_writable(place)
                return
            fs.pipe_file(place, b"")
            with suppress(Exception):  # what may be written need not be deletable
                fs.rm_file(place)
    except FileNotFoundError as error:
        if reason := missing_bucket(path):
            raise failure(path.url, reason) from error
        raise


def check_folder(path: RemotePath, name: str, what: str) -> None:
    """Find out, before the work, whether files can be written into a folder; it is made where there are such.

    Parameters
    ----------
    path : RemotePath
        The folder.
    name : str
        Of a file in it, which it is tried beside.
    what : str
        What is written into it, for the user.

    Raises
    ------
    OSError
        If it refuses, or is a file; `strerror` says why.
    """
    check_target(path / name, overwrite=True)
    if path.is_file():
        raise NotADirectoryError(errno.ENOTDIR, f"is a file; {what} are written into a folder: name one")
    with suppress(Exception):  # stores have no folders, and what refuses says so when it is written to
        fs, place = filesystem_of(path.address)
        if path.address.scheme not in _AT_ONCE:
            fs.makedirs(place, exist_ok=True)
    try_to_write(path / name)


def beside(path: RemotePath) -> Address:
    """Return the address of a part that takes the content until it is whole."""
    address = path.address
    return address.parent.joined(f".{path.name}.{uuid.uuid4().hex[:12]}.part")


def put(path: RemotePath, content: BinaryIO, *, overwrite: bool) -> None:
    """Write a file's content to an address, whole or not at all.

    Parameters
    ----------
    path : RemotePath
        Where.
    content : file
        Open at its beginning.
    overwrite : bool
        Whether what is there may be replaced.

    Raises
    ------
    OSError
        If it cannot be written, or exists; what was there is as it was. `strerror` says why.
    """
    check_target(path, overwrite=overwrite)
    address = path.address
    with explaining(address):
        fs, place = filesystem_of(address)
        if address.scheme in _AT_ONCE:
            how = {} if overwrite or address.scheme not in _IF_NEW else {"mode": "create"}
            try:
                _upload(fs, place, content, how)
            except Exception as error:
                if _is_there(error):
                    raise failure(path.url, EXISTS) from error
                raise
            return
        part = fs._strip_protocol(str(beside(path)))
        with suppress(Exception):  # most need no folders; the writing says what is wrong
            fs.makedirs(place.rpartition("/")[0], exist_ok=True)
        try:
            _upload(fs, part, content, {})
            if not overwrite and fs.exists(place):
                raise failure(path.url, EXISTS)
            try:
                fs.mv(part, place)
            except Exception:
                if not (overwrite and fs.exists(place)):
                    raise
                fs.rm_file(place)  # one that renames onto nothing that is there
                fs.mv(part, place)
        except BaseException:
            with suppress(Exception):
                fs.rm_file(part)
            raise


def _upload(fs: Any, place: str, content: BinaryIO, how: dict[str, Any]) -> None:
    size = content.seek(0, 2)
    content.seek(0)
    if how or size <= 16 * _COPIED:
        fs.pipe_file(place, content.read(), **how)
        return
    with fs.open(place, "wb") as file:  # in parts; a store keeps none of them if the last one does not come
        try:
            shutil.copyfileobj(content, file, _COPIED)
        except BaseException:
            with suppress(Exception):
                file.discard()
            file.closed = True
            raise


def _is_there(error: BaseException) -> bool:
    return isinstance(error, FileExistsError) or "PreconditionFailed" in str(error)
