"""See whether a target exists without importing it: a listing must not wait for what it lists."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path


def missing_target(target: str) -> str | None:
    """Return what of ``"package.module:attribute"`` does not exist, or None if nothing is known to be missing.

    An attribute counts as missing only if the module's source does not even mention it.
    """
    name, _, attribute = target.partition(":")
    if name in sys.modules:
        return None if hasattr(sys.modules[name], attribute) else f"{name} has no {attribute}"
    spec = _find(name)
    if spec is None:
        return f"there is no module {name}"
    text = _text(spec.origin)
    if text is None:
        return None
    if re.search(rf"\b{attribute}\b|\bimport \*|\b__getattr__\b|\bglobals\b", text):
        return None
    return f"{name} has no {attribute}"


@cache
def _text(origin: str | None) -> str | None:
    source = Path(origin or "")
    is_source = source.suffix == ".py" and source.is_file()
    return source.read_text(encoding="utf-8", errors="replace") if is_source else None


@cache
def _find(name: str) -> ModuleSpec | None:
    """Return where a module lies; unlike `importlib.util.find_spec` this imports no package above it."""
    path: Sequence[str] | None = None
    spec: ModuleSpec | None = None
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        spec = _find_in(".".join(parts[:depth]), path)
        if spec is None:
            return None
        path = spec.submodule_search_locations or []
    return spec


def _find_in(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        if (spec := finder.find_spec(name, path)) is not None:
            return spec
    return None
