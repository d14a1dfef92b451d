"""Anomalous sound detection: learn what a healthy machine sounds like, tell when it no longer does.

>>> import asd
>>> model = asd.fit("healthy/", detector="gmm")  # doctest: +SKIP
>>> model.save("fan.asd")  # doctest: +SKIP
>>> for verdict in asd.score("fan.asd", "today/"):  # doctest: +SKIP
...     print(verdict.clip, verdict.p_value, verdict.anomalous)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asd.api import fit, load, score
    from asd.audio import Clip
    from asd.config import Config
    from asd.errors import AsdError
    from asd.installed import use_plugin_file
    from asd.interfaces import Dataset, Detector, Extractor, Frontend, Runtime
    from asd.model import Model, Verdict
    from asd.records import Audio, Recording, RemoteFile, Representation, Windows

_HOMES = {
    "AsdError": "asd.errors",
    "Audio": "asd.records",
    "Clip": "asd.audio",
    "Config": "asd.config",
    "Dataset": "asd.interfaces",
    "Detector": "asd.interfaces",
    "Extractor": "asd.interfaces",
    "Frontend": "asd.interfaces",
    "Model": "asd.model",
    "Recording": "asd.records",
    "RemoteFile": "asd.records",
    "Representation": "asd.records",
    "Runtime": "asd.interfaces",
    "Verdict": "asd.model",
    "Windows": "asd.records",
    "fit": "asd.api",
    "load": "asd.api",
    "score": "asd.api",
    "use_plugin_file": "asd.installed",
}

__all__ = [
    "AsdError",
    "Audio",
    "Clip",
    "Config",
    "Dataset",
    "Detector",
    "Extractor",
    "Frontend",
    "Model",
    "Recording",
    "RemoteFile",
    "Representation",
    "Runtime",
    "Verdict",
    "Windows",
    "fit",
    "load",
    "score",
    "use_plugin_file",
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: ``asd --help`` must not wait for NumPy and soundfile."""
    if name not in _HOMES:
        raise AttributeError(f"module 'asd' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
