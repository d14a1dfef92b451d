"""Commands that take ``--KIND.PARAMETER VALUE`` for whatever parameters the chosen components have."""

from __future__ import annotations

import re
from typing import ClassVar

import click

from asd_registry import PIPELINE_KINDS, Kind

_META = "asd.component_parameters"


class DottedCommand(click.Command):
    """A command with dotted options; a subclass may name other kinds of component, and its own hint."""

    kinds: ClassVar[tuple[Kind, ...]] = PIPELINE_KINDS
    hint: ClassVar[str] = (
        "Component parameters: --frontend.NAME, --extractor.NAME and --detector.NAME followed by a value; "
        "'asd plugins show NAME' lists them. --plugin-file FILE.py loads components of your own."
    )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the dotted options out, then parse the rest as usual."""
        dotted = re.compile(rf"--({'|'.join(self.kinds)})\.([A-Za-z][\w-]*)(?:=(.*))?", re.DOTALL)
        rest: list[str] = []
        found: dict[str, dict[str, str]] = {}
        remaining = iter(args)
        for argument in remaining:
            match = dotted.fullmatch(argument)
            if match is None:
                rest.append(argument)
                continue
            value = match[3] if match[3] is not None else next(remaining, None)
            if value is None:
                raise click.UsageError(f"{argument} needs a value")
            found.setdefault(match[1], {})[match[2].replace("-", "_")] = value
        ctx.meta[_META] = found
        return super().parse_args(ctx, rest)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say how component parameters are given."""
        formatter.write_paragraph()
        formatter.write_text(self.hint)


def given_parameters(ctx: click.Context) -> dict[Kind, dict[str, str]]:
    """Return the parameters of the dotted options by kind of component, as they were typed."""
    found: dict[Kind, dict[str, str]] = ctx.meta[_META]
    return found
