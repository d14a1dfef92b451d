"""Self-contained HTML pages: one file that needs no network, reads on a telephone, and prints.

A page is made of parts, and each part is `Html`: text that is markup already. Whatever else is put into a part is text
and gets escaped, so that a name with HTML in it is shown as it is and never runs. A Content-Security-Policy in the page
allows only the scripts that this module wrote, and no connection at all.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from asd.errors import DataError

_CHART = '<figure class="chart"'


class Html(str):
    """Text that is markup already: it is put into a page as it is."""

    __slots__ = ()


Content = str | int | float | None
"""`Html` as it is; other text, escaped; a number; None and NaN are shown as a dash."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    title : str
        Its heading.
    digits : int or None
        Decimals of its numbers; None: as Python writes them.
    note : str
        What it means; shown where the pointer rests on the heading.
    """

    title: str
    digits: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell that is sorted by something else than what it shows.

    Parameters
    ----------
    content : str, int, float or None
        What it shows.
    value : str, float or None
        By which it is sorted; None and NaN come last in either direction.
    """

    content: Content
    value: str | float | None


def markup(*content: Content) -> Html:
    """Return content as markup, one after the other: `Html` as it is, everything else escaped."""
    return Html("".join(each if isinstance(each, Html) else html.escape(_shown(each)) for each in content))


def paragraph(*content: Content) -> Html:
    """Return a paragraph."""
    return Html(f"<p>{markup(*content)}</p>\n")


def items(contents: Iterable[Content]) -> Html:
    """Return a list with bullets; nothing if there is no content."""
    found = "".join(f"<li>{markup(each)}</li>\n" for each in contents)
    return Html(f"<ul>\n{found}</ul>\n" if found else "")


def link(target: str, *content: Content) -> Html:
    """Return a link to a part of the page by its `anchor`, or to an address of the web."""
    if not target.startswith(("#", "https://", "http://")):
        raise ValueError(f"a link goes to '#anchor' or a web address, got {target!r}")
    return Html(f'<a href="{html.escape(target)}" rel="noreferrer">{markup(*content)}</a>')


def section(title: str, *content: Content, level: int = 2, anchor: str | None = None) -> Html:
    """Return a part with a heading.

    Parameters
    ----------
    title : str
        The heading.
    *content : str, int, float or None
        What stands below it.
    level : int
        2 for the parts of a page, 3 for parts of those.
    anchor : str or None
        Name for links within the page.
    """
    name = f' id="{html.escape(anchor)}"' if anchor else ""
    return Html(f"<section{name}>\n<h{level}>{markup(title)}</h{level}>\n{markup(*content)}</section>\n")


def details(summary: str, *content: Content) -> Html:
    """Return a part that is closed until the reader opens it; it prints open."""
    return Html(f"<details><summary>{markup(summary)}</summary>\n{markup(*content)}</details>\n")


def definitions(pairs: Mapping[str, Content]) -> Html:
    """Return names and what they mean, side by side: provenance, a model card."""
    rows = "".join(f"<dt>{markup(name)}</dt><dd>{markup(value)}</dd>\n" for name, value in pairs.items())
    return Html(f"<dl>\n{rows}</dl>\n")


def cards(*contents: Html) -> Html:
    """Return parts side by side, as many as fit: a clip each, with its picture and player."""
    return Html(f'<div class="cards">{"".join(f"<div>{each}</div>" for each in contents)}</div>\n')


def table(
    columns: Sequence[Column | str],
    rows: Iterable[Sequence[Content | Cell]],
    *,
    caption: str,
    filter_label: str | None = None,
) -> Html:
    """Return a table that readers sort by a click on a heading and, if there is a label for it, filter by a word.

    Parameters
    ----------
    columns : sequence of Column or str
        Its columns.
    rows : iterable of sequence of str, int, float, None or Cell
        A cell for each column.
    caption : str
        What the table shows.
    filter_label : str or None
        Label of the field in which the reader types a word; None: there is no such field.

    Raises
    ------
    ValueError
        If a row has another number of cells than there are columns.
    """
    titled = [each if isinstance(each, Column) else Column(each) for each in columns]
    lines: list[str] = []
    numbers = [False] * len(titled)
    for row in rows:
        if len(row) != len(titled):
            raise ValueError(f"a row has {len(row)} cells, the table {len(titled)} columns: {row!r}")
        lines.append("<tr>" + "".join(map(_cell, row, titled)) + "</tr>\n")
        numbers = [known or _is_number(_value(cell)) for known, cell in zip(numbers, row, strict=True)]
    head = "".join(map(_heading, titled, numbers))
    return Html(
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html.escape(caption)}">'
        f'<table class="sortable"{_attribute("data-filter", filter_label)}><caption>{markup(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(lines)}</tbody></table></div>\n"
    )


def picture(data: bytes, description: str, caption: Content = None, *, later: tuple[int, int] | None = None) -> Html:
    """Return a picture.

    Parameters
    ----------
    data : bytes
        A PNG, JPEG or WebP file's content.
    description : str
        What it shows, for readers who do not see it.
    caption : str or None
        The text below it.
    later : (int, int) or None
        Width and height in pixels of one that is not loaded before a reader scrolls to it, or prints: for the pictures
        of a long table. Without scripts its description stands there. None: it is there at once.

    Raises
    ------
    ValueError
        If the content is none of the three.
    """
    size, source = "", "src"
    if later is not None:
        size, source = f' width="{later[0]}" height="{later[1]}"', "data-src"
    address = f"data:{_media_type(data)};base64,{_base64(data)}"
    image = f'<img alt="{html.escape(description)}"{size} {source}="{address}">'
    if caption is None:
        return Html(image)
    return Html(f"<figure>{image}<figcaption>{markup(caption)}</figcaption></figure>\n")


def player(data: bytes, media_type: str, label: str) -> Html:
    """Return an audio player; `asd_pages.sound.encode` makes the content.

    Parameters
    ----------
    data : bytes
        A sound file's content.
    media_type : str
        Such as ``"audio/flac"``.
    label : str
        What is to be heard, for readers who do not see the page.
    """
    source = f"data:{html.escape(media_type)};base64,{_base64(data)}"
    return Html(f'<audio controls preload="none" aria-label="{html.escape(label)}" src="{source}"></audio>')


def page(title: str, *content: Content, summary: Content = None, footer: Content = None) -> str:
    """Return a whole page.

    Parameters
    ----------
    title : str
        Title and first heading.
    *content : str, int, float or None
        Its parts.
    summary, footer : str or None
        The lines below the title, and those at the end.
    """
    body = markup(*content)
    scripts = [_script(_asset("page.js"))]
    charts = ""
    if _CHART in body:
        from asd_pages.charts import bundle

        # Compiling it takes longer than all the rest of the page: that is done when the first chart is to be drawn.
        scripts.append(_script(bundle()))
        charts = f'<script type="text/plain" class="charts">{scripts[1]}</script>\n'
    # Styles cannot be listed by digest: Vega sets some on the elements that it draws.
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_digest, scripts))}; style-src 'unsafe-inline'; "
        "img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
    )
    head = f"<header><h1>{markup(title)}</h1>\n{'' if summary is None else paragraph(summary)}</header>\n"
    foot = "" if footer is None else f"<footer>{paragraph(footer)}</footer>\n"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f'<link rel="icon" href="data:,">\n<title>{markup(title)}</title>\n'
        f"<style>{_asset('page.css')}</style>\n</head>\n"
        f"<body>\n{head}<main>\n{body}</main>\n{foot}{charts}<script>{scripts[0]}</script>\n</body>\n</html>\n"
    )


def write(path: Path, text: str) -> Path:
    """Write a page, whole or not at all.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # two processes may write the same page
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True) if part.parent.is_dir() else None
        raise DataError(f"{path}: cannot write it ({error.strerror}); name a folder that you may write to") from error
    return path


def _heading(column: Column, number: bool) -> str:
    attributes = _attribute("class", "number" if number else None) + _attribute("title", column.note)
    return f'<th scope="col"{attributes}>{markup(column.title)}</th>'


def _cell(cell: Content | Cell, column: Column) -> str:
    value, shown = _value(cell), cell.content if isinstance(cell, Cell) else cell
    number = _is_number(value)
    attributes = _attribute("class", "number" if number else None)
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        attributes += ' data-value=""'
    elif isinstance(cell, Cell) or (number and column.digits is not None):
        attributes += f' data-value="{html.escape(str(value))}"'
    return f"<td{attributes}>{markup(_shown(shown, column.digits) if isinstance(shown, float) else shown)}</td>"


def _value(cell: Content | Cell) -> str | float | None:
    return cell.value if isinstance(cell, Cell) else cell


def _is_number(value: str | float | None) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(content: Content, digits: int | None = None) -> str:
    if content is None or (isinstance(content, float) and not math.isfinite(content)):
        return "–"
    return f"{content:.{digits}f}" if isinstance(content, float) and digits is not None else str(content)


def _attribute(name: str, value: str | None) -> str:
    return f' {name}="{html.escape(value)}"' if value else ""


def _media_type(data: bytes) -> str:
    if data.startswith(b"\x89PNG"):
        return "image/png"
    if data.startswith(b"\xff\xd8"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise ValueError(f"a picture is a PNG, JPEG or WebP file, got one that begins with {data[:8]!r}")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _script(text: str) -> str:
    """Return a script as it may stand in a page."""
    return text.replace("\r\n", "\n").replace("</script", "<\\/script")


def _digest(script: str) -> str:
    return f"'sha256-{_base64(hashlib.sha256(script.encode()).digest())}'"


@functools.cache
def _asset(name: str) -> str:
    return files("asd_pages").joinpath("assets", name).read_text(encoding="utf-8")
