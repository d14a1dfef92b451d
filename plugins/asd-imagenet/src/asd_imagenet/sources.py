"""Published weight files of a model, and how a weight file is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

import asd_torch
from asd_imagenet.models import weight_sets
from asd_imagenet.plugin import EMBEDDED, EMBEDDED_MODEL, official_weight
from asd_registry import WeightFile

_SWAG_LICENCE = "CC-BY-NC-4.0"
_OLD_DENSENET_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def published(model: str) -> dict[str, WeightFile]:
    """Return the published weight files of a model by the names that users give; "default" is one of them."""
    # torchvision names a licence only where it is another one than its own: that of SWAG.
    sets = {
        name: official_weight(chosen.url, _SWAG_LICENCE if "license" in chosen.meta else "BSD-3-Clause")
        for name, chosen in weight_sets(model).items()
    }
    if model == EMBEDDED_MODEL:
        return {"default": EMBEDDED, **sets}
    return {"default": next(iter(sets.values())), **sets} if sets else {}


def load(network: nn.Module, path: Path, model: str) -> None:
    """Load the weight file `path` into `network`, built as `model`.

    Raises
    ------
    AsdError
        If it is no weight file or does not fit; the number of classes is free.
    """
    # Official DenseNet files are older than torch's ban on dots in module names.
    tensors = {_OLD_DENSENET_NAME.sub(r"\1\2", name): t for name, t in asd_torch.read_tensors(path).items()}
    asd_torch.load_into(network, _with_expected_classes(network, tensors), model, str(path))


def _with_expected_classes(network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Replace a final layer of another number of classes: features are taken before it."""
    *_, (name, classifier) = ((n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d))
    fitted = dict(tensors)
    for part, expected in classifier.named_parameters():
        given = tensors.get(f"{name}.{part}")
        if given is not None and given.shape[1:] == expected.shape[1:]:
            fitted[f"{name}.{part}"] = given[:1].expand_as(expected)
    return fitted
