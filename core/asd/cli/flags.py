"""Flags that most commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asd.errors import ConfigError
from asd.files.address import is_url, masked

if TYPE_CHECKING:
    _ParamType = click.ParamType[Path]
else:
    _ParamType = click.ParamType  # older versions have no type of what is converted


class PathOrUrl(_ParamType):
    """A file here, or by its address."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path."""
        return named_path(value)


MONITOR_IS_HERE = "it is locked while it is used, and replaced after every clip"


class LocalPath(_ParamType):
    """A file or folder on this computer; an address would become a folder of that name.

    Parameters
    ----------
    what : str
        What it is.
    reason : str
        Why it can lie nowhere else.
    """

    name = "path"

    def __init__(self, what: str = "it", reason: str = "") -> None:
        self.what = what
        self.reason = f" ({reason})" if reason else ""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path.

        Raises
        ------
        ConfigError
            If it is an address.
        """
        if is_url(value):
            raise ConfigError(f"{masked(value)}: {self.what} must be on this computer{self.reason}; name a local path")
        return named_path(value)


def named_path(value: Any) -> Path:
    """Return the path or address that stands in a command.

    Raises
    ------
    ConfigError
        If the name is empty.
    DataError
        If an address lacks something.
    """
    from asd.files.remote import as_path  # not before there is a path: help and listings start fast

    if not str(value).strip():  # would be the current folder
        raise ConfigError("an empty name was given; is a variable of the shell unset?")
    return as_path(value)


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
