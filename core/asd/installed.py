"""The installed plugins, discovered once per process. Light: listing them must not wait for NumPy."""

from __future__ import annotations

from functools import cache

from asd_registry import Registry


@cache
def registry() -> Registry:
    """Return the registry of the installed plugins."""
    return Registry()
