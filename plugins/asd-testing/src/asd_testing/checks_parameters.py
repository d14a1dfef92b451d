"""Checks of the constructor and its parameters."""

from __future__ import annotations

import copy
import importlib
import json
import pickle
from collections.abc import Iterator
from typing import Any

from asd.errors import AsdError
from asd.experiment import convert_all
from asd.plugin import parameters_of
from asd_registry import KINDS
from asd_testing.compare import as_json, require, same
from asd_testing.errors import CheckFailedError
from asd_testing.kit import check
from asd_testing.under_test import ComponentUnderTest


@check()
def constructor_stores(tested: ComponentUnderTest) -> None:
    """The constructor stores every parameter under its own name, as it was given."""
    for name, value, instance in _variations(tested):
        if not hasattr(instance, name):
            raise CheckFailedError(f"the parameter {name} is not stored: set self.{name} = {name} in the constructor")
        stored = getattr(instance, name)
        require(same(stored, value), f"was given {name} = {value!r}, stores {stored!r}: store it as it is")


def _variations(tested: ComponentUnderTest) -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, value given, instance) for every parameter, for numbers and flags also with another value."""
    fixed = set(tested.registered.spec.preset) if tested.registered else set()
    usual = copy.deepcopy(tested.parameters)
    instance = tested.cls(**tested.parameters)
    for name, parameter in parameters_of(tested.cls).items():
        value = usual.get(name, parameter.default)
        yield name, value, instance
        if name in fixed or not isinstance(value, bool | int | float):
            continue
        other = not value if isinstance(value, bool) else -value if value else value + 1
        for changed in (other, value + 1 if not isinstance(value, bool) else other):
            try:
                yield name, changed, tested.cls(**{**tested.parameters, name: changed})
            except (AsdError, TypeError, ValueError):
                continue  # refused: nothing is stored


@check()
def parameters_round_trip(tested: ComponentUnderTest) -> None:
    """The parameters come back from JSON, as files keep them, and make an equal component."""
    given = tested.make().get_params()
    try:
        text = as_json(tested, given)
    except TypeError as error:
        where = "file" if tested.kind in ("source", "sink") else "model file"
        raise CheckFailedError(f"its parameters cannot be kept in a {where} ({error}): take plain values") from error
    converted = convert_all(tested.cls, tested.name, json.loads(text))
    again = tested.cls(**converted).get_params()
    wrong = [name for name in given if not same(again.get(name), given[name])]
    require(
        not wrong,
        f"{', '.join(wrong)} came back as {[again.get(n) for n in wrong]} instead of {[given[n] for n in wrong]}: "
        "annotate each parameter with the type that it has",
    )


@check(*(kind for kind in KINDS if kind != "engine"))  # an engine stays in the process that made it
def fit_for_workers(tested: ComponentUnderTest) -> None:
    """A new component can be pickled, or asks for a process of its own and can be made there."""
    component = tested.make()
    if component.isolation == "process":
        module = importlib.import_module(tested.cls.__module__)
        found = getattr(module, tested.cls.__qualname__, None)
        require(found is tested.cls, "a worker cannot import its class: define it at a module's top level")
        return
    try:
        copied = pickle.loads(pickle.dumps(component))  # noqa: S301  # what was written in the line itself
    except Exception as error:
        raise CheckFailedError(
            f"a new one cannot be pickled for a worker ({error}): keep locks, files and lambdas out of the constructor"
        ) from error
    require(copied.get_params() == component.get_params(), "a pickled copy has other parameters")
