"""Writing files, with errors that name the file and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asd.errors import DataError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise a DataError if `path` cannot be written inside the block."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot write it ({error.strerror}); name a folder that you may write to") from error
