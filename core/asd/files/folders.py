"""Where asd keeps files between runs."""

from __future__ import annotations

import os
import re
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder for files that can be had again: ``ASD_CACHE``, or ``asd`` in the user's cache folder.

    Where ``ASD_CACHE`` is an address, only embeddings are there: other files are needed on this computer.
    """
    if (chosen := os.environ.get("ASD_CACHE")) and not is_address(chosen):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_cache_path("asd", appauthor=False)


def is_address(text: str) -> bool:
    """Return whether a text is an address such as ``s3://bucket/folder``, and no folder's path."""
    return "://" in text


def settings_folder() -> Path:
    """Return the folder for what the user decided: ``ASD_SETTINGS``, or ``asd`` in the user's configuration folder."""
    if chosen := os.environ.get("ASD_SETTINGS"):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_config_path("asd", appauthor=False)


def size_of(text: str) -> int | None:
    """Return the bytes that a text such as ``500MB`` or ``2GB`` states; None: it states none."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)b?\s*", text, re.IGNORECASE)
    return int(float(found[1]) * 1000 ** ("", "k", "m", "g", "t").index(found[2].lower())) if found else None
