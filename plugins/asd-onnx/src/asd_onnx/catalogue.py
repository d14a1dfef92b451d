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
        "efficientat-mn04", "MIT", "f3f099111c3282f7155335211be4cde8eb144d1716a6c28133c24c15f1387006", 1110552
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
            "musicnn-mtt", "ISC", "b8482ecedd3db702e3604063e7953cd3faeab24750ce448275ad3a721944b4d4", 3261846
        ),
        origin=("mtt-musicnn.safetensors", "cf61fd5fc73fb2d4d30a0f30dfdbfca2ebbff6c25a72ae57acb734db53f3b897"),
        together=1,
    ),
    "msd": Embedded(
        title="musicnn-msd",
        weight=_weight(
            "musicnn-msd", "ISC", "2f6bc2aac9e34737503214d380261288f3fd22e2e8c70f29928d60c448a764fc", 3261846
        ),
        origin=("msd-musicnn.safetensors", "ea4a2ecc2b1bf5c3341cb7f99eb3dc519fdf2d49a441a7fd622eb1170c148595"),
        together=1,
    ),
}
SQUEEZENET = Embedded(
    title="squeezenet1_0",
    weight=_weight(
        "squeezenet1_0", "BSD-2-Clause", "ccd3ad7741640d976a41e0ae47fa2f1d69143751174b6b3ce3e54135fe05a15d", 1495793
    ),
    origin=(
        "squeezenet1_0-deep-compression.safetensors",
        "c5e59a7f153339d5bee60b0b4e7f9ccc70ebabc623e8465cc3b4b85978aa77d9",
    ),
    together=1,
)
YAMNET = Embedded(
    title="YAMNet",
    weight=_weight("yamnet", "Apache-2.0", "ae93d1136f6eee53c04f82e155db7a922cd3f8360cc92a9ccfcc7e6fb30929d4", 3287486),
    origin=("yamnet.tflite", "687f226c147a2caab4706fbbab5e9cecb14b9a368264bf61108078b1fddf68f5"),
    together=8,
)
AISFX = Embedded(
    title="aiSFX",
    weight=_weight("aisfx", "CC-BY-4.0", "b7ad520c40e123dbd72b9b9e0d73a99df2be007943ab22a137a8b528f9ee1865", 9459227),
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
