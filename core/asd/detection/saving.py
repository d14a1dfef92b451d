"""Components in a model file: what is kept of them, and how they are made of it again."""

from __future__ import annotations

import datetime
import importlib.metadata
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asd.contract.installed import registry
from asd.contract.interfaces import Runtime
from asd.contract.own import OwnSpec, classes_in, obstacle, restore, unkept
from asd.contract.plain import from_plain, to_plain
from asd.detection.config import Choice, Config, ResolvedConfig
from asd.detection.embeddings import EmbeddingCache
from asd.detection.given import FeaturePipeline, KnownFeatures
from asd.detection.manifest import Manifest, branches_of
from asd.detection.members import member_arrays, new_detector, restored_member
from asd.detection.modelfile import Arrays
from asd.detection.packing import section, share_rows
from asd.detection.pipeline import Pipeline
from asd.detection.results import component_call
from asd.detection.training import FittedBranch
from asd.errors import AsdError, ConfigError, ModelFileError, PluginError
from asd_registry import PIPELINE_KINDS, Kind
from asd_registry.files import remedy

if TYPE_CHECKING:
    from asd.detection.model import Model

_log = logging.getLogger("asd")
_SHOWN_LIMIT = 500
"""Characters of an error that a model file's own text may fill."""


def pinned(choice: Choice, kind: Kind, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the choice with every parameter spelled out: a later default must not change an old model."""
    registered = registry().find(kind, choice.name)
    if isinstance(registered.spec, OwnSpec):
        return {"name": registered.qualified_name, **{name: to_plain(value) for name, value in parameters.items()}}
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


def restored_pipeline(path: Path, manifest: Manifest, runtime: Runtime, cache: EmbeddingCache | None) -> Pipeline:
    """Return the pipeline that a model file describes."""
    config = Config.from_mapping({"tail": "drop", **with_classes(path, manifest)})  # the first model files do not say
    if "features" in manifest:
        return FeaturePipeline(config.on_features(), runtime, KnownFeatures(**manifest["features"]))
    return Pipeline(config, runtime, fitted_with=manifest["fitted_with"], cache=cache)


def origins_of(config: ResolvedConfig) -> dict[str, dict[str, str]]:
    """Return the version of each distribution that the components come from, and of each class given in Python."""
    found = [registry().find(kind, name) for kind, name in _choices(config)]
    plugins = [each.plugin for each in found if not isinstance(each.spec, OwnSpec)]
    classes = dict(item for kind, name in _choices(config) for item in classes_in(kind, name).items())
    versions = {"plugins": {plugin.distribution: plugin.version for plugin in plugins}}
    return versions | ({"classes": classes} if classes else {})


def say(unsaveable: str | None, said: str | None = None) -> str | None:
    """Warn that a model cannot be saved, unless the reason was `said`; return the reason."""
    if unsaveable and unsaveable != said:
        _log.warning("this model cannot be saved: %s", unsaveable)
    return unsaveable


def _choices(config: ResolvedConfig) -> list[tuple[Kind, str]]:
    return [(kind, getattr(part, kind).name) for part in config.parts for kind in config.kinds]


def content_of_model(model: Model) -> tuple[dict[str, Any], Arrays]:
    """Return the manifest and the arrays that a model file holds of a model.

    Raises
    ------
    ModelFileError
        If none can keep it.
    """
    if model.unsaveable:
        raise ModelFileError(f"this model cannot be saved: {model.unsaveable}")
    calibration = model.calibration
    arrays = {f"calibration.{name}": array for name, array in calibration.arrays().items()}
    if model.reference is not None:
        arrays |= {f"reference.{name}": array for name, array in model.reference.arrays().items()}
    arrays |= arrays_of(model.branches, several=calibration.branches is not None)
    return _manifest(model), share_rows(arrays)


def _manifest(model: Model) -> dict[str, Any]:
    return {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "asd_framework": importlib.metadata.version("asd-framework"),
        "config": model.full_config(),
        **origins_of(model.config),
        "weights": model.weights(),
        "members": len(model.branches[0].members),
        "calibration": model.calibration.as_entry(),
        "decision": asdict(model.decision),
        "fitted_with": model.fitted_with,
        "clips": model.clips,
        **model.conditions.as_dict(),
        "notes": {each.note: each.count for each in model.notes},
        "training": model.training,
        "history": model.history,
        **({"recalibration": model.recalibration} if model.recalibration else {}),
        **({"features": model.known_features.as_entry()} if model.known_features else {}),
    }


def why_unsaveable(pipeline: Pipeline, branches: Sequence[FittedBranch] = ()) -> str | None:
    """Return why a model file cannot keep the pipeline's components, or what they learned; None: it can.

    Raises
    ------
    AsdError
        If that is so of a plugin's detector, which its author can correct.
    """
    for embedder in pipeline.embedders:
        if embedder.obstacle:
            return embedder.obstacle
    fitted = [branch.members[0].detector for branch in branches]
    for number, part in enumerate(pipeline.config.parts):
        name, detector = part.detector.name, new_detector(part, pipeline.runtime)
        is_own = bool(classes_in("detector", name))
        if is_own and (reason := obstacle("detector", name, detector)):
            return reason
        try:
            with component_call(detector):
                if not fitted:
                    detector.check_saveable()
                elif is_own and (reason := unkept(fitted[number], detector)):
                    return f"detector {name}: {reason}"
        except ConfigError as error:
            if not is_own:
                raise
            return str(error)
    return None


def arrays_of(branches: Sequence[FittedBranch], *, several: bool) -> Arrays:
    """Return what the members learned, by the names that it has in a model file; `several`: of several branches."""
    arrays: Arrays = {}
    for b, branch in enumerate(branches):
        for k, member in enumerate(branch.members):
            prefix = f"{k}.{b}" if several else str(k)
            arrays |= {f"{prefix}.{name}": value for name, value in member_arrays(member).items()}
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


def with_classes(path: Path, manifest: Manifest) -> dict[str, Any]:
    """Return the configuration in a manifest, after the classes that it names are imported; the user consented.

    Raises
    ------
    ModelFileError
        If one cannot be imported.
    """
    classes = manifest.get("classes", {})
    if not classes:
        return manifest["config"]
    config = dict(manifest["config"])
    tables = [dict(table) for table in branches_of(config)] or [config]
    for table in tables:
        for kind in PIPELINE_KINDS:
            if (chosen := table.get(kind, {})).get("name") in classes:
                name = chosen["name"]
                if restore(kind, name) != classes[name]:
                    _log.warning("%s was changed since %s was fitted: scores may differ; fit anew", name, path)
                table[kind] = {key: from_plain(value) for key, value in chosen.items()}
    return {**config, "branch": tables} if "branch" in config else config


def restored_branches(config: ResolvedConfig, runtime: Runtime, states: list[Arrays]) -> list[FittedBranch]:
    """Return the branches from the arrays of each member."""
    branches = []
    for b, (name, part) in enumerate(zip(config.names, config.parts, strict=True)):
        own = [section(state, str(b)) if config.branches else state for state in states]
        branches.append(FittedBranch(name, part, [restored_member(part, runtime, state) for state in own]))
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
