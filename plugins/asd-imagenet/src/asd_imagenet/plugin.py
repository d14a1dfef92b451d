"""What this distribution offers to asd."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import ComponentSpec, WeightFile, hookimpl

EMBEDDED = WeightFile(
    name="squeezenet1_0-deep-compression.safetensors",
    licence="BSD-2-Clause",
    sha256="c5e59a7f153339d5bee60b0b4e7f9ccc70ebabc623e8465cc3b4b85978aa77d9",
    size=2501880,
)
"""SqueezeNet 1.0 compressed by Deep Compression, inside this package."""

EMBEDDED_MODEL = "squeezenet1_0"
"""The model that it belongs to."""

_PUBLISHER = "https://download.pytorch.org/models/"
_OFFICIAL = {
    "alexnet": ("alexnet-owt-7be5be79.pth", 244_408_911, 4096, "AlexNet, penultimate layer"),
    "resnet18": ("resnet18-f37072fd.pth", 46_830_571, 512, "ResNet-18, global average pool"),
    "resnet34": ("resnet34-b627a593.pth", None, 512, "ResNet-34, global average pool"),
    "resnet50": ("resnet50-11ad3fa6.pth", 102_540_417, 2048, "ResNet-50, global average pool"),
    "densenet121": ("densenet121-a639ec97.pth", 32_342_954, 1024, "DenseNet-121, global average pool"),
}
"""Publisher's default weight file (torchvision), its bytes as far as they are known exactly, dimension, summary."""

DIMENSIONS = {EMBEDDED_MODEL: 2048, **{model: dimension for model, (_, _, dimension, _) in _OFFICIAL.items()}}
"""Lengths of the embeddings with default parameters, known without building the network."""


WEIGHT_SETS = (
    "IMAGENET1K_V1",
    "IMAGENET1K_V2",
    "IMAGENET1K_FEATURES",
    "IMAGENET1K_SWAG_E2E_V1",
    "IMAGENET1K_SWAG_LINEAR_V1",
)
"""What torchvision calls the weights that it publishes."""


def official_weight(url: str, licence: str = "BSD-3-Clause", size: int | None = None) -> WeightFile:
    """Describe a file of torchvision's, whose name ends in the first digits of its SHA-256."""
    name = url.rpartition("/")[2]
    sha256 = name.rpartition("-")[2].partition(".")[0]
    return WeightFile(name=name, licence=licence, url=url, sha256=sha256, size=size)


def _spec(name: str, summary: str, weight: WeightFile | None, model: str | None = None) -> ComponentSpec:
    return ComponentSpec(
        kind="extractor",
        name=name,
        summary=summary,
        target="asd_imagenet.extractor:ImageNetExtractor",
        licence=f"Apache-2.0; weights {weight.licence if weight else 'by model'}",
        preset={"model": model} if model else {},
        requires=("torch>=2.6", "torchvision>=0.21"),
        engines=("torch",),
        shape=(3, 224, 224) if model else None,
        dimension=DIMENSIONS[model] if model else None,
        weights=(weight,) if weight else (),
        frontend="mel-image",
        alternative="squeezenet1_0" if weight is EMBEDDED else None,
        restricted={"weights": ("random", "default", *WEIGHT_SETS), "layer": None},
    )


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the networks of the paper by name, and one component for every other classifier of torchvision."""
    summary = "The same as squeezenet1_0, computed by PyTorch; weights included"
    yield _spec(f"{EMBEDDED_MODEL}-torch", summary, EMBEDDED, EMBEDDED_MODEL)
    for model, (file, size, _, summary) in _OFFICIAL.items():
        yield _spec(model, summary, official_weight(_PUBLISHER + file, size=size), model)
    yield _spec("torchvision", "Any classifier of torchvision, named by --extractor.model", None)
