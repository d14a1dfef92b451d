"""The configuration of a whole pipeline; TOML files, command-line options and model files use the same names."""

from __future__ import annotations

import math
import numbers
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from asd.contract.installed import registry
from asd.contract.parameters import accepts_former_names, convert_all
from asd.detection.defaults import DEFAULT_DETECTOR_PARAMETERS, DEFAULT_PCA, DEFAULTS
from asd.errors import ConfigError
from asd.records import Channel
from asd_registry import PIPELINE_KINDS, Component, Kind

Pooling = Literal["mean", "max", "top"]
Short = Literal["pad", "refuse"]
Tail = Literal["move", "drop"]

LIMITS: Mapping[str, int] = {"folds": 1000, "seed": 2**32 - 1}
"""Largest values; seeds of more bits are not taken by every library."""


@dataclass(frozen=True)
class Choice:
    """A component chosen by name, with the parameters that the user set."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the table that a TOML file would hold."""
        return {"name": self.name, **self.parameters}


DEFAULT_DETECTOR = Choice(DEFAULTS["detector"], DEFAULT_DETECTOR_PARAMETERS)


@accepts_former_names
@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole pipeline.

    Parameters
    ----------
    frontend, extractor, detector : Choice or None
        Components with their parameters. None: the extractor's own front end, ``efficientat-mn04`` (or what the
        detector asks for), ``knn`` with local density.
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

    frontend: Choice | None = None
    extractor: Choice | None = None
    detector: Choice | None = None
    standardise: bool = True
    deviation_floor: float = 1.0
    pca: float | Literal["auto"] | None = "auto"
    pooling: Pooling = "mean"
    top_fraction: float = 0.1
    channel: Channel = "mix"
    segment: float | None = None
    short: Short = "pad"
    tail: Tail = "move"
    folds: int = 5
    false_alarms_per_hour: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for kind in PIPELINE_KINDS:
            chosen = getattr(self, kind)
            expected = f"a Choice or none (Config.from_mapping({{{kind!r}: ...}}) takes names, as asd.fit does)"
            _require(chosen is None or isinstance(chosen, Choice), kind, chosen, expected)
        if isinstance(self.pca, int) and not isinstance(self.pca, bool):
            object.__setattr__(self, "pca", float(self.pca))
        fits = self.pca is None or self.pca == "auto" or (_is_number(self.pca) and 0 < self.pca <= 1)
        _require(fits, "pca", self.pca, "a fraction above 0, at most 1, or auto, or none")
        for name, least in (("folds", 1), ("seed", 0)):
            value = getattr(self, name)
            _require(_is_whole(value) and value >= least, name, value, f"{least} or more")
            _require(value <= LIMITS[name], name, value, f"at most {LIMITS[name]}")
        floor, fraction = self.deviation_floor, self.top_fraction
        _require(_is_number(floor) and floor >= 0, "deviation_floor", floor, "a number from 0")
        _require(_is_number(fraction) and 0 < fraction <= 1, "top_fraction", fraction, "a fraction above 0, at most 1")
        fits = self.segment is None or (_is_number(self.segment) and self.segment > 0)
        _require(fits, "segment", self.segment, "seconds above 0, or none")
        fits = self.channel == "mix" or (_is_whole(self.channel) and self.channel >= 1)
        _require(fits, "channel", self.channel, "mix, or a number from 1")
        for name, choices in (("pooling", Pooling), ("short", Short), ("tail", Tail)):
            value, known = getattr(self, name), get_args(choices)
            _require(value in known, name, value, " or ".join(known))
        _require(isinstance(self.standardise, bool), "standardise", self.standardise, "true or false")
        if self.false_alarms_per_hour is not None:
            check_rate(self.false_alarms_per_hour)

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
        plain = {key: value for key, value in options.items() if key not in PIPELINE_KINDS}
        chosen: dict[str, Any] = {
            kind: _choice(kind, options[kind]) for kind in PIPELINE_KINDS if options.get(kind) is not None
        }
        return cls(**convert_all(cls, "the configuration", plain), **chosen)

    def as_mapping(self) -> dict[str, Any]:
        """Return what `from_mapping` takes, as plain data for JSON or TOML."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in PIPELINE_KINDS}
        chosen: dict[str, Any] = {
            kind: choice.as_dict() for kind in PIPELINE_KINDS if (choice := getattr(self, kind)) is not None
        }
        return {**plain, **chosen}

    def resolved(self) -> ResolvedConfig:
        """Return the configuration with every component called by its present name and nothing left to ``auto``."""
        default_of = registry().default_of
        detector, own = _found("detector", self.detector or DEFAULT_DETECTOR)
        extractor, its = _found(
            "extractor", self.extractor or Choice(default_of(own, "extractor") or DEFAULTS["extractor"])
        )
        wished = default_of(its, "frontend") or default_of(own, "frontend")
        if self.frontend is None and wished is None:
            raise ConfigError(f"extractor {extractor.name!r} has no front end of its own: choose one by --frontend")
        frontend, _ = _found("frontend", self.frontend or Choice(wished or ""))
        pca = self.pca if self.pca != "auto" else None if own.spec.extractor else DEFAULT_PCA
        chosen = {"frontend": frontend, "extractor": extractor, "detector": detector, "pca": pca}
        return ResolvedConfig(**{**vars(self), **chosen})


@dataclass(frozen=True, kw_only=True)
class ResolvedConfig(Config):
    """A configuration with every component named and nothing left to ``auto``; made by `Config.resolved`."""

    frontend: Choice = field()
    extractor: Choice = field()
    detector: Choice = field()
    pca: float | None = field()


def read_toml(path: Path) -> dict[str, Any]:
    """Return the options in a TOML file.

    Raises
    ------
    ConfigError
        If the file is missing or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read this configuration ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error


def _found(kind: Kind, choice: Choice) -> tuple[Choice, Component]:
    """Return `choice` by the present name of its component, and the component."""
    component = registry().find(kind, choice.name)
    present = component.qualified_name if ":" in choice.name else component.spec.name
    return replace(choice, name=present), component


def _choice(kind: Kind, given: Any) -> Choice:
    if isinstance(given, Choice):
        return given
    if isinstance(given, str):
        return Choice(given)
    if isinstance(given, Mapping) and isinstance(given.get("name"), str):
        return Choice(given["name"], {key: value for key, value in given.items() if key != "name"})
    raise ConfigError(f"{kind} takes a name, or a table with 'name' and parameters, got {given!r}")


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


def _require(holds: bool, name: str, value: Any, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{name} takes {expected}, got {value!r}")
