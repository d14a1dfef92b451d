"""What a plugin says about its components and commands: plain data, importable without anything heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from asd_registry import rules

API_VERSION = 1
"""The version of the contract between the framework and its plugins."""

Kind = Literal["frontend", "extractor", "detector", "dataset", "source", "sink", "engine"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PIPELINE_KINDS: tuple[Kind, ...] = ("frontend", "extractor", "detector")
"""What a pipeline is made of, in the order in which sound passes through it."""

Engine = Literal["onnx", "torch"]
ENGINES: tuple[Engine, ...] = get_args(Engine)


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """A file of pretrained weights.

    Parameters
    ----------
    name : str
        File name without a folder, unique among all weight files.
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
        rules.check(self, "weight file", _WEIGHT_RULES)


@dataclass(frozen=True, kw_only=True)
class ComponentSpec:
    """A component that a plugin offers.

    Parameters
    ----------
    kind : {"frontend", "extractor", "detector", "dataset", "source", "sink", "engine"}
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
        Of a front end: rate in Hz that it needs; None if a parameter decides.
    shape : tuple of (int or None), or None
        Of a front end or an extractor: shape of one window; None if a parameter decides.
    dimension : int or None
        Of an extractor: length of the embedding with default parameters; None if a parameter decides.
    needs : tuple of str
        Parameters without a default that works: the user must give them.
    weights : tuple of WeightFile
        Of an extractor or a detector: pretrained weights used with default parameters.
    first_use : tuple of str
        Of an extractor or a detector: names of files that are used with default parameters and whose publisher states
        no hash (``asd.plugin.locate_on_first_use``).
    frontend : str or None
        Of an extractor or a detector: the front end used when the user names none. One of the same distribution comes
        before others of this name.
    extractor : str or None
        Of a detector that works on spectrograms: the extractor used when the user names none.
    aliases : tuple of str
        Former names of the component: they keep working, with a warning. ``distribution:name`` is the former name of a
        component that another distribution offered: it counts where that one is not installed, or lacks the component.
    engines : tuple of {"onnx", "torch"}
        Of an extractor: what can run its network; the user chooses by ``--engine``. The first is the usual one. Empty:
        it has no network, or does not say. If there are several, the target's module imports none of them.
    any_threads : bool
        Of a front end or an extractor: whether its numbers are the same, bit for bit, by any number of threads; of a
        network, by the first of its engines. Embeddings in the cache then serve processes of other numbers of threads.
        A sum in another order, as in a large product of matrices, makes it untrue.
    alternative : str or None
        A component of the same kind that does the same without the requirements; named where one is missing.
    restricted : mapping of str to (tuple or None)
        Parameters that fetch, open or run what they name, each with the values that do no such thing
        (``{"weights": ("default", "random")}``): only these, and None, are allowed in a model file that the user has
        not consented to. In place of the tuple, None allows every value. Of parameters that are not named here, text
        that looks like a path or an address is refused.
    api_version : int
        Version of the plugin contract that the component was written for.

    Raises
    ------
    ValueError
        If a field has another type or form, or says nothing of this kind.
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
    needs: tuple[str, ...] = ()
    weights: tuple[WeightFile, ...] = ()
    first_use: tuple[str, ...] = ()
    frontend: str | None = None
    extractor: str | None = None
    aliases: tuple[str, ...] = ()
    engines: tuple[Engine, ...] = ()
    any_threads: bool = False
    alternative: str | None = None
    restricted: Mapping[str, tuple[Any, ...] | None] = field(default_factory=dict)
    api_version: int = API_VERSION

    def __post_init__(self) -> None:
        for listed in ("requires", "shape", "needs", "weights", "first_use", "aliases", "engines"):
            if isinstance(value := getattr(self, listed), list):
                object.__setattr__(self, listed, tuple(value))
        rules.check(self, "component", _COMPONENT_RULES)
        object.__setattr__(self, "preset", dict(self.preset))
        object.__setattr__(self, "restricted", dict(self.restricted))
        if len({self.name, *self.aliases}) <= len(self.aliases):
            raise ValueError(f"component {self.name!r}: aliases must be other names than its own, got {self.aliases}")
        for name, kinds in _KINDS_WITH.items():
            if self.kind not in kinds and getattr(self, name) not in (None, (), False):
                raise ValueError(f"component {self.name!r}: {self.kind} specs take no {name}: leave it out")

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the former ones, without those of other distributions."""
        return self.name, *(alias for alias in self.aliases if ":" not in alias)

    @property
    def moved_from(self) -> tuple[str, ...]:
        """The former names, ``distribution:name``, under which other distributions offered the component."""
        return tuple(alias for alias in self.aliases if ":" in alias)


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
        ``"package.module:command"``, a ``click.Command``; imported when the command runs. It sets the exit code by
        ``ctx.exit(code)``; what it returns is ignored.
    api_version : int
        Version of the plugin contract that the command was written for.
    """

    name: str
    summary: str
    target: str
    api_version: int = API_VERSION

    def __post_init__(self) -> None:
        rules.check(self, "command", _COMMAND_RULES)


@dataclass(frozen=True, kw_only=True)
class TrackerSpec:
    """An experiment tracker to which ``asd bench --tracking NAME`` hands its results.

    Parameters
    ----------
    name : str
        What users type.
    summary : str
        One line.
    target : str
        ``"package.module:function"``, imported when it is used. The function takes one mapping, made of what JSON
        holds: ``name`` of the benchmark, ``parameters`` (where the results come from, by name), ``pipelines`` (a list,
        the best first, of mappings with ``name``, ``parameters`` and ``metrics``) and ``files`` (paths). It returns
        where the results are to be seen, as text, or None.
    requires : tuple of str
        Requirements (PEP 508) that must be installed for it.
    api_version : int
        Version of the plugin contract that it was written for.
    """

    name: str
    summary: str
    target: str
    requires: tuple[str, ...] = ()
    api_version: int = API_VERSION

    def __post_init__(self) -> None:
        if isinstance(self.requires, list):
            object.__setattr__(self, "requires", tuple(self.requires))
        rules.check(self, "tracker", {**_COMMAND_RULES, "requires": _COMPONENT_RULES["requires"]})


_COMMAND_RULES: rules.Rules = {
    "name": rules.NAME,
    "summary": rules.LINE,
    "target": rules.TARGET,
    "api_version": rules.COUNT,
}
_COMPONENT_RULES: rules.Rules = {
    **_COMMAND_RULES,
    "kind": rules.one_of(KINDS),
    "licence": rules.LINE,
    "preset": rules.PARAMETERS,
    "requires": rules.tuple_of(rules.LINE, "requirements such as 'torch>=2.6'"),
    "sample_rate": rules.optional(rules.COUNT),
    "shape": rules.optional(rules.tuple_of(rules.optional(rules.COUNT), "whole numbers above 0 (None: any length)")),
    "dimension": rules.optional(rules.COUNT),
    "needs": rules.tuple_of(rules.PARAMETER, "names of parameters"),
    "weights": rules.tuple_of(rules.instance_of(WeightFile), "WeightFile objects"),
    "first_use": rules.tuple_of(rules.FILE_NAME, "file names"),
    "frontend": rules.optional(rules.REFERENCE),
    "extractor": rules.optional(rules.REFERENCE),
    "aliases": rules.tuple_of(rules.REFERENCE, f"names, or distribution:name, of {rules.NAME.expected}"),
    "engines": rules.tuple_of(rules.one_of(ENGINES), f"engines of {', '.join(ENGINES)}"),
    "any_threads": rules.instance_of(bool),
    "alternative": rules.optional(rules.LINE),
    "restricted": rules.RESTRICTED,
}
_WEIGHT_RULES: rules.Rules = {
    "name": rules.FILE_NAME,
    "licence": rules.LINE,
    "sha256": rules.DIGEST,
    "url": rules.optional(rules.LINE),
    "size": rules.optional(rules.COUNT),
}
_KINDS_WITH: dict[str, tuple[Kind, ...]] = {
    "sample_rate": ("frontend",),
    "shape": ("frontend", "extractor"),
    "dimension": ("extractor",),
    "engines": ("extractor",),
    "any_threads": ("frontend", "extractor"),
    "weights": ("extractor", "detector"),
    "first_use": ("extractor", "detector"),
    "frontend": ("extractor", "detector"),
    "extractor": ("detector",),
}
"""Fields that say something of some kinds only."""
