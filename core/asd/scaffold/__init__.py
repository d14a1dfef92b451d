"""Write a new plugin: a distribution with one working component or command, its tests, papers and workflows.

The templates are files of this package with ``$names`` (`string.Template`); docs/decisions/0010 says why.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.resources
import keyword
import re
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Literal

from asd.contract.installed import registry
from asd.errors import ConfigError
from asd_registry import KINDS, Kind
from asd_registry.known import distribution_of

Offer = Kind | Literal["command"]
OFFERS: tuple[Offer, ...] = (*KINDS, "command")
"""What a plugin can be written for."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUFFIX = ".tmpl"

_PLACES = {
    "gitignore": ".gitignore",
    "ci.yml": ".github/workflows/ci.yml",
    "publish.yml": ".github/workflows/publish.yml",
    "init.py": "src/{package}/__init__.py",
    "py.typed": "src/{package}/py.typed",
    "plugin.py": "src/{package}/plugin.py",
    "component.py": "src/{package}/{kind}.py",
    "job.py": "src/{package}/job.py",
    "test_conformance.py": "tests/test_conformance.py",
    "test_component.py": "tests/test_{kind}.py",
}
"""Where a template's text goes, if not to a file of its own name beside ``pyproject.toml``."""


def write_plugin(name: str, kind: Offer, folder: Path) -> Path:
    """Write a distribution that offers one component or one command, and return its folder.

    Parameters
    ----------
    name : str
        What it offers: lower-case words with hyphens between them. The distribution is called ``asd-NAME``.
    kind : {"frontend", "extractor", "detector", "dataset", "source", "sink", "engine", "command"}
        What that is.
    folder : Path
        Where the distribution's own folder is made.

    Raises
    ------
    ConfigError
        If the name does not do, is taken by an installed component or command, or the folder exists or cannot be made.
    """
    name = name.removeprefix("asd-")
    _check_name(name, kind)
    target = folder / f"asd-{name}"
    if target.exists():
        raise ConfigError(f"{target}: exists already; choose another name or --output")
    names = _names(name, kind)
    try:
        for place, text in _filled(names):
            path = target / place.format(**names)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{target}: cannot write here ({error.strerror}); choose another --output") from error
    return target


def _check_name(name: str, kind: Offer) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigError(f"a plugin's name is lower-case words with hyphens, such as belt-squeal, got {name!r}")
    if taken := _owner(name, kind):
        raise ConfigError(f"{kind} {name!r} is offered by {taken} already: choose another name")


def _owner(name: str, kind: Offer) -> str | None:
    """Return the distribution that has the name: of commands, one of ours that is not installed too."""
    if kind == "command":
        named = registry().commands.get(name)
        return named[1].distribution if named else distribution_of(name, kind)
    taken = (each for each in registry().of_kind(kind) if name in each.spec.names)
    return next((each.plugin.distribution for each in taken), None)


def _names(name: str, kind: Offer) -> dict[str, str]:
    major, minor, *_ = importlib.metadata.version("asd-framework").split(".")
    framework = f"{major}.{minor}"
    is_command = kind == "command"
    needs = ("click>=8.1", "numpy>=1.26") if is_command else ("numpy>=1.26",)
    tools = ("pytest>=8",) if is_command else (f"asd-testing>={framework}", "pytest>=8")
    return {
        "name": name,
        "kind": kind,
        "distribution": f"asd-{name}",
        "package": f"asd_{name.replace('-', '_')}",
        "class_name": "".join(word.capitalize() for word in name.split("-")),
        "function": name.replace("-", "_"),
        "framework": framework,
        "needs": ", ".join(f'"{each}"' for each in needs),
        "tools": ", ".join(f'"{each}"' for each in tools),
        "look": f"asd {name} --help" if is_command else f"asd plugins show {name} --kind {kind}",
        "trial": f"asd {name} --help" if is_command else f"asd check {name}",
        "year": str(datetime.datetime.now(datetime.UTC).year),
    }


def _filled(names: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (place, text) of each file."""
    templates = importlib.resources.files("asd.scaffold") / "templates"
    folders = ("every", *(("component",) if names["kind"] in KINDS else ()), names["kind"])
    for template in (each for folder in folders for each in _sorted(templates / folder)):
        name = template.name.removesuffix(_SUFFIX)
        yield _PLACES.get(name, name), Template(template.read_text(encoding="utf-8")).substitute(names)


def _sorted(folder: Traversable) -> list[Traversable]:
    return sorted((item for item in folder.iterdir() if item.name.endswith(_SUFFIX)), key=lambda item: item.name)
