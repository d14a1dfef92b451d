"""Write a new plugin: a distribution with one working component, its tests, papers and continuous integration.

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

from asd.contract.installed import registry
from asd.errors import ConfigError
from asd_registry import Kind

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUFFIX = ".tmpl"

_PLACES = {
    "gitignore": ".gitignore",
    "ci.yml": ".github/workflows/ci.yml",
    "init.py": "src/{package}/__init__.py",
    "py.typed": "src/{package}/py.typed",
    "plugin.py": "src/{package}/plugin.py",
    "component.py": "src/{package}/{kind}.py",
    "test_conformance.py": "tests/test_conformance.py",
    "test_component.py": "tests/test_{kind}.py",
}
"""Where a template's text goes, if not to a file of its own name beside ``pyproject.toml``."""


def write_plugin(name: str, kind: Kind, folder: Path) -> Path:
    """Write a distribution that offers one component, and return its folder.

    Parameters
    ----------
    name : str
        The component: lower-case words with hyphens between them. The distribution is called ``asd-NAME``.
    kind : {"frontend", "extractor", "detector", "dataset", "source", "sink"}
        What the component is.
    folder : Path
        Where the distribution's own folder is made.

    Raises
    ------
    ConfigError
        If the name does not do, is taken by an installed component, or the folder exists or cannot be made.
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


def _check_name(name: str, kind: Kind) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigError(f"a plugin's name is lower-case words with hyphens, such as belt-squeal, got {name!r}")
    taken = [component for component in registry().of_kind(kind) if name in component.spec.names]
    if taken:
        raise ConfigError(f"{kind} {name!r} is offered by {taken[0].plugin.distribution} already: choose another name")


def _names(name: str, kind: Kind) -> dict[str, str]:
    major, minor, *_ = importlib.metadata.version("asd-framework").split(".")
    return {
        "name": name,
        "kind": kind,
        "distribution": f"asd-{name}",
        "package": f"asd_{name.replace('-', '_')}",
        "class_name": "".join(word.capitalize() for word in name.split("-")),
        "framework": f"{major}.{minor}",
        "year": str(datetime.datetime.now(datetime.UTC).year),
    }


def _filled(names: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (place, text) of each file."""
    templates = importlib.resources.files("asd.scaffold") / "templates"
    for template in (*_sorted(templates / "every"), *_sorted(templates / names["kind"])):
        name = template.name.removesuffix(_SUFFIX)
        yield _PLACES.get(name, name), Template(template.read_text(encoding="utf-8")).substitute(names)


def _sorted(folder: Traversable) -> list[Traversable]:
    return sorted((item for item in folder.iterdir() if item.name.endswith(_SUFFIX)), key=lambda item: item.name)
