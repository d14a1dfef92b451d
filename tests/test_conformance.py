"""The project's own components keep the framework's promises, by the kit that strangers use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asd.contract.installed import registry
from asd.testing import checks, parametrize_with_checks
from asd_testing import kit
from asd_testing.under_test import component_under_test

OWN = {path.parent.name for path in (Path(__file__).resolve().parent.parent / "plugins").glob("*/pyproject.toml")}
COMPONENTS = [component for component in registry().of_kind() if component.plugin.distribution in OWN]
LARGE = ("asd-essentia", "asd-imagenet", "asd-openl3", "asd-transformers")
SPEC = ("name-is-free", "contract-version-is-known", "target-exists", "spec-is-complete", "spec-is-true")

# Names that share a class differ in a preset: one of them stands for all ('asd check --all' takes each), that which
# needs no weights from elsewhere.
FIRST = {component.spec.target: component for component in sorted(COMPONENTS, key=lambda c: bool(c.spec.weights))}
FIRST |= {c.spec.target: c for c in COMPONENTS if any(weight.url is None for weight in c.spec.weights)}
FULL = [component.qualified_name for component in FIRST.values()]
OTHERS = [component.qualified_name for component in COMPONENTS if component.qualified_name not in FULL]


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # imported by Apprise
@parametrize_with_checks([name for name in FULL if not name.startswith(LARGE)])
def test_conformance(check: Callable[[], None]) -> None:
    check()


@pytest.mark.slow
@parametrize_with_checks([name for name in FULL if name.startswith(LARGE)])
def test_conformance_of_large_networks(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize("name", OTHERS)
def test_the_specs_of_the_others_are_true(name: str) -> None:
    tested = component_under_test(name)
    try:
        results = [kit.outcome(check, tested, None) for check in checks(tested.kind) if check.name in SPEC]
    finally:
        tested.close()
    assert [result for result in results if result.outcome == "failed"] == []
    assert len(results) >= 4


def test_no_plugin_of_ours_is_broken() -> None:
    said = {
        plugin.distribution: [plugin.error, *(text for text in plugin.remarks if not text.startswith("takes "))]
        for plugin in registry().plugins  # how long an import takes is the machine's
    }
    assert {name for name, texts in said.items() if any(texts)} & OWN == set()
    assert len(COMPONENTS) > 40
