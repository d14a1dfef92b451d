"""Files that a command writes: checked before the work, whole or not at all, never over an old one without --force."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from asd.errors import AsdError, ConfigError
from asd.plugin import check_address, has_address


def check_output(path: Path, suffixes: Sequence[str], *, force: bool) -> None:
    """Refuse a file that cannot or must not be written.

    Raises
    ------
    ConfigError
        If its suffix is none of `suffixes`, it exists (without `force`), or its folder does not.
    """
    if path.suffix.lower() not in suffixes:
        raise ConfigError(f"{path}: writes {' or '.join(suffixes)}, got {path.suffix or 'no suffix'!r}; rename it")
    if has_address(path):
        check_address(path, overwrite=force)
        return
    if path.is_dir():
        raise ConfigError(f"{path}: a folder; name a file")
    if path.exists() and not force:
        raise ConfigError(f"{path} exists; give another name, or --force to overwrite it")
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent}: no such folder; make it first")


def write_output(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises
    ------
    AsdError
        If it cannot be written; an old file stays as it was.
    """
    if has_address(path):
        path.write_bytes(content)
        return
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as part:
            try:
                part.write(content)
                part.close()
                Path(part.name).chmod(0o666 & ~_umask())
                Path(part.name).replace(path)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise AsdError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
