"""The file that long work writes at its end: reserved at the start, replaced whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from asd.errors import AsdError, DataError, ModelFileError
from asd.files.remote import RemotePath

try:
    import fcntl
except ImportError:  # Windows, where no process can delete or rename what another holds open
    fcntl = None  # type: ignore[assignment]

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_OLD = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_DAY = 86400.0
_SUFFIXES = (".asd", ".npz", ".parquet")
"""What the files are called as a rule; others' hidden files stay."""
_KINDS = {
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


class Content(NamedTuple):
    """What a file is to hold, for messages.

    Parameters
    ----------
    name : str
        As ``the model``.
    example : str
        Name of a file that may hold it.
    error : type
        What is raised where it cannot be written.
    """

    name: str
    example: str
    error: type[AsdError]


MODEL = Content("the model", "machine.asd", ModelFileError)
EMBEDDINGS = Content("the embeddings", "machine.npz", DataError)


class OutputFile:
    """A file to be written by this process alone. Made by `reserve`.

    Parameters
    ----------
    path : Path
        As the user named it; messages repeat it.
    target : Path
        The file itself: where `path` is a symbolic link, what it points to.
    part : Path
        The locked file beside `target` that takes the content until it is whole.
    descriptor : int
        `part`, open.
    overwrite : bool
        Whether a file at `target` may be replaced.
    content : Content
        What it is to hold.
    """

    def __init__(
        self, path: Path, target: Path, part: Path, descriptor: int, overwrite: bool, content: Content = MODEL
    ) -> None:
        self.path = path
        self.target = target
        self.part = part
        self.overwrite = overwrite
        self.content = content
        self._file = os.fdopen(descriptor, "r+b")

    def __str__(self) -> str:
        return str(self.path)

    def write(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Write the whole content, once, and put the file in its place; errors as for `write_by`."""
        self.write_by(lambda file: file.writelines(pieces), sum(map(len, pieces)))

    def write_by(self, writer: Callable[[BinaryIO], None], size: int) -> None:
        """Let `writer` write the whole content, about `size` bytes, once, and put the file in its place.

        Raises
        ------
        ModelFileError, DataError
            If that fails, or there is a file meanwhile that may not be replaced; an old file stays as it was.
        """
        try:
            if not _is_at(self._file.fileno(), self.part):  # somebody has cleaned up
                self._file.close()
                self._file = os.fdopen(_create(self.part), "r+b")
            writer(self._file)
            self._file.flush()
            os.fsync(self._file.fileno())
            _check_target(self.path, self.overwrite, self.content)
            self._publish()
        except OSError as error:
            raise self.content.error(
                f"{self.path}: {self.content.name} cannot be saved here ({error.strerror}); nothing was overwritten; "
                f"free {max(size / 1e6, 0.1):.1f} MB or choose another folder"
            ) from error

    def _publish(self) -> None:
        if fcntl is None:
            self._file.close()
        if self.overwrite:
            with contextlib.suppress(OSError):  # who may read a model stays as it was, where permissions can be set
                self.part.chmod(stat.S_IMODE(self.target.stat().st_mode))
            self.part.replace(self.target)
            return
        try:
            try:
                os.link(self.part, self.target)  # unlike a renaming, it fails if there is a file
            except FileExistsError:
                raise
            except OSError:  # a file system without hard links, such as FAT
                os.close(os.open(self.target, _NEW))
                self.part.replace(self.target)
        except FileExistsError as error:
            raise self.content.error(_exists(self.path)) from error

    def close(self) -> None:
        """Give the reservation back; what was not put in its place is deleted."""
        with contextlib.suppress(OSError):
            if not self._file.closed and _is_at(self._file.fileno(), self.part):
                if fcntl is None:
                    self._file.close()
                self.part.unlink()
        with contextlib.suppress(OSError):  # a full disk: what is buffered cannot be written now either
            self._file.close()


@contextlib.contextmanager
def reserve(path: Path, *, overwrite: bool, content: Content = MODEL) -> Iterator[OutputFile]:
    """Reserve a file inside the block, so that what would hinder the writing shows before the work, not after it.

    A file ``.NAME.part`` stands beside it meanwhile, locked: a second process is refused, and what a killed one left
    behind is known by its lock, which died with it.

    Parameters
    ----------
    path : Path
        File to write, here or elsewhere (`asd.detection.remote_output`). A symbolic link is followed: the file that it
        points to is replaced, the link stays.
    overwrite : bool
        Whether an existing file may be replaced; never a folder, a device, a pipe or a socket.
    content : Content
        What it is to hold.

    Raises
    ------
    ModelFileError, DataError
        If the file cannot be written there, exists already, or is being written by another process.
    """
    if isinstance(path, RemotePath):
        from asd.detection.remote_output import reserve_elsewhere

        with reserve_elsewhere(path, overwrite=overwrite, content=content) as elsewhere:
            yield elsewhere
        return
    try:
        _check_target(path, overwrite, content)
        target = Path(os.path.realpath(path))
        part = target.with_name(f".{target.name}.part")
        if not target.parent.is_dir():
            raise content.error(f"{target.parent}: no such folder to write {content.name} to; make it first")
        descriptor = _create(part)
        _remove_old_parts(target)
    except BlockingIOError as error:
        raise content.error(
            f"{path}: another process is writing it; wait for it, or choose another name (if there is none, delete "
            f"{part})"
        ) from error
    except OSError as error:
        raise content.error(
            f"{path}: {content.name} cannot be saved here ({error.strerror}); choose another folder or name"
        ) from error
    output = OutputFile(path, target, part, descriptor, overwrite, content)
    try:
        yield output
    finally:
        output.close()


def _exists(path: Path) -> str:
    return f"{path}: exists already; choose another name, or overwrite it with --force"


def _check_target(path: Path, overwrite: bool, content: Content) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise content.error(f"{path}: is a folder; name a file, such as {path / content.example}")
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        raise content.error(
            f"{path}: is {kind}; {content.name} can be written to a regular file only: choose another name"
        )
    if not overwrite:
        raise content.error(_exists(path))


def _create(part: Path) -> int:
    """Return the descriptor of `part`, created and locked.

    Raises
    ------
    BlockingIOError
        If a living process holds it.
    """
    while True:
        try:
            descriptor = os.open(part, _NEW, 0o666)
        except FileExistsError:
            _remove_stale(part)
            continue
        try:
            _lock(descriptor)
        except BlockingIOError:  # another process has taken it for a left-over
            os.close(descriptor)
            raise
        except OSError:  # a file system without locks: who created it has it
            return descriptor
        if _is_at(descriptor, part):
            return descriptor
        os.close(descriptor)


def _remove_stale(part: Path) -> None:
    """Remove the file of a process that died.

    Raises
    ------
    BlockingIOError
        If a living process holds it, or that cannot be known.
    """
    try:
        descriptor = os.open(part, _OLD)
    except FileNotFoundError:
        return
    try:
        _lock(descriptor)
        if _is_at(descriptor, part):
            part.unlink()
    except BlockingIOError:
        raise
    except OSError as error:
        raise BlockingIOError(error.errno, error.strerror) from error
    finally:
        os.close(descriptor)


def _remove_old_parts(target: Path) -> None:
    """Remove what killed processes left beside `target` under other names.

    A day must have passed: locks of other hosts do not show on every network mount.
    """
    for part in (part for suffix in _SUFFIXES for part in target.parent.glob(f".*{suffix}.part")):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > _DAY:
                _remove_stale(part)


def _lock(descriptor: int) -> None:
    """Lock an open file, for as long as this process lives at most.

    Raises
    ------
    BlockingIOError
        If another process holds it.
    OSError
        If the file system has no locks.
    """
    if fcntl is None:
        raise OSError("no locks")
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether `path` still names the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False
