"""Flags that most commands share."""

from __future__ import annotations

import os

import click


def _go_offline(_: click.Context, __: click.Parameter, offline: bool) -> None:
    if offline:
        os.environ["ASD_OFFLINE"] = "1"


verbose_option = click.option("-v", "--verbose", is_flag=True, help="Show more messages, and the trace of an error.")
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout.")
strict_option = click.option("--strict", is_flag=True, help="Stop at the first clip that cannot be used.")
cache_option = click.option(
    "--no-cache", "cache", is_flag=True, default=True, flag_value=False, help="Compute all embeddings again; keep none."
)
by_option = click.option(
    "--by",
    metavar="COLUMN|folder",
    help="Of a folder of models, what tells the machine of each clip; default: as at the fit.",
)
force_option = click.option("--force", is_flag=True, help="Overwrite an existing model file.")
offline_option = click.option(
    "--offline", is_flag=True, expose_value=False, callback=_go_offline, help="Use no network."
)
trust_option = click.option(
    "--trust",
    is_flag=True,
    help="Let this model file choose what is fetched, opened and run; remembered for its very content.",
)
