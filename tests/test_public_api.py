"""The promise to those who build on asd: no public signature changes without a line in the changelog that names it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def public_api() -> ModuleType:
    spec = importlib.util.spec_from_file_location("public_api", HERE / "public_api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def snapshot() -> dict[str, str]:
    lines = (HERE / "public_api.txt").read_text(encoding="utf-8").splitlines()
    return {name: signature for name, _, signature in (line.partition("\t") for line in lines)}


def newest_section() -> str:
    changelog = (HERE.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.split(r"^## ", changelog, flags=re.MULTILINE)[1]


def test_every_change_of_the_public_interface_is_in_the_changelog(public_api: ModuleType) -> None:
    missing = public_api.undocumented(snapshot(), public_api.interface(), newest_section())
    assert missing == [], "name these in backticks in the newest section of CHANGELOG.md: what changed, what to do"


BEFORE = {"asd.fit": "(data)", "asd.Model": "()", "asd.Model.save": "(path)", "asd fit": "", "asd fit --force": "flag"}


@pytest.mark.parametrize(
    ("now", "changelog", "missing"),
    [
        ({}, "", []),
        ({"asd.fit": "(data, pca)"}, "", ["asd.fit"]),
        ({"asd.fit": "(data, pca)"}, "asd.fit takes pca", ["asd.fit"]),
        ({"asd.fit": "(data, pca)"}, "- `asd.fit` takes pca", []),
        ({"asd.Model.save": None}, "- `asd.Model` is new", ["asd.Model.save"]),
        ({"asd.Model": None, "asd.Model.save": None}, "- `asd.Model` has gone", []),
        ({"asd.New": "()", "asd.New.add": "()"}, "", ["asd.New", "asd.New.add"]),
        ({"asd.New": "()", "asd.New.add": "()"}, "- `asd.New`", []),
        ({"asd fit --force": "takes a value"}, "- `asd fit` is better", ["asd fit --force"]),
    ],
)
def test_the_rule_itself(
    public_api: ModuleType, now: dict[str, str | None], changelog: str, missing: list[str]
) -> None:
    after = {name: text for name, text in {**BEFORE, **now}.items() if text is not None}
    assert public_api.undocumented(BEFORE, after, changelog) == missing


def test_the_interface_holds_what_it_should(public_api: ModuleType) -> None:
    found = public_api.interface()
    assert found["asd.Detector.score"] == "(self, features: Float32) -> Float64"
    assert found["asd fit --force"] == "flag"
    assert "strict: bool = False" in found["asd.fit"]
    assert found["asd_registry.API_VERSION"] == "= 1"
