"""The cells of a benchmark: one pipeline on one unit with one seed, and the digest of all that decides its result."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from asd.errors import PluginError
from asd.experiment import DEFAULT_DETECTOR, Choice, Config, content_of, identity_of, runtime_identity
from asd.plugin import Runtime, registry
from asd_registry import PIPELINE_KINDS, Kind

_FORMAT = 1
"""Raised when the same cell would give another record."""

LOUDNESS = "loudness alone"
"""What the sanity check is called: a level meter."""


@dataclass(frozen=True)
class Pipelined:
    """A pipeline of the grid.

    Parameters
    ----------
    label : str
        Short name, unlike any other pipeline's in the recipe.
    config : Config
        Its configuration, resolved unless a component is not installed.
    problem : str or None
        What keeps it from running here: a distribution or a requirement that is not installed.
    """

    label: str
    config: Config
    problem: str | None = None

    def sound(self) -> str:
        """Return what decides its embeddings: pipelines that agree in this share them."""
        parts = {name: getattr(self.config, name) for name in ("frontend", "extractor", "channel", "short")}
        return _json({name: asdict(v) if isinstance(v, Choice) else v for name, v in parts.items()})


def pipelined(configs: Iterable[Config], channel: Any) -> list[Pipelined]:
    """Return the pipelines with their labels; `channel` is the dataset's, where the recipe names none."""
    found = []
    for config in configs:
        chosen = replace(config, channel=channel) if config.channel == "mix" else config
        try:
            resolved: Config = chosen.resolved()
            problem = next(filter(None, (_problem(kind, resolved) for kind in PIPELINE_KINDS)), None)
        except PluginError as error:
            resolved, problem = chosen, str(error)
        found.append(Pipelined(_label(resolved), resolved, problem))
    labels = [each.label for each in found]
    return [
        each if labels.count(each.label) == 1 else replace(each, label=f"{each.label} [{_options(each.config)}]")
        for each in found
    ]


def digest_of_cell(pipeline: Pipelined | None, unit_digest: str, metric: str, seed: int, runtime: Runtime) -> str:
    """Return the digest of all that decides a cell's result, without importing any component.

    Parameters
    ----------
    pipeline : Pipelined or None
        None: loudness alone.
    unit_digest : str
        Digest of the unit's clips (`Unit.digest`).
    metric : str
        The recipe's metric.
    seed : int
        The seed.
    runtime : Runtime
        How to compute.
    """
    described = {
        "format": _FORMAT,
        "framework": importlib.metadata.version("asd-framework"),
        "unit": unit_digest,
        "metric": metric,
        "seed": seed,
        "runtime": {**asdict(runtime), **runtime_identity(runtime)},
        "pipeline": _described(pipeline.config) if pipeline else LOUDNESS,
    }
    return hashlib.sha256(_json(described).encode()).hexdigest()


def licence_of_weights(config: Config) -> str:
    """Return the licence of the extractor's weights; ``by file`` if the recipe names its own."""
    choice = config.extractor
    if choice is None:
        return "none"
    if "weights" in choice.parameters or "model" in choice.parameters:
        return "by file"
    try:
        weights = registry().find("extractor", choice.name).spec.weights
    except PluginError:
        return "unknown"
    return ", ".join(dict.fromkeys(weight.licence for weight in weights)) or "none"


def _problem(kind: Kind, config: Config) -> str | None:
    choice = getattr(config, kind)
    found = registry().find(kind, choice.name)
    return f"{kind} {choice.name!r} cannot run: {found.problem}" if found.problem else None


def _described(config: Config) -> dict[str, Any]:
    described = config.as_mapping()
    for kind in PIPELINE_KINDS:
        choice: Choice = getattr(config, kind)
        files = {str(value): _content(Path(value)) for value in _texts(choice.parameters) if _exists(value)}
        described[kind] = {"identity": identity_of(kind, choice.name), "given": dict(choice.parameters), "files": files}
    return described


def _texts(parameters: Mapping[str, Any]) -> list[str]:
    return [value for value in parameters.values() if isinstance(value, str)]


def _exists(value: str) -> bool:
    return len(value) < 4096 and Path(value).expanduser().exists()


def _content(path: Path) -> Any:
    """Return the digest of a file that a parameter names; of a folder, what would change if one of its files did."""
    path = path.expanduser()
    if path.is_file():
        return content_of(path)
    return sorted((str(f.relative_to(path)), f.stat().st_size, f.stat().st_mtime_ns) for f in path.rglob("*"))


def _label(config: Config) -> str:
    detector = config.detector or DEFAULT_DETECTOR
    parts = [_named(detector)]
    extractor = config.extractor
    if extractor is not None and extractor.name != "identity":
        parts.insert(0, _named(extractor))
        try:
            own = registry().find("extractor", extractor.name).spec.frontend
        except PluginError:
            own = None
        if config.frontend and (config.frontend.name != own or config.frontend.parameters):
            parts.insert(0, _named(config.frontend))
    elif config.frontend:
        parts.insert(0, _named(config.frontend))
    return " → ".join(parts)


def _named(choice: Choice) -> str:
    parameters = ", ".join(f"{name} {value}" for name, value in choice.parameters.items())
    return f"{choice.name} ({parameters})" if parameters else choice.name


def _options(config: Config) -> str:
    plain = Config()
    names = ("standardise", "deviation_floor", "pca", "pooling", "top_fraction", "channel", "short")
    changed = {name: getattr(config, name) for name in names if getattr(config, name) != getattr(plain, name)}
    return ", ".join(f"{name} {value}" for name, value in changed.items())


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
