"""``asd plugins``: the installed components and their state."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from typing import Any

import click

from asd.cli.flags import json_option, verbose_option
from asd.cli.output import emphasised, line_width, print_json, print_table
from asd.contract.installed import registry
from asd.detection.defaults import DEFAULTS
from asd.errors import PluginError
from asd.files.readiness import READY, state_of
from asd_registry import KINDS, Component, Plugin
from asd_registry.known import distribution_of

_NARROW = 140
"""Characters in a line below which the whole table would wrap every cell."""


@click.group(invoke_without_command=True)
@click.option("--kind", type=click.Choice(KINDS), help="Only components of this kind.")
@json_option
@verbose_option
@click.pass_context
def plugins(ctx: click.Context, kind: Any, as_json: bool, verbose: bool) -> None:
    """List the installed components with their licences and state, and which are the default.

    State 'ready': runs at once, offline; else it says what to do first. Of weight files the size is compared; 'asd
    weights verify' hashes them.

    'asd plugins show NAME' gives a component's parameters, dimension and weight files. ASD_PLUGINS limits what loads
    (comma-separated distributions or entry points).
    """
    if ctx.invoked_subcommand is not None:
        return
    found = registry().of_kind(kind)
    broken = [plugin for plugin in registry().plugins if plugin.error]
    rows = [_as_dict(component) for component in found] + [_broken(plugin) for plugin in broken]
    if as_json:
        print_json(rows)
        return
    remarks = [f"{plugin.distribution}: {remark}" for plugin in registry().plugins for remark in plugin.remarks]
    if not rows:
        click.echo("No plugins are installed: pip install 'asd-framework[light]'")
        return
    if line_width() < _NARROW:
        _print_narrow(rows)
    else:
        print_table(("kind", "name", "summary", "distribution", "licence", "state"), map(_cells, rows))
    for remark in remarks:
        click.echo(remark)


@plugins.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), help="If several kinds have a component of this name.")
@json_option
@verbose_option
def show(name: str, kind: Any, as_json: bool, verbose: bool) -> None:
    """Show a component: parameters with defaults, representation, dimension, weight files."""
    # The parameters are those of the class: only here is it imported, with whatever it needs.
    from asd.contract.create import parameters
    from asd.contract.parameters import REQUIRED, describe

    component = registry().find(kind, name)
    described = _as_dict(component)
    try:
        described["parameters"] = [
            {
                "name": p.name,
                "takes": describe(p.annotation),
                "default": None if p.default is REQUIRED else p.default,
                "required": p.default is REQUIRED,
                "description": p.description.replace("`", ""),
            }
            for p in parameters(component)
        ]
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
        row.get("summary", ""),
        f"{row['distribution']} {row['version']}",
        row.get("licence", ""),
        _shown_state(row),
    )


def _print_narrow(rows: list[dict[str, Any]]) -> None:
    """Print a table for each kind, without what 'asd plugins show' gives."""
    for kind, its_rows in itertools.groupby(rows, key=lambda row: row["kind"]):
        cells = [(_shown_name(row), _shown_state(row), row.get("summary", row["distribution"])) for row in its_rows]
        print_table((kind or "plugin", "state", "summary"), cells)
    click.echo("Distributions and licences: asd plugins show NAME, or --json, or a wider terminal.")


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
    rows = [
        (
            f"--{described['kind']}.{p['name']}",
            p["takes"],
            "(required)" if p["required"] else p["default"],
            p["description"],
        )
        for p in described["parameters"]
    ]
    if rows:
        print_table(("parameter", "takes", "default", "meaning"), rows)
    else:
        click.echo("  no parameters")
