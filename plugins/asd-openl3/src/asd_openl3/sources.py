"""Find the weight file that the parameter `weights` names."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from asd.errors import ConfigError
from asd.plugin import check_weights, locate_on_first_use, resolve_weights
from asd_openl3.hdf5 import read_weights
from asd_openl3.plugin import MUSIC_MEL256, URL
from asd_registry import WeightFile

_NAMED = re.compile(r"(linear|mel128|mel256)_(music|env)")
_ALTERNATIVE = "efficientat-mn04"


def check(weights: str, sha256: str | None, *, content: str, representation: str) -> None:
    """Raise a ConfigError if `weights` cannot name weights of this network; neither disk nor network is used."""
    check_weights(weights, ("default", "random"), sha256=sha256)
    _check_name(PurePosixPath(weights.partition("?")[0].replace("\\", "/")).name, content, representation)


def _check_name(name: str, content: str, representation: str) -> None:
    """Refuse another network's file by its name: the tensors of all six files have the same shapes."""
    found = _NAMED.search(name)
    if found and found[1] != representation:
        raise ConfigError(
            f"{name} holds the weights for {found[1]}, the network was asked for {representation}: take the file for "
            f"{representation}, or add --extractor.representation {found[1]} --frontend.representation {found[1]}"
        )
    if found and found[2] != content:
        raise ConfigError(f"{name} holds the weights of openl3-{found[2]}; use that, or the file of openl3-{content}")


def find(weights: str, sha256: str | None, *, content: str, representation: str) -> Path:
    """Return the local file that `weights` (anything but ``random``) names, downloading it if it is absent.

    Raises
    ------
    WeightError
        If the file is missing, is not the expected one, or cannot be downloaded.
    """
    name = f"openl3_audio_{representation}_{content}-v0_4_0.h5.gz"
    default: WeightFile | str = URL + name
    if sha256 is None and name == MUSIC_MEL256.name:
        default = MUSIC_MEL256
    elif sha256 is None and weights == "default":
        return locate_on_first_use(name, URL + name, read_weights)
    return resolve_weights(weights, {"default": default}, sha256=sha256, alternative=_ALTERNATIVE)
