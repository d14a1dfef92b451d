"""The component under test: how it is made, its input, and the results that its checks share."""

from __future__ import annotations

import importlib.util
import inspect
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from asd.errors import AsdError, ConfigError, PluginError, WeightError
from asd.experiment import REQUIRED, load_class
from asd.plugin import (
    Component,
    Dataset,
    Detector,
    Extractor,
    Frontend,
    Sink,
    Source,
    WorkEngine,
    create,
    parameters_of,
    registry,
)
from asd_registry import Component as Registered
from asd_registry import ComponentSpec, Kind
from asd_testing import sounds
from asd_testing.errors import CheckFailedError, SkippedError
from asd_testing.use import RUNTIME, Array, compute, prepared

T = TypeVar("T")

_TRAINING, _TEST = 40, 30
_WINDOWS = 3
_INTERFACES: dict[Kind, type[Component]] = {
    "frontend": Frontend,
    "extractor": Extractor,
    "detector": Detector,
    "dataset": Dataset,
    "source": Source,
    "sink": Sink,
    "engine": WorkEngine,
}


class ComponentUnderTest:
    """A component under check.

    Parameters
    ----------
    kind : str
        The kind that it is checked as.
    name : str
        For messages.
    registered : asd_registry.Component or None
        Its registration; None for a class that no plugin offers.
    given : Component, type or None
        The instance or the class to check; None for a registered name.
    """

    def __init__(
        self,
        kind: Kind,
        name: str,
        *,
        registered: Registered | None = None,
        given: Component | type[Component] | None = None,
    ) -> None:
        self.kind: Kind = kind
        self.name = name
        self.registered = registered
        self._given = given
        self.draws_globally = False
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._kept: dict[str, Any] = {}

    def once(self, what: str, make: Callable[[], T]) -> T:
        """Return the value of `make()`, computed once for all checks; after a failure, later checks are skipped."""
        if what not in self._kept:
            try:
                self._kept[what] = make()
            except SkippedError as skipped:
                self._kept[what] = skipped
                raise
            except Exception:
                self._kept[what] = SkippedError(f"not reached: {what} failed in an earlier check")
                raise
        kept = self._kept[what]
        if isinstance(kept, SkippedError):
            raise kept
        found: T = kept
        return found

    @property
    def spec(self) -> ComponentSpec:
        """What the plugin declares; skips the check if no plugin offers the component."""
        return self.owner.spec

    @property
    def owner(self) -> Registered:
        """The registration; skips the check if no plugin offers the component."""
        if self.registered is None:
            raise SkippedError("not registered: no plugin offers it")
        return self.registered

    @cached_property
    def folder(self) -> Path:
        """A folder for files of the checks; `close` deletes it."""
        self._temporary = tempfile.TemporaryDirectory(prefix="asd-check-")
        return Path(self._temporary.name)

    @cached_property
    def cls(self) -> type[Component]:
        """The component's class."""
        if self._given is not None:
            return self._given if isinstance(self._given, type) else type(self._given)
        if self.owner.problem:
            raise SkippedError(self.owner.problem)
        try:
            return load_class(self.owner)
        except PluginError as error:
            raise SkippedError(f"its class cannot be imported: {error}") from error

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """Constructor parameters: its preset, its `example_parameters`, random weights if its own are missing."""
        if isinstance(self._given, Component):
            return self._given.get_params()
        preset = dict(self.registered.spec.preset) if self.registered else {}
        chosen = {**self.cls.example_parameters(self.folder), **preset}
        missing = [p.name for p in parameters_of(self.cls).values() if p.default is REQUIRED and p.name not in chosen]
        if missing:
            raise SkippedError(
                f"needs the parameter {missing[0]}: offer one by the class method example_parameters, "
                "or check an instance"
            )
        try:
            self.cls(**chosen)
        except (ConfigError, WeightError) as error:
            raise SkippedError(
                f"cannot be made for a trial: {error}; offer parameters by the class method example_parameters"
            ) from error
        return self._with_random_weights(chosen)

    def _with_random_weights(self, chosen: dict[str, Any]) -> dict[str, Any]:
        """Return `chosen` with random weights if the real ones are missing and the component offers random ones."""
        if self.kind != "extractor" or "weights" not in parameters_of(self.cls) or "weights" in chosen:
            return chosen
        try:
            self.cls(**chosen).weight_hashes()  # type: ignore[attr-defined]  # it is an extractor
        except WeightError:
            try:
                random = {**chosen, "weights": "random"}
                self.cls(**random).weight_hashes()  # type: ignore[attr-defined]
            except (ConfigError, WeightError):
                return chosen
            return random
        except Exception:
            return chosen  # a check reports the error
        return chosen

    def make(self) -> Any:
        """Return a new component."""
        component = self.cls(**self.parameters)
        component.runtime = RUNTIME
        return component

    @cached_property
    def features(self) -> sounds.Features:
        """Features for a detector: from the front end and the extractor that its spec names, or plain ones."""
        named = self.default_of("frontend"), self.default_of("extractor")
        if named[0] is None or named[1] is None:
            return sounds.plain_features()
        try:
            frontend, extractor = create("frontend", named[0]), create("extractor", named[1])
        except PluginError as error:
            raise SkippedError(f"its features come from another component: {error}") from error
        return sounds.features_through(frontend, extractor, training=_TRAINING, test=_TEST)

    def default_of(self, kind: Literal["frontend", "extractor"]) -> str | None:
        """Return the name of the front end or extractor that its spec names, if it is registered."""
        return registry().default_of(self.registered, kind) if self.registered else None

    @cached_property
    def training(self) -> Array | None:
        """Features for a detector's `fit`; None for other kinds."""
        return self.features.training if self.kind == "detector" else None

    @cached_property
    def values(self) -> Array:
        """The component's input: samples, windows or features."""
        if self.kind == "detector":
            return np.concatenate([self.features.normal[:30], self.features.anomalous[:30]])
        component = self.make()
        if self.kind == "frontend":
            length = component.window_length
            count = 2 * component.sample_rate if length is None else length + 3 * component.window_hop
            return sounds.samples(component.sample_rate, count)
        return self._windows(component)

    def _windows(self, extractor: Any) -> Array:
        takes = extractor.consumes
        named = self.default_of("frontend")
        if named:
            frontend = self._frontend(named, takes.sample_rate)
            if frontend is not None and takes.accepts(frontend.produces):
                return sounds.windows(prepared(frontend, named, None), _WINDOWS)
        return sounds.noise_windows(takes, _WINDOWS)

    def _frontend(self, name: str, sample_rate: int | None) -> Any:
        try:
            frontend = create("frontend", name)
            if sample_rate not in (None, frontend.sample_rate) and "sample_rate" in parameters_of(type(frontend)):
                frontend = create("frontend", name, {"sample_rate": sample_rate})
        except AsdError:
            return None
        return frontend

    def prepare(self) -> Any:
        """Return a new component, ready for use; a detector is fitted."""
        with without_weights():
            return prepared(self.make(), self.name, self.training)

    @property
    def ready(self) -> Any:
        """A component ready for use, shared by all checks; they must not change it."""
        return self.once("preparing it", self.prepare)

    @property
    def repeated(self) -> Array:
        """The output for `values` of a second component, fitted on read-only features."""
        return self.once("fitting it on read-only features", self._repeated)

    def _repeated(self) -> Array:
        training = None if self.training is None else self.training.copy()
        if training is not None:
            training.flags.writeable = False
        before = _global_random_numbers()
        with without_weights():
            second = prepared(self.make(), self.name, training)
            try:
                results = compute(second, self.values)
            finally:
                second.close()
        self.draws_globally = before != _global_random_numbers()
        if training is not None and not np.array_equal(training, self.features.training):
            raise CheckFailedError("fitting changes the features: work on a copy")
        return results

    def compute(self, values: Array, component: Any = None) -> Array:
        """Return the component's output for `values`."""
        with without_weights():
            return compute(self.ready if component is None else component, values)

    @property
    def results(self) -> Array:
        """The component's output for its own input, the reference for comparisons."""
        return self.once("using it", lambda: self.compute(self.values))

    @cached_property
    def description(self) -> dict[str, Any]:
        """What another process needs to construct the same component."""
        cls = self.cls
        if "<locals>" in cls.__qualname__:
            raise SkippedError("its class is defined inside a function: another process cannot import it")
        source = None if self.registered else inspect.getsourcefile(cls)
        return {
            "name": self.name,
            "module": cls.__module__,
            "class": cls.__qualname__,
            "source": source,
            "parameters": self.parameters,
        }

    def release(self) -> None:
        """Let components release what they hold; the next check that uses them takes it again."""
        for kept in self._kept.values():
            if isinstance(kept, Component):
                kept.close()

    def close(self) -> None:
        """End its processes and delete its folder: no check follows."""
        for kept in self._kept.values():
            if hasattr(kept, "close"):
                kept.close()
        if self._temporary is not None:
            self._temporary.cleanup()


def _global_random_numbers() -> str:
    """Return the state of the global random number generators."""
    return f"{random.getstate()} {np.random.get_state(legacy=False)}"


@contextmanager
def without_weights() -> Iterator[None]:
    """Skip the check if weights are missing."""
    try:
        yield
    except WeightError as error:
        raise SkippedError(f"its weights are not here: {error}") from error


def component_under_test(component: Any, kind: Kind | None = None) -> ComponentUnderTest:
    """Return the component under test for a registered name, a class or an instance.

    Raises
    ------
    PluginError, ConfigError
        If the name is unknown or ambiguous, or `component` is no component.
    """
    if isinstance(component, str):
        registered = registry().find(kind, component)
        return ComponentUnderTest(registered.spec.kind, registered.qualified_name, registered=registered)
    cls = component if isinstance(component, type) else type(component)
    kinds = [each for each, interface in _INTERFACES.items() if issubclass(cls, interface)]
    if not kinds:
        known = ", ".join(interface.__name__ for interface in _INTERFACES.values())
        raise ConfigError(f"{cls.__name__} is no component: derive it from {known}")
    offered = _registration(cls)
    if offered is None:
        return ComponentUnderTest(kind or kinds[0], cls.__qualname__, given=component)
    given = None if isinstance(component, type) else component
    return ComponentUnderTest(kinds[0], offered.qualified_name, registered=offered, given=given)


def _registration(cls: type) -> Registered | None:
    """Return the registration of a class, if it is registered under exactly one name."""
    target = f"{cls.__module__}:{cls.__qualname__}"
    found = [component for component in registry().components if component.spec.target == target]
    return found[0] if len(found) == 1 else None


def classes_in(path: Path) -> list[type[Component]]:
    """Return the component classes that a Python file defines, in the order of the file.

    Raises
    ------
    ConfigError
        If the file cannot be imported or defines none.
    """
    try:
        module = imported(path.stem, path)
    except Exception as error:
        raise ConfigError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    found = [
        item
        for item in vars(module).values()
        if isinstance(item, type)
        and issubclass(item, Component)
        and item.__module__ == module.__name__
        and not inspect.isabstract(item)
    ]
    if not found:
        raise ConfigError(f"{path}: defines no component; derive a class from asd.Detector, Extractor, Frontend …")
    return found


def imported(name: str, path: Path) -> Any:
    """Import a Python file as the module `name`."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
