"""``asd data``: what data sets there are, which are here, and how to bring the others."""

from __future__ import annotations

import click

from asd.cli.flags import json_option, verbose_option
from asd.cli.output import print_json, print_table, reporting
from asd.installed import registry


@click.group()
def data() -> None:
    """List, fetch, verify and show data sets."""


@data.command("list")
@json_option
@verbose_option
def list_(as_json: bool, verbose: bool) -> None:
    """List the installed data sets with their licences."""
    with reporting(verbose):
        specs = [component.spec for component in registry().of_kind("dataset")]
    if as_json:
        print_json([{"name": s.name, "summary": s.summary, "licence": s.licence} for s in specs])
    else:
        print_table(("data set", "what", "licence"), [(s.name, s.summary, s.licence) for s in specs])
