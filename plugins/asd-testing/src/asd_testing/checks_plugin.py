"""Checks of a plugin and its specs: quick to import, complete, true."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from functools import cache
from typing import Any

from asd.errors import ConfigError, PluginError, WeightError
from asd.experiment import REQUIRED, contradictions, end_process, load_class, start_python
from asd.plugin import parameters_of, registry
from asd_registry import API_VERSION
from asd_registry.entries import installed_plugins
from asd_registry.known import distribution_of
from asd_testing.compare import require
from asd_testing.errors import CheckFailedError, SkippedError
from asd_testing.kit import check
from asd_testing.under_test import ComponentUnderTest

SLOW = 1.0
"""Seconds that importing a plugin's module may take: every listing waits for it."""

HEAVY = frozenset(
    {
        *("torch", "torchvision", "torchaudio", "tensorflow", "keras", "jax", "onnxruntime", "essentia", "openl3"),
        *("numpy", "scipy", "sklearn", "pandas", "matplotlib", "librosa", "soundfile", "soxr", "numba", "cv2"),
        *("transformers", "huggingface_hub", "requests", "safetensors"),
    }
)
_UNKNOWN_LICENCES = {"unknown", "none", "todo", "tbd", "?", "-"}
_TIMEOUT = 60
_TRIES = 2
"""Further imports that are tried where one takes long: the computer may be busy elsewhere."""


@dataclass(frozen=True)
class _Import:
    """What importing a plugin's module does in a new process."""

    module: str
    seconds: float
    modules: tuple[str, ...]
    printed: str
    threads: tuple[str, ...]


@check()
def plugin_module_is_light(tested: ComponentUnderTest) -> None:
    """Importing the plugin's module takes less than a second and imports nothing heavy."""
    found = _imported(tested)
    heavy = sorted(HEAVY & set(found.modules))
    require(
        not heavy,
        f"importing {found.module} imports {', '.join(heavy)}, which every listing would wait for: keep to "
        "asd_registry there, name the class as target",
    )
    require(found.seconds <= SLOW, f"importing {found.module} takes {found.seconds:.1f} s, at most {SLOW:g} s is fair")


@check()
def plugin_module_is_quiet(tested: ComponentUnderTest) -> None:
    """Importing the plugin's module prints nothing and leaves no thread behind."""
    found = _imported(tested)
    first = found.printed.strip().partition("\n")[0]
    require(not found.printed, f"importing {found.module} prints {first!r}: remove the print, or log it")
    require(not found.threads, f"importing {found.module} leaves a thread behind: {', '.join(found.threads)}")


@check()
def name_is_free(tested: ComponentUnderTest) -> None:
    """No other installed plugin offers a component of the same kind and name."""
    own = tested.owner
    others = registry().taken_by(own)
    require(not others, f"the name {own.spec.name!r} is taken by {', '.join(others)}: choose another")


@check()
def contract_version_is_known(tested: ComponentUnderTest) -> None:
    """The component was written for a plugin contract that this asd-framework knows."""
    wanted = tested.spec.api_version
    require(
        wanted <= API_VERSION,
        f"needs plugin contract {wanted}, this asd-framework has {API_VERSION}: upgrade asd-framework, or lower "
        "api_version",
    )


@check()
def target_exists(tested: ComponentUnderTest) -> None:
    """The spec's target can be imported and implements the interface of its kind."""
    if tested.owner.problem:
        raise SkippedError(tested.owner.problem)
    try:
        cls = load_class(tested.owner)
    except PluginError as error:
        raise CheckFailedError(str(error)) from error
    require(cls.isolation in (None, "process"), f"its isolation must be 'process' or None, got {cls.isolation!r}")
    isolable = tested.kind in ("frontend", "extractor")
    require(
        cls.isolation is None or isolable,
        f"isolation has no effect on a {tested.kind}, which is never run in a worker process: leave it out",
    )


@check()
def spec_is_complete(tested: ComponentUnderTest) -> None:
    """The spec names a licence, a front end that exists, and a rate, shape and dimension unless a parameter decides."""
    spec = tested.spec
    require(spec.licence.strip().lower() not in _UNKNOWN_LICENCES, f"its licence is {spec.licence!r}: name it")
    for weight in spec.weights:
        require(bool(weight.licence.strip()), f"the weights {weight.name} have no licence: name it")
    default_of = registry().default_of
    for kind, name in (
        ("frontend", default_of(tested.owner, "frontend")),
        ("extractor", default_of(tested.owner, "extractor")),
    ):
        if name is not None:
            _require_known(kind, name)
    missing = [] if _settable(tested) else _undeclared(tested)
    require(
        not missing, f"its spec lacks {' and '.join(missing)}, and no parameter decides that: declare what it always is"
    )


def _undeclared(tested: ComponentUnderTest) -> list[str]:
    """Return which fields of the spec say nothing although the component's own value is fixed."""
    spec, component = tested.spec, _with_defaults(tested) if tested.kind in ("frontend", "extractor") else None
    if component is None:
        return []
    is_frontend = tested.kind == "frontend"
    shape = (component.produces if is_frontend else component.consumes).shape
    fixed: dict[str, Any] = {"shape": shape if shape and None not in shape else None}
    fixed |= {"sample_rate": component.sample_rate} if is_frontend else {"dimension": component.dimension}
    return [f"{name} = {value}" for name, value in fixed.items() if value is not None and getattr(spec, name) is None]


@check("frontend", "extractor")
def spec_is_true(tested: ComponentUnderTest) -> None:
    """Rate, shape and dimension are what the spec declares, with default parameters."""
    spec, component = tested.spec, _with_defaults(tested)
    found = contradictions(tested.owner, component)
    require(not found, "; ".join(found))
    is_default = "weights" in tested.parameters or tested.make().get_params() == component.get_params()
    if tested.kind == "extractor" and spec.dimension is not None and is_default:
        got = tested.results.shape[1]
        require(got == spec.dimension, f"declares dimension {spec.dimension}, but gives embeddings of {got} values")


def _with_defaults(tested: ComponentUnderTest) -> Any:
    preset = dict(tested.spec.preset)
    if any(p.default is REQUIRED and p.name not in preset for p in parameters_of(tested.cls).values()):
        return tested.make()
    try:
        return tested.cls(**preset)
    except (ConfigError, WeightError):
        return tested.make()


def _settable(tested: ComponentUnderTest) -> bool:
    return bool(set(parameters_of(tested.cls)) - set(tested.spec.preset))


def _require_known(kind: Any, name: str) -> None:
    try:
        registry().find(kind, name)
    except PluginError as error:
        if distribution_of(name, kind) is None:
            raise CheckFailedError(f"its spec names a {kind} that is not there: {error}") from error


def _imported(tested: ComponentUnderTest) -> _Import:
    plugin = tested.owner.plugin
    found = _in_another_process(plugin.distribution, plugin.name)
    for _ in range(_TRIES):
        if found.seconds <= SLOW:
            break
        again = _in_another_process.__wrapped__(plugin.distribution, plugin.name)
        found = min(found, again, key=lambda each: each.seconds)
    return found


@cache
def _in_another_process(distribution: str, name: str) -> _Import:
    module = _module(distribution, name)
    code, pipe = "from asd_testing.import_probe import main; main()", subprocess.PIPE
    process = start_python(code, module, stdout=pipe, stderr=pipe, text=True)
    try:
        printed, errors = process.communicate(timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        raise CheckFailedError(f"importing {module} takes more than {_TIMEOUT} s") from None
    finally:
        end_process(process)
    if process.returncode:
        raise CheckFailedError(f"{module} cannot be imported alone: {' '.join(errors.strip().splitlines()[-1:])}")
    found = json.loads(printed.splitlines()[-1])
    return _Import(module, found["seconds"], tuple(found["modules"]), found["printed"], tuple(found["threads"]))


def _module(distribution: str, name: str) -> str:
    for plugin, entry_point in installed_plugins():
        if entry_point is not None and (plugin.distribution, plugin.name) == (distribution, name):
            return entry_point.module
    raise SkippedError(f"{distribution} has no entry point {name!r} here")
