"""A stranger's plugin may use our names: what we choose by default, and what our recipes name, stays ours."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import asd_bench
from asd.contract import installed
from asd.detection.config import Config
from asd.detection.defaults import DEFAULTS, QUALITIES
from asd_registry import PIPELINE_KINDS, Registry

RECIPES = sorted((Path(asd_bench.__file__).parent / "recipes").glob("*.toml"))
STRANGER = '''
from asd.plugin import Detector, Extractor, Frontend
from asd_registry import ComponentSpec, hookimpl


class Wrong(Detector, Extractor, Frontend):
    """Fails as soon as it is used."""


@hookimpl
def asd_components():
    for kind, name in {names!r}:
        yield ComponentSpec(kind=kind, name=name, summary="A stranger's", target=f"{{__name__}}:Wrong", licence="MIT")
'''


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Return the registry with a plugin that offers each of our components' names once more."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ASD_PLUGINS", raising=False)
        registry = Registry()
        ours = [each for each in registry.components if each.plugin.is_ours]
        names = sorted({(each.spec.kind, name) for each in ours for name in each.spec.names})
        assert ("detector", "knn") in names
        file = tmp_path_factory.mktemp("stranger") / "stranger.py"
        file.write_text(STRANGER.format(names=names))
        registry.add_file(file)
        patch.setattr(installed, "_registry", lambda selection: registry)
        yield registry


def test_every_name_of_ours_stays_ours(crowded: Registry) -> None:
    ours = [each for each in crowded.components if each.plugin.is_ours]
    wrong = [each.qualified_name for each in ours if crowded.find(each.spec.kind, each.spec.name) is not each]
    assert len(ours) > 50
    assert wrong == []


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_quality_is_of_our_components(quality: Any, crowded: Registry) -> None:
    for part in Config(quality=quality).resolved().parts:
        for kind in PIPELINE_KINDS:
            assert crowded.find(kind, getattr(part, kind).name).plugin.is_ours


@pytest.mark.parametrize("chosen", [{}, {"detector": "gmm"}, {"extractor": "yamnet"}, {"frontend": "efficientat-mel"}])
def test_defaults_are_ours(chosen: dict[str, str], crowded: Registry) -> None:
    resolved = Config.from_mapping({"extractor": DEFAULTS["extractor"], **chosen}).resolved()
    for kind in PIPELINE_KINDS:
        assert crowded.find(kind, getattr(resolved, kind).name).plugin.is_ours


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_names_our_components(recipe: Path, crowded: Registry) -> None:
    named = list(_named(tomllib.loads(recipe.read_text(encoding="utf-8"))))
    assert named or recipe.stem == "machines"  # whose pipelines are qualities
    for kind, name in named:
        assert crowded.find(kind, name).plugin.is_ours, f"{kind} {name}"


def _named(table: Any) -> Iterator[tuple[Any, str]]:
    """Yield kind and name of every component in a recipe, whether it stands alone or in a list."""
    for key, value in table.items() if isinstance(table, dict) else ():
        kind = key.removesuffix("s")
        for each in value if isinstance(value, list) else [value]:
            if kind in (*PIPELINE_KINDS, "dataset"):
                yield kind, each if isinstance(each, str) else each["name"]
            elif isinstance(each, dict):
                yield from _named(each)
