"""Names that the project's own distributions provide.

A short name that stands here means the component of that distribution, whatever other plugins offer; an unknown one is
answered with the pip command.
"""

from __future__ import annotations

import functools
from typing import Literal

from asd_registry.specs import Kind

_Offered = dict[Kind | Literal["command"], str]

KNOWN_DISTRIBUTIONS: dict[str, _Offered] = {
    "asd-framework": {
        "command": "cache demo diff embed evaluate fit monitor new-plugin plugins recalibrate score update weights",
        "engine": "local",
    },
    "asd-audioset": {"extractor": "efficientat efficientat-mn04-torch vggish-audioset yamnet-keras"},
    "asd-autoencoder": {"detector": "dense-ae lenet-dcae small-dcae"},
    "asd-bench": {"command": "bench"},
    "asd-dask": {"engine": "dask"},
    "asd-data": {
        "dataset": (
            "dcase2020 dcase2021 dcase2022 dcase2023 dcase2024 dcase2025 dcase2026 folder manifest mimii mimii-dg "
            "mimii-due toyadmos"
        ),
        "command": "data",
    },
    "asd-discriminative": {"detector": "subcluster-adacos"},
    "asd-essentia": {
        "frontend": "effnet-waveform musicnn-waveform",
        "extractor": (
            "essentia essentia-discogs-effnet essentia-vggish musicnn-msd-essentia musicnn-msd-torch "
            "musicnn-mtt-essentia musicnn-mtt-torch"
        ),
    },
    "asd-frontends": {
        "frontend": (
            "aisfx-mel band-waveform efficientat-mel envelope-waveform mel-image mel-patch mel-stack musicnn-mel "
            "vggish-mel waveform yamnet-mel"
        ),
        "extractor": "band-levels envelope identity mel-statistics sound-level tonality",
    },
    "asd-imagenet": {"extractor": "alexnet densenet121 resnet18 resnet34 resnet50 squeezenet1_0-torch torchvision"},
    "asd-listen": {
        "source": "file folder microphone pcm stream",
        "sink": "apprise email jsonl mqtt webhook",
        "command": "history listen",
    },
    "asd-onnx": {
        "extractor": "aisfx efficientat-mn04 musicnn-msd musicnn-mtt onnx squeezenet1_0 yamnet",
        "command": "export",
    },
    "asd-openl3": {"frontend": "openl3-mel", "extractor": "openl3-env openl3-music"},
    "asd-report": {"command": "explain report"},
    "asd-serve": {"command": "mcp serve"},
    "asd-sklearn": {
        "detector": "bayesian-gmm deviation ensemble gmm isolation-forest kde knn mahalanobis ocsvm pca-residual",
    },
    "asd-testing": {"command": "check"},
    "asd-transformers": {"extractor": "huggingface"},
}
"""Names, separated by spaces, by distribution and kind."""


def distribution_of(name: str, kind: Kind | Literal["command"] | None = None) -> str | None:
    """Return the project's distribution that provides component or command `name`, or None.

    Parameters
    ----------
    name : str
        A short name, present or former.
    kind : {"frontend", "extractor", "detector", "dataset", "source", "sink", "engine", "command"}, optional
        What is called so; None: a component of any kind.
    """
    if kind is not None:
        return _owners().get((kind, name))
    return next((owner for (each, short), owner in _owners().items() if short == name and each != "command"), None)


@functools.cache
def _owners() -> dict[tuple[str, str], str]:
    """Return the distribution by kind and name."""
    return {
        (kind, name): distribution
        for distribution, offered in KNOWN_DISTRIBUTIONS.items()
        for kind, names in offered.items()
        for name in names.split()
    }
