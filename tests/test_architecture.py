"""The rules of the house: which way dependencies point, and what stays light."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
HEAVY = {
    *("torch", "torchvision", "tensorflow", "essentia", "sklearn", "scipy", "matplotlib", "pandas", "librosa"),
    *("transformers", "huggingface_hub"),
}
LIBRARIES = {"asd_torch"}
"""Plain libraries among the distributions: no components, so that whoever writes a plugin may use them."""


def imports(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield (file, top-level module) for every import below `folder`, those inside functions included."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name.split(".")[0]) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield path, node.module.split(".")[0]


def package_of(plugin: Path) -> str:
    return next(path.parent.name for path in (plugin / "src").glob("*/__init__.py"))


def test_the_registry_imports_nothing_of_ours() -> None:
    found = {module for _, module in imports(ROOT / "registry")}
    assert found - sys.stdlib_module_names == {"asd_registry", "pluggy", "packaging"}


def test_the_core_imports_only_what_it_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {requirement.split(">")[0] for requirement in project["dependencies"]}
    # whoever tests a plugin with asd.testing has pytest
    found = {m for path, m in imports(ROOT / "core") if m != "pytest" or path.parent.name != "testing"}
    found -= sys.stdlib_module_names
    # requests comes with pooch, whose downloader's errors are requests'
    assert found - {"asd", "asd_registry", "requests"} <= declared
    assert not found & HEAVY


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_plugins_import_no_other_plugin(plugin: Path) -> None:
    others = {package_of(other) for other in PLUGINS} - {package_of(plugin)} - LIBRARIES
    wrong = [(str(path), module) for path, module in imports(plugin / "src") if module in others]
    assert wrong == []


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
    assert f"-e ./plugins/{plugin.name}\n" in (ROOT / "requirements.txt").read_text()


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
    assert not loaded & {"soundfile", "soxr", "safetensors", "pooch", "requests"}
