"""What this distribution offers to asd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from asd_audioset.published import EFFICIENTAT_MN10, EMBEDDED, VGGISH, YAMNET
from asd_registry import ComponentSpec, WeightFile, hookimpl

_TORCH = "torch>=2.6"
_RESTRICTED: dict[str, Any] = {"weights": ("default", "random")}
_LICENCE = "Apache-2.0; PyTorch BSD-3-Clause"


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the networks; the front end that each was trained with is in asd-frontends."""
    yield _efficientat("efficientat-mn04-torch", "The same as efficientat-mn04, computed by PyTorch", EMBEDDED, 384)
    yield _efficientat("efficientat", "EfficientAT of any width, named by --extractor.model", EFFICIENTAT_MN10, 960)
    yield ComponentSpec(
        kind="extractor",
        name="yamnet-keras",
        summary="YAMNet with Google's float32 weights (yamnet.h5) in PyTorch",
        target="asd_audioset.yamnet:YAMNet",
        licence=f"{_LICENCE}; weights {YAMNET.licence}",
        requires=(_TORCH, "h5py>=3.10"),
        engines=("torch",),
        shape=(96, 64),
        dimension=1024,
        weights=(YAMNET,),
        frontend="yamnet-mel",
        aliases=("asd-audioset:yamnet",),
        alternative="yamnet",
        restricted=_RESTRICTED,
    )
    yield ComponentSpec(
        kind="extractor",
        name="vggish-audioset",
        summary="VGGish, the AudioSet release's embedding of 0.96 s patches",
        target="asd_audioset.vggish:VGGish",
        licence=f"{_LICENCE}; weights {VGGISH.licence}",
        requires=(_TORCH,),
        engines=("torch",),
        shape=(96, 64),
        dimension=128,
        weights=(VGGISH,),
        frontend="vggish-mel",
        restricted=_RESTRICTED,
    )


def _efficientat(name: str, summary: str, weight: WeightFile, dimension: int) -> ComponentSpec:
    return ComponentSpec(
        kind="extractor",
        name=name,
        summary=summary,
        target="asd_audioset.efficientat:EfficientAT",
        licence=f"{_LICENCE}; weights {weight.licence}",
        preset={"model": "mn04_as"} if weight is EMBEDDED else {},
        requires=(_TORCH,),
        engines=("torch",),
        shape=(128, None),
        dimension=dimension,
        weights=(weight,),
        frontend="efficientat-mel",
        alternative="efficientat-mn04" if weight is EMBEDDED else None,
        restricted=_RESTRICTED,
    )
