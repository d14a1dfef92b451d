"""The arguments that the commands of ``asd data`` share: a data set by name, with its parameters."""

from __future__ import annotations

import click

from asd.command import DottedCommand, create, given_parameters
from asd.plugin import Dataset


class DatasetCommand(DottedCommand):
    """A command that takes ``--dataset.PARAMETER VALUE`` for whatever parameters the data set has."""

    kinds = ("dataset",)
    hint = (
        "The data set's parameters: --dataset.NAME followed by a value, such as --dataset.machines fan,pump; "
        "'asd plugins show DATASET' lists them."
    )


def dataset_from(ctx: click.Context, name: str) -> Dataset:
    """Return the data set called `name` with the parameters of the command line; errors as for `create`."""
    dataset: Dataset = create("dataset", name, given_parameters(ctx).get("dataset", {}))
    return dataset
