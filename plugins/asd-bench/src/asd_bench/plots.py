"""The report's plots, as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from asd.experiment import roc_curve
from asd.plugin import Float64
from asd_bench.results import PipelineSummary, Results

_CURVES = 5
_PANELS = 12
_COLUMNS = 3
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "asd", "font.size": 9}

_NORMAL, _ANOMALOUS = "tab:blue", "tab:orange"


def ranked_intervals(results: Results) -> str:
    """Return each pipeline's score with its interval, the best on top, and that of loudness alone."""
    summaries = [*(summary for summary in results.ranking if summary.complete), results.loudness]
    summaries = [summary for summary in summaries if len(summary.draws)][::-1]
    figure = Figure(figsize=(8, 0.6 + 0.28 * len(summaries)), layout="constrained")
    axes = figure.subplots()
    for height, summary in enumerate(summaries):
        low, high = summary.interval
        colour = "grey" if summary.candidate is None else _NORMAL
        axes.plot([low, high], [height, height], color=colour, linewidth=2)
        axes.plot([summary.score], [height], "o", color=colour, markersize=4)
    axes.set_yticks(range(len(summaries)), [summary.label for summary in summaries])
    axes.set_ylim(-0.7, len(summaries) - 0.3)
    axes.axvline(0.5, color="lightgrey", linewidth=1, zorder=0)
    axes.set_xlabel(f"score ({results.recipe.metric}) with 95 % bootstrap interval; 0.5: chance")
    return _svg(figure)


def roc_curves(results: Results) -> str:
    """Return the ROC curves of the best pipelines, a panel for each machine section; the first seed."""
    chosen = [summary for summary in results.ranking if summary.complete][:_CURVES]
    figure, panels = _panels(results)
    for axes, section in panels:
        for summary in chosen:
            axes.plot(*roc_curve(*_scores(results, summary, section)), linewidth=1.2, label=summary.label)
        axes.plot([0, 1], [0, 1], color="lightgrey", linewidth=1, zorder=0)
        axes.set(title=section, xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    if panels and chosen:
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", fontsize=8)
    return _svg(figure)


def score_histograms(results: Results) -> str:
    """Return the best pipeline's scores of normal and anomalous clips, a panel for each machine section; first seed."""
    figure, panels = _panels(results)
    for axes, section in panels:
        assert results.best is not None
        normal, anomalous = _scores(results, results.best, section)
        edges = np.histogram_bin_edges(np.concatenate([normal, anomalous]), bins=20)
        axes.hist(normal, edges, alpha=0.6, color=_NORMAL, label="normal")
        axes.hist(anomalous, edges, alpha=0.6, color=_ANOMALOUS, label="anomalous")
        axes.set(title=section, xlabel="clip score", ylabel="clips")
        axes.legend(fontsize=8)
    return _svg(figure)


def heat_map(results: Results) -> str:
    """Return the grid: a row for each representation, a column for each detector."""
    parts = {summary.label: _split_label(summary.label) for summary in results.ranking}
    names = list(dict.fromkeys(representation for representation, _ in parts.values()))
    detectors = list(dict.fromkeys(detector for _, detector in parts.values()))
    grid = np.full((len(names), len(detectors)), np.nan)
    for summary in results.ranking:
        representation, detector = parts[summary.label]
        grid[names.index(representation), detectors.index(detector)] = summary.score if summary.complete else np.nan
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


def _split_label(label: str) -> tuple[str, str]:
    """Return the names of the representation and of the detector, with whose name the options stand."""
    pipeline, _, options = label.partition(" [")
    representation, _, detector = pipeline.rpartition(" → ")
    return representation or "default", f"{detector} [{options}" if options else detector


def _panels(results: Results) -> tuple[Figure, list[tuple[Any, str]]]:
    names = list(dict.fromkeys(result.trial.section.name for result in results.trials))[:_PANELS]
    rows, columns = -(-len(names) // _COLUMNS), min(_COLUMNS, len(names))
    figure = Figure(figsize=(3.6 * columns, 3.2 * rows + 1.2), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in axes[len(names) :]:
        spare.set_axis_off()
    return figure, list(zip(axes, names, strict=False))


def _scores(results: Results, summary: PipelineSummary, section: str) -> tuple[Float64, Float64]:
    """Return the scores of the normal and of the anomalous test clips with the first seed."""
    own = (r for r in results.trials if r.trial.label == summary.label and r.trial.section.name == section)
    record = next(own).record
    scores, anomalous = np.array(record["scores"]), np.array(record["anomalous"], dtype=bool)
    return scores[~anomalous], scores[anomalous]


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
