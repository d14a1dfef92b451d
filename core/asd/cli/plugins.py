"""``asd plugins``: the installed components and their state."""

from __future__ import annotations

import itertools
import re
from dataclasses import asdict
from typing import Any

import click

from asd.cli.flags import json_option, verbose_option
from asd.cli.output import emphasised, encodes, line_width, print_json, print_lines, print_table
from asd.contract.installed import FRAMEWORK, registry
from asd.detection.defaults import DEFAULTS
from asd.errors import PluginError
from asd.files.readiness import READY, state_of
from asd_registry import KINDS, Component, Kind, Plugin
from asd_registry.known import distribution_of
from asd_registry.text import printable

_HEADINGS: dict[Kind, str] = {
    "frontend": "front ends (--frontend NAME)",
    "extractor": "extractors (--extractor NAME)",
    "detector": "detectors (--detector NAME)",
    "dataset": "data sets (asd data, asd bench --data)",
    "source": "sources (asd listen --source NAME)",
    "sink": "sinks (asd listen --sink NAME)",
    "engine": "work engines (--engine NAME)",
}
_RESTRICTED = re.compile(r"\b(A?GPL|LGPL|NC|ND|SA|non-?commercial|unknown|by (file|model)|see )", re.IGNORECASE)
"""Licences that ask for more than to be named."""


class _Filtered(click.Group):
    """A group where ``asd plugins WORD`` is ``asd plugins list WORD``."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Take what is no command for a word to filter by."""
        if args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return "list", self.commands["list"], args


@click.group(cls=_Filtered, invoke_without_command=True, subcommand_metavar="[WORD...] | show NAME")
@click.option("--kind", type=click.Choice(KINDS), help="Only components of this kind.")
@json_option
@verbose_option
@click.pass_context
def plugins(ctx: click.Context, kind: Any, as_json: bool, verbose: bool) -> None:
    """List the installed components; of several WORDs, those that all of them match.

    A component that is not ready says so, and a licence that is not permissive is named. -v shows everything, with
    distributions, versions and states; 'asd plugins show NAME' a component's parameters, dimension and weight files.
    ASD_PLUGINS limits what loads (comma-separated distributions or entry points).
    """
    if ctx.invoked_subcommand is None:
        _list((), kind, as_json, verbose)
    elif ctx.invoked_subcommand == "list":
        ctx.default_map = {"list": {"kind": kind, "as_json": as_json, "verbose": verbose}}


@plugins.command("list")
@click.argument("words", nargs=-1, metavar="[WORD...]")
@click.option("--kind", type=click.Choice(KINDS), help="Only components of this kind.")
@json_option
@verbose_option
def list_(words: tuple[str, ...], kind: Any, as_json: bool, verbose: bool) -> None:
    """List components whose name, summary, distribution, licence or state has every WORD in it."""
    _list(words, kind, as_json, verbose)


def _list(words: tuple[str, ...], kind: Kind | None, as_json: bool, verbose: bool) -> None:
    rows = [_as_dict(component) for component in registry().of_kind(kind)]
    rows += [_broken(plugin) for plugin in registry().plugins if plugin.error]
    is_empty = all(row["distribution"] == FRAMEWORK for row in rows)
    rows = [row for row in rows if _matches(row, words)]
    if as_json:
        print_json(rows)
        return
    if is_empty:
        click.echo("No plugins are installed: pip install 'asd-framework[light]'")
        return
    if not rows:
        click.echo(f"Nothing that is installed matches {printable(' '.join(words))!r}; 'asd plugins' lists everything.")
        return
    if verbose:
        print_table(("kind", "name", "state", "summary", "distribution", "licence"), map(_cells, rows))
    else:
        _print_lines(rows)
    for plugin in registry().plugins:
        for remark in plugin.remarks:
            click.echo(f"{plugin.distribution}: {remark}")


def _matches(row: dict[str, Any], words: tuple[str, ...]) -> bool:
    fields = ("kind", "name", "summary", "distribution", "licence", "state")
    text = " ".join(str(row.get(field) or "") for field in fields).lower()
    return all(word.lower() in text for word in words)


@plugins.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), help="If several kinds have a component of this name.")
@json_option
@verbose_option
def show(name: str, kind: Any, as_json: bool, verbose: bool) -> None:
    """Show a component: parameters with defaults, representation, dimension, weight files."""
    # The parameters are those of the class: only here is it imported, with whatever it needs.
    from asd.contract.create import described_parameters

    component = registry().find(kind, name)
    described = _as_dict(component)
    try:
        described["parameters"] = described_parameters(component)
        described["contradictions"] = _contradictions(component)
    except PluginError as error:
        described["parameters_unknown"] = str(error)
        described["state"] = component.problem or "broken: its target cannot be used"
    if as_json:
        print_json(described)
    else:
        _print_component(described)


def _contradictions(component: Component) -> list[str]:
    """Return where the plugin declares something untrue, if the component can be made with its defaults."""
    from asd.contract.create import contradictions, create

    try:
        return contradictions(component, create(component.spec.kind, component.qualified_name))
    except Exception:  # it needs parameters or weights; 'asd check' looks closer
        return []


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    return (
        row["kind"] or "?",
        _shown_name(row),
        _shown_state(row),
        row.get("summary", ""),
        f"{row['distribution']} {row['version']}",
        row.get("licence", ""),
    )


def _print_lines(rows: list[dict[str, Any]]) -> None:
    """Print a line for each component, grouped by kind, and what is broken at the end."""
    for kind, grouped in itertools.groupby(rows, key=lambda row: row["kind"]):
        of_kind = list(grouped)
        if kind is None:
            print_table(("broken plugin", "error"), [(row["distribution"], _shown_state(row)) for row in of_kind])
            continue
        widest = max(len(_shown_name(row)) for row in of_kind)
        print_lines([emphasised(f"\n{_HEADINGS[kind]}", "bold"), *(_line(row, widest) for row in of_kind)])
    if any(row["kind"] for row in rows):
        click.echo("\nDetails, and what to do for one that is not ready: asd plugins show NAME")


def _line(row: dict[str, Any], widest: int) -> Any:
    """Return name, state if not ready, licence if not permissive, and as much of the summary as fits in the line."""
    name = f"  {_shown_name(row):<{widest}}  "
    remarks = []
    if not row["ready"]:
        remarks.append(_brief(row["state"]))
    # Of a licence with parts, those that ask for more: not 'Apache-2.0', nor what in brackets says of which part it is.
    parts = re.split(r"[;,] ", row["licence"])
    remarks += [part.partition(" (")[0] for part in parts if _RESTRICTED.search(part)]
    remark = f"[{'; '.join(remarks)}] " if remarks else ""
    text, left = remark + row["summary"], max(4, line_width() - len(name))
    if len(text) > left:
        more = "…" if encodes("…") else "..."
        text = text[: left - len(more)].rstrip() + more
    return emphasised(name, "").append(text[: len(remark)], "yellow").append(text[len(remark) :])


def _brief(state: str) -> str:
    """Return what is the matter, without how to mend it."""
    brief = re.split(r":| \(|;", state)[0]
    return f"{brief} is not ready" if brief.startswith("its ") else brief


def _shown_name(row: dict[str, Any]) -> str:
    return f"{row['name']} (default)" if row["default"] else row["name"]


def _shown_state(row: dict[str, Any]) -> Any:
    return emphasised(row["state"], "green" if row["ready"] else "yellow" if row["kind"] else "red")


def _broken(plugin: Plugin) -> dict[str, Any]:
    return {
        "kind": None,
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "state": f"broken: {plugin.error}",
        "ready": False,
        "default": False,
    }


def _as_dict(component: Component) -> dict[str, Any]:
    spec, plugin = component.spec, component.plugin
    shown = ("kind", "name", "aliases", "summary", "licence", "requires", "sample_rate", "shape", "dimension")
    return {
        **{name: getattr(spec, name) for name in (*shown, "frontend", "extractor")},
        "distribution": plugin.distribution,
        "version": plugin.version,
        "state": (state := state_of(component)),
        "ready": state == READY,
        "default": _is_default(component),
        "remarks": plugin.remarks,
        "weights": [asdict(weight) for weight in spec.weights],
    }


def _is_default(component: Component) -> bool:
    """Return whether 'asd fit' takes it by itself."""
    spec = component.spec
    ours = distribution_of(spec.name, spec.kind)
    return DEFAULTS.get(spec.kind) == spec.name and component.plugin.distribution == ours


def _print_component(described: dict[str, Any]) -> None:
    click.echo(f"{described['name']} ({described['kind']}): {described['summary']}")
    for label, key in (
        ("distribution", "distribution"),
        ("version", "version"),
        ("licence", "licence"),
        ("state", "state"),
        ("sample rate", "sample_rate"),
        ("shape of a window", "shape"),
        ("dimension", "dimension"),
        ("default front end", "frontend"),
        ("default extractor", "extractor"),
    ):
        if described[key] is not None:
            click.echo(f"  {label + ':':<19} {described[key]}")
    if described["aliases"]:
        click.echo(f"  former names:       {', '.join(described['aliases'])}")
    for weight in described["weights"]:
        source = weight["url"] or "shipped inside the distribution"
        size = f"{weight['size'] / 1e6:.1f} MB, " if weight["size"] else ""
        click.echo(f"  weights:            {weight['name']} ({size}{weight['licence']}), {source}")
    for text in (*described["remarks"], *described.get("contradictions", ())):
        click.echo(f"  remark:             {text}")
    if "parameters_unknown" in described:
        click.echo(f"  parameters:         unknown here ({described['parameters_unknown']})")
        return
    from asd.contract.parameters import spoken

    rows = [
        (
            f"--{described['kind']}.{p['name']}",
            p["takes"],
            "(required)" if p["required"] else spoken(str(p["default"])),
            p["description"],
        )
        for p in described["parameters"]
    ]
    if rows:
        print_table(("parameter", "takes", "default", "meaning"), rows)
    else:
        click.echo("  no parameters")
