"""The networks whose weights are inside this package: imported to list them, so that nothing heavy is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from asd_registry import ComponentSpec, WeightFile


@dataclass(frozen=True)
class Embedded:
    """An ONNX file of this package, made by ``make/convert.py``.

    Parameters
    ----------
    title : str
        What messages call the network.
    weight : WeightFile
        The ONNX file.
    origin : (str, str)
        Name and SHA-256 of the weight file that it was made from. Model files pin that one: a model is the same
        whichever engine computes it.
    together : int
        Windows that a core computes at a time: as many as fit its cache.
    """

    title: str
    weight: WeightFile
    origin: tuple[str, str]
    together: int

    @property
    def name(self) -> str:
        """Of the component."""
        return self.weight.name.removesuffix(".onnx")


def _weight(name: str, licence: str, sha256: str, size: int) -> WeightFile:
    return WeightFile(name=f"{name}.onnx", licence=licence, sha256=sha256, size=size)


EFFICIENTAT = Embedded(
    title="EfficientAT mn04_as",
    weight=_weight(
        "efficientat-mn04", "MIT", "7707b825e78de72b5a86e3e5711fb730775d94990d509f51743fba37d044cfcd", 1110544
    ),
    origin=(
        "efficientat-mn04_as.safetensors",
        "c86e362ec0a8b91faffa2533a8c5b20e7bbd0c792abebee9c3e9ce3c5383ea66",
    ),
    together=16,
)
MUSICNN = {
    "mtt": Embedded(
        title="musicnn-mtt",
        weight=_weight(
            "musicnn-mtt", "ISC", "521239e101f433128de96ac2a2a715937b46d4860fb25ed2df7a4c25d99bb4b0", 3261838
        ),
        origin=("mtt-musicnn.safetensors", "cf61fd5fc73fb2d4d30a0f30dfdbfca2ebbff6c25a72ae57acb734db53f3b897"),
        together=1,
    ),
    "msd": Embedded(
        title="musicnn-msd",
        weight=_weight(
            "musicnn-msd", "ISC", "565766a202d2550d0b743dbce3fadc6238f2fef912c2a84a01ff1b0d5e295ee2", 3261838
        ),
        origin=("msd-musicnn.safetensors", "ea4a2ecc2b1bf5c3341cb7f99eb3dc519fdf2d49a441a7fd622eb1170c148595"),
        together=1,
    ),
}
SQUEEZENET = Embedded(
    title="squeezenet1_0",
    weight=_weight(
        "squeezenet1_0", "BSD-2-Clause", "3699e2827792ac4be87dc54be3c35876fa904b98a4d794c99f7365ffd15a7ede", 1495789
    ),
    origin=(
        "squeezenet1_0-deep-compression.safetensors",
        "c5e59a7f153339d5bee60b0b4e7f9ccc70ebabc623e8465cc3b4b85978aa77d9",
    ),
    together=1,
)
YAMNET = Embedded(
    title="YAMNet",
    weight=_weight("yamnet", "Apache-2.0", "83194df12ee63ff9737eb52c624fd15740c5217261c7e38cefed6e69caeec3fa", 3287478),
    origin=("yamnet.tflite", "687f226c147a2caab4706fbbab5e9cecb14b9a368264bf61108078b1fddf68f5"),
    together=8,
)
AISFX = Embedded(
    title="aiSFX",
    weight=_weight("aisfx", "CC-BY-4.0", "7f38287f01ce6eaf0ab1f5bed1e9c955b94b14e1b9634a212b0770c43e9a9e53", 9459219),
    origin=("aisfx.safetensors", "d396346cecc43677694fe85541c6ce87087fd22a9cfcefe2d15f8f6772c9a186"),
    together=1,
)

_TRAINED_ON = {"mtt": "MagnaTagATune", "msd": "the Million Song Dataset"}


def components() -> Iterator[ComponentSpec]:
    """Yield the embedded networks."""
    both: Any = ("onnx", "torch")
    yield _spec(
        EFFICIENTAT,
        "EfficientAT mn04, AudioSet tagger; weights included",
        "EfficientAT",
        engines=both,
        shape=(128, None),
        dimension=384,
        frontend="efficientat-mel",
        aliases=("asd-audioset:efficientat-mn04",),
        restricted={"weights": ("default", "random")},
    )
    for model, network in MUSICNN.items():
        yield _spec(
            network,
            f"MusiCNN music tagger trained on {_TRAINED_ON[model]}; weights included",
            "Musicnn",
            preset={"model": model},
            engines=both,
            shape=(None, 96),
            dimension=753,
            frontend="musicnn-mel",
            aliases=(f"asd-essentia:musicnn-{model}",),
        )
    yield _spec(
        SQUEEZENET,
        "SqueezeNet 1.0, last feature map 2x2 pooled; weights included",
        "SqueezeNet",
        engines=both,
        shape=(3, 224, 224),
        dimension=2048,
        frontend="mel-image",
        aliases=("asd-imagenet:squeezenet1_0",),
        restricted={"weights": ("default", "random", "IMAGENET1K_V1"), "layer": None},
    )
    yield _spec(
        YAMNET,
        "YAMNet, AudioSet tagger on 0.96 s patches; weights included",
        "YAMNet",
        engines=("onnx",),
        shape=(96, 64),
        dimension=1024,
        frontend="yamnet-mel",
    )
    yield _spec(
        AISFX,
        "aiSFX, trained on sound effects and their categories; weights included",
        "AiSFX",
        engines=("onnx",),
        shape=(None, 96),
        dimension=512,
        frontend="aisfx-mel",
    )


def _spec(network: Embedded, summary: str, target: str, **fields: Any) -> ComponentSpec:
    return ComponentSpec(
        kind="extractor",
        name=network.name,
        summary=summary,
        target=f"asd_onnx.networks:{target}",
        licence=f"Apache-2.0; ONNX Runtime MIT; weights {network.weight.licence}",
        weights=(network.weight,),
        **fields,
    )
