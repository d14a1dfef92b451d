"""What this distribution offers to asd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from asd_essentia.published import PUBLISHED, REQUIREMENT
from asd_registry import ComponentSpec, WeightFile, hookimpl

Model = Literal["mtt", "msd"]
Layer = Literal[
    "mean-pool", "max-pool", "penultimate", "taggram", "cnn1", "cnn2", "cnn3", "timbral", "temporal"
]  # fmt: skip

_RESTRICTED: dict[str, tuple[Any, ...] | None] = {"graph": (), "sha256": (), "metadata": ()}
"""A graph is a program: TensorFlow's operations read and write files."""

_AGPL = "AGPL-3.0-or-later (essentia-tensorflow)"


def _embedded(name: str, sha256: str, size: int) -> WeightFile:
    return WeightFile(name=name, licence="ISC", sha256=sha256, size=size)


TENSORS: dict[Model, WeightFile] = {
    "mtt": _embedded(
        "mtt-musicnn.safetensors", "cf61fd5fc73fb2d4d30a0f30dfdbfca2ebbff6c25a72ae57acb734db53f3b897", 3174100
    ),
    "msd": _embedded(
        "msd-musicnn.safetensors", "ea4a2ecc2b1bf5c3341cb7f99eb3dc519fdf2d49a441a7fd622eb1170c148595", 3174100
    ),
}
"""What the torch engine reads, inside this package."""

GRAPHS: dict[Model, WeightFile] = {
    "mtt": _embedded("mtt-musicnn-1.pb", "9b9486e235ecc8005a36904c79107e0c4c23df9bde1569664a06c4652f5d7b71", 3224551),
    "msd": _embedded("msd-musicnn-1.pb", "7992efe8a5bc20bcec51cfc82ec5f3e73937372dc54c8ca3ce49ec43e3058879", 3224551),
}
"""What Essentia reads, inside this package."""


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the front ends, MusiCNN in torch and in Essentia, and Essentia's other models."""
    yield _frontend("musicnn-waveform", "Windows of musicnn-mel as samples, for Essentia", "MusicnnWaveform", (16128,))
    yield _frontend("effnet-waveform", "Windows as long as discogs-effnet takes", "EffnetWaveform", (33024,))
    for model in TENSORS:
        yield _musicnn(model)
        yield _musicnn_essentia(model)
    for name, published in PUBLISHED.items():
        yield ComponentSpec(
            kind="extractor",
            name=f"essentia-{name}",
            summary=f"{published.summary}, computed by Essentia",
            target="asd_essentia.model:EssentiaModel",
            licence=f"Apache-2.0; {_AGPL}; weights {published.licence}",
            preset={"model": name},
            requires=(REQUIREMENT,),
            dimension=published.dimension,
            needs=("graph",),
            frontend=published.frontend,
            restricted=_RESTRICTED,
        )
    yield ComponentSpec(
        kind="extractor",
        name="essentia",
        summary="Any TensorflowPredict* model of Essentia, from its graph (.pb)",
        target="asd_essentia.model:EssentiaModel",
        licence=f"Apache-2.0; {_AGPL}; weights by model",
        requires=(REQUIREMENT,),
        needs=("graph",),
        frontend="waveform",
        restricted=_RESTRICTED,
    )


def _frontend(name: str, summary: str, target: str, shape: tuple[int, ...]) -> ComponentSpec:
    return ComponentSpec(
        kind="frontend",
        name=name,
        summary=summary,
        target=f"asd_essentia.frontend:{target}",
        licence="Apache-2.0",
        sample_rate=16000,
        shape=shape,
    )


def _musicnn(model: Model) -> ComponentSpec:
    return ComponentSpec(
        kind="extractor",
        name=f"musicnn-{model}-torch",
        summary=f"The same as musicnn-{model}, computed by PyTorch; weights included",
        target="asd_essentia.musicnn:Musicnn",
        licence="Apache-2.0; weights ISC",
        preset={"model": model},
        requires=("torch>=2.6",),
        engines=("torch",),
        dimension=753,
        weights=(TENSORS[model],),
        frontend="musicnn-mel",
        alternative=f"musicnn-{model}",
    )


def _musicnn_essentia(model: Model) -> ComponentSpec:
    return ComponentSpec(
        kind="extractor",
        name=f"musicnn-{model}-essentia",
        summary=f"The same as musicnn-{model}, computed by Essentia itself: the reference",
        target="asd_essentia.reference:MusicnnEssentia",
        licence=f"Apache-2.0; {_AGPL}; weights ISC",
        preset={"model": model},
        requires=(REQUIREMENT,),
        dimension=753,
        weights=(GRAPHS[model],),
        frontend="musicnn-waveform",
        alternative=f"musicnn-{model}",
    )
