"""The pipelines that a benchmark compares, and the digest of all that decides the result of a trial."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from asd.errors import PluginError
from asd.experiment import DEFAULT_DETECTOR, Choice, Config, content_of, identity_of, runtime_identity
from asd.plugin import Channel, Runtime, registry
from asd_registry import PIPELINE_KINDS

_FORMAT = 2
"""Raise it when the same trial would give another record. 1 kept its results in ``cells.sqlite``."""

LOUDNESS = "loudness alone"
"""The name of the sanity check, which takes a clip's level as its score."""


@dataclass(frozen=True)
class Candidate:
    """A pipeline to compare with others.

    Parameters
    ----------
    label : str
        Short name, different from that of any other pipeline in the recipe.
    config : Config
        Its configuration, resolved unless a component is not installed.
    problem : str or None
        The reason why it cannot run here: a distribution or a requirement that is not installed.
    """

    label: str
    config: Config
    problem: str | None = None

    @property
    def embedding_key(self) -> str:
        """What decides the embeddings: pipelines with the same key share them."""
        parts = {name: getattr(self.config, name) for name in ("frontend", "extractor", "channel", "short")}
        return _json({name: asdict(v) if isinstance(v, Choice) else v for name, v in parts.items()})


def candidates_of(configs: Iterable[Config], channel: Channel) -> list[Candidate]:
    """Return the pipelines with their labels; `channel` is the dataset's, where the recipe names none."""
    found = []
    for config in configs:
        chosen = replace(config, channel=channel) if config.channel == "mix" else config
        try:
            resolved: Config = chosen.resolved()
            problem = _problem(resolved)
        except PluginError as error:
            resolved, problem = chosen, str(error)
        found.append(Candidate(_label(resolved), resolved, problem))
    labels = [each.label for each in found]
    return [
        each if labels.count(each.label) == 1 else replace(each, label=f"{each.label} [{_options(each.config)}]")
        for each in found
    ]


def digest_of_trial(candidate: Candidate | None, clips: str, metric: str, seed: int, runtime: Runtime) -> str:
    """Return the digest of all that decides a trial's result, without importing any component.

    Parameters
    ----------
    candidate : Candidate or None
        The pipeline; None: loudness alone.
    clips : str
        Digest of the machine section's clips (`MachineSection.digest`).
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
        "clips": clips,
        "metric": metric,
        "seed": seed,
        "runtime": {**asdict(runtime), **runtime_identity(runtime)},
        "pipeline": _described(candidate.config) if candidate else LOUDNESS,
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


def _problem(config: Config) -> str | None:
    for kind in PIPELINE_KINDS:
        name = getattr(config, kind).name
        if problem := registry().find(kind, name).problem:
            return f"{kind} {name!r} cannot run: {problem}"
    return None


def _described(config: Config) -> dict[str, Any]:
    described = config.as_mapping()
    for kind in PIPELINE_KINDS:
        choice: Choice = getattr(config, kind)
        files = {value: _content(Path(value)) for value in choice.parameters.values() if _is_path(value)}
        described[kind] = {"identity": identity_of(kind, choice.name), "given": dict(choice.parameters), "files": files}
    return described


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and len(value) < 4096 and Path(value).expanduser().exists()


def _content(path: Path) -> Any:
    """Return the digest of a file that a parameter names; of a folder, what would change if one of its files did."""
    path = path.expanduser()
    if path.is_file():
        return content_of(path)
    return sorted((str(f.relative_to(path)), f.stat().st_size, f.stat().st_mtime_ns) for f in path.rglob("*"))


def _label(config: Config) -> str:
    parts = [config.detector or DEFAULT_DETECTOR]
    extractor, frontend = config.extractor, config.frontend
    own = None
    if extractor is not None and extractor.name != "identity":
        parts.insert(0, extractor)
        with suppress(PluginError):
            own = registry().find("extractor", extractor.name).spec.frontend
    # An extractor's own front end is understood.
    if frontend and (frontend.name != own or frontend.parameters):
        parts.insert(0, frontend)
    return " → ".join(map(_named, parts))


def _named(choice: Choice) -> str:
    parameters = ", ".join(f"{name} {value}" for name, value in choice.parameters.items())
    return f"{choice.name} ({parameters})" if parameters else choice.name


def _options(config: Config) -> str:
    plain = Config()
    names = (
        "embedding_pooling",
        "standardise",
        "deviation_floor",
        "pca",
        "pooling",
        "top_fraction",
        "channel",
        "short",
    )
    changed = {name: getattr(config, name) for name in names if getattr(config, name) != getattr(plain, name)}
    return ", ".join(f"{name} {value}" for name, value in changed.items())


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
