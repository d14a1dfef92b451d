"""Tables for people, at any width: the first columns stand side by side, and no letter of a cell is left out.

What does not fit beside the others goes below its row, with its title; long cells wrap, at spaces where there are some.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from rich.cells import cell_len, chop_cells
from rich.text import Text

_GAP = "  "
_NARROWEST = 20
"""To how many characters a column is narrowed before what follows it goes below."""
_PIECE = re.compile(r"(?:[^\s/_.,:;=&|-]|[.:](?=\d))*(?:[/_,;=&|-]|[.:](?!\d))|(?:[^\s/_.,:;=&|-]|[.:](?=\d))+|\s+")
"""What a line may end with: a word, or a part of a name with the sign behind it; times and decimals stay whole."""


@dataclass(frozen=True)
class Cell:
    """Text of a table in a style of rich, such as ``bold red``."""

    text: str
    style: str = ""

    @property
    def width(self) -> int:
        """Columns of a terminal that it needs to stand on one line."""
        return max(map(cell_len, self.text.split("\n")))


def laid_out(titles: Sequence[str], rows: Sequence[Sequence[Cell]], width: int, rule: str = "─") -> Iterator[Text]:
    """Yield the lines of a table.

    Parameters
    ----------
    titles : sequence of str
        Titles of the columns, the most important first.
    rows : sequence of sequence of Cell
        A cell for each title.
    width : int
        Characters in a line; fewer than `_NARROWEST` count as so many.
    rule : str
        Sign of the line below the titles.
    """
    width = max(width, _NARROWEST)
    natural = [
        max([Cell(title).width, *(row[column].width for row in rows)], default=0) for column, title in enumerate(titles)
    ]
    widths = _widths(natural, width)
    beside = len(widths)
    yield from _beside([Cell(title, "bold") for title in titles[:beside]], widths)
    yield Text(_GAP.join(rule * each for each in widths))
    for row in rows:
        yield from _beside(row[:beside], widths)
        yield from _below(list(zip(titles[beside:], row[beside:], strict=True)), width)


def _widths(natural: Sequence[int], width: int) -> list[int]:
    """Return the widths of the columns that stand side by side, as many as fit."""
    least = [min(each, _NARROWEST) for each in natural]
    beside, used = 1, least[0]
    while beside < len(least) and used + len(_GAP) + least[beside] <= width:
        used += len(_GAP) + least[beside]
        beside += 1
    widths, left = least[:beside], width - used
    # What lacks least comes first, so that as few columns as possible wrap; those that must share what is left.
    by_need = sorted(range(beside), key=lambda column: natural[column] - widths[column])
    for place, column in enumerate(by_need):
        need = natural[column] - widths[column]
        more = need if need <= left else left // (beside - place)
        widths[column] += more
        left -= more
    return widths


def _beside(cells: Sequence[Cell], widths: Sequence[int]) -> Iterator[Text]:
    """Yield the lines of a row."""
    columns = [wrapped(cell.text, width) for cell, width in zip(cells, widths, strict=True)]
    for parts in zip_longest(*columns, fillvalue=""):
        line = Text()
        for part, cell, width in zip(parts, cells, widths, strict=True):
            line.append(part, cell.style or None)
            line.append(" " * (width - cell_len(part)) + _GAP)
        line.rstrip()
        yield line


def _below(cells: Sequence[tuple[str, Cell]], width: int) -> Iterator[Text]:
    """Yield what did not fit beside the rest of a row, indented, each with its title."""
    text = " | ".join(f"{title}: {cell.text}" if title else cell.text for title, cell in cells if cell.text.strip())
    for number, line in enumerate(wrapped(text, width - 4) if text else ()):
        yield Text(("  " if number == 0 else "    ") + line)


def wrapped(text: str, width: int) -> list[str]:
    """Return `text` in lines of at most `width` columns; only spaces at their ends are left out."""
    return [line for paragraph in text.split("\n") for line in _wrapped(paragraph, width)]


def _wrapped(text: str, width: int) -> Iterator[str]:
    if cell_len(text) <= width:
        yield text
        return
    line = ""
    for piece in _PIECE.findall(text):
        if cell_len(line + piece.rstrip()) <= width:
            line += piece
            continue
        if line.strip():
            yield line.rstrip()
        *full, line = chop_cells(piece.lstrip(), width) or [""]
        yield from full
    if line.strip():
        yield line.rstrip()


def as_cell(value: Any) -> Cell:
    """Return a value as a cell; of a `rich.text.Text`, its text and its style."""
    if isinstance(value, Text):
        return Cell(value.plain.expandtabs(1), str(value.style))
    return Cell(str(value).expandtabs(1))
