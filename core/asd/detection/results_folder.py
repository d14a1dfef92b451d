"""A folder to write results into: here, or at an address, where what was written is put when it is whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from asd.errors import DataError
from asd.files.remote import RemotePath
from asd.files.writing import check_folder, put

_NAME = "results"


@contextmanager
def results_folder(path: Path) -> Iterator[Path]:
    """Give a folder of this computer to write results into, inside the block.

    Parameters
    ----------
    path : Path
        Where they belong: a folder here, which is given as it is, or at an address. There every file is put whole at
        the end of the block, also after an error or Ctrl-C; a file of the same name is replaced.

    Yields
    ------
    Path
        The folder to write into.

    Raises
    ------
    DataError
        If that address cannot be written to, which is tried before the block; or at the end: the results are then kept
        in a folder here, which the text names.
    """
    if not isinstance(path, RemotePath):
        yield path
        return
    try:
        check_folder(path, _NAME, "results")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    here = Path(tempfile.mkdtemp(prefix="asd-results-"))
    try:
        yield here
    finally:
        _put_all(here, path)


def _put_all(here: Path, there: RemotePath) -> None:
    files = sorted(file for file in here.rglob("*") if file.is_file())
    for number, file in enumerate(files):
        target = there / file.relative_to(here).as_posix()
        try:
            with file.open("rb") as content:
                put(target, content, overwrite=True)
        except OSError as error:
            raise DataError(
                f"{target}: {error.strerror or error}; {len(files) - number} of {len(files)} files are kept in {here}"
            ) from error
        file.unlink()
    with suppress(OSError):
        shutil.rmtree(here)
