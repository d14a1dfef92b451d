"""The reference pages, written from the code: whatever is installed or defined is on them.

MkDocs runs this as a hook; `tests/test_documentation.py` reads `pages` too.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

KIND_TITLES = {
    "frontend": "Front ends",
    "extractor": "Extractors",
    "detector": "Detectors",
    "dataset": "Data sets",
    "source": "Sources",
    "sink": "Sinks",
    "engine": "Work engines",
}

ENVIRONMENT = {
    "ASD_CACHE": "Folder for downloaded weights and kept embeddings, instead of the user's cache folder; or an address for the latter.",
    "ASD_CACHE_SIZE": "What kept embeddings may take, such as `500MB`; default: `2GB`; `0`: none are kept.",
    "ASD_KEY": "Key for a server of `asd serve` (`asd score http://…`, `asd.client`).",
    "ASD_OFFLINE": "`1` forbids the network.",
    "ASD_PLUGINS": "Which plugins load: distributions or entry points, comma-separated; empty: none.",
    "ASD_PLUGIN_SECONDS": "Seconds after which the import of a plugin, or one of its hooks, is stopped (default: 30).",
    "ASD_SETTINGS": "Folder for what you decided, such as the models you trust, instead of the user's own.",
    "ASD_SPOOL": "Folder for whole copies of large files at addresses (`s3://…`), instead of one in the cache folder.",
    "ASD_SPOOL_SIZE": "What these copies may take, such as `500MB`; default: `2GB`; `0`: none are made.",
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


VALUES = {
    "model": "pump",
    "machine": "fan",
    "event": "$EVENT",
    "note": "1",
    "number": "1",
    "id": "1",
    "recording": "$RECORDING",
    "job": "$JOB",
    "since": "0",
    "points": "100",
    "limit": "10",
}
"""What stands for a parameter of the interface over HTTP in an example, where its description has none."""
_METHODS = ("get", "post", "put", "delete")


def http_page() -> str:
    """Return the page of the interface over HTTP, made from the description that a server gives of itself."""
    description = server_description()
    groups: dict[str, list[str]] = {}
    for path, method, operation in operations(description):
        groups.setdefault((operation.get("tags") or ["server"])[0], []).append(_operation(path, method, operation))
    return _page(
        [
            "# Interface over HTTP",
            "What `asd serve` answers; [how to](../how-to/serve.md). A server describes it at `/api/openapi.json` "
            "(OpenAPI, from which this page is made). An error is JSON, "
            '`{"error": "one line: what was received, what is expected"}`. Every path but `/healthz` and `/readyz` '
            "needs a key, as `Authorization: Bearer KEY`; the page in the browser has a session in its place. Times "
            "are seconds since 1970. The header `X-ASD-API` has the interface's version.",
            *(part for tag, parts in sorted(groups.items()) for part in (f"## {tag.capitalize()}", *parts)),
        ]
    )


def server_description() -> dict[str, Any]:
    """Return what a server without models says of itself."""
    from asd_serve.app import application
    from asd_serve.state import State

    with tempfile.TemporaryDirectory() as folder:
        state = State(Path(folder), {})
        with state.stack:
            found: dict[str, Any] = application(state).openapi()
    return found


def operations(description: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return path, method and description of each thing that can be asked."""
    paths = description["paths"].items()
    schemas = description.get("components", {}).get("schemas", {})
    return [
        (path, method, {**each[method], "requestBody": _resolved(each[method].get("requestBody", {}), schemas)})
        for path, each in sorted(paths)
        for method in _METHODS
        if method in each
    ]


def curl(path: str, method: str, operation: dict[str, Any]) -> str:
    """Return a command that asks for it; ``ASD_KEY``, ``EVENT`` and the like are variables of the shell."""
    parameters = operation.get("parameters", [])
    for each in parameters:
        if each["in"] == "path":
            path = path.replace(f"{{{each['name']}}}", _example(each))
    asked = [f"{each['name']}={_example(each)}" for each in parameters if each["in"] == "query" and _is_shown(each)]
    address = f"http://127.0.0.1:8787{path}{'?' if asked else ''}{'&'.join(asked)}"
    words = ["curl", *([] if method == "get" else ["-X", method.upper()])]
    if path not in ("/healthz", "/readyz", "/api/openapi.json"):
        words += ["-H", '"Authorization: Bearer $ASD_KEY"']
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        example = _body(content["application/json"])
        words += ["-H", "'Content-Type: application/json'", "-d", f"'{json.dumps(example, ensure_ascii=False)}'"]
    elif content:
        words += ["--data-binary", "@today.wav"]
    return " ".join([*words, f'"{address}"'])


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    text = " ".join(operation.get("description", operation.get("summary", "")).replace("``", "`").split())
    rows = [
        (f"`{each['name']}`", each.get("description", each.get("schema", {}).get("description", "")))
        for each in operation.get("parameters", [])
        if each["in"] == "query"
    ]
    answer = operation.get("responses", {}).get("200", {}).get("content", {}).get("application/json", {}).get("example")
    return _page(
        [
            f"### `{method.upper()} {path}`",
            text,
            _table(("parameter", "meaning"), rows) if rows else "",
            f"```sh\n{curl(path, method, operation)}\n```",
            f"```json\n{json.dumps(answer, indent=2, ensure_ascii=False)}\n```" if answer is not None else "",
        ]
    ).rstrip("\n")


def _body(content: dict[str, Any]) -> Any:
    """Return an example of a body: its own, or a value for each field that must be there or has an example."""
    schema = content.get("schema", {})
    if "example" in content or schema.get("examples"):
        return content.get("example", next(iter(schema.get("examples", [])), None))
    usual: dict[str, Any] = {"string": "pump", "number": 1.0, "integer": 1, "boolean": True, "array": [], "object": {}}
    fields = schema.get("properties", {})
    shown = {*schema.get("required", fields), *(name for name, each in fields.items() if each.get("examples"))}
    return {
        name: next(iter(each.get("enum") or each.get("examples") or [usual.get(each.get("type"))]))
        for name, each in fields.items()
        if name in shown
    }


def _resolved(value: Any, schemas: dict[str, Any]) -> Any:
    """Return a part of a description with what it refers to in place of the reference."""
    if isinstance(value, dict):
        if "$ref" in value:
            return _resolved(schemas[value["$ref"].rpartition("/")[2]], schemas)
        return {key: _resolved(each, schemas) for key, each in value.items()}
    return [_resolved(each, schemas) for each in value] if isinstance(value, list) else value


def _example(parameter: dict[str, Any]) -> str:
    found = parameter.get("example", next(iter(parameter.get("schema", {}).get("examples", [])), None))
    return quote(str(found)) if found is not None else VALUES.get(parameter["name"], parameter["name"])


def _is_shown(parameter: dict[str, Any]) -> bool:
    return bool(parameter.get("required")) or parameter["name"] in ("points", "limit")


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
