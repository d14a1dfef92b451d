"""The command of this distribution."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import CommandSpec, hookimpl


@hookimpl
def asd_commands() -> Iterator[CommandSpec]:
    """Yield the command."""
    yield CommandSpec(
        name="bench", summary="Compare pipelines on data by a recipe.", target="asd_bench.bench_command:bench"
    )
