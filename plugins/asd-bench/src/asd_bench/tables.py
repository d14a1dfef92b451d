"""The ranking as a table: for the report, for a paper (LaTeX) and for a web page or an issue (Markdown)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from asd_bench.export import ranking
from asd_bench.results import Results
from asd_pages.page import Cell, Column

_MEGABYTE = 10**6
_MEASURES = (("AUC source", "auc_source"), ("AUC target", "auc_target"), ("AUC", "auc"), ("pAUC", "pauc"))
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "→": r"$\rightarrow$", "–": "--", "±": r"$\pm$",
    "×": r"$\times$", "<": r"\textless{}", ">": r"\textgreater{}", "−": "$-$",
}  # fmt: skip


def ranking_columns(results: Results) -> list[Column | str]:
    """Return the columns of the report's table."""
    return [
        "pipeline",
        Column("score", 3),
        *([Column("over seeds", note="mean ± standard deviation over the seeds")] if _has_seeds(results) else []),
        Column("95 % interval", note="bootstrap over the test clips"),
        Column("behind the best", note="paired difference and its 95 % interval: one that includes 0 shows none"),
        *(Column(title, 3) for title, _ in _measures(results)),
        Column("fit s", 2, "seconds to learn, mean"),
        Column("score s", 2, "seconds to score the test clips"),
        Column("× real time", 0, "seconds of sound that are embedded and scored in a second"),
        Column("memory MB", 0, "most that the process took"),
        Column("dimension", note="of the embedding"),
        Column("weights", note="licence of the extractor's weights"),
    ]


def ranking_rows(results: Results) -> list[list[Any]]:
    """Return the rows of the report's table."""
    rows: list[list[Any]] = []
    for row in ranking(results):
        seeds = [Cell(_with_deviation(row), row["score"])] if _has_seeds(results) else []
        rows.append(
            [
                row["pipeline"],
                row["score"],
                *seeds,
                Cell(_interval(row["low"], row["high"]), row["low"]),
                Cell(_behind(row), row["behind_best"]),
                *(row.get(name) for _, name in _measures(results)),
                row.get("fit_seconds"),
                row.get("score_seconds"),
                row.get("sound_per_second"),
                row["peak_memory"] / _MEGABYTE if "peak_memory" in row else None,
                row.get("dimension"),
                row.get("weights_licence", ""),
            ]
        )
    return rows


def markdown(results: Results) -> str:
    """Return the ranking as a Markdown table."""
    titles, rows = _plain(results)
    lines = [titles, ["---"] + ["---:"] * (len(titles) - 1), *([_markdown(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex(results: Results) -> str:
    """Return the ranking as a LaTeX table (``booktabs``), the best score and those not told from it in bold."""
    titles, rows = _plain(results)
    marked = []
    for row, plain in zip(ranking(results), rows, strict=True):
        cells = [_escaped(cell) for cell in plain]
        if not row["failed_cells"] and row["behind_low"] <= 0:
            cells[1] = rf"\textbf{{{cells[1]}}}"
        marked.append(" & ".join(cells) + r" \\")
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}; bold: not told from the best (paired 95 % interval includes 0)",
            rf"\begin{{tabular}}{{l{'r' * (len(titles) - 1)}}}",
            r"\toprule",
            " & ".join(map(_escaped, titles)) + r" \\",
            r"\midrule",
            *marked,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _plain(results: Results) -> tuple[list[str], list[list[str]]]:
    titles = [
        "pipeline",
        "score",
        "95 % interval",
        "behind the best",
        *(t for t, _ in _measures(results)),
        "× real time",
    ]
    rows = [
        [
            row["pipeline"],
            _with_deviation(row),
            _interval(row["low"], row["high"]),
            _behind(row),
            *(_number(row.get(name)) for _, name in _measures(results)),
            _number(row.get("sound_per_second"), 0),
        ]
        for row in ranking(results)
    ]
    return titles, rows


def _measures(results: Results) -> Sequence[tuple[str, str]]:
    domains = any(summary.measures.get("auc_source") is not None for summary in results.ranking)
    return _MEASURES if domains else _MEASURES[2:]


def _has_seeds(results: Results) -> bool:
    return len(results.recipe.seeds) > 1


def _with_deviation(row: dict[str, Any]) -> str:
    deviation = row["seed_deviation"]
    return _number(row["score"]) + ("" if deviation is None else f" ± {deviation:.3f}")


def _behind(row: dict[str, Any]) -> str:
    if row["failed_cells"] or math.isnan(row["behind_best"]):
        return "incomplete"
    if row["behind_low"] == row["behind_high"] == 0:
        return "best"
    return f"{row['behind_best']:.3f} ({row['behind_low']:+.3f} – {row['behind_high']:+.3f})"


def _interval(low: float, high: float) -> str:
    return f"{_number(low)} – {_number(high)}"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def _markdown(text: str) -> str:
    return re.sub(r"([\\|<>*_`\[\]])", r"\\\1", text)


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
