"""Recipes: a benchmark as a TOML file, which says data, split, seeds, metric and pipelines.

::

    summary = "Two extractors before two detectors"
    dataset = "dcase2023"                          # or a table with name and parameters, or a list of such
    split = "official"                             # or { kind = "balanced", normal = 150 }
    units = ["machine", "section"]                 # what has a detector of its own
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

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from asd.errors import ConfigError, PluginError
from asd.experiment import Choice, Config
from asd.plugin import registry
from asd_bench.published import published_tables
from asd_registry import Kind

Metric = Literal["auc", "dcase2020", "dcase2021", "dcase2022"]

_KEYS = ("summary", "dataset", "split", "units", "seeds", "metric", "published", "pipeline", "grid")
_OPTIONS = tuple(f.name for f in fields(Config) if f.name not in ("frontend", "extractor", "detector", "seed"))
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
        What it is called, and what it is.
    datasets : tuple of Choice
        The dataset with its parameters; several: their recordings together.
    split : Split
        Which clips train and which test.
    units : tuple of str
        What has a detector of its own: recordings that agree in these (``machine``, ``section`` or an attribute).
    seeds : tuple of int
        Seeds of everything random; each is a row.
    metric : {"auc", "dcase2020", "dcase2021", "dcase2022"}
        What the score is (`asd_bench.measures`).
    published : str or None
        Name of the published table to compare with.
    pipelines : tuple of Config
        What is compared.
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


def shipped() -> dict[str, Path]:
    """Return the recipes inside this package by name."""
    folder = Path(str(resources.files("asd_bench"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find(name: str) -> Path:
    """Return the file of a recipe, by its path or by the name of a shipped one.

    Raises
    ------
    ConfigError
        If there is none.
    """
    known = shipped()
    if name in known:
        return known[name]
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix == ".toml":
        raise ConfigError(f"{name}: no such recipe file")
    close = difflib.get_close_matches(name, known, n=2)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"
    raise ConfigError(f"unknown recipe {name!r}; {hint} (or the path of a TOML file)")


def read(path: Path) -> Recipe:
    """Read a recipe.

    Raises
    ------
    ConfigError
        If it cannot be read or says what cannot be; with the line and close matches.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return _Reader(path, text).recipe(tomllib.loads(text))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read this recipe ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error


class _Reader:
    """Turns the tables of a recipe into a `Recipe`; errors name the line where the wrong word first stands."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.lines = [line.partition("#")[0] for line in text.splitlines()]

    def recipe(self, given: Mapping[str, Any]) -> Recipe:
        self._check_keys(given, _KEYS, "a recipe")
        shared = given.get("pipeline", {})
        self._check_keys(shared, _OPTIONS, "[pipeline]")
        published = given.get("published")
        grids = given.get("grid", [])
        if not isinstance(grids, list) or not grids:
            raise ConfigError(f"{self.path}: a recipe needs at least one table [[grid]] with 'detectors'")
        chosen = given.get("dataset", "folder")
        datasets = chosen if isinstance(chosen, list) else [chosen]
        pipelines = [config for grid in grids for config in self._pipelines({**shared, **grid})]
        return Recipe(
            name=self.path.stem,
            summary=str(given.get("summary", "")),
            datasets=tuple(self._choice("dataset", each) for each in datasets),
            split=self._split(given.get("split", "official")),
            units=tuple(self._list(given, "units", str, ("machine", "section"))),
            seeds=tuple(self._list(given, "seeds", int, (0,))),
            metric=self._one_of("metric", given.get("metric", "auc"), get_args(Metric)),
            published=self._one_of("published", published, tuple(published_tables())) if published else None,
            pipelines=_distinct(pipelines),
        )

    def _pipelines(self, grid: Mapping[str, Any]) -> Iterable[Config]:
        self._check_keys(grid, _GRID_KEYS, "[[grid]]")
        options = {key: value for key, value in grid.items() if key in _OPTIONS}
        detectors = grid.get("detectors")
        if not isinstance(detectors, list) or not detectors:
            raise ConfigError(f"{self.path}: each table [[grid]] needs a list 'detectors'")
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
                    raise ConfigError(f"{self._at(_named_in(error, options))}{error}") from None

    def _choice(self, kind: Kind, given: Any) -> Choice:
        table = {"name": given} if isinstance(given, str) else given
        if not isinstance(table, dict) or not isinstance(table.get("name"), str):
            raise ConfigError(f"{self._at(kind)}{kind} takes a name, or a table with 'name', got {given!r}")
        name = table["name"]
        try:
            registry().find(kind, name)
        except PluginError as error:
            # What is known but not installed is a row that says so; what nobody knows is a mistake.
            if str(error).startswith("unknown"):
                raise ConfigError(f"{self._at(name)}{error}") from None
        return Choice(name, {key: value for key, value in table.items() if key != "name"})

    def _split(self, given: Any) -> Split:
        table = {"kind": given} if isinstance(given, str) else given
        if not isinstance(table, dict):
            raise ConfigError(f"{self._at('split')}split takes official, balanced, or a table, got {given!r}")
        self._check_keys(table, ("kind", "normal"), "split")
        kind = self._one_of("split", table.get("kind"), ("official", "balanced"))
        count = table.get("normal")
        if count is not None and (not isinstance(count, int) or count < 1):
            raise ConfigError(f"{self._at('normal')}normal takes a whole number from 1, got {count!r}")
        return Split(kind, count)

    def _list(self, given: Mapping[str, Any], key: str, kind: type, default: Sequence[Any]) -> Sequence[Any]:
        values = given.get(key, default)
        if not isinstance(values, list | tuple) or not values or not all(type(value) is kind for value in values):
            what = "whole numbers" if kind is int else "names"
            raise ConfigError(f"{self._at(key)}{key} takes a list of {what}, got {values!r}")
        return values

    def _one_of(self, key: str, given: Any, known: Sequence[str]) -> Any:
        if given in known:
            return given
        close = difflib.get_close_matches(str(given), known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
        raise ConfigError(f"{self._at(str(given))}unknown {key} {given!r}; {hint}")

    def _check_keys(self, given: Any, known: Sequence[str], where: str) -> None:
        if not isinstance(given, dict):
            raise ConfigError(f"{self.path}: {where} must be a table, got {given!r}")
        for key in given.keys() - set(known):
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
            raise ConfigError(f"{self._at(key)}{where} has no key {key!r}; {hint}")

    def _at(self, word: str) -> str:
        return place(self.path, self.lines, word)


def _distinct(pipelines: Iterable[Config]) -> tuple[Config, ...]:
    return tuple({repr(config): config for config in pipelines}.values())


def place(path: Path, lines: Sequence[str], word: str) -> str:
    """Return ``"FILE, line N: "`` for the first line with `word` as a whole, or ``"FILE: "``."""
    pattern = re.compile(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])")
    number = next((n for n, line in enumerate(lines, start=1) if word and pattern.search(line)), None)
    return f"{path}, line {number}: " if number else f"{path}: "


def with_place(path: Path, error: ConfigError) -> ConfigError:
    """Return `error` with the line of the recipe that holds the last of the words that its text quotes."""
    if str(error).startswith(str(path)):
        return error
    lines = [line.partition("#")[0] for line in path.read_text(encoding="utf-8").splitlines()]
    places = [place(path, lines, word) for word in reversed(re.findall(r"'([^']+)'", str(error)))]
    return ConfigError(f"{next((found for found in places if ', line ' in found), f'{path}: ')}{error}")


def _named_in(error: Exception, words: Iterable[str]) -> str:
    return next((word for word in words if re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])", str(error))), "")
