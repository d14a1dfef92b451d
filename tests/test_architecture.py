"""The rules of the house: which way dependencies point, and what stays light."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import asd_listen
from asd.scaffold import OFFERS, Offer, write_plugin

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
HEAVY = {
    *("torch", "torchvision", "tensorflow", "essentia", "sklearn", "scipy", "matplotlib", "pandas", "librosa"),
    *("transformers", "huggingface_hub"),
}
BOUNDARY = {
    *("asd", "asd.plugin", "asd.command", "asd.experiment", "asd.errors", "asd.testing", "asd.sklearn", "asd.client")
}
"""What a plugin, an example or a page may import of ``asd``; asd.testing in tests alone."""
LIBRARIES = {"asd_listen", "asd_pages", "asd_torch"}
"""Distributions with an interface for other plugins, which whoever writes one may use."""


def imports(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield (file, top-level module) for every import below `folder`, those inside functions included."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name.split(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield path, node.module.split(".")[0]


def asd_modules(text: str) -> set[str]:
    """Return the modules of ``asd`` that a source imports, with the full path of each."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "asd":
            found |= {f"asd.{alias.name}" for alias in node.names if f"asd.{alias.name}" not in _public_names()}
            found.add("asd")
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return {name for name in found if name.split(".")[0] == "asd"}


def _public_names() -> set[str]:
    import asd

    return {f"asd.{name}" for name in asd.__all__}


def package_of(plugin: Path) -> str:
    return next(path.parent.name for path in (plugin / "src").glob("*/__init__.py"))


def test_the_registry_imports_nothing_of_ours() -> None:
    found = {module for _, module in imports(ROOT / "registry")}
    assert found - sys.stdlib_module_names == {"asd_registry", "pluggy", "packaging"}


def test_the_core_imports_only_what_it_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {requirement.split(">")[0] for requirement in project["dependencies"]}
    # Modules that nothing of the core imports: each stands for a library, and says so where that is not installed.
    doors = {("testing.py", "asd_testing"), ("sklearn.py", "sklearn")}
    found = {module for path, module in imports(ROOT / "core") if (path.name, module) not in doors}
    found -= sys.stdlib_module_names
    # Optional: skops stores what estimators of a stranger's plugin learned, av reads what libsndfile cannot, pyarrow
    # writes embeddings as Parquet, websockets sends streams to a server, fsspec (aiohttp, and for their addresses gcsfs
    # and huggingface_hub) reads what lies elsewhere
    optional = {"skops", "av", "pyarrow", "websockets", "fsspec", "aiohttp", "gcsfs", "huggingface_hub"}
    assert found - {"asd", "asd_registry"} - optional <= declared
    assert not (found - optional) & HEAVY


def rooms() -> dict[str, set[str]]:
    """Return which rooms (files and folders) of the core each of them imports."""
    core = ROOT / "core" / "asd"
    found: dict[str, set[str]] = {}
    for path in sorted(core.rglob("*.py")):
        own = path.relative_to(core).with_suffix("").parts[0]
        modules = asd_modules(path.read_text(encoding="utf-8")) - {"asd"}
        found.setdefault(own, set()).update({module.split(".")[1] for module in modules} - {own})
    return {room: needs for room, needs in found.items() if room not in ("__init__", "__main__")}


def test_rooms_import_downwards_without_a_circle() -> None:
    order = list(TopologicalSorter(rooms()).static_order())
    assert {"plugin", "command", "experiment", "cli"}.isdisjoint(order[: order.index("detection")]), order


def test_the_house_stays_small() -> None:
    # The rooms `sklearn` and `client` stand beside the others: scikit-learn's estimator, and `asd serve` from outside.
    assert len(rooms()) <= 16, sorted(rooms())
    assert sum(map(len, rooms().values())) <= 57


def _outside() -> list[Path]:
    folders = [ROOT / "examples", *(plugin for plugin in PLUGINS)]
    return [path for folder in folders for path in sorted(folder.rglob("*.py"))]


@pytest.mark.parametrize("path", _outside(), ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_and_examples_keep_to_the_boundary(path: Path) -> None:
    assert asd_modules(path.read_text(encoding="utf-8")) <= BOUNDARY


@pytest.mark.parametrize("kind", OFFERS)
def test_a_new_plugin_keeps_to_the_boundary(kind: Offer, tmp_path: Path) -> None:
    written = sorted(write_plugin("my-own", kind, tmp_path).rglob("*.py"))
    assert written
    for path in written:
        assert asd_modules(path.read_text(encoding="utf-8")) <= BOUNDARY, path


def test_the_documentation_keeps_to_the_boundary() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "plugins").glob("*/README.md")]
    for page in pages:
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            assert asd_modules(block) <= BOUNDARY, page


@pytest.mark.parametrize("old", ["interfaces", "records_of_old", "testing.machines", "cli.check"])
def test_an_import_of_old_names_the_new_place(old: str) -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(f"asd.{old}")
    moved = {
        "interfaces": "import its names from asd.plugin",
        "testing.machines": "import its names from asd.experiment",
    }
    assert moved.get(old, "No module named") in str(caught.value)


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_plugins_import_no_other_plugin(plugin: Path) -> None:
    others = {package_of(other) for other in PLUGINS} - {package_of(plugin)} - LIBRARIES
    wrong = [(str(path), module) for path, module in imports(plugin / "src") if module in others]
    assert wrong == []


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_of_the_listener_others_import_the_top_level_alone(plugin: Path) -> None:
    if package_of(plugin) == "asd_listen":
        return
    for path in sorted((plugin / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = {alias.name for alias in node.names} if node.module == "asd_listen" else set()
                assert names <= set(asd_listen.__all__), path
                assert not str(node.module).startswith("asd_listen."), path
            elif isinstance(node, ast.Import):
                assert not any(alias.name.startswith("asd_listen.") for alias in node.names), path


def test_the_listeners_door_is_light_and_every_name_is_there() -> None:
    script = (
        "import sys, asd_listen\n"
        "light = not {name for name in sys.modules if name.split('.')[0] in ('asd', 'numpy', 'msgspec')}\n"
        "assert light and all(getattr(asd_listen, name) is not None for name in asd_listen.__all__)\n"
        "assert set(asd_listen.__all__) <= set(dir(asd_listen))\n"
        # a name that a module has, too, would give the one or the other, by what was imported before
        "assert not {name for name in asd_listen.__all__ if f'asd_listen.{name}' in sys.modules}\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_plugin_modules_import_only_the_registry(plugin: Path) -> None:
    entry_points = tomllib.loads((plugin / "pyproject.toml").read_text())["project"].get("entry-points", {})
    for target in entry_points.get("asd.plugins", {}).values():
        path = plugin / "src" / (target.replace(".", "/") + ".py")
        modules = {m for p, m in imports(path.parent) if p == path} - sys.stdlib_module_names
        assert modules <= {"asd_registry", package_of(plugin)}


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_each_distribution_has_its_papers(plugin: Path) -> None:
    assert (plugin / "README.md").read_text().strip()
    assert "Apache License" in (plugin / "LICENSE").read_text()
    project = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]
    assert project["license"].startswith("Apache-2.0")  # weights inside add their own
    assert "asd-framework" in " ".join(project["dependencies"])
    installed = rf"^-e \./plugins/{plugin.name}(\[[\w,-]+\])?$"  # with extras or without
    assert re.search(installed, (ROOT / "requirements.txt").read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", [["plugins"], ["plugins", "--json"], ["--help"], ["fit", "--help"]], ids=" ".join)
def test_listing_and_help_import_nothing_heavy(command: list[str]) -> None:
    script = (
        f"import sys, json; sys.argv = ['asd', *{command!r}]\n"
        "from asd.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "asd_registry" in loaded
    assert not loaded & HEAVY
    assert not loaded & {"soundfile", "soxr", "safetensors", "requests", "urllib3"}
