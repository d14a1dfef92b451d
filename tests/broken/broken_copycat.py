"""A plugin that takes a name that is taken."""

from collections.abc import Iterator

from asd_registry import CommandSpec, ComponentSpec, hookimpl


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    yield ComponentSpec(
        kind="detector", name="sounddetector", target="broken_neighbour:Neighbour", summary="A test's", licence="MIT"
    )


@hookimpl
def asd_commands() -> Iterator[CommandSpec]:
    yield CommandSpec(name="hello", summary="A test's", target="broken_neighbour:Neighbour")
