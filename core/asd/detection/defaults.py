"""The default pipeline of ``asd fit``; reasons: docs/decisions/0013-default-by-evidence.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asd_registry import Kind

DEFAULTS: dict[Kind, str] = {
    "frontend": "efficientat-mel",  # the default extractor's own
    "extractor": "efficientat-mn04",
    "detector": "knn",
}
DEFAULT_DETECTOR_PARAMETERS: Mapping[str, Any] = {"local_density": True}
DEFAULT_PCA = 0.98  # arXiv:2012.06282; without it, features that hardly vary in training swamp the likelihood
