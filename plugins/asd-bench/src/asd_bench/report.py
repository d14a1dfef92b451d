"""The HTML report: one file that needs no other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from asd_bench.compare import comparisons
from asd_bench.export import as_json
from asd_bench.results import Results
from asd_bench.show import caption, comparison_table, ranking_table
from asd_bench.writing import writing

_PAGE = """<!DOCTYPE html>
<!-- {digest} -->
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }}
th, td {{ text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid #ddd; vertical-align: top }}
div {{ overflow-x: auto }}
svg {{ max-width: 100%; height: auto }}
</style>
<h1>{title}</h1>
<p>{summary}</p>
{body}
</html>
"""


def write_report(results: Results, path: Path) -> Path:
    """Write the report of `results`: tables, ranked intervals, the grid, ROC curves, score histograms.

    A report that already shows these results is not written again: when all trials are finished, drawing takes longer
    than the rest of the run.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    digest = hashlib.sha256(json.dumps(as_json(results)).encode()).hexdigest()
    if path.is_file() and f"<!-- {digest} -->" in path.read_text(encoding="utf-8")[:200]:
        return path
    from asd_bench.plots import drawn

    body = [_table(ranking_table(results)), f"<p>{escape(caption(results))}</p>", _failures(results)]
    body += [f"<h2>{escape(title)}</h2>\n<div>{plot}</div>" for title, plot in drawn(results)]
    if ours := [each for each in comparisons(results) if each.ours is not None]:
        body += ["<h2>Published numbers beside ours</h2>", _table(comparison_table(ours))]
    recipe = results.recipe
    title, summary = escape(f"asd bench {recipe.name}"), escape(recipe.summary)
    page = _PAGE.format(digest=digest, title=title, summary=summary, body="\n".join(body))
    with writing(path):
        path.write_text(page, encoding="utf-8")
    return path


def _failures(results: Results) -> str:
    found = [
        f"<li>{escape(summary.label)}: {escape(reason)}</li>"
        for summary in results.ranking
        for reason in dict.fromkeys(summary.failures)
    ]
    return f"<h2>No result</h2>\n<ul>{''.join(found)}</ul>" if found else ""


def _table(rows: Sequence[dict[str, str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in rows[0])
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row.values()) + "</tr>" for row in rows)
    return f"<div><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
