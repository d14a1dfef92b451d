"""Find the weight file that a component's parameters name."""

from __future__ import annotations

import re
from pathlib import Path

from asd.errors import ConfigError, WeightError
from asd.plugin import digest_of
from asd_registry import WeightFile

_ALTERNATIVE = "efficientat-mn04"


def check(weights: str, sha256: str | None) -> None:
    """Raise a ConfigError if the two cannot name a file that can be trusted; nothing is looked up yet."""
    if sha256 is not None and not re.fullmatch(r"[0-9a-f]{8,64}", sha256):
        raise ConfigError(
            f"weights_sha256 is {sha256!r}, expected 8 to 64 hexadecimal digits in lower case; see 'sha256sum FILE'"
        )
    if _is_url(weights) and sha256 is None:
        raise ConfigError(
            f"weights from {weights} need the file's SHA-256 to be trusted; add --extractor.weights_sha256"
        )


def find(weights: str, sha256: str | None, default: WeightFile | None) -> Path:
    """Return the verified local weight file, downloading it if need be.

    Parameters
    ----------
    weights : str
        ``default``, a path, or a URL.
    sha256 : str or None
        What the file's hash must begin with.
    default : WeightFile or None
        What ``default`` stands for.

    Raises
    ------
    WeightError
        If the file is missing, is another one than expected, or cannot be brought.
    """
    if weights == "default" and default is not None:
        return _verified(_stored(default), sha256)
    if _is_url(weights):
        name = weights.partition("?")[0].rstrip("/").rpartition("/")[2]
        return _stored(WeightFile(name=name, licence="unknown", url=weights, sha256=sha256 or ""))
    path = Path(weights).expanduser()
    if not path.is_file():
        raise WeightError(f"{path}: no such weight file; give a path, a URL, default or random (--extractor.weights)")
    return _verified(path, sha256)


def _verified(path: Path, sha256: str | None) -> Path:
    if sha256 is not None and not (digest := digest_of(path)).startswith(sha256):
        raise WeightError(
            f"{path}: another file than expected: its sha256 is {digest}, expected {sha256}; correct "
            "--extractor.weights_sha256 or fetch the file again"
        )
    return path


def _is_url(weights: str) -> bool:
    return weights.startswith(("https://", "http://", "file://"))


def _stored(weight: WeightFile) -> Path:
    from asd.plugin import locate

    return locate(weight, alternative=None if weight.url is None else _ALTERNATIVE)
