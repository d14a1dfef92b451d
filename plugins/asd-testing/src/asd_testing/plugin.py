"""What the distribution offers, as data."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import CommandSpec, hookimpl


@hookimpl
def asd_commands() -> Iterator[CommandSpec]:
    """Yield the command."""
    yield CommandSpec(
        name="check",
        summary="Check whether components keep the framework's promises.",
        target="asd_testing.check_command:check",
    )
