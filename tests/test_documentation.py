"""The documentation is true: every block of it runs, and every hook, command, component and variable is in it.

A block runs in a temporary folder with sample recordings, after the blocks above it on its page. Lines behind a command
must be in what it prints (``…`` stands for anything). A block with a title is written to that file. The line above a
block may say ``<!-- not run: REASON -->`` or ``<!-- exit 2: REASON -->``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLUGIN_PAGES = [*sorted((ROOT / "plugins").glob("*/README.md")), *sorted((ROOT / "examples").glob("*/README.md"))]
BLOCK = re.compile(
    r"(?:^<!-- (?P<rule>not run|exit \d): [^\n]+ -->\n)?^```(?P<language>\w*)(?P<rest>[^\n]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SNIPPET = re.compile(r'^--8<-- "(.+)"$', re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, what it holds, and how to run it."""

    place: str
    language: str
    title: str | None
    text: str
    rule: str | None


def blocks_of(page: Path) -> list[Block]:
    source = page.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(source):
        line = source.count("\n", 0, match.start()) + 1
        title = re.search(r'title="(.+)"', match["rest"])
        text = SNIPPET.sub(lambda m: (ROOT / m[1]).read_text(encoding="utf-8").rstrip("\n"), match["text"])
        place = f"{page.relative_to(ROOT)}:{line}"
        found.append(Block(place, match["language"], title and title[1], text, match["rule"]))  # type: ignore[arg-type]
    return found


def commands_of(block: Block) -> list[tuple[str, list[str]]]:
    """Return each command of a console block with the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        elif line.strip():
            assert found, f"{block.place}: output before any command"
            found[-1][1].append(line)
    return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def place(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Enter a folder with recordings by the names that the pages use; pip installs beside the environment."""
    data = ROOT / "examples" / "data"
    for name in ("healthy", "MY_HEALTHY_RECORDINGS"):
        shutil.copytree(data / "train", tmp_path / name)
    for name in ("today", "MY_NEW_RECORDINGS", "test/normal"):
        shutil.copytree(data / "test" / "normal", tmp_path / name)
    shutil.copytree(data / "test" / "anomalous", tmp_path / "test" / "faulty")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    site, binaries = tmp_path / ".site", tmp_path / ".bin"
    binaries.mkdir()
    pip = binaries / "pip"
    pip.write_text(
        f"#!/bin/sh\nshift\nexec {sys.executable} -m pip install -q --no-deps --no-build-isolation "
        f'--target {site} "$@"\n'
    )
    pip.chmod(0o755)
    monkeypatch.setenv(
        "PATH",
        f"{Path(os.environ['ASD_COMMAND']).parent}:{binaries}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    )
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    monkeypatch.setenv("ASD_CACHE", str(cache))
    monkeypatch.delenv("ASD_CACHE_SIZE", raising=False)  # the pages describe the cache as it is by default
    monkeypatch.setenv("ASD_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "80")  # what the pages show is what a terminal shows
    with contextlib.chdir(tmp_path):
        yield tmp_path


@pytest.mark.slow
@pytest.mark.usefixtures("own_classes_forgotten_at_once")
@pytest.mark.parametrize("page", [p for p in PAGES if blocks_of(p)], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_runs(page: Path, place: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "documentation"}
    for block in blocks_of(page):
        if block.rule == "not run":
            continue
        if block.title is not None:
            (place / block.title).parent.mkdir(parents=True, exist_ok=True)
            (place / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            run_console(block)
        elif block.language == "python":
            exec(compile(block.text, block.place, "exec"), namespace)  # noqa: S102  # our own pages
        elif block.language == "toml":
            check_pipeline(block)
        else:
            pytest.fail(f"{block.place}: a block in {block.language or 'no language'} cannot be run; say why above it")


def run_console(block: Block) -> None:
    for command, expected in commands_of(block):
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        alarm = " asd score" in f" {command}" and block.rule is None
        codes = {int(block.rule.removeprefix("exit "))} if block.rule else {0, 1} if alarm else {0}
        assert done.returncode in codes, f"{block.place}: {command}\nexit code {done.returncode}\n{said}"
        for line in expected:
            pattern = ".*".join(re.escape(" ".join(part.split())) for part in line.split("…"))
            assert re.search(pattern, " ".join(said.split())), f"{block.place}: {command}\n{line}\nis not in\n{said}"


def check_pipeline(block: Block) -> None:
    from asd.detection.config import Config

    Config.from_mapping(tomllib.loads(block.text)).resolved()


@pytest.mark.parametrize("page", PLUGIN_PAGES, ids=lambda p: p.parent.name)
def test_commands_of_plugin_pages_exist_with_their_options(page: Path) -> None:
    """Plugins' pages name large weights and others' recordings: their commands are parsed, not run."""
    for block in blocks_of(page):
        if block.language in ("console", "") and block.rule is None:
            for line in block.text.replace("\\\n", " ").splitlines():
                words = line.removeprefix("$ ").split("#")[0].split()
                if words[:1] == ["asd"]:
                    parse(words[1:], f"{block.place}: {line}")


def parse(words: list[str], place: str) -> None:
    from asd.cli.main import cli

    command: click.Command = cli
    context = click.Context(cli, info_name="asd")
    words = [word for word in words if word != "|"]
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        # FILE of "history FILE"
        words = words[sum(isinstance(each, click.Argument) and each.nargs == 1 for each in command.params) :]
        inner = command.get_command(context, words[0])
        if inner is None and any(each.nargs == -1 for each in command.params):  # MODEL of "serve MODEL"
            break
        assert inner is not None, f"{place}: no such command"
        command, words = inner, words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    try:
        command.parse_args(context, list(words))
    except click.exceptions.NoArgsIsHelpError:
        pass
    except click.ClickException as error:
        pytest.fail(f"{place}: {error.format_message()}")


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "make" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(reference: ModuleType) -> dict[str, str]:
    found: dict[str, str] = reference.pages()
    return found


def test_every_component_is_documented_with_its_parameters_and_licence(pages: dict[str, str]) -> None:
    from asd.contract.installed import registry

    for component in registry().components:
        assert f"### `{component.spec.name}` {{ #{component.spec.kind}-" in pages["reference/components.md"]
        assert component.spec.licence in pages["reference/licences.md"]
        for weight in component.spec.weights:
            assert f"`{weight.name}`" in pages["reference/licences.md"]
    assert "| `n_components` | a whole number | `80` |" in pages["reference/components.md"]


def test_every_command_and_option_is_documented(pages: dict[str, str]) -> None:
    from asd.cli.main import cli

    context = click.Context(cli)
    for name in cli.list_commands(context):
        assert f"## `asd {name}`" in pages["reference/commands.md"]
    assert "### `asd weights fetch`" in pages["reference/commands.md"]
    assert "--false-alarms-per-hour" in pages["reference/commands.md"]


def test_every_hook_check_and_option_is_documented(pages: dict[str, str]) -> None:
    from asd.contract.parameters import parameters_of
    from asd.detection.config import Config
    from asd.testing import checks

    hooks = re.findall(r"^def (asd_\w+)", (ROOT / "registry/asd_registry/hookspecs.py").read_text(), re.MULTILINE)
    assert len(hooks) >= 2
    assert all(f"asd_registry.hookspecs.{hook}" in pages["reference/hooks.md"] for hook in hooks)
    assert all(f"| `{check.name}` |" in pages["reference/checks.md"] for check in checks())
    assert all(f"| `{name}` |" in pages["reference/configuration.md"] for name in parameters_of(Config))


def test_every_environment_variable_is_documented(reference: ModuleType) -> None:
    sources = [
        p for top in ("core", "registry", "plugins") for p in (ROOT / top).rglob("*.py") if "tests" not in p.parts
    ]
    read = {name for path in sources for name in re.findall(r'environ\S*"(ASD_\w+)"', path.read_text(encoding="utf-8"))}
    assert read <= set(reference.ENVIRONMENT)
    assert "ASD_OFFLINE" in read


def test_the_citation_names_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {project['version']}\n" in citation
    assert f"\nlicense: {project['license']}\n" in citation


def test_every_path_that_the_architecture_names_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:core|registry|plugins|examples|tests|docs)/[\w./-]*", text))
    assert len(named) > 40
    assert [path for path in sorted(named) if not (ROOT / path.rstrip(".")).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [str(p.relative_to(ROOT / "docs")) for p in PAGES[1:] if p.parent.name != "decisions"]
    assert [page for page in pages if not re.search(rf"(?<!\S){re.escape(page)}$", config, re.MULTILINE)] == []


def test_every_distribution_is_described() -> None:
    for path in sorted(ROOT.glob("plugins/*/pyproject.toml")):
        assert (path.parent / "README.md").is_file()
        assert f"[`{path.parent.name}`](plugins/{path.parent.name}/README.md)" in PAGES[0].read_text(encoding="utf-8")


def test_every_extractor_is_compared() -> None:
    from asd.contract.installed import registry

    table = (ROOT / "docs" / "extractors.md").read_text(encoding="utf-8")
    assert [c.spec.name for c in registry().of_kind("extractor") if f"`{c.spec.name}`" not in table] == []


def test_plugins_by_others_are_listed_when_they_say_what_they_are(
    reference: ModuleType, tmp_path: Path, pages: dict[str, str]
) -> None:
    for path in sorted(ROOT.glob("plugins/*/pyproject.toml")):
        assert f"[{path.parent.name}]({path.parent.name}.md)" in pages["plugins/index.md"]
    (tmp_path / "docs").mkdir()
    entry = '[[plugin]]\nname = "asd-belt"\nbrings = "squeal"\nurl = "https://example.org/"\nlicence = "MIT"\n'
    (tmp_path / "docs" / "known-plugins.toml").write_text(entry)
    assert "| [asd-belt](https://example.org/) | squeal | MIT |" in reference._known_plugins(tmp_path)
