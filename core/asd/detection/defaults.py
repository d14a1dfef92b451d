"""The ready-made pipelines of ``asd fit``; reasons: docs/decisions/0034-default-by-many-machines.md.

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

_MEAN: Mapping[str, Any] = {"embedding_pooling": "mean"}
_EMBEDDING: Mapping[str, Any] = {**_MEAN, "pca": None, "detector": "knn"}
"""Of a network: one vector a clip, and no PCA, which drops the directions that faults take where clips are few."""

_GATE = 4.0
_TIMBRE: Mapping[str, Any] = {
    "name": "timbre",
    "extractor": {"name": "efficientat-mn04", "layer": 6, "pool": "time"},
    "frontend": {"name": "efficientat-mel", "hop": 1.0},
    **_EMBEDDING,
}
_LEVEL: Mapping[str, Any] = {
    "name": "level",
    "extractor": "sound-level",
    "detector": {"name": "deviation", "floor": 0.5},
    "gate": _GATE,
    **_MEAN,
}
_EFFECTS: Mapping[str, Any] = {"name": "effects", "extractor": "aisfx", **_EMBEDDING}
_EVENTS: Mapping[str, Any] = {"name": "events", "extractor": "yamnet", "gate": _GATE, **_EMBEDDING}
_SPECTRUM: Mapping[str, Any] = {
    "name": "spectrum", "extractor": "band-levels", "detector": "deviation", "gate": _GATE, **_MEAN
}  # fmt: skip
_TONALITY: Mapping[str, Any] = {
    "name": "tonality", "extractor": "tonality", "detector": "deviation", "gate": _GATE, **_MEAN
}  # fmt: skip

_PULSATION: Mapping[str, Any] = {
    "name": "pulsation",
    "extractor": "envelope",
    "detector": "deviation",
    "gate": _GATE,
    **_MEAN,
}

_FAST = (_TIMBRE, _LEVEL)
_DEFAULT = (_TIMBRE, _LEVEL, _SPECTRUM, _TONALITY, _PULSATION)

QUALITIES: Mapping[str, Mapping[str, Any]] = {
    "fast": {"branches": _FAST},
    "default": {"branches": _DEFAULT},
    "best": {"branches": (*_DEFAULT, _EFFECTS, _EVENTS)},
}
"""What a TOML file would say: ``fast`` for small computers, ``default``, ``best`` whatever it takes. Several branches
are a list of tables under ``branches``."""
