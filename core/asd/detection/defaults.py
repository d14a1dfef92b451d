"""The ready-made pipelines of ``asd fit``; reasons: docs/decisions/0013-default-by-evidence.md.

Where the user chooses neither components nor branches, ``quality`` names one of `QUALITIES`; where some components are
chosen, `DEFAULTS` are the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asd_registry import Kind

DEFAULTS: dict[Kind, str] = {
    "frontend": "efficientat-mel",  # the default extractor's own
    "extractor": "efficientat-mn04",
    "detector": "knn",
}
DEFAULT_DETECTOR_PARAMETERS: Mapping[str, Any] = {}
"""None: ``--detector knn`` alone must be the same detector."""
DEFAULT_PCA = 0.98  # arXiv:2012.06282; without it, features that hardly vary in training swamp the likelihood

_MN04: Mapping[str, Any] = {
    "extractor": "efficientat-mn04",
    "detector": {"name": "knn", **DEFAULT_DETECTOR_PARAMETERS},
}

QUALITIES: Mapping[str, Mapping[str, Any]] = {"fast": _MN04, "default": _MN04, "best": _MN04}
"""What a TOML file would say: ``fast`` for small computers, ``default``, ``best`` whatever it takes. Several branches
are a list of tables under ``branches``."""
