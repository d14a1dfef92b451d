"""The configuration of a whole pipeline; TOML files, command-line options and model files use the same names."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from asd.contract.installed import registry
from asd.contract.interfaces import Component
from asd.contract.own import given_component
from asd.contract.parameters import accepts_former_names, convert_all
from asd.detection.defaults import DEFAULT_DETECTOR_PARAMETERS, DEFAULT_PCA, DEFAULTS, QUALITIES
from asd.errors import ConfigError
from asd.records import Channel
from asd_registry import PIPELINE_KINDS, Kind
from asd_registry import Component as Registered

Pooling = Literal["mean", "max", "top"]
EmbeddingPooling = Literal["none", "mean", "mean-std", "max"]
Fusion = Literal["gated", "mean", "max"]
OnBranchError = Literal["others", "refuse"]
Quality = Literal["fast", "default", "best"]
Short = Literal["pad", "refuse"]
Tail = Literal["move", "drop"]
FoundStates = int | Literal["auto"] | None

_LONGEST_NAME = 40
_SHOWN = 80
"""Characters of a refused object that a message shows."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}")
"""A branch's name: it stands in tables, messages and model files."""

_OBJECTS: Mapping[Kind, str] = {
    "frontend": "a class or an object of asd.Frontend",
    "extractor": "a class or an object of asd.Extractor, or a torch.nn.Module",
    "detector": "a class or an object of asd.Detector, or an outlier estimator such as those of scikit-learn",
}
"""What may be given in place of a name."""

LIMITS: Mapping[str, int] = {"folds": 1000, "seed": 2**32 - 1, "states": 12}
"""Largest values; seeds of more bits are not taken by every library."""


@dataclass(frozen=True)
class Choice:
    """A component chosen by name, with the parameters that the user set; or given as an object, which is then used."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    instance: Component | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the table that a TOML file would hold."""
        return {"name": self.name, **self.parameters}


GIVEN = Choice("given features")
"""Stands for the front end and the extractor where features are given; no component may be called so."""
DEFAULT_DETECTOR = Choice(DEFAULTS["detector"], DEFAULT_DETECTOR_PARAMETERS)


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What each branch of a pipeline chooses for itself; the fields are described at `Config`."""

    frontend: Choice | None = None
    extractor: Choice | None = None
    detector: Choice | None = None
    embedding_pooling: EmbeddingPooling = "none"
    standardise: bool = True
    deviation_floor: float = 1.0
    pca: float | Literal["auto"] | None = "auto"
    pooling: Pooling = "mean"
    top_fraction: float = 0.1

    def __post_init__(self) -> None:
        for kind in PIPELINE_KINDS:
            chosen = getattr(self, kind)
            expected = f"a Choice or none (Config.from_mapping({{{kind!r}: ...}}) takes names, as asd.fit does)"
            _require(chosen is None or isinstance(chosen, Choice), kind, chosen, expected)
        if isinstance(self.pca, int) and not isinstance(self.pca, bool):
            object.__setattr__(self, "pca", float(self.pca))
        fits = self.pca is None or self.pca == "auto" or (_is_number(self.pca) and 0 < self.pca <= 1)
        _require(fits, "pca", self.pca, "a fraction above 0, at most 1, or auto, or none")
        floor, fraction = self.deviation_floor, self.top_fraction
        _require(_is_number(floor) and floor >= 0, "deviation_floor", floor, "a number from 0")
        _require(_is_number(fraction) and 0 < fraction <= 1, "top_fraction", fraction, "a fraction above 0, at most 1")
        _require(isinstance(self.standardise, bool), "standardise", self.standardise, "true or false")
        self._require_one_of(embedding_pooling=EmbeddingPooling, pooling=Pooling)

    def _require_one_of(self, **choices: Any) -> None:
        for name, allowed in choices.items():
            value, known = getattr(self, name), get_args(allowed)
            _require(value in known, name, value, " or ".join(known))

    def _steps(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(Steps)}

    def _mapping(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the named fields as plain data, without components that are not chosen."""
        found = {name: getattr(self, name) for name in names}
        return {
            name: value.as_dict() if isinstance(value, Choice) else value
            for name, value in found.items()
            if not (value is None and name in PIPELINE_KINDS)
        }


@dataclass(frozen=True, kw_only=True)
class Branch(Steps):
    """One of several branches of a pipeline: a front end, an extractor and a detector, with what is between them.

    Parameters
    ----------
    name : str
        What verdicts call it, such as ``level``; default: the extractor's name.
    gate : float or None
        None: the branch's normalised score always counts. A number: only what exceeds it counts; the branch is silent
        below so many deviations of healthy clips (`Config.fusion`).
    frontend, extractor, detector, embedding_pooling, standardise, deviation_floor, pca, pooling, top_fraction
        As for `Config`.
    """

    name: str = ""
    gate: float | None = None

    def __post_init__(self) -> None:
        named = self.extractor or self.detector or self.frontend
        if not self.name and isinstance(named, Choice):
            object.__setattr__(self, "name", named.name.rpartition(":")[2][:_LONGEST_NAME])
        fits = isinstance(self.name, str) and _NAME.fullmatch(self.name) is not None
        expected = "up to 40 letters, digits, spaces and .-_ (without a name it is called as its extractor)"
        _require(fits, "a branch's name", self.name, expected)
        try:
            super().__post_init__()
            fits = self.gate is None or (_is_number(self.gate) and self.gate >= 0)
            _require(fits, "gate", self.gate, "a number from 0, or none")
        except ConfigError as error:
            raise ConfigError(f"branch {self.name!r}: {error}") from None

    def as_mapping(self) -> dict[str, Any]:
        """Return the table that a TOML file would hold."""
        return self._mapping(f.name for f in fields(self))


@accepts_former_names
@dataclass(frozen=True, kw_only=True)
class Config(Steps):
    """A whole pipeline, of one branch or of several.

    Parameters
    ----------
    frontend, extractor, detector : Choice or None
        Components with their parameters. None: the extractor's own front end, ``efficientat-mn04`` (or what the
        detector asks for), ``knn``.
    embedding_pooling : {"none", "mean", "mean-std", "max"}
        Pooling of a clip's embeddings before the detector: ``"none"`` scores each window; the others make one vector
        of a clip: mean over its windows, mean and standard deviation side by side, or maximum.
    standardise : bool
        Shift and scale each feature to mean 0 and deviation 1 on the training windows.
    deviation_floor : float
        Least deviation that a feature is divided by, as a multiple of the median deviation; 0: plain standardisation,
        as in the papers.
    pca : float, "auto" or None
        Keep the principal components that explain this fraction of the variance (0–1); None: keep the features;
        auto: 0.98, but None for detectors that work on spectrograms.
    pooling : {"mean", "max", "top"}
        How window scores become the clip's score; ``"top"`` is the mean of the highest `top_fraction`.
    top_fraction : float
        Fraction (0–1] of the windows that ``"top"`` takes.
    quality : {"fast", "default", "best"}
        Which ready-made pipeline to take where neither components nor branches are chosen.
    branches : tuple of Branch
        Branches of the pipeline, ``[[branch]]`` in TOML; none: the fields above are its only branch.
    fusion : {"gated", "mean", "max"}
        How the branches' normalised scores become one: ``"gated"`` adds what gated branches have above their gates to
        the mean of the others; ``"mean"`` and ``"max"`` leave gates out of account.
    on_branch_error : {"others", "refuse"}
        What happens to a clip that a branch cannot judge: the other branches judge it and a note says so, or it is
        left out. A clip to learn from is always left out.
    group : str or None
        Groups of clips to learn from, such as states or speeds of the machine: ``"folder"``, or a column of the CSV
        manifest; None: all clips are one group. For detectors that keep references by group (``knn``), and for the
        monitor, which keeps operating states apart (`asd.detection.states`).
    states : "auto", int or None
        Operating states that the monitor finds by the sound of the clips it learns from: so many, or as many as lie
        apart (``"auto"``, 1 if none do); None: those that `group` names.
    channel : "mix" or int
        Mean of all channels, or one channel counted from 1.
    segment : float or None
        Cut longer recordings into clips of this many seconds; None: each file is a clip.
    short : {"pad", "refuse"}
        What happens to a clip shorter than one window.
    tail : {"move", "drop"}
        What happens to a clip's end where the windows do not reach it: ``"move"`` adds a window that ends with the
        last sample, ``"drop"`` ignores up to one hop.
    folds : int
        Detectors to train, each without the clips that calibrate it; 1: one detector, with one clip in five held out.
    false_alarms_per_hour : float or None
        Alarms that an hour of healthy sound may cause; None: 1, or the lowest that the clips support.
    seed : int
        Seed of everything random.
    """

    renamed: ClassVar[Mapping[str, str]] = {"false_alarm_rate": "false_alarms_per_hour"}

    quality: Quality = "default"
    branches: tuple[Branch, ...] = ()
    fusion: Fusion = "gated"
    on_branch_error: OnBranchError = "others"
    group: str | None = None
    states: FoundStates = None
    channel: Channel = "mix"
    segment: float | None = None
    short: Short = "pad"
    tail: Tail = "move"
    folds: int = 5
    false_alarms_per_hour: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("folds", 1), ("seed", 0)):
            value = getattr(self, name)
            _require(_is_whole(value) and value >= least, name, value, f"{least} or more")
            _require(value <= LIMITS[name], name, value, f"at most {LIMITS[name]}")
        fits = self.segment is None or (_is_number(self.segment) and self.segment > 0)
        _require(fits, "segment", self.segment, "seconds above 0, or none")
        fits = self.group is None or (isinstance(self.group, str) and bool(self.group.strip()))
        _require(fits, "group", self.group, "folder, or the name of a manifest's column, or none")
        fits = self.states in (None, "auto") or (
            isinstance(self.states, int) and _is_whole(self.states) and 2 <= self.states <= LIMITS["states"]
        )
        _require(fits, "states", self.states, f"auto, a number from 2 to {LIMITS['states']}, or none")
        fits = self.channel == "mix" or (_is_whole(self.channel) and self.channel >= 1)
        _require(fits, "channel", self.channel, "mix, or a number from 1")
        self._require_one_of(short=Short, tail=Tail, quality=Quality, fusion=Fusion, on_branch_error=OnBranchError)
        if self.false_alarms_per_hour is not None:
            check_rate(self.false_alarms_per_hour)
        object.__setattr__(self, "branches", tuple(self.branches))
        self._check_branches()

    def _check_branches(self) -> None:
        for branch in self.branches:
            _require(isinstance(branch, Branch), "branches", branch, "Branch objects")
        names = [branch.name for branch in self.branches]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"{names.count(name)} branches are called {name!r}; give each a name of its own")
        chosen = [kind for kind in PIPELINE_KINDS if getattr(self, kind) is not None]
        if self.branches and chosen:
            raise ConfigError(
                f"{chosen[0]} {getattr(self, chosen[0]).name!r} is given beside {len(self.branches)} branches "
                f"({', '.join(names)}); give it in the branch that it is for"
            )
        if self.quality != "default" and (chosen or self.branches):
            raise ConfigError(
                f"quality {self.quality!r} names a whole pipeline, but {chosen[0] if chosen else 'branches'} "
                "is given, too; leave one out"
            )

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> Config:
        """Return the configuration that names like those of a TOML file give.

        Parameters
        ----------
        options : mapping of str to Any
            Field names; a component is a name, or a mapping with ``name`` and its parameters.

        Raises
        ------
        ConfigError
            If a name is unknown or a value does not fit.
        """
        given = _one_name_for_branches(options)
        tables = given.pop("branches", ())
        if not isinstance(tables, list | tuple):
            raise ConfigError(f"branches takes a list of tables, [[branch]] in TOML, got {tables!r}")
        shared = {f.name: given[f.name] for f in fields(Steps) if f.name in given and f.name not in PIPELINE_KINDS}
        branches = tuple(_branch(number, table, shared) for number, table in enumerate(tables, start=1))
        return cls(**_converted(cls, "the configuration", given), branches=branches)

    def as_mapping(self) -> dict[str, Any]:
        """Return what `from_mapping` takes, as plain data for JSON or TOML."""
        left_out = ("branches", "quality", *(() if self.states else ("states",)))  # older versions do not know states
        names = [f.name for f in fields(self) if f.name not in left_out]
        if not self.branches:
            names = [name for name in names if name not in ("fusion", "on_branch_error")]
            return self._mapping(names) | ({} if self.quality == "default" else {"quality": self.quality})
        own = {f.name for f in fields(Steps)}
        tables = [branch.as_mapping() for branch in self.branches]
        return {**self._mapping(name for name in names if name not in own), "branch": tables}

    def resolved(self) -> ResolvedConfig:
        """Return the configuration with every component called by its present name and nothing left to ``auto``."""
        if not self.branches and not any(getattr(self, kind) for kind in PIPELINE_KINDS):
            return self._of_quality().resolved()
        if not self.branches:
            return self.resolved_alone()
        parts = [self._part(branch).resolved_alone() for branch in self.branches]
        branches = (replace(own, **part._steps()) for own, part in zip(self.branches, parts, strict=True))
        return ResolvedConfig(**{**vars(self), **parts[0]._steps(), "branches": tuple(branches)})

    def resolved_alone(self) -> ResolvedConfig:
        """Return the pipeline of one branch that the components give, those that are not chosen by their defaults."""
        default_of = registry().default_of
        detector, own = _found("detector", self.detector or DEFAULT_DETECTOR)
        extractor, its = _found(
            "extractor", self.extractor or Choice(default_of(own, "extractor") or DEFAULTS["extractor"])
        )
        wished = default_of(its, "frontend") or default_of(own, "frontend")
        if self.frontend is None and wished is None:
            raise ConfigError(
                f"extractor {extractor.name!r} has no front end of its own: choose one by --frontend (in Python "
                "frontend=, such as 'mel-patch')"
            )
        frontend, _ = _found("frontend", self.frontend or Choice(wished or ""))
        pca = self.pca if self.pca != "auto" else None if own.spec.extractor else DEFAULT_PCA
        chosen = {"frontend": frontend, "extractor": extractor, "detector": detector, "pca": pca}
        return ResolvedConfig(**{**vars(self), **chosen, "branches": (), "quality": "default"})

    def on_features(self) -> ResolvedConfig:
        """Return the pipeline of a detector alone, on features that are given."""
        detector, own = _found("detector", self.detector or DEFAULT_DETECTOR)
        pca = self.pca if self.pca != "auto" else None if own.spec.extractor else DEFAULT_PCA
        chosen = {"frontend": GIVEN, "extractor": GIVEN, "detector": detector, "pca": pca}
        return ResolvedConfig(**{**vars(self), **chosen, "branches": (), "quality": "default"})

    def _part(self, branch: Branch) -> Config:
        """Return the pipeline of one branch that a branch is by itself."""
        return Config(**{**vars(self), **branch._steps(), "branches": (), "quality": "default"})

    def _of_quality(self) -> Config:
        """Return the ready-made pipeline; what this configuration sets otherwise than by default goes first."""
        plain = Config()
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        changed = {name: value for name, value in own.items() if value != getattr(plain, name) and name != "quality"}
        table = dict(QUALITIES[self.quality])
        steps = {name: value for name, value in changed.items() if name in self._steps()}
        table["branches"] = [{**each, **steps} for each in table.get("branches", ())]
        return Config.from_mapping({**table, **changed})


@dataclass(frozen=True, kw_only=True)
class ResolvedConfig(Config):
    """A configuration with every component named and nothing left to ``auto``; made by `Config.resolved`.

    With several branches, its own components and steps are those of the first.
    """

    frontend: Choice = field()
    extractor: Choice = field()
    detector: Choice = field()
    pca: float | None = field()

    @property
    def parts(self) -> tuple[ResolvedConfig, ...]:
        """Each branch as a pipeline of one branch."""
        if not self.branches:
            return (self,)
        return tuple(replace(self, branches=(), **branch._steps()) for branch in self.branches)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of component that it has: a detector alone where features are given."""
        return ("detector",) if self.extractor == GIVEN else PIPELINE_KINDS

    @property
    def names(self) -> tuple[str, ...]:
        """The branches' names; an only branch is called as its extractor."""
        return tuple(branch.name for branch in self.branches) or (self.extractor.name,)

    @property
    def gates(self) -> tuple[float | None, ...]:
        """The branches' gates; an only branch has none."""
        return tuple(branch.gate for branch in self.branches) or (None,)

    def resolved(self) -> ResolvedConfig:
        """Return itself: nothing is left open."""
        return self

    def _check_branches(self) -> None:
        """Check nothing: its own components stand beside those of the branches."""


def read_toml(path: Path) -> dict[str, Any]:
    """Return the options in a TOML file.

    Raises
    ------
    ConfigError
        If the file is missing or not TOML.
    """
    import tomllib  # scoring reads none

    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read this configuration ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error


def _found(kind: Kind, choice: Choice) -> tuple[Choice, Registered]:
    """Return `choice` by the present name of its component, and the component."""
    component = registry().find(kind, choice.name)
    present = component.qualified_name if ":" in choice.name else component.spec.name
    return replace(choice, name=present), component


def _one_name_for_branches(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with ``branch``, as a TOML file calls the tables, by the field's name."""
    given = dict(options)
    if "branch" in given and "branches" in given:
        raise ConfigError("branch and branches are the same: give one of them")
    if "branch" in given:
        given["branches"] = given.pop("branch")
    return given


def _branch(number: int, given: Any, shared: Mapping[str, Any]) -> Branch:
    """Return the branch that a table describes; what it leaves out is taken from `shared`."""
    if isinstance(given, Branch):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError(f"branch {number} takes a table such as [[branch]] in TOML, or a Branch, got {given!r}")
    named = f"branch {given['name']!r}" if isinstance(given.get("name"), str) else f"branch {number}"
    return Branch(**_converted(Branch, named, {**shared, **given}))


def _converted(cls: type, owner: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of `cls` from names like those of a TOML file; `owner` is named in texts."""
    plain = {key: value for key, value in options.items() if key not in PIPELINE_KINDS}
    chosen: dict[str, Any] = {
        kind: _choice(kind, options[kind]) for kind in PIPELINE_KINDS if options.get(kind) is not None
    }
    return {**convert_all(cls, owner, plain), **chosen}


def _choice(kind: Kind, given: Any) -> Choice:
    if isinstance(given, Choice):
        return given
    if isinstance(given, str):
        return Choice(given)
    own = given
    if isinstance(given, Mapping) and "name" in given:
        own, parameters = given["name"], {key: value for key, value in given.items() if key != "name"}
        if isinstance(own, str):
            return Choice(own, parameters)
        if not isinstance(own, type) and parameters:
            raise ConfigError(f"{kind} is given as an object, {type(own).__name__}, and with {min(parameters)!r}: give "
                              "its class with parameters, or the object alone")  # fmt: skip
    if found := given_component(kind, own):
        return Choice(found.name, found.parameters or (parameters if own is not given else {}), found.instance)
    raise ConfigError(f"{kind} takes a name, a table with 'name' and parameters, {_OBJECTS[kind]}, got {_shown(given)}")


def check_rate(rate: Any) -> None:
    """Refuse what is no number of false alarms per hour.

    Raises
    ------
    ConfigError
        If it is not a finite number above 0.
    """
    _require(_is_number(rate) and rate > 0, "false_alarms_per_hour", rate, "alarms per hour above 0, or none")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _require(holds: bool, name: str, value: Any, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{name} takes {expected}, got {value!r}")
