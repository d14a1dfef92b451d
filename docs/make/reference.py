"""The reference pages, written from the code: whatever is installed or defined is on them.

MkDocs runs this as a hook; `tests/test_documentation.py` reads `pages` too.
"""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

KIND_TITLES = {
    "frontend": "Front ends",
    "extractor": "Extractors",
    "detector": "Detectors",
    "dataset": "Data sets",
    "source": "Sources",
    "sink": "Sinks",
}

ENVIRONMENT = {
    "ASD_CACHE": "Folder for downloaded weights and kept embeddings, instead of the user's cache folder.",
    "ASD_CACHE_SIZE": "What kept embeddings may take, such as `500MB`; default: `2GB`; `0`: none are kept.",
    "ASD_KEY": "Key for a server of `asd serve` (`asd score http://…`, `asd.client`).",
    "ASD_OFFLINE": "`1` forbids the network.",
    "ASD_PLUGINS": "Which plugins load: distributions or entry points, comma-separated; empty: none.",
    "ASD_PLUGIN_SECONDS": "Seconds after which the import of a plugin, or one of its hooks, is stopped (default: 30).",
    "ASD_SETTINGS": "Folder for what you decided, such as the models you trust, instead of the user's own.",
}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages to those that lie in ``docs/``."""
    from mkdocs.structure.files import File

    for uri, text in pages().items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """Show the double colon, by which a docstring announces code, as one."""
    return html.replace("::</p>", ":</p>")


def pages() -> dict[str, str]:
    """Return each reference page, Markdown by its path below ``docs/``."""
    return {
        "reference/components.md": components(),
        "reference/commands.md": commands(),
        "reference/configuration.md": configuration(),
        "reference/python.md": python(),
        "reference/http.md": http_page(),
        "reference/hooks.md": hooks(),
        "reference/checks.md": checks(),
        "reference/licences.md": licences(),
        "decisions/index.md": decisions(),
        **plugins(),
    }


def components() -> str:
    """Return the page of all installed components with their parameters."""
    from asd.contract.installed import registry

    parts = [
        "# Components",
        "Written from the installed plugins; `asd plugins show NAME` shows the same on a terminal.",
    ]
    for kind, title in KIND_TITLES.items():
        parts.append(f"## {title}")
        parts += [_component(component) for component in registry().of_kind(kind)]  # type: ignore[arg-type]
    return _page(parts)


def _component(component: Any) -> str:
    from asd.contract.create import parameters
    from asd.contract.parameters import REQUIRED, describe
    from asd.errors import PluginError

    spec = component.spec
    facts = {
        "distribution": component.plugin.distribution,
        "licence": spec.licence,
        "sample rate": spec.sample_rate and f"{spec.sample_rate} Hz",
        "shape of a window": spec.shape,
        "dimension": spec.dimension,
        "default front end": spec.frontend and f"`{spec.frontend}`",
        "default extractor": spec.extractor and f"`{spec.extractor}`",
        "needs": ", ".join(spec.requires),
    }
    shown = " · ".join(f"{name}: {value}" for name, value in facts.items() if value)
    text = [f"### `{spec.name}` {{ #{spec.kind}-{spec.name.replace('.', '-')} }}", f"{spec.summary}.", shown]
    try:
        rows = [
            (f"`{p.name}`", describe(p.annotation), "required" if p.default is REQUIRED else f"`{p.default}`",
             p.description)
            for p in parameters(component)
        ]  # fmt: skip
    except PluginError as error:
        return _page([*text, f"Its parameters are not known where this page was built: {error}."])
    return _page([*text, _table(("parameter", "takes", "default", "meaning"), rows) if rows else "No parameters."])


def commands() -> str:
    """Return the page of all commands, the core's and the plugins', by their own help."""
    from asd.cli.main import cli

    root = click.Context(cli, info_name="asd")
    parts = ["# Commands", "Exit code 0: all normal; 1: an anomaly was found; 2: an error.", _help(root)]
    for name in sorted(cli.list_commands(root)):
        command = cli.get_command(root, name)
        assert command is not None
        parts += _command(command, name, root, level=2)
    return _page(parts)


def _command(command: click.Command, name: str, parent: click.Context, level: int) -> list[str]:
    context = click.Context(command, info_name=name, parent=parent)
    parts = [f"{'#' * level} `{context.command_path}`", _help(context)]
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            parts += _command(found, inner, context, level + 1)
    return parts


def _help(context: click.Context) -> str:
    context.terminal_width = 100
    return f"```text\n{context.get_help()}\n```"


def configuration() -> str:
    """Return the page of the pipeline's options and the environment variables."""
    from asd.contract.parameters import describe, parameters_of
    from asd.detection.config import Config

    rows = []
    for p in parameters_of(Config).values():
        takes = "a component" if p.name in KIND_TITLES else describe(p.annotation)
        rows.append((f"`{p.name}`", takes, f"`{p.default}`", p.description))
    return _page(
        [
            "# Configuration",
            "The same names in a TOML file (`--config`), as options of `asd fit` (`--false-alarms-per-hour`), as "
            "arguments of `asd.fit`, and in the model file. A component is a name, or a table with `name` and its "
            "parameters.",
            _table(("option", "takes", "default", "meaning"), rows),
            "## Environment variables",
            _table(("variable", "meaning"), [(f"`{name}`", text) for name, text in ENVIRONMENT.items()]),
        ]
    )


def python() -> str:
    """Return the page of the public Python interface."""
    import asd
    import asd.testing

    parts = [
        "# Python",
        "What is public, and how it may change: [What is public and stable](../explanation/stability.md).",
    ]
    parts += ["## `asd`", *(f"::: {_home(asd, name)}" for name in asd.__all__)]
    parts += ["## `asd.client`", "::: asd.client"]
    parts += ["## `asd.errors`", "::: asd.errors"]
    parts += ["## `asd.testing`", *(f"::: {_home(asd.testing, name)}" for name in asd.testing.__all__)]
    for name in ("plugin", "command", "experiment"):
        module = importlib.import_module(f"asd.{name}")
        parts += [f"## `asd.{name}`", inspect.getdoc(module) or ""]
        parts += [f"::: {home}" for each in module.__all__ if (home := _home(module, each)).startswith("asd")]
    return _page(list(dict.fromkeys(parts)))


def _home(module: Any, name: str) -> str:
    value = getattr(module, name)
    if not callable(value) or not hasattr(value, "__qualname__"):
        return f"`{name}`"
    return f"{value.__module__}.{value.__qualname__}"


def hooks() -> str:
    """Return the page of the hooks that a plugin may implement, and of the specs that they give."""
    from asd_registry import hookspecs

    names = [name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("asd_")]
    parts = [
        "# Hooks and specs",
        "::: asd_registry\n    options:\n      members: false\n      show_root_heading: false",
    ]
    parts += ["## Hooks", *(f"::: asd_registry.hookspecs.{name}" for name in names)]
    parts += [
        "## Specs",
        *(f"::: asd_registry.specs.{n}" for n in ("ComponentSpec", "CommandSpec", "TrackerSpec", "WeightFile")),
    ]
    return _page([*parts, "## Registry", "::: asd_registry.discovery"])


def checks() -> str:
    """Return the page of what `asd check` checks."""
    kit = importlib.import_module("asd.testing")
    rows = [(f"`{c.name}`", ", ".join(c.kinds), " ".join(c.promise.split())) for c in kit.checks()]
    return _page(
        [
            "# What the kit checks",
            "`asd check NAME`, `asd.testing.check_component` and `asd.testing.parametrize_with_checks` run these.",
            _table(("check", "for", "promise"), rows),
        ]
    )


def licences() -> str:
    """Return the page of the licences of code, weights and recordings."""
    from asd.contract.installed import registry

    found = registry().of_kind()
    rows = [(c.spec.kind, f"`{c.spec.name}`", c.plugin.distribution, c.spec.licence) for c in found]
    weights = {
        w.name: (f"`{w.name}`", w.licence, w.url or "inside the distribution") for c in found for w in c.spec.weights
    }
    return _page(
        [
            "# Licences",
            "The code of `asd-framework` and of the first-party plugins is under Apache-2.0, the example plugin under "
            "MIT. What a component needs at run time may bind you further: a plugin's spec names the licence of the "
            "component *with* what it needs, and `asd plugins` shows it. The sample recordings are from the MIMII data "
            "set (Hitachi, Ltd.), CC BY-SA 4.0.",
            "## Components",
            _table(("kind", "component", "distribution", "licence"), rows),
            "## Pretrained weights",
            _table(("file", "licence", "from"), sorted(weights.values())),
        ]
    )


def decisions() -> str:
    """Return the list of decision records."""
    folder = Path(__file__).resolve().parents[1] / "decisions"
    titles = {path.name: path.read_text(encoding="utf-8").splitlines()[0] for path in sorted(folder.glob("0*.md"))}
    return _page(["# Decisions", "\n".join(f"- [{title.strip('# ')}]({name})" for name, title in titles.items())])


def plugins() -> dict[str, str]:
    """Return a page per first-party distribution, its own README, and the list of all known plugins."""
    root = Path(__file__).resolve().parents[2]
    found = {path.parent.name: path.read_text(encoding="utf-8") for path in sorted(root.glob("plugins/*/README.md"))}
    # Links to files of the repository lead nowhere here.
    texts = {
        f"plugins/{name}.md": re.sub(r"\[([^\]]+)\]\((?![a-z]+:|#)[^)]+\)", r"\1", text) for name, text in found.items()
    }
    return {"plugins/index.md": _known_plugins(root), **texts}


def _known_plugins(root: Path) -> str:
    ours = [
        (f"[{path.parent.name}]({path.parent.name}.md)", tomllib.loads(path.read_text())["project"]["description"])
        for path in sorted(root.glob("plugins/*/pyproject.toml"))
    ]
    listed = tomllib.loads((root / "docs" / "known-plugins.toml").read_text()).get("plugin", [])
    others = [(f"[{each['name']}]({each['url']})", each["brings"], each["licence"]) for each in listed]
    return _page(
        [
            "# Plugins",
            "`pip install NAME` is all that a plugin needs. `asd plugins` lists what is installed, "
            "`asd plugins show NAME` one component with its parameters.",
            "## First-party",
            _table(("distribution", "what it brings"), ours),
            "## By others",
            _table(("distribution", "what it brings", "licence"), others) if others else "None is listed yet.",
            "[A plugin in fifteen minutes](../tutorial/plugin.md) shows how to make one. To have it listed, add it to "
            "`docs/known-plugins.toml` in a pull request: name, one line, address, licence. `asd check` must pass.",
        ]
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(cell: Any) -> str:
    return str(cell).replace("|", "\\|").replace("\n", " ").replace("``", "`")


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
