"""Find the weight file that a component's parameters name: a published one, a path, or a URL with its hash."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from asd.errors import ConfigError, WeightError
from asd.files.digest import digest_of
from asd.files.weights import locate
from asd_registry import WeightFile

_URL = re.compile(r"(?:https?|file)://[^?#]*/([^/?#]+)(?:[?#].*)?", re.IGNORECASE)
"""An address that can be fetched; the group is the file's name."""

_WHOLE = 64
"""Hexadecimal digits of a SHA-256."""


def check_weights(
    text: str,
    known: Collection[str],
    *,
    sha256: str | None = None,
    parameters: tuple[str, str] = ("weights", "weights_sha256"),
    digits: int = 8,
) -> None:
    """Raise an error if `text` and `sha256` cannot name weights; for constructors: neither disk nor network is used.

    Parameters
    ----------
    text : str
        What the user gave: a name of `known`, a path (with a folder or a suffix), or a URL.
    known : collection of str
        Names that are neither path nor URL, such as "default" and "random".
    sha256 : str or None
        SHA-256 that the file must have, or its leading digits; a URL needs it whole, as a few digits can be forged.
    parameters : (str, str)
        What the component's parameters for `text` and `sha256` are called, for messages.
    digits : int
        The least number of digits that `sha256` must have.

    Raises
    ------
    ConfigError
        The text says what is expected.
    """
    name, hash_name = parameters
    if sha256 is not None and not re.fullmatch(rf"[0-9a-f]{{{digits},64}}", sha256):
        number = "64" if digits == 64 else f"{digits} to 64"
        raise ConfigError(f"{hash_name} is {sha256!r}, expected {number} hexadecimal digits in lower case")
    if text in known:
        return
    if "://" in text:
        if not _URL.fullmatch(text):
            raise ConfigError(f"{name} is {text!r}, expected the https, http or file URL of a file")
        if sha256 is None:
            raise ConfigError(
                f"{text} needs {hash_name}, the file's SHA-256, to be trusted; or fetch it yourself and give its path"
            )
        if len(sha256) < _WHOLE:
            raise ConfigError(
                f"{text} needs {hash_name} with all {_WHOLE} digits, got {sha256!r}: another file can be made to begin "
                "with a few; or fetch it yourself and give its path"
            )
    elif not Path(text).suffix and not re.search(r"[/\\]", text):
        if text == "default":
            raise ConfigError(f"there are no default {name}; give {', '.join((*known, 'a file or a URL'))}")
        hint = f"; write ./{text} for a file of that name" if text else ""
        raise ConfigError(f"{name} is {text!r}, expected {', '.join((*known, 'a file or a URL'))}{hint}")


def resolve_weights(
    text: str,
    known: Mapping[str, WeightFile | str],
    *,
    sha256: str | None = None,
    parameters: tuple[str, str] = ("weights", "weights_sha256"),
    digits: int = 8,
    alternative: str | None = None,
) -> Path:
    """Return the verified local file that `text` names, downloading it if it is absent.

    Parameters
    ----------
    text, sha256, parameters, digits
        As for `check_weights`.
    known : mapping of str to (WeightFile or str)
        Published files by the names that stand for them: ``{"default": WeightFile(…)}``; the URL alone of one whose
        publisher states no hash, so that the user must give it.
    alternative : str or None
        A component that needs no download, for the error's text.

    Raises
    ------
    ConfigError
        As for `check_weights`.
    WeightError
        If the file is missing, is another one than expected, or cannot be downloaded.
    """
    named = known.get(text, text)
    if isinstance(named, str):
        text = named
    check_weights(text, known, sha256=sha256, parameters=parameters, digits=digits)
    if isinstance(named, WeightFile):
        path = locate(named, alternative=alternative)
    elif url := _URL.fullmatch(text):
        try:
            weight = WeightFile(name=url[1], licence="unknown", url=text, sha256=sha256 or "")
        except ValueError as error:
            raise ConfigError(f"{parameters[0]} is {text!r}, whose end is no file's name ({error})") from error
        return locate(weight, alternative=alternative, published=False)
    else:
        path = Path(text).expanduser()
        if not path.is_file():
            raise WeightError(f"{path}: no such weight file; give {', '.join((*known, 'a file or a URL'))}")
    if sha256 is not None and not (digest := digest_of(path)).startswith(sha256):
        raise WeightError(
            f"{path}: another file than expected: its sha256 is {digest}, expected {sha256}; correct {parameters[1]} "
            "or fetch the file again"
        )
    return path
