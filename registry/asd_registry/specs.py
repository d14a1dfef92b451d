"""What a plugin says about its components and commands: plain data, importable without anything heavy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

API_VERSION = 1
"""The version of the contract between the framework and its plugins."""

Kind = Literal["frontend", "extractor", "detector", "dataset"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PIPELINE_KINDS: tuple[Kind, ...] = ("frontend", "extractor", "detector")
"""What a pipeline is made of, in the order in which sound passes through it."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """A file of pretrained weights.

    Parameters
    ----------
    name : str
        File name, unique among all weight files.
    licence : str
        Licence of the weights (SPDX identifier where there is one).
    url : str or None
        Where the publisher offers the file; None for a file that ships inside the distribution.
    sha256 : str
        The file's SHA-256 in hexadecimal, or as many leading digits (8 or more) as the publisher states.
    size : int or None
        Bytes, None if the publisher does not say.
    """

    name: str
    licence: str
    sha256: str
    url: str | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{8,64}", self.sha256):
            raise ValueError(f"weight file {self.name}: sha256 must be 8 to 64 hexadecimal digits, got {self.sha256!r}")


@dataclass(frozen=True, kw_only=True)
class ComponentSpec:
    """A front end, extractor, detector or dataset that a plugin offers.

    Parameters
    ----------
    kind : {"frontend", "extractor", "detector", "dataset"}
        Which interface of ``asd`` the target implements.
    name : str
        Lower-case name that users type; unique among the installed components of its kind.
    summary : str
        One line for ``asd plugins``.
    target : str
        ``"package.module:Class"``; imported when a component is created, never when it is listed.
    licence : str
        Licence of the component with everything it needs at run time (an AGPL dependency is named here); of a dataset:
        the recordings' licence.
    preset : mapping of str to Any
        Constructor arguments that this name fixes, so that one class can serve many names.
    requires : tuple of str
        Requirements (PEP 508) that must be installed for the component to work.
    sample_rate : int or None
        Rate in Hz that a front end needs; None if a parameter decides.
    shape : tuple of (int or None), or None
        Shape of one window that a front end produces or an extractor takes; None if a parameter decides.
    dimension : int or None
        Length of an extractor's embedding with default parameters; None if a parameter decides.
    weights : tuple of WeightFile
        Pretrained weights used with default parameters.
    frontend : str or None
        The front end used when the user names none.
    extractor : str or None
        For detectors that work on spectrograms: the extractor used when the user names none.
    aliases : tuple of str
        Former names of the component: they keep working, with a warning.
    alternative : str or None
        A component of the same kind that does the same without the requirements, told where one is missing.
    api_version : int
        Version of the plugin contract that the component was written for.
    """

    kind: Kind
    name: str
    summary: str
    target: str
    licence: str
    preset: Mapping[str, Any] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    sample_rate: int | None = None
    shape: tuple[int | None, ...] | None = None
    dimension: int | None = None
    weights: tuple[WeightFile, ...] = ()
    frontend: str | None = None
    extractor: str | None = None
    aliases: tuple[str, ...] = ()
    alternative: str | None = None
    api_version: int = API_VERSION

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"component {self.name!r}: kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        _check_common(self.name, self.summary, self.target)
        for alias in self.aliases:
            _check_name(alias)
        if len(set(self.names)) < len(self.names):
            raise ValueError(f"component {self.name!r}: aliases must be other names than its own, got {self.aliases}")
        if not self.licence.strip():
            raise ValueError(f"component {self.name!r}: licence must not be empty")

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the former ones."""
        return self.name, *self.aliases


@dataclass(frozen=True, kw_only=True)
class CommandSpec:
    """A command that a plugin adds to ``asd``.

    Parameters
    ----------
    name : str
        What users type after ``asd``.
    summary : str
        One line for ``asd --help``.
    target : str
        ``"package.module:command"``, a ``click.Command``; imported when the command runs.
    api_version : int
        Version of the plugin contract that the command was written for.
    """

    name: str
    summary: str
    target: str
    api_version: int = API_VERSION

    def __post_init__(self) -> None:
        _check_common(self.name, self.summary, self.target)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"name must be lower-case letters, digits, '.', '_' or '-', got {name!r}")


def _check_common(name: str, summary: str, target: str) -> None:
    _check_name(name)
    if not summary.strip() or "\n" in summary:
        raise ValueError(f"{name!r}: summary must be one line, got {summary!r}")
    if not _TARGET.fullmatch(target):
        raise ValueError(f"{name!r}: target must look like 'package.module:Class', got {target!r}")
