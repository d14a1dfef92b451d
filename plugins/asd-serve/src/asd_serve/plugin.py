"""What the distribution offers, as data."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import CommandSpec, hookimpl


@hookimpl
def asd_commands() -> Iterator[CommandSpec]:
    """Yield the commands."""
    yield CommandSpec(
        name="serve",
        summary="Show machines in a browser, and judge sound over HTTP.",
        target="asd_serve.serve_command:serve",
    )
    yield CommandSpec(
        name="mcp",
        summary="Let an assistant ask about machines, by the Model Context Protocol.",
        target="asd_serve.mcp_command:mcp",
    )
