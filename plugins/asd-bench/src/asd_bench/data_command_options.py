"""The arguments that the commands of ``asd data`` share: a data set by name, with its parameters."""

from __future__ import annotations

import os
import re

import click

from asd.components import create
from asd.interfaces import Dataset

_DOTTED = re.compile(r"--dataset\.([A-Za-z][\w-]*)(?:=(.*))?", re.DOTALL)
_META = "asd.dataset_parameters"


class DatasetCommand(click.Command):
    """A command that takes ``--dataset.PARAMETER VALUE`` for whatever parameters the data set has."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the dotted options out, then parse the rest as usual."""
        rest: list[str] = []
        found: dict[str, str] = {}
        remaining = iter(args)
        for argument in remaining:
            match = _DOTTED.fullmatch(argument)
            if match is None:
                rest.append(argument)
                continue
            value = match[2] if match[2] is not None else next(remaining, None)
            if value is None:
                raise click.UsageError(f"{argument} needs a value")
            found[match[1].replace("-", "_")] = value
        ctx.meta[_META] = found
        return super().parse_args(ctx, rest)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say how the data set's parameters are given."""
        formatter.write_paragraph()
        formatter.write_text(
            "The data set's parameters: --dataset.NAME followed by a value, such as --dataset.machines fan,pump; "
            "'asd plugins show DATASET' lists them."
        )


def dataset_from(ctx: click.Context, name: str) -> Dataset:
    """Return the data set called `name` with the parameters of the command line; errors as for `create`."""
    dataset: Dataset = create("dataset", name, ctx.meta[_META])
    return dataset


def go_offline(_: click.Context, __: click.Parameter, offline: bool) -> None:
    """Forbid the network (a callback of ``--offline``)."""
    if offline:
        os.environ["ASD_OFFLINE"] = "1"
