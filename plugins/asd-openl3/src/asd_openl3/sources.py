"""Find the weight file that the parameter `weights` names."""

from __future__ import annotations

import re
from pathlib import Path

from asd.errors import ConfigError, WeightError
from asd.plugin import digest_of
from asd_openl3.first_use import locate_first_use
from asd_openl3.plugin import MUSIC_MEL256, URL, WEIGHT_LICENCE
from asd_registry import WeightFile

_NAMED = re.compile(r"(linear|mel128|mel256)_(music|env)")
_ALTERNATIVE = "efficientat-mn04"


def check(weights: str, sha256: str | None, *, content: str, representation: str) -> None:
    """Raise a ConfigError if `weights` cannot name weights of this network; nothing is looked up yet."""
    if sha256 is not None and not re.fullmatch(r"[0-9a-f]{8,64}", sha256):
        raise ConfigError(f"weights_sha256 must be 8 to 64 hexadecimal digits in lower case, got {sha256!r}")
    if weights in ("default", "random"):
        return
    if _is_url(weights) and sha256 is None:
        raise ConfigError(f"weights from {weights} need weights_sha256, the file's SHA-256, to be trusted")
    _check_name(_file_name(weights), content, representation)


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
    """Return the local file that `weights` (anything but ``random``) names, downloading it if need be.

    Raises
    ------
    WeightError
        If the file is missing, is not the expected one, or cannot be brought.
    """
    if weights == "default":
        return _default(f"openl3_audio_{representation}_{content}-v0_4_0.h5.gz", sha256)
    if _is_url(weights):
        return _stored(WeightFile(name=_file_name(weights), licence="unknown", url=weights, sha256=sha256 or ""))
    path = Path(weights).expanduser()
    if not path.is_file():
        raise WeightError(f"{path}: no such weight file; give default, random, a file or a URL")
    if sha256 is not None and not (digest := digest_of(path)).startswith(sha256):
        raise WeightError(f"{path}: another file than expected: its sha256 is {digest}, expected {sha256}")
    return path


def _default(name: str, sha256: str | None) -> Path:
    if sha256 is not None:
        return _stored(WeightFile(name=name, licence=WEIGHT_LICENCE, url=URL + name, sha256=sha256))
    if name == MUSIC_MEL256.name:
        return _stored(MUSIC_MEL256)
    return locate_first_use(name, URL + name, WEIGHT_LICENCE)


def _stored(weight: WeightFile) -> Path:
    from asd.plugin import locate

    return locate(weight, alternative=_ALTERNATIVE)


def _is_url(weights: str) -> bool:
    return weights.startswith(("https://", "http://", "file://"))


def _file_name(weights: str) -> str:
    return weights.partition("?")[0].rstrip("/").replace("\\", "/").rpartition("/")[2]
