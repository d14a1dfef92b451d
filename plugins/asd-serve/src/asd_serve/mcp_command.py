"""``asd mcp``: let an assistant ask about machines."""

from __future__ import annotations

import click

from asd.command import reporting, verbose_option


@click.command()
@verbose_option
def mcp(verbose: bool) -> None:
    """Let an assistant ask about machines, by the Model Context Protocol."""
    with reporting(verbose):
        raise NotImplementedError
