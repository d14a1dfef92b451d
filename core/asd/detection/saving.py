"""Components in a model file: what is kept of them, and how they are made of it again."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asd.contract.installed import registry
from asd.contract.interfaces import Runtime
from asd.detection.config import Choice, Config, ResolvedConfig
from asd.detection.embeddings import EmbeddingCache
from asd.detection.given import FeaturePipeline, KnownFeatures
from asd.detection.manifest import Manifest
from asd.detection.modelfile import Arrays
from asd.detection.packing import detector_state, restored_state
from asd.detection.pipeline import Pipeline
from asd.detection.training import FittedBranch, Member, new_detector, new_transform
from asd.errors import AsdError, ConfigError, ModelFileError, PluginError
from asd_registry import Kind
from asd_registry.files import remedy

_log = logging.getLogger("asd")
_SHOWN_LIMIT = 500
"""Characters of an error that a model file's own text may fill."""


def pinned(choice: Choice, kind: Kind, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the choice with every parameter spelled out: a later default must not change an old model."""
    registered = registry().find(kind, choice.name)
    params = {k: v for k, v in parameters.items() if k not in registered.spec.preset}
    return {"name": registered.qualified_name, **params}


def full_config(pipeline: Pipeline, branches: Sequence[FittedBranch]) -> dict[str, Any]:
    """Return the configuration with every parameter of every component spelled out, as plain data."""
    described = pipeline.config.as_mapping()
    tables = described.get("branch", [described])
    for b, (table, branch) in enumerate(zip(tables, branches, strict=True)):
        if pipeline.config.kinds == ("detector",):
            del table["frontend"], table["extractor"]
        else:
            table["frontend"] = pinned(branch.config.frontend, "frontend", pipeline.parameters("frontend", b))
            table["extractor"] = pinned(branch.config.extractor, "extractor", pipeline.parameters("extractor", b))
        table["detector"] = pinned(branch.config.detector, "detector", branch.members[0].detector.get_params())
    return described


def restored_pipeline(manifest: Manifest, runtime: Runtime, cache: EmbeddingCache | None) -> Pipeline:
    """Return the pipeline that a model file describes."""
    config = Config.from_mapping({"tail": "drop", **manifest["config"]})  # the first model files do not say
    if "features" in manifest:
        return FeaturePipeline(config.on_features(), runtime, KnownFeatures(**manifest["features"]))
    return Pipeline(config, runtime, fitted_with=manifest["fitted_with"], cache=cache)


def plugins_of(config: ResolvedConfig) -> dict[str, str]:
    """Return the version of each distribution that the components come from."""
    choices = [(kind, getattr(part, kind).name) for part in config.parts for kind in config.kinds]
    found = [registry().find(kind, name).plugin for kind, name in choices]
    return {plugin.distribution: plugin.version for plugin in found}


def arrays_of(branches: Sequence[FittedBranch], *, several: bool) -> Arrays:
    """Return what the members learned, by the names that it has in a model file; `several`: of several branches."""
    arrays: Arrays = {}
    for b, branch in enumerate(branches):
        for k, member in enumerate(branch.members):
            prefix = f"{k}.{b}" if several else str(k)
            arrays |= {f"{prefix}.transform.{name}": value for name, value in member.transform.get_state().items()}
            arrays |= {f"{prefix}.detector.{name}": value for name, value in detector_state(member.detector).items()}
    return arrays


@contextmanager
def restoring(path: str | Path) -> Iterator[None]:
    """Name the file where a component cannot be made from what it holds."""
    try:
        yield
    except Exception as error:  # a component's own, too: it was given parameters or arrays that it does not expect
        reason = " ".join(str(error).split())
        if isinstance(error, AsdError) and not isinstance(error, ConfigError) and len(reason) < _SHOWN_LIMIT:
            raise
        kind = "" if isinstance(error, AsdError) else f"{type(error).__name__}: "
        raise ModelFileError(
            f"{path}: its components cannot be made from it ({kind}{reason[:_SHOWN_LIMIT]}); fit anew"
        ) from error


def check_plugins(path: Path, manifest: Manifest) -> None:
    """Refuse a model file whose plugins are not installed.

    Raises
    ------
    PluginError
        If one is missing; the text gives the pip command.
    """
    installed = {plugin.distribution: plugin for plugin in registry().plugins}
    for distribution, version in manifest["plugins"].items():
        if distribution not in installed:
            if _have_moved(distribution, manifest["config"]):
                continue
            raise PluginError(f"{path}: needs the plugin {distribution} {version}: {remedy(distribution)}")
        if distribution.endswith(".py") and installed[distribution].version != version:
            _log.warning("%s was changed since %s was fitted: scores may differ; fit anew", distribution, path)


def restored_branches(config: ResolvedConfig, runtime: Runtime, states: list[Arrays]) -> list[FittedBranch]:
    """Return the branches from the arrays of each member."""
    branches = []
    for b, (name, part) in enumerate(zip(config.names, config.parts, strict=True)):
        own = [_section(state, str(b)) if config.branches else state for state in states]
        branches.append(FittedBranch(name, part, [_restored(part, runtime, state) for state in own]))
    return branches


def _have_moved(distribution: str, config: dict[str, Any]) -> bool:
    """Return whether other distributions offer by now what a model file takes from one that is not installed."""
    taken = [name for name in _names(config) if name.startswith(f"{distribution}:")]
    return bool(taken) and all(registry().offers(None, name) for name in taken)


def _names(config: Any) -> Iterator[str]:
    """Yield the names of the components in a configuration that nobody has checked."""
    if isinstance(config, dict):
        if isinstance(name := config.get("name"), str):
            yield name
        config = list(config.values())
    if isinstance(config, list):
        for part in config:
            yield from _names(part)


def _restored(config: ResolvedConfig, runtime: Runtime, state: Arrays) -> Member:
    transform = new_transform(config)
    transform.set_state(_section(state, "transform"))
    detector = new_detector(config, runtime)
    detector.set_state(restored_state(detector, _section(state, "detector")))
    return Member(transform, detector)


def _section(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(f"{prefix}."): value for name, value in arrays.items() if name.startswith(f"{prefix}.")}
