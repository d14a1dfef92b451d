"""The report's plots, as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from asd.plugin import Float64
from asd_bench.results import Line, Results
from asd_bench.runner import Row

_CURVES = 5
_UNITS = 12
_COLUMNS = 3
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "asd", "font.size": 9}

_NORMAL, _ANOMALOUS = "tab:blue", "tab:orange"


def ranked_intervals(results: Results) -> str:
    """Return each pipeline's score with its interval, the best on top, and the level meter's."""
    lines = [*(line for line in results.lines if line.complete), results.loudness]
    lines = [line for line in lines if len(line.draws)][::-1]
    figure = Figure(figsize=(8, 0.6 + 0.28 * len(lines)), layout="constrained")
    axes = figure.subplots()
    for height, line in enumerate(lines):
        low, high = line.interval
        colour = "grey" if line.pipeline is None else _NORMAL
        axes.plot([low, high], [height, height], color=colour, linewidth=2)
        axes.plot([line.score], [height], "o", color=colour, markersize=4)
    axes.set_yticks(range(len(lines)), [line.label for line in lines])
    axes.set_ylim(-0.7, len(lines) - 0.3)
    axes.axvline(0.5, color="lightgrey", linewidth=1, zorder=0)
    axes.set_xlabel(f"score ({results.recipe.metric}) with 95 % bootstrap interval; 0.5: chance")
    return _svg(figure)


def roc_curves(results: Results) -> str:
    """Return the ROC curves of the best pipelines, a panel for each unit; the first seed."""
    chosen = [line for line in results.lines if line.complete][:_CURVES]
    figure, panels = _panels(results)
    for axes, unit in panels:
        for line in chosen:
            row = _row(results, line, unit)
            scores, anomalous = _scores(row)
            axes.plot(*_roc(scores, anomalous), linewidth=1.2, label=line.label)
        axes.plot([0, 1], [0, 1], color="lightgrey", linewidth=1, zorder=0)
        axes.set(title=unit, xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    if panels and chosen:
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", fontsize=8)
    return _svg(figure)


def score_histograms(results: Results) -> str:
    """Return the best pipeline's scores of normal and anomalous clips, a panel for each unit; the first seed."""
    figure, panels = _panels(results)
    for axes, unit in panels:
        assert results.best is not None
        scores, anomalous = _scores(_row(results, results.best, unit))
        edges = np.histogram_bin_edges(scores, bins=20)
        axes.hist(scores[~anomalous], edges, alpha=0.6, color=_NORMAL, label="normal")
        axes.hist(scores[anomalous], edges, alpha=0.6, color=_ANOMALOUS, label="anomalous")
        axes.set(title=unit, xlabel="clip score", ylabel="clips")
        axes.legend(fontsize=8)
    return _svg(figure)


def heat_map(results: Results) -> str:
    """Return the grid: a row for each representation, a column for each detector."""
    parts = {line.label: _split_label(line) for line in results.lines}
    names = list(dict.fromkeys(sound for sound, _ in parts.values()))
    detectors = list(dict.fromkeys(detector for _, detector in parts.values()))
    grid = np.full((len(names), len(detectors)), np.nan)
    for line in results.lines:
        sound, detector = parts[line.label]
        grid[names.index(sound), detectors.index(detector)] = line.score if line.complete else np.nan
    figure = Figure(figsize=(3 + 0.9 * len(detectors), 1.6 + 0.35 * len(names)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(np.ma.masked_invalid(grid), aspect="auto", cmap="viridis")
    middle = float(np.nanmean(grid)) if np.isfinite(grid).any() else 0.0
    for (i, j), value in np.ndenumerate(grid):
        text, colour = ("–", "grey") if np.isnan(value) else (f"{value:.3f}", "white" if value < middle else "black")
        axes.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(detectors)), detectors, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    figure.colorbar(image, label=f"score ({results.recipe.metric})")
    return _svg(figure)


def _split_label(line: Line) -> tuple[str, str]:
    """Return what names the representation, and the detector, whose options are part of its name."""
    label, _, options = line.label.partition(" [")
    sound, _, detector = label.rpartition(" → ")
    return sound or "default", f"{detector} [{options}" if options else detector


def _panels(results: Results) -> tuple[Figure, list[tuple[Any, str]]]:
    units = list(dict.fromkeys(row.unit.name for row in results.rows))[:_UNITS] if results.best else []
    rows = max(1, -(-len(units) // _COLUMNS))
    columns = min(_COLUMNS, max(1, len(units)))
    figure = Figure(figsize=(3.6 * columns, 3.2 * rows + 1.2), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in axes[len(units) :]:
        spare.set_axis_off()
    return figure, list(zip(axes, units, strict=False))


def _row(results: Results, line: Line, unit: str) -> Row:
    return next(row for row in results.rows if row.label == line.label and row.unit.name == unit)


def _scores(row: Row) -> tuple[Float64, Any]:
    return np.array(row.cell.record["scores"]), np.array(row.cell.record["anomalous"], dtype=bool)


def _roc(scores: Float64, anomalous: Any) -> tuple[Float64, Float64]:
    thresholds = np.unique(scores)[::-1]
    curves = [
        [(group >= threshold).mean() for threshold in thresholds] for group in (scores[~anomalous], scores[anomalous])
    ]
    return np.array([0.0, *curves[0]]), np.array([0.0, *curves[1]])


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]


def drawn(results: Results) -> Sequence[tuple[str, str]]:
    """Return all plots with their titles."""
    with mpl.rc_context(_STYLE):
        found = [("Ranking", ranked_intervals(results)), ("The grid", heat_map(results))]
        if results.best:
            found += [
                (f"ROC of the best {_CURVES}", roc_curves(results)),
                (f"Scores of the best: {results.best.label}", score_histograms(results)),
            ]
    return found
