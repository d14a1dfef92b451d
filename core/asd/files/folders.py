"""Where asd keeps files between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder for files that can be had again: ``ASD_CACHE``, or ``asd`` in the user's cache folder."""
    if chosen := os.environ.get("ASD_CACHE"):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_cache_path("asd", appauthor=False)


def settings_folder() -> Path:
    """Return the folder for what the user decided: ``ASD_SETTINGS``, or ``asd`` in the user's configuration folder."""
    if chosen := os.environ.get("ASD_SETTINGS"):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_config_path("asd", appauthor=False)
