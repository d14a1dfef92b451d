"""The model files that this user trusts: one small file for each, named by the digest of the model's content."""

from __future__ import annotations

import logging
from pathlib import Path

from asd.files.folders import settings_folder
from asd.files.remote import as_path

_log = logging.getLogger("asd.files")


def is_trusted(digest: str) -> bool:
    """Return whether the user trusts the model file of this content: by consent, or as it was fitted here."""
    try:
        return _place(digest).is_file()
    except OSError:
        return False


def remember(digest: str, model: str | Path) -> None:
    """Record that the user trusts the model file of this content.

    Parameters
    ----------
    digest : str
        SHA-256 of the content, 64 hexadecimal digits.
    model : str or Path
        Where it lies, for people who read the record.
    """
    place = _place(digest)
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.write_text(f"{as_path(model).absolute()}\n", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        _log.warning(
            "%s: it cannot be recorded that %s is trusted (%s): give --trust at every use, or set ASD_SETTINGS to a "
            "folder that you may write to", place.parent, model, error.strerror
        )  # fmt: skip


def _place(digest: str) -> Path:
    return settings_folder() / "trusted" / digest
