"""Who asks, and what that caller may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends

Role = Literal["look", "feedback", "administer"]
"""What a key allows; each includes the ones before it."""


@dataclass(frozen=True)
class Caller:
    """Who asks: the name of the key, and its role."""

    name: str
    role: Role


def _look() -> Caller:
    return Caller("nobody", "look")


Looking = Annotated[Caller, Depends(_look)]
"""A caller who may look at all there is, and have sound judged."""
Telling = Annotated[Caller, Depends(_look)]
"""A caller who may, besides, acknowledge, say what was normal, and note."""
Administering = Annotated[Caller, Depends(_look)]
"""A caller who may, besides, record, fit, update models and change settings."""
