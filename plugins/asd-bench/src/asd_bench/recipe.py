"""Recipes: a benchmark as a TOML file with data, split, seeds, metric and pipelines.

::

    summary = "Two extractors before two detectors"
    dataset = "dcase2023"                          # or a table with name and parameters, or a list of such
    split = "official"                             # or { kind = "balanced", normal = 150 }
    units = ["machine", "section"]                 # a detector for each machine and section
    seeds = [0]
    metric = "dcase2022"                           # auc, dcase2020, dcase2021, dcase2022
    published = "muller2020-image"                 # optional: published numbers to print beside ours

    [pipeline]                                     # options of asd fit for all pipelines
    pca = 0.98

    [[grid]]                                       # every extractor before every detector; options of asd fit besides
    extractors = ["squeezenet1_0", { name = "resnet18", frontend = { name = "mel-image", hop_length = 512 } }]
    detectors = ["knn", { name = "gmm", n_components = 20 }]

    [[grid]]                                       # without extractors: what each detector asks for
    detectors = ["dense-ae"]
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import tomli_w

from asd.errors import ConfigError, PluginError
from asd.experiment import Choice, Config
from asd.plugin import registry
from asd_bench.measures import METRICS, Metric
from asd_bench.published import published_tables
from asd_registry import Kind, did_you_mean

_KEYS = ("summary", "dataset", "split", "units", "seeds", "metric", "published", "pipeline", "grid")
_BY_OTHER_KEYS = (
    "frontend",
    "extractor",
    "detector",
    "seed",
    "quality",
    "branches",
    "fusion",
    "on_branch_error",
    "group",
)
_OPTIONS = tuple(f.name for f in fields(Config) if f.name not in _BY_OTHER_KEYS)
_GRID_KEYS = ("extractors", "detectors", *_OPTIONS)


@dataclass(frozen=True)
class Split:
    """Which clips train and which test.

    Parameters
    ----------
    kind : {"official", "balanced"}
        The dataset's own split; or, drawn anew for each seed, as many normal as anomalous clips for the test, and the
        other normal clips for training (arXiv:2006.03429, arXiv:2012.06282).
    count : int or None
        Most clips of each class in a balanced test; None: as many as there are anomalous ones.
    """

    kind: Literal["official", "balanced"] = "official"
    count: int | None = None


@dataclass(frozen=True)
class Recipe:
    """A benchmark.

    Parameters
    ----------
    name, summary : str
        The recipe's name, and one sentence on it.
    datasets : tuple of Choice
        The dataset with its parameters; several: their recordings together.
    split : Split
        Which clips train and which test.
    units : tuple of str
        The recordings that agree in these (``machine``, ``section`` or an attribute) have a detector of their own.
    seeds : tuple of int
        Seeds of everything random; each is a trial.
    metric : {"auc", "dcase2020", "dcase2021", "dcase2022"}
        The metric of the score (`asd_bench.measures`).
    published : str or None
        Name of the published table to compare with.
    pipelines : tuple of Config
        The pipelines to compare.
    """

    name: str
    summary: str
    datasets: tuple[Choice, ...]
    split: Split
    units: tuple[str, ...]
    seeds: tuple[int, ...]
    metric: Metric
    published: str | None
    pipelines: tuple[Config, ...]


@dataclass(frozen=True)
class RecipeFile:
    """The text of a recipe.

    Parameters
    ----------
    name : str
        The recipe's name.
    source : str
        The name of the text in errors: the path of a file, or the name of a shipped recipe.
    text : str
        The whole recipe, in TOML.
    """

    name: str
    source: str
    text: str

    def at(self, *words: str) -> str:
        """Return ``"SOURCE, line N: "`` for the first of the words that stands in the text, or ``"SOURCE: "``."""
        lines = [line.partition("#")[0] for line in self.text.splitlines()]
        for word in filter(None, words):
            for number, line in enumerate(lines, start=1):
                if _holds(line, word):
                    return f"{self.source}, line {number}: "
        return f"{self.source}: "

    def with_place(self, error: ConfigError) -> ConfigError:
        """Return `error` with the line of the last of the words that its text quotes."""
        if str(error).startswith(self.source):
            return error
        quoted = re.findall(r"'([^']+)'", str(error))
        return ConfigError(f"{self.at(*reversed(quoted))}{error}")


def shipped() -> dict[str, RecipeFile]:
    """Return the recipes inside this package by name. Each edition in a file is a recipe of its own."""
    found: dict[str, RecipeFile] = {}
    for path in Path(str(resources.files("asd_bench"))).glob("recipes/*.toml"):
        text = path.read_text(encoding="utf-8")
        editions = {path.stem: text}
        if "[editions." in text:
            shared = tomllib.loads(text)
            editions = {name: _edition(name, shared, own) for name, own in shared.pop("editions").items()}
        found |= {name: RecipeFile(name, f"recipe {name}", text) for name, text in editions.items()}
    return dict(sorted(found.items()))


def _edition(name: str, shared: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    text = tomli_w.dumps({"summary": own["summary"], "dataset": name, **shared, **own})
    # Short lists stand on one line, as in recipes written by hand.
    return re.sub(r"\[\n([^{}\[\]]{,80}),\n\]", lambda match: f"[{' '.join(match[1].split())}]", text)


def find(name: str) -> RecipeFile:
    """Return a recipe by the path of its file or by the name of a shipped one.

    Raises
    ------
    ConfigError
        If there is none, or the file cannot be read.
    """
    known = shipped()
    if name in known:
        return known[name]
    path = Path(name)
    if not path.is_file():
        if path.suffix == ".toml":
            raise ConfigError(f"{name}: no such recipe file")
        raise ConfigError(f"unknown recipe {name!r}; {did_you_mean(name, known)} (or the path of a TOML file)")
    try:
        return RecipeFile(path.stem, str(path), path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read this recipe ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error


def read(file: RecipeFile) -> Recipe:
    """Read a recipe.

    Raises
    ------
    ConfigError
        If it is no TOML or a key or value is wrong; with the line and close matches.
    """
    try:
        given = tomllib.loads(file.text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file.source}: not a TOML file: {error}") from error
    return _Reader(file).recipe(given)


def summary_of(file: RecipeFile) -> str:
    """Return the sentence on a shipped recipe, of whatever kind it is."""
    return str(tomllib.loads(file.text).get("summary", ""))


class _Reader:
    """Turns the tables of a recipe into a `Recipe`; errors name the line of the first occurrence of the wrong word."""

    def __init__(self, file: RecipeFile) -> None:
        self._file = file

    def recipe(self, given: Mapping[str, Any]) -> Recipe:
        self._check_keys(given, _KEYS, "a recipe")
        shared = given.get("pipeline", {})
        self._check_keys(shared, _OPTIONS, "[pipeline]")
        published = given.get("published")
        grids = given.get("grid", [])
        if not isinstance(grids, list) or not grids:
            raise ConfigError(f"{self._file.source}: a recipe needs at least one table [[grid]] with 'detectors'")
        chosen = given.get("dataset", "folder")
        datasets = chosen if isinstance(chosen, list) else [chosen]
        pipelines = [config for grid in grids for config in self._pipelines({**shared, **grid})]
        return Recipe(
            name=self._file.name,
            summary=str(given.get("summary", "")),
            datasets=tuple(self._choice("dataset", each) for each in datasets),
            split=self._split(given.get("split", "official")),
            units=tuple(self._list(given, "units", str, ("machine", "section"))),
            seeds=tuple(self._list(given, "seeds", int, (0,))),
            metric=self._one_of("metric", given.get("metric", "auc"), METRICS),
            published=self._one_of("published", published, tuple(published_tables())) if published else None,
            pipelines=tuple({repr(config): config for config in pipelines}.values()),
        )

    def _pipelines(self, grid: Mapping[str, Any]) -> Iterator[Config]:
        self._check_keys(grid, _GRID_KEYS, "[[grid]]")
        options = {key: value for key, value in grid.items() if key in _OPTIONS}
        detectors = grid.get("detectors")
        if not isinstance(detectors, list) or not detectors:
            raise ConfigError(f"{self._file.source}: each table [[grid]] needs a list 'detectors'")
        for extractor in grid.get("extractors", [None]):
            table = dict(extractor) if isinstance(extractor, dict) else {"name": extractor}
            frontend = table.pop("frontend", None)
            for detector in detectors:
                chosen: dict[str, Any] = {"detector": self._choice("detector", detector)}
                if extractor is not None:
                    chosen["extractor"] = self._choice("extractor", table)
                if frontend is not None:
                    chosen["frontend"] = self._choice("frontend", frontend)
                try:
                    yield Config.from_mapping({**options, **chosen})
                except ConfigError as error:
                    named = [option for option in options if _holds(str(error), option)]
                    raise ConfigError(f"{self._file.at(*named[:1])}{error}") from None

    def _choice(self, kind: Kind, given: Any) -> Choice:
        table = {"name": given} if isinstance(given, str) else given
        if not isinstance(table, dict) or not isinstance(table.get("name"), str):
            raise ConfigError(f"{self._file.at(kind)}{kind} takes a name, or a table with 'name', got {given!r}")
        name = table["name"]
        try:
            registry().find(kind, name)
        except PluginError as error:
            # A known component that is not installed becomes a row with the reason; an unknown one is a mistake.
            if str(error).startswith("unknown"):
                raise ConfigError(f"{self._file.at(name)}{error}") from None
        return Choice(name, {key: value for key, value in table.items() if key != "name"})

    def _split(self, given: Any) -> Split:
        table = {"kind": given} if isinstance(given, str) else given
        if not isinstance(table, dict):
            raise ConfigError(f"{self._file.at('split')}split takes official, balanced, or a table, got {given!r}")
        self._check_keys(table, ("kind", "normal"), "split")
        kind = self._one_of("split", table.get("kind"), ("official", "balanced"))
        count = table.get("normal")
        if count is not None and (not isinstance(count, int) or count < 1):
            raise ConfigError(f"{self._file.at('normal')}normal takes a whole number from 1, got {count!r}")
        return Split(kind, count)

    def _list(self, given: Mapping[str, Any], key: str, kind: type, default: Sequence[Any]) -> Sequence[Any]:
        values = given.get(key, default)
        if not isinstance(values, list | tuple) or not values or not all(type(value) is kind for value in values):
            what = "whole numbers" if kind is int else "names"
            raise ConfigError(f"{self._file.at(key)}{key} takes a list of {what}, got {values!r}")
        return values

    def _one_of(self, key: str, given: Any, known: Sequence[str]) -> Any:
        if given not in known:
            raise ConfigError(f"{self._file.at(str(given))}unknown {key} {given!r}; {did_you_mean(str(given), known)}")
        return given

    def _check_keys(self, given: Any, known: Sequence[str], where: str) -> None:
        if not isinstance(given, dict):
            raise ConfigError(f"{self._file.source}: {where} must be a table, got {given!r}")
        for key in given.keys() - set(known):
            raise ConfigError(f"{self._file.at(key)}{where} has no key {key!r}; {did_you_mean(str(key), known)}")


def _holds(text: str, word: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])", text) is not None
