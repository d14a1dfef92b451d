"""``asd new-plugin``: write a working distribution to start from."""

from __future__ import annotations

from pathlib import Path

import click

from asd.cli.flags import json_option, verbose_option
from asd.cli.output import print_json
from asd.scaffold import write_plugin
from asd_registry import KINDS, Kind


@click.command("new-plugin")
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What the plugin offers.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path(), show_default="here", help="Where to put it."
)
@json_option
@verbose_option
def new_plugin(name: str, kind: Kind, output: Path, as_json: bool, verbose: bool) -> None:
    """Write the distribution asd-NAME with one working component NAME, its tests, licence and CI file."""
    folder = write_plugin(name, kind, output)
    if as_json:
        print_json({"folder": str(folder), "files": sorted(str(p) for p in folder.rglob("*") if p.is_file())})
        return
    component = folder.name.removeprefix("asd-")
    click.echo(f"Wrote {folder}: the {kind} {component}, which works; change it into yours. Next:")
    click.echo(f"    pip install -e '{folder}[dev]'")
    click.echo(f"    asd plugins show {component} --kind {kind}")
    click.echo(f"    asd check {component}")
