"""How results are shown: tables and JSON on stdout; progress and log on stderr."""

from __future__ import annotations

import json
import logging
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import click

from asd.errors import AsdError
from asd.progress import Bar, rendered_by
from asd_registry.text import printable

_USUAL = 80
"""Characters in a line where no terminal says how many fit."""


def print_json(value: Any) -> None:
    """Write `value` as JSON to stdout."""
    only_ascii = (sys.stdout.encoding or "utf-8").lower().replace("-", "") != "utf8"
    text = json.dumps(value, indent=2, ensure_ascii=only_ascii, default=str, allow_nan=False)
    click.echo(printable(text))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows of text as a table to stdout, without markup; nothing is cut.

    Parameters
    ----------
    columns : sequence of str
        Titles, the most important first: in a narrow terminal, the last columns go below their rows.
    rows : iterable of sequences
        A cell for each column: text, what has a text, or what `emphasised` returned.
    """
    from rich.text import Text

    from asd.cli.table import as_cell, laid_out

    cells = [[as_cell(cell if isinstance(cell, Text) else printable(str(cell))) for cell in row] for row in rows]
    rule = "─" if encodes("─") else "-"
    print_lines([Text(), *laid_out(columns, cells, line_width(), rule), Text()])


def say(text: str) -> None:
    """Write sentences to stdout; in a terminal, lines break between words, elsewhere where the text has them."""
    if sys.stdout.isatty():
        text = "\n".join(
            textwrap.fill(line, line_width(), break_long_words=False, break_on_hyphens=False, subsequent_indent=indent)
            for line in text.split("\n")
            for indent in [" " * (len(line) - len(line.lstrip()))]
        )
    click.echo(printable(text))


def print_lines(lines: Iterable[Any]) -> None:
    """Write lines of `rich.text.Text` to stdout as they are, in colours where a terminal has them."""
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False, markup=False).print(Text("\n").join(lines), soft_wrap=True)


def encodes(text: str) -> bool:
    """Return whether stdout can write `text` as it is."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeError:
        return False
    return True


def line_width() -> int:
    """Return how many characters fit in a line of stdout.

    ``COLUMNS`` decides; else the terminal, that of another stream where stdout is a pipe (``asd … | less``); else 80.
    """
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    for stream in (sys.__stdout__, sys.__stderr__, sys.__stdin__):
        # A stream may be closed, no terminal, or replaced by a test.
        with suppress(AttributeError, ValueError, OSError):
            if columns := os.get_terminal_size(stream.fileno()).columns:  # type: ignore[union-attr]
                return columns
    return _USUAL


def emphasised(text: str, style: str) -> Any:
    """Return a table cell in a colour, for terminals that have them."""
    from rich.text import Text

    return Text(printable(text), style=style)


@contextmanager
def reporting(verbose: bool = False) -> Iterator[None]:
    """Show progress bars and log lines on stderr inside the block."""
    logger = logging.getLogger("asd")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    try:
        with rendered_by(Bar(logger)):
            yield
    finally:
        logger.removeHandler(handler)


def together(*steps: Callable[[], Any]) -> list[Any]:
    """Return what each step gives; what is wrong with several of them is told in one line, not one after the other."""
    found, mistakes = [], []
    for step in steps:
        try:
            found.append(step())
        except (AsdError, click.ClickException) as error:
            mistakes.append(error)
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        texts = [each.format_message() if isinstance(each, click.ClickException) else str(each) for each in mistakes]
        raise AsdError("; and ".join(texts))
    return found


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        return printable(f"asd: {prefix}{record.getMessage()}")
