"""What belongs to each edition of DCASE Task 2, and to the collections that share its layout (``editions.toml``)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from asd.errors import ConfigError
from asd.plugin import RemoteFile

SubsetName = Literal["development", "evaluation"]


@dataclass(frozen=True)
class Subset:
    """The development or the evaluation set of an edition.

    Parameters
    ----------
    sections : mapping of str to tuple of str
        The sections (or machine ids) of each machine.
    unnamed : tuple of str or None
        Machines whose file names carry no attributes; None: not known.
    train, test : int or None
        Clips of a section that the publisher states; None: no number is stated.
    downloads : mapping of str to tuple of RemoteFile
        Each machine's archives.
    labels : RemoteFile or None
        The published labels of test clips whose names carry none.
    """

    sections: Mapping[str, tuple[str, ...]]
    unnamed: tuple[str, ...] | None
    train: int | None
    test: int | None
    downloads: Mapping[str, tuple[RemoteFile, ...]]
    labels: RemoteFile | None


@dataclass(frozen=True)
class Edition:
    """An edition: how its files are named, and what its sets hold."""

    name: str
    paper: str
    grammar: Literal["section", "id"]
    attributes: Literal["none", "text", "pairs"]
    protocol: str
    subsets: Mapping[SubsetName, Subset]

    def subset(self, name: SubsetName) -> Subset:
        """Return the development or the evaluation set.

        Raises
        ------
        ConfigError
            If the edition has no such set.
        """
        if name not in self.subsets:
            raise ConfigError(f"{self.name} has no {name} set, only {' and '.join(self.subsets)}")
        return self.subsets[name]

    @property
    def machines(self) -> dict[str, set[str]]:
        """The sections of each machine, over all sets."""
        found: dict[str, set[str]] = {}
        for subset in self.subsets.values():
            for machine, sections in subset.sections.items():
                found.setdefault(machine, set()).update(sections)
        return found


@cache
def editions() -> dict[str, Edition]:
    """Return all editions by name."""
    text = files("asd_data").joinpath("editions.toml").read_text(encoding="utf-8")
    return {name: _edition(name, table) for name, table in tomllib.loads(text).items()}


def _edition(name: str, table: dict[str, Any]) -> Edition:
    names: list[SubsetName] = ["development", "evaluation"]
    subsets = {key: _subset(table.pop(key)) for key in names if key in table}
    return Edition(name=name, subsets=subsets, **table)


def _subset(table: dict[str, Any]) -> Subset:
    sections = table["sections"]
    machines = table.get("machines", sections)
    return Subset(
        sections={machine: tuple(sections.get("all") or sections[machine]) for machine in machines},
        unnamed=tuple(table["unnamed"]) if "unnamed" in table else None,
        train=table.get("train"),
        test=table.get("test"),
        downloads={machine: tuple(_remote(given, machine) for given in table["files"]) for machine in machines},
        labels=RemoteFile(table["labels"], folder="labels") if "labels" in table else None,
    )


def _remote(given: dict[str, Any], machine: str) -> RemoteFile:
    name = given.get("revised", {}).get(machine) or given["name"].format(machine=machine)
    md5 = given.get("md5", {}).get(machine)
    return RemoteFile(
        url=f"https://zenodo.org/records/{given['record']}/files/{name}",
        folder=given["folder"],
        checksum=f"md5:{md5}" if md5 else None,
        size=given.get("size", {}).get(machine),
    )
