"""Recipes: those that ship can be read, and a mistake is reported with its line and close matches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from asd.command import cli
from asd.errors import AsdError, ConfigError
from asd_bench import recipe

HEAD = 'summary = "x"\ndataset = "folder"\n\n'


@pytest.mark.parametrize("name", [name for name in recipe.shipped() if name != "machines"])  # of a kind of its own
def test_shipped_recipes_can_be_read(name: str) -> None:
    found = recipe.read(recipe.find(name))
    assert found.name == name
    assert found.summary
    assert found.pipelines


@pytest.mark.parametrize("year", range(2020, 2027))
def test_each_edition_prints_a_whole_recipe_of_its_own(year: int, tmp_path: Path) -> None:
    name = f"dcase{year}"
    printed = CliRunner().invoke(cli, ["bench", name, "--print"]).output
    copy = tmp_path / f"{name}.toml"
    copy.write_text(printed)
    found = recipe.read(recipe.find(str(copy)))
    assert found == recipe.read(recipe.find(name))
    assert [choice.name for choice in found.datasets] == [name]
    assert found.units == (("machine",) if year < 2023 else ("machine", "section"))
    assert found.metric == f"dcase{min(year, 2022)}"
    assert len(found.pipelines) == (5 * 11 + 3 if year == 2023 else 5 * 6 + 2)


def test_the_papers_recipes_hold_the_papers_grids() -> None:
    images = recipe.read(recipe.find("muller2020-image"))
    assert len(images.pipelines) == 4 * 5 + 2
    assert images.split == recipe.Split("balanced", 150)
    assert images.seeds == (0, 1, 2, 3, 4)
    features = recipe.read(recipe.find("muller2020-features"))
    assert features.units == ("machine", "section", "snr")
    assert {p.pca for p in features.pipelines if p.extractor} == {0.98}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[grid]]\ndetectors = ["knm"]', "line 5: unknown detector 'knm'; did you mean knn"),
        (
            '[[grid]]\nextractors = ["squeezenet1_1"]\ndetectors = ["knn"]',
            "line 5: unknown extractor 'squeezenet1_1'; did you mean squeezenet1_0",
        ),
        ('[[grid]]\ndetector = ["knn"]', "line 5: [[grid]] has no key 'detector'; did you mean detectors"),
        ("[pipelines]\npca = 0.5", "line 4: a recipe has no key 'pipelines'; did you mean pipeline?"),
        ("[pipeline]\nstandardize = true\n", "line 5: [pipeline] has no key 'standardize'; did you mean standardise?"),
        ('[[grid]]\ndetectors = ["knn"]\npca = 2.0', "line 6: pca takes a fraction above 0, at most 1"),
        ('metric = "dcase2o22"\n[[grid]]\ndetectors = ["knn"]', "line 4: unknown metric 'dcase2o22'; did you mean"),
        ('split = "balance"\n[[grid]]\ndetectors = ["knn"]', "line 4: unknown split 'balance'; did you mean balanced?"),
        ('seeds = ["0"]\n[[grid]]\ndetectors = ["knn"]', "line 4: seeds takes a list of whole numbers, got ['0']"),
        (
            '[[grid]\ndetectors = ["knn"]',
            "not a TOML file: Expected ']]' at the end of an array declaration (at line 4",
        ),
        ("", "needs at least one table [[grid]] with 'detectors'"),
        ("[[grid]]\npca = 0.5", "each table [[grid]] needs a list 'detectors'"),
    ],
)
def test_mistakes_are_reported_with_their_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(HEAD + text)
    with pytest.raises(ConfigError) as caught:
        recipe.read(recipe.find(str(path)))
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_an_unknown_dataset_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('dataset = "dcase2032"\n[[grid]]\ndetectors = ["knn"]')
    with pytest.raises(ConfigError, match=r"own.toml, line 1: unknown dataset 'dcase2032'; did you mean dcase20"):
        recipe.read(recipe.find(str(path)))


def test_a_wrong_parameter_is_reported_before_anything_is_embedded(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'dataset = "folder"\n\n[[grid]]\nextractors = [{ name = "identity", frontend = "mel-patch" }]\n'
        'detectors = [\n  "knn",\n  { name = "gmm", componentz = 3 },\n]\n'
    )
    samples = Path(__file__).resolve().parents[3] / "examples" / "data"
    with pytest.raises(ConfigError) as caught:
        cli.main(
            ["bench", str(path), "--data", str(samples), "-o", str(tmp_path / "out")],
            standalone_mode=False,
        )
    expected = "own.toml, line 7: detector 'gmm' has no parameter 'componentz'; did you mean n_components?"
    assert expected in str(caught.value)


def test_recipes_are_listed_and_printed_to_copy() -> None:
    listed = CliRunner().invoke(cli, ["bench", "--list"])
    assert all(name in listed.output for name in recipe.shipped())
    assert [row["name"] for row in json.loads(CliRunner().invoke(cli, ["bench", "--list", "--json"]).output)] == [
        *(f"dcase{year}" for year in range(2020, 2027)),
        *("machines", "muller2020-features", "muller2020-image", "quick"),
    ]
    printed = CliRunner().invoke(cli, ["bench", "quick", "--print"])
    assert printed.output == recipe.find("quick").text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench"], "name a recipe: 'asd bench --list' lists them"),
        (["bench", "quick"], "name the folder of the data: asd bench quick --data DIR"),
        (["bench", "quick", "--data", ".", "--max-time", "1"], "limit a recommendation: add --recommend FILE.toml"),
        (["bench", "quik", "--data", "."], "unknown recipe 'quik'; did you mean quick?"),
        (["bench", "own.toml", "--data", "."], "own.toml: no such recipe file"),
    ],
)
def test_what_is_missing_on_the_command_line_is_said(arguments: list[str], message: str) -> None:
    with pytest.raises(AsdError) as caught:
        cli.main(arguments, standalone_mode=False)
    assert message in str(caught.value)
