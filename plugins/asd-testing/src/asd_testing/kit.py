"""The list of checks, and how a check runs."""

from __future__ import annotations

import importlib
import inspect
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asd.errors import ConfigError
from asd_registry import KINDS, PIPELINE_KINDS, Kind
from asd_testing.errors import CheckFailedError, SkippedError
from asd_testing.report import Outcome, Report, Result

if TYPE_CHECKING:
    from asd_testing.under_test import ComponentUnderTest

Function = Callable[["ComponentUnderTest"], None]


@dataclass(frozen=True)
class Check:
    """One check.

    Parameters
    ----------
    name : str
        Shown in reports and used in ``expected_failures``.
    promise : str
        One sentence: what the check requires of a component.
    kinds : tuple of str
        The kinds of components that it applies to.
    function : callable
        Takes a `ComponentUnderTest`; raises `CheckFailedError` or `SkippedError`.
    """

    name: str
    promise: str
    kinds: tuple[Kind, ...]
    function: Function


_checks: list[Check] = []


def check(*kinds: Kind) -> Callable[[Function], Function]:
    """Register a function as a check of components of these kinds (default: of all); its docstring is the promise."""

    def register(function: Function) -> Function:
        promise = inspect.getdoc(function) or ""
        _checks.append(Check(function.__name__.replace("_", "-"), promise, kinds or KINDS, function))
        return function

    return register


def checks(kind: Kind | None = None) -> list[Check]:
    """Return all checks, or those of one kind of component, in the order in which they run."""
    # Importing a module adds its checks to the list.
    for module in ("plugin", "parameters", "use", "dataset", "source", "sink", "engine", "process"):
        importlib.import_module(f"asd_testing.checks_{module}")
    return [each for each in _checks if kind is None or kind in each.kinds]


USERS = PIPELINE_KINDS
"""Kinds whose components compute something."""


def run(each: Check, tested: ComponentUnderTest) -> None:
    """Run a check, without the network; raises what it raises."""
    with offline():
        each.function(tested)


def outcome(each: Check, tested: ComponentUnderTest, expected: str | None) -> Result:
    """Run a check and return its result; an expected failure that does not happen is a failure."""
    began = time.perf_counter()
    found: Outcome = "passed"
    reason = ""
    try:
        run(each, tested)
        if expected is not None:
            found, reason = "failed", f"expected to fail ({expected}), but passes: remove it from expected_failures"
    except SkippedError as skipped:
        found, reason = "skipped", str(skipped)
    except Exception as error:
        found, reason = ("failed", describe(error)) if expected is None else ("expected failure", expected)
    return Result(each.name, found, reason, round(time.perf_counter() - began, 3))


def report(tested: ComponentUnderTest, expected_failures: Mapping[str, str]) -> Report:
    """Run every check that concerns a component."""
    own = checks(tested.kind)
    refuse_unknown(expected_failures, own)
    results = [outcome(each, tested, expected_failures.get(each.name)) for each in own]
    return Report(tested.name, tested.kind, tuple(results))


def refuse_unknown(expected_failures: Mapping[str, str], known: list[Check]) -> None:
    """Raise a ConfigError for a check that does not exist, or a failure that is expected without a reason."""
    names = [each.name for each in known]
    for name, reason in expected_failures.items():
        if name not in names:
            raise ConfigError(f"expected_failures: there is no check {name!r} here; known: {', '.join(names)}")
        if not reason.strip():
            raise ConfigError(f"expected_failures: {name} needs a reason")


def describe(error: BaseException) -> str:
    """Return an error as one line; an error that is no failed check is called unexpected."""
    text = " ".join(str(error).split())
    if isinstance(error, CheckFailedError):
        return text
    return f"unexpected {type(error).__name__}: {text}" if text else f"unexpected {type(error).__name__}"


@contextmanager
def offline() -> Iterator[None]:
    """Set ASD_OFFLINE=1 inside the block, so that components do not use the network."""
    before = os.environ.get("ASD_OFFLINE")
    os.environ["ASD_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["ASD_OFFLINE"]
        else:
            os.environ["ASD_OFFLINE"] = before
