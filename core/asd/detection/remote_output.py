"""The file that long work writes at its end to an address: tried before the work, put there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from asd.detection.output import Content, OutputFile
from asd.errors import AsdError
from asd.files.remote import RemotePath
from asd.files.writing import check_address, put


class RemoteOutput(OutputFile):
    """A file to be written to an address; made by `reserve_elsewhere`.

    Parameters
    ----------
    path : RemotePath
        Where.
    overwrite : bool
        Whether what is there may be replaced.
    content : Content
        What it is to hold.
    """

    path: RemotePath

    def __init__(self, path: RemotePath, overwrite: bool, content: Content) -> None:
        self.path = path
        self.overwrite = overwrite
        self.content = content

    def write_by(self, writer: Callable[[BinaryIO], None], size: int) -> None:
        """Let `writer` write the whole content into a file here, once, and put it there; errors as for `OutputFile`.

        Where it cannot be put there, the file here stays, and the error names it.
        """
        descriptor, name = tempfile.mkstemp(prefix="asd-", suffix=f"-{self.path.name}")
        try:
            with os.fdopen(descriptor, "w+b") as file:
                writer(file)
                file.flush()
                put(self.path, file, overwrite=self.overwrite)
        except OSError as error:
            raise self._refused(error, f"; {self.content.name} is kept in {name}") from error
        except BaseException:
            Path(name).unlink()
            raise
        Path(name).unlink()

    def check(self) -> None:
        """Refuse an address that cannot or must not be written."""
        try:
            check_address(self.path, overwrite=self.overwrite)
        except OSError as error:
            raise self._refused(error) from error

    def close(self) -> None:
        """Do nothing: nothing was reserved."""

    def _refused(self, error: OSError, kept: str = "") -> AsdError:
        return self.content.error(f"{self.path}: {error.strerror or error}{kept}")


@contextlib.contextmanager
def reserve_elsewhere(path: RemotePath, *, overwrite: bool, content: Content) -> Iterator[RemoteOutput]:
    """Give what writes to an address inside the block, after it was tried whether that can be done.

    A store has no locks: of two processes that write one name without `overwrite`, the second is refused at its end
    where the store can tell (S3), and its result is kept here.

    Parameters
    ----------
    path : RemotePath
        Where.
    overwrite : bool
        Whether what is there may be replaced.
    content : Content
        What it is to hold.

    Raises
    ------
    ModelFileError, DataError
        If it cannot be written there, or exists already.
    """
    output = RemoteOutput(path, overwrite, content)
    output.check()
    yield output
