"""``asd new-plugin``: write a working distribution to start from."""

from __future__ import annotations

from pathlib import Path

import click

from asd.cli.flags import LocalPath, json_option, verbose_option
from asd.cli.output import print_json
from asd.scaffold import OFFERS, Offer, write_plugin


@click.command("new-plugin")
@click.argument("name")
@click.option("--kind", type=click.Choice(OFFERS), required=True, help="What the plugin offers.")
@click.option("-o", "--output", type=LocalPath(), default=Path(), show_default="here", help="Where to put it.")
@json_option
@verbose_option
def new_plugin(name: str, kind: Offer, output: Path, as_json: bool, verbose: bool) -> None:
    """Write the distribution asd-NAME, which offers NAME and works, with its tests, licence and workflows."""
    folder = write_plugin(name, kind, output)
    if as_json:
        print_json({"folder": str(folder), "files": sorted(str(p) for p in folder.rglob("*") if p.is_file())})
        return
    component = folder.name.removeprefix("asd-")
    click.echo(f"Wrote {folder}: the {kind} {component}, which works; change it into yours. Next:")
    click.echo(f"    pip install -e '{folder}[dev]'")
    if kind == "command":
        click.echo(f"    asd {component} --help")
        return
    click.echo(f"    asd plugins show {component} --kind {kind}")
    click.echo(f"    asd check {component}")
