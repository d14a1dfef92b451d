"""The published weight files and their addresses."""

from __future__ import annotations

from dataclasses import dataclass

from asd_registry import WeightFile

EMBEDDED = WeightFile(
    name="efficientat-mn04_as.safetensors",
    licence="MIT",
    sha256="c86e362ec0a8b91faffa2533a8c5b20e7bbd0c792abebee9c3e9ce3c5383ea66",
    size=2012446,
)
"""EfficientAT mn04_as in half precision, inside this package."""

# Neither Google nor the author of EfficientAT states a hash: these are the ones that several independent projects
# pinned for the very URL (looked up in November 2026). A wrong one can only refuse a file, never let one in.
EFFICIENTAT_MN10 = WeightFile(
    name="mn10_as_mAP_471.pt",
    licence="MIT",
    url="https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/mn10_as_mAP_471.pt",
    sha256="0bd7dc2443af498c289a2e739f02ebb515d6aa3fd3ab9db539c86123ae368a4e",
    size=19708753,
)
YAMNET = WeightFile(
    name="yamnet.h5",
    licence="Apache-2.0",
    url="https://storage.googleapis.com/audioset/yamnet.h5",
    sha256="13c3308955bbfaef262f175ac9c40e47b134573a93984f009220dd7cc12a1744",
    size=15296092,
)
# Here the publisher states the hash: its first digits are part of the file's name.
VGGISH = WeightFile(
    name="vggish-10086976.pth",
    licence="Apache-2.0",
    url="https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
    sha256="10086976",
)


@dataclass(frozen=True)
class EfficientATModel:
    """A network of EfficientAT's release.

    Parameters
    ----------
    width : float
        Multiplier of the channels of MobileNetV3-Large.
    url : str
        Where the author publishes its weights.
    weight : WeightFile or None
        The same with a hash, or the file inside this package; None: no hash is known.
    """

    width: float
    url: str
    weight: WeightFile | None = None


def _release(file: str) -> str:
    return f"https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/{file}"


EFFICIENTAT_MODELS = {
    "mn01_as": EfficientATModel(0.1, _release("mn01_as_mAP_298.pt")),
    "mn02_as": EfficientATModel(0.2, _release("mn02_as_mAP_378.pt")),
    "mn04_as": EfficientATModel(0.4, _release("mn04_as_mAP_432.pt"), EMBEDDED),
    "mn05_as": EfficientATModel(0.5, _release("mn05_as_mAP_443.pt")),
    "mn10_as": EfficientATModel(1.0, _release("mn10_as_mAP_471.pt"), EFFICIENTAT_MN10),
    "mn20_as": EfficientATModel(2.0, _release("mn20_as_mAP_478.pt")),
    "mn30_as": EfficientATModel(3.0, _release("mn30_as_mAP_482.pt")),
    "mn40_as": EfficientATModel(4.0, _release("mn40_as_mAP_484.pt")),
    "mn40_as_ext": EfficientATModel(4.0, _release("mn40_as_ext_mAP_487.pt")),
}
"""Networks that share architecture and front end, by their author's names; the files' names state the mAP × 1000."""
