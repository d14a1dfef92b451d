"""What the distribution offers, as data."""

from __future__ import annotations

from collections.abc import Iterator

from asd_registry import CommandSpec, hookimpl


@hookimpl
def asd_commands() -> Iterator[CommandSpec]:
    """Yield ``asd explain`` and ``asd report``."""
    yield CommandSpec(
        name="explain",
        summary="Say when, where in the spectrum and by how much a recording is unusual.",
        target="asd_report.explain_command:explain",
    )
    yield CommandSpec(
        name="report",
        summary="Write a page about a clip, a folder, a day or an evaluation.",
        target="asd_report.report_command:report",
    )
