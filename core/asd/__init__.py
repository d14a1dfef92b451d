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
    from asd.api import diff, embed, explain, fit, fit_features, load, recalibrate, score, score_features, update
    from asd.contract.installed import use_plugin_file
    from asd.contract.interfaces import Dataset, Detector, Extractor, Frontend, Runtime
    from asd.detection.comparison import Comparison
    from asd.detection.config import Branch, Config
    from asd.detection.evaluation import Evaluation
    from asd.detection.explanation import Explanation, Finding
    from asd.detection.features import Failure
    from asd.detection.frame import to_frame
    from asd.detection.live import LiveClip, LiveScorer, LiveStream
    from asd.detection.model import Model
    from asd.detection.models import Models
    from asd.detection.monitor import Monitor
    from asd.detection.status import Status
    from asd.detection.vectors import Embeddings
    from asd.detection.verdict import BranchVerdict, Verdict
    from asd.detection.work import using_engine
    from asd.errors import AsdError
    from asd.progress import quiet
    from asd.records import Audio, Clip, Recording, RemoteFile, Representation, Windows

_HOMES = {
    "asd.api": "diff embed explain fit fit_features load recalibrate score score_features update",
    "asd.contract.installed": "use_plugin_file",
    "asd.contract.interfaces": "Dataset Detector Extractor Frontend Runtime",
    "asd.detection.comparison": "Comparison",
    "asd.detection.config": "Branch Config",
    "asd.detection.evaluation": "Evaluation",
    "asd.detection.explanation": "Explanation Finding",
    "asd.detection.features": "Failure",
    "asd.detection.frame": "to_frame",
    "asd.detection.live": "LiveClip LiveScorer LiveStream",
    "asd.detection.model": "Model",
    "asd.detection.models": "Models",
    "asd.detection.monitor": "Monitor",
    "asd.detection.status": "Status",
    "asd.detection.vectors": "Embeddings",
    "asd.detection.verdict": "BranchVerdict Verdict",
    "asd.detection.work": "using_engine",
    "asd.errors": "AsdError",
    "asd.progress": "quiet",
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
    "Embeddings",
    "Evaluation",
    "Explanation",
    "Extractor",
    "Failure",
    "Finding",
    "Frontend",
    "LiveClip",
    "LiveScorer",
    "LiveStream",
    "Model",
    "Models",
    "Monitor",
    "Recording",
    "RemoteFile",
    "Representation",
    "Runtime",
    "Status",
    "Verdict",
    "Windows",
    "diff",
    "embed",
    "explain",
    "fit",
    "fit_features",
    "load",
    "quiet",
    "recalibrate",
    "score",
    "score_features",
    "to_frame",
    "update",
    "use_plugin_file",
    "using_engine",
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: ``asd --help`` must not wait for NumPy and soundfile."""
    for home, names in _HOMES.items():
        if name in names.split():
            return getattr(importlib.import_module(home), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("asd-framework")
    raise AttributeError(f"module 'asd' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, imported or not, and what every module has."""
    return sorted({*__all__, "__version__", *(name for name in globals() if name.startswith("__"))})


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
