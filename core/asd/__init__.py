"""Anomalous sound detection: learn the sound of a healthy machine, detect recordings that differ.

>>> import asd
>>> model = asd.fit("healthy/", detector="gmm")  # doctest: +SKIP
>>> model.save("fan.asd")  # doctest: +SKIP
>>> for verdict in asd.score("fan.asd", "today/"):  # doctest: +SKIP
...     print(verdict.clip, verdict.p_value, verdict.anomalous)
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asd.api import diff, fit, load, recalibrate, score, update
    from asd.contract.installed import use_plugin_file
    from asd.contract.interfaces import Dataset, Detector, Extractor, Frontend, Runtime
    from asd.detection.comparison import Comparison
    from asd.detection.config import Branch, Config
    from asd.detection.live import LiveClip, LiveScorer, LiveStream
    from asd.detection.model import Model
    from asd.detection.monitor import Monitor, Status
    from asd.detection.verdict import BranchVerdict, Verdict
    from asd.errors import AsdError
    from asd.records import Audio, Clip, Recording, RemoteFile, Representation, Windows

_HOMES = {
    "asd.api": "diff fit load recalibrate score update",
    "asd.contract.installed": "use_plugin_file",
    "asd.contract.interfaces": "Dataset Detector Extractor Frontend Runtime",
    "asd.detection.comparison": "Comparison",
    "asd.detection.config": "Branch Config",
    "asd.detection.live": "LiveClip LiveScorer LiveStream",
    "asd.detection.model": "Model",
    "asd.detection.monitor": "Monitor Status",
    "asd.detection.verdict": "BranchVerdict Verdict",
    "asd.errors": "AsdError",
    "asd.records": "Audio Clip Recording RemoteFile Representation Windows",
}
"""The public names by the module that defines them."""

__all__ = [
    "AsdError",
    "Audio",
    "Branch",
    "BranchVerdict",
    "Clip",
    "Comparison",
    "Config",
    "Dataset",
    "Detector",
    "Extractor",
    "Frontend",
    "LiveClip",
    "LiveScorer",
    "LiveStream",
    "Model",
    "Monitor",
    "Recording",
    "RemoteFile",
    "Representation",
    "Runtime",
    "Status",
    "Verdict",
    "Windows",
    "diff",
    "fit",
    "load",
    "recalibrate",
    "score",
    "update",
    "use_plugin_file",
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: ``asd --help`` must not wait for NumPy and soundfile."""
    for home, names in _HOMES.items():
        if name in names.split():
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'asd' has no attribute {name!r}")


_MOVED = {
    "asd.plugin": "audio components data database download folders installed interfaces mel parameters weights",
    "asd.experiment": (
        "cache config decision defaults evaluation features identity memory metrics model modelfile pipeline training "
        "worker testing.machines"
    ),
}
"""The modules of version 0.1 that plugins imported, by where their public names are now."""


class _Moved:
    """Answers an import of a module that has moved with its new place; asked only for what is not found."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        for new, modules in _MOVED.items():
            if name.startswith("asd.") and name.removeprefix("asd.") in modules.split():
                raise ModuleNotFoundError(f"{name} has moved: import its names from {new}", name=name)


sys.meta_path.append(_Moved)
