"""Pictures that commands draw, written to a file here or at an address."""

from __future__ import annotations

from pathlib import Path

from asd.errors import DataError


def check_picture(path: Path) -> None:
    """Refuse an address that cannot be written to, before the work.

    Raises
    ------
    RemoteError
        If so.
    """
    from asd.files.remote import has_address
    from asd.files.writing import check_address

    if has_address(path):
        check_address(path, overwrite=True)


def write_picture(path: Path, content: bytes) -> None:
    """Write a picture, in place of an older one.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise DataError(
            f"{path}: the picture cannot be written here ({error.strerror}); choose another folder or name"
        ) from error
