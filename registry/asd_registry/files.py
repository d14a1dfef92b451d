"""A plugin that is one file and no distribution yet."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path

from asd_registry.errors import PluginError
from asd_registry.known import KNOWN_DISTRIBUTIONS
from asd_registry.rules import DISTRIBUTION
from asd_registry.text import shown


def make_importable(path: Path) -> None:
    """Let a plugin file be imported as a module of its own name, so that worker processes find its classes too.

    Raises
    ------
    PluginError
        If there is no such file, its name is no module name, or another module has that name.
    """
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise PluginError(f"{path}: name a plugin file like a Python module: letters, digits and underscores, then .py")
    if not path.is_file():
        raise PluginError(f"{path}: no such plugin file")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # at the end: nothing in that folder may hide an installed module
    importlib.invalidate_caches()
    found = importlib.util.find_spec(path.stem)
    if found is None or found.origin is None or Path(found.origin).resolve() != path:
        raise PluginError(f"{path}: another Python module is called {path.stem!r}: rename the file")


def version_of(path: Path) -> str:
    """Return what tells one state of a plugin file from another."""
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "absent"


def remedy(distribution: str) -> str:
    """Return what a user does to get `distribution`, which may be a plugin file.

    The name may come from whoever wrote a model file: only one of the project's own gets a command to copy.
    """
    if distribution in KNOWN_DISTRIBUTIONS:
        return f"pip install {distribution}"
    if distribution.endswith(".py") and distribution.removesuffix(".py").isidentifier():
        return f"add --plugin-file {distribution}"
    if DISTRIBUTION.holds(distribution):
        return f"install {distribution!r} if you know and trust it"
    return f"{shown(distribution)} is no name of a distribution"
