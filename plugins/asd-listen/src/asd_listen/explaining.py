"""Explanations of what is kept, where the framework can give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asd_listen.settings import Settings


def explainer(settings: Settings, load: Callable[..., Any]) -> Any:
    """Return what explains a recording, as `asd_listen.evidence.Evidence` takes it; None: nothing here can."""
    return None
