"""Find the weight file that the parameter `weights` names, and load it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import torch
from torch import nn

import asd_torch
from asd.errors import ConfigError, WeightError
from asd.plugin import digest_of
from asd_imagenet.models import weight_sets
from asd_imagenet.plugin import EMBEDDED, official_weight
from asd_registry import WeightFile

_SUFFIXES = frozenset({".safetensors", ".pth", ".pt", ".bin", ".th"})
_SWAG_LICENCE = "CC-BY-NC-4.0"
_OLD_DENSENET_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def check_weights(model: str, weights: str, sha256: str | None) -> None:
    """Raise a ConfigError if `weights` cannot name anything for `model`; nothing is looked up yet."""
    if sha256 is not None and not re.fullmatch(r"[0-9a-f]{8,64}", sha256):
        raise ConfigError(f"weights_sha256 must be 8 to 64 hexadecimal digits in lower case, got {sha256!r}")
    if _is_url(weights):
        if sha256 is None:
            raise ConfigError(f"weights from {weights} need weights_sha256, the file's SHA-256, to be trusted")
    elif weights == "default":
        if not weight_sets(model):
            raise ConfigError(f"{model} has no default weights; give weights: a file, a URL, or random")
    elif weights != "random" and not _is_path(weights) and weights not in weight_sets(model):
        sets = ", ".join(weight_sets(model)) or "none"
        raise ConfigError(
            f"weights {weights!r} are neither a weight set of {model} ({sets}), nor default, random, a file or a URL"
        )


def find_weights(model: str, weights: str, sha256: str | None) -> Path:
    """Return the verified local file that `weights` (anything but ``random``) names, downloading it if need be.

    Raises
    ------
    WeightError
        If the file is missing, is not the expected one, or cannot be brought.
    """
    if weights == "default" and model == "squeezenet1_0":
        return _verified(Path(str(resources.files("asd_imagenet") / "weights" / EMBEDDED.name)), EMBEDDED.sha256)
    if _is_url(weights):
        return _fetch(WeightFile(name=_file_name(weights), licence="unknown", url=weights, sha256=sha256 or ""))
    sets = weight_sets(model)
    if weights in sets or weights == "default":
        chosen = next(iter(sets.values())) if weights == "default" else sets[weights]
        # torchvision names a licence only where it is another one than its own: that of SWAG.
        licence = _SWAG_LICENCE if "license" in chosen.meta else "BSD-3-Clause"
        return _fetch(official_weight(chosen.url, licence))
    return _verified(Path(weights).expanduser(), sha256)


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
    """Stand in for a final layer of another number of classes: features are taken before it."""
    *_, (name, classifier) = ((n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d))
    fitted = dict(tensors)
    for part, expected in classifier.named_parameters():
        given = tensors.get(f"{name}.{part}")
        if given is not None and given.shape[1:] == expected.shape[1:]:
            fitted[f"{name}.{part}"] = given[:1].expand_as(expected)
    return fitted


def _is_url(weights: str) -> bool:
    return weights.startswith(("https://", "http://", "file://"))


def _is_path(weights: str) -> bool:
    return "/" in weights or "\\" in weights or Path(weights).suffix in _SUFFIXES or Path(weights).is_file()


def _file_name(url: str) -> str:
    return url.partition("?")[0].rstrip("/").rpartition("/")[2]


def _fetch(weight: WeightFile) -> Path:
    from asd.plugin import locate

    return locate(weight, alternative="squeezenet1_0")


def _verified(path: Path, sha256: str | None) -> Path:
    if not path.is_file():
        raise WeightError(f"{path}: no such weight file")
    if sha256 is not None:
        digest = digest_of(path)
        if not digest.startswith(sha256):
            raise WeightError(f"{path}: another file than expected: its sha256 is {digest}, expected {sha256}")
    return path
