"""What the distribution offers, as data."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import CommandSpec, ComponentSpec, hookimpl


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    """Yield the data sets."""
    yield ComponentSpec(
        kind="dataset",
        name="folder",
        summary="Your own recordings: a folder normal/ and a folder abnormal/, by machine if there are several",
        target="asd_bench.datasets.folder:Folder",
        licence="that of the recordings",
    )


@hookimpl
def asd_commands() -> Iterator[CommandSpec]:
    """Yield the commands."""
    yield CommandSpec(
        name="data", summary="List, fetch, verify and show data sets.", target="asd_bench.data_command:data"
    )
