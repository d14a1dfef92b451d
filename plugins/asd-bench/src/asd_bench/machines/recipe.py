"""The recipe ``machines`` as a TOML file: pipelines, draws, generated faults."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from asd.errors import ConfigError
from asd.experiment import ANOMALY_KINDS, AnomalyKind, Config
from asd_bench.recipe import RecipeFile

_KEYS = ("summary", "protocol", "pipelines", "draws", "seed", "faults")
_FAULT_KEYS = ("recordings", "levels", "kinds")
_QUALITIES = ("fast", "default", "best")


@dataclass(frozen=True)
class MachinesRecipe:
    """What to compare.

    Parameters
    ----------
    name, summary : str
        The recipe's name, and one sentence on it.
    pipelines : mapping of str to Config
        The pipelines by their labels.
    draws, seed : int
        How often clips to learn from are drawn, and the seed.
    recordings : int
        Healthy recordings of each machine that get generated faults; 0: none.
    levels : tuple of float
        Strengths of the faults in dB over the recording.
    kinds : tuple of str
        Kinds of faults.
    """

    name: str
    summary: str
    pipelines: Mapping[str, Config]
    draws: int
    seed: int
    recordings: int
    levels: tuple[float, ...]
    kinds: tuple[AnomalyKind, ...]


def is_machines(file: RecipeFile) -> bool:
    """Return whether a recipe is of this kind; an unreadable one is not."""
    try:
        return tomllib.loads(file.text).get("protocol") == "machines"
    except tomllib.TOMLDecodeError:
        return False


def read(file: RecipeFile, pipelines: Sequence[str] = ()) -> MachinesRecipe:
    """Read a recipe.

    Parameters
    ----------
    file : RecipeFile
        The recipe.
    pipelines : sequence of str
        Pipelines in place of the recipe's: fast, default, best, or TOML files.

    Raises
    ------
    ConfigError
        If a key or value is wrong; with its line.
    """
    given = tomllib.loads(file.text)
    faults = given.get("faults", {})
    for table, keys, where in ((given, _KEYS, "a recipe of machines"), (faults, _FAULT_KEYS, "[faults]")):
        if unknown := [key for key in table if key not in keys]:
            raise ConfigError(f"{file.at(unknown[0])}{where} takes no {unknown[0]!r}; it takes {', '.join(keys)}")
    kinds = _list(file, faults, "kinds", str, ANOMALY_KINDS)
    for kind in kinds:
        if kind not in get_args(AnomalyKind):
            raise ConfigError(f"{file.at(kind)}unknown kind of fault {kind!r}; known: {', '.join(ANOMALY_KINDS)}")
    chosen = tuple(pipelines) or _list(file, given, "pipelines", str, _QUALITIES)
    return MachinesRecipe(
        name=file.name,
        summary=str(given.get("summary", "")),
        pipelines={label: config for name in chosen for label, config in [_pipeline(name)]},
        draws=_whole(file, given, "draws", 10, 1),
        seed=_whole(file, given, "seed", 0, 0),
        recordings=_whole(file, faults, "recordings", 6, 0),
        levels=_list(file, faults, "levels", float, (-15.0, -20.0, -25.0, -30.0, -35.0)),
        kinds=kinds,
    )


def _pipeline(name: str) -> tuple[str, Config]:
    if name in _QUALITIES:
        return name, Config(quality=name)  # type: ignore[arg-type]  # one of its choices
    path = Path(name)
    if path.suffix != ".toml":
        raise ConfigError(f"unknown pipeline {name!r}; expected {', '.join(_QUALITIES)}, or a TOML file for asd fit")
    try:
        return path.stem, Config.from_mapping(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read this configuration ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _whole(file: RecipeFile, table: Mapping[str, Any], key: str, default: int, least: int) -> int:
    value = table.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{file.at(key)}{key} takes a whole number of at least {least}, got {value!r}")
    return value


def _list(file: RecipeFile, table: Mapping[str, Any], key: str, type_: type, default: Sequence[Any]) -> tuple[Any, ...]:
    values = table.get(key, default)
    allowed = (int, float) if type_ is float else (type_,)
    fits = isinstance(values, list | tuple) and bool(values)
    if not fits or not all(isinstance(v, allowed) and not isinstance(v, bool) for v in values):
        words = {str: "texts", float: "numbers"}[type_]
        raise ConfigError(f"{file.at(key)}{key} takes a list of {words}, got {values!r}")
    return tuple(type_(value) for value in values)
