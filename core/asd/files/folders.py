"""Where asd keeps files between runs."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from pathlib import Path

from asd.errors import ConfigError
from asd.files.address import is_url
from asd_registry import did_you_mean

_COMPARED = 1000
"""Names of a folder that are compared with one that is not there: an error must not wait for a folder of a million."""


def cache_folder() -> Path:
    """Return the folder for files that can be had again: ``ASD_CACHE``, or ``asd`` in the user's cache folder.

    Where ``ASD_CACHE`` is an address, only embeddings are there: other files are needed on this computer.
    """
    if (chosen := os.environ.get("ASD_CACHE")) and not is_url(chosen):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_cache_path("asd", appauthor=False)


def settings_folder() -> Path:
    """Return the folder for what the user decided: ``ASD_SETTINGS``, or ``asd`` in the user's configuration folder."""
    if chosen := os.environ.get("ASD_SETTINGS"):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_config_path("asd", appauthor=False)


def like(path: Path, otherwise: str = "") -> str:
    """Return the end of an error about a path that is not there: ``; did you mean …?``, or `otherwise`.

    Parameters
    ----------
    path : Path
        It; its name, or that of the outermost folder of it that is not there, is compared with those that are.
    otherwise : str
        What else is said.
    """
    missing = path
    while missing.parent != missing and not missing.parent.exists():
        missing = missing.parent
    with contextlib.suppress(OSError):
        rest = path.relative_to(missing)
        there = itertools.islice(missing.parent.iterdir(), _COMPARED)
        names = (each.name for each in there if each.name != missing.name)  # a link that leads nowhere has this name
        paths = {name: str(missing.with_name(name) / rest) for name in names}
        if found := did_you_mean(missing.name, paths, "", shown_as=paths):
            return f"; {found}"
    return otherwise


def size_of(text: str) -> int | None:
    """Return the bytes that a text such as ``500MB`` or ``2GB`` states; None: it states none."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)b?\s*", text, re.IGNORECASE)
    return int(float(found[1]) * 1000 ** ("", "k", "m", "g", "t").index(found[2].lower())) if found else None


def size_in(variable: str, default: str, zero: str) -> int:
    """Return the bytes that an environment variable states.

    Parameters
    ----------
    variable : str
        Its name.
    default : str
        What counts where it is not set.
    zero : str
        What 0 means, for the message.

    Raises
    ------
    ConfigError
        If it is no size.
    """
    text = os.environ.get(variable) or default
    size = size_of(text)
    if size is None:
        raise ConfigError(f"{variable} takes a size such as 500MB or 2GB, or bytes, or 0: {zero}; got {text!r}")
    return size
