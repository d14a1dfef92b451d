"""The report's charts, as Vega-Lite specifications."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from asd.experiment import roc_curve
from asd.plugin import Float64
from asd_bench.conclusion import LOUDNESS_GROUP, groups_of
from asd_bench.ranks import Ranks, ranks_of, section_scores
from asd_bench.results import PipelineSummary, Results
from asd_pages.charts import COLOURS, Spec

_CURVES = 5
_PANELS = 24
_BINS = 24
_GROUPS = 8
_GROUND = "#7a8a99"
_MEASURES = {
    "auc": "AUC",
    "dcase2020": "mean AUC",
    "dcase2021": "harmonic mean of AUCs and pAUCs",
    "dcase2022": "harmonic mean of AUCs and pAUC",
}


@dataclass(frozen=True)
class Figure:
    """A chart of the report.

    Parameters
    ----------
    name : str
        File name without a suffix.
    title : str
        What it shows.
    spec : dict
        The Vega-Lite specification.
    caption : str
        What its marks mean.
    """

    name: str
    title: str
    spec: Spec
    caption: str


def figures(results: Results) -> list[Figure]:
    """Return all charts that the results allow: those of ranks need two machine sections, and so on."""
    return list(_figures(results))


def _figures(results: Results) -> Iterator[Figure]:
    if results.best is None:
        return
    yield _ranking(results)
    yield _grid(results)
    sections = _sections(results)
    if len(sections) > 1:
        yield _machines(results, sections)
    if ranks := ranks_of(results):
        yield _critical_difference(ranks)
    panels = sections[:_PANELS]
    left_out = f" {len(sections) - len(panels)} more machine sections are left out." if panels != sections else ""
    yield _roc(results, panels, left_out)
    yield _histograms(results, results.best, panels, left_out)
    if any(summary.costs.get("seconds_per_second") for summary in results.ranking if summary.complete):
        yield _time(results)


def _ranking(results: Results) -> Figure:
    groups = groups_of(results)
    summaries = [summary for summary in results.ranking if summary.complete]
    summaries += [results.loudness] if len(results.loudness.draws) else []
    values = [
        {"pipeline": each.label, "score": each.score, "low": each.interval[0], "high": each.interval[1],
         "group": groups[each.label]}
        for each in summaries
    ]  # fmt: skip
    names = list(dict.fromkeys(value["group"] for value in values))
    colours = dict(zip(names, COLOURS, strict=False)) | {LOUDNESS_GROUP: _GROUND}
    y = {"field": "pipeline", "type": "nominal", "sort": [each.label for each in summaries], "title": None}
    scale = {"domain": names, "range": [colours[name] for name in names]}
    colour = {"field": "group", "type": "nominal", "scale": scale, "title": None, "legend": {"orient": "top"}}
    tooltip = _tooltip("pipeline", "score", "low", "high", "group")
    x = {"type": "quantitative", "scale": {"zero": False}, "title": f"score: {_meaning(results)}"}
    spec = {
        "data": {"values": values},
        "width": 640,
        "height": 18 * len(values) + 10,
        "encoding": {"y": y, "color": colour, "tooltip": tooltip},
        "layer": [
            {"data": {"values": [{"x": 0.5}]}, "mark": {"type": "rule", "strokeDash": [4, 4], "color": _GROUND},
             "encoding": {"x": {"field": "x", "type": "quantitative"}, "y": None, "color": None, "tooltip": None}},
            {"mark": {"type": "rule", "strokeWidth": 2.5},
             "encoding": {"x": {"field": "low", **x}, "x2": {"field": "high"}}},
            {"mark": {"type": "point", "size": 55}, "encoding": {"x": {"field": "score", **x}}},
        ],
    }  # fmt: skip
    caption = (
        "Bars: 95 % bootstrap interval over the test clips. Dashed: chance. Two bars that overlap may still differ: "
    )
    caption += "the colours come from the paired difference to the best."
    return Figure("ranking", "Ranking", spec, caption)


def _grid(results: Results) -> Figure:
    values = []
    for summary in results.ranking:
        representation, detector = split_label(summary.label)
        score = summary.score if summary.complete else None
        values.append({"representation": representation, "detector": detector, "score": score})
    return Figure(
        "grid",
        "The grid",
        _heat_map(values, "detector", "representation", cell=64),
        "Score of each representation (row) with each detector (column). Empty: not run, or incomplete.",
    )


def _machines(results: Results, sections: list[str]) -> Figure:
    scores = section_scores(results)
    labels = [summary.label for summary in results.ranking] + [results.loudness.label]
    values = [
        {"pipeline": label, "machine": section, "score": scores.get((label, section))}
        for label in labels
        for section in sections
    ]
    return Figure(
        "machines",
        "Machine by machine",
        _heat_map(values, "machine", "pipeline", cell=44),
        "Score of each pipeline on each machine section, mean over the seeds.",
    )


def _heat_map(values: list[dict[str, Any]], column: str, row: str, cell: int) -> Spec:
    known = [value["score"] for value in values if value["score"] is not None]
    columns = list(dict.fromkeys(value[column] for value in values))
    rows = list(dict.fromkeys(value[row] for value in values))
    middle = (min(known) + max(known)) / 2 if known else 0.0
    dark = {"test": f"datum.score < {middle:.6f}", "value": "white"}
    return {
        "usermeta": {"fixed": True},  # the numbers in its cells need the room
        "data": {"values": [value for value in values if value["score"] is not None]},
        "width": max(240, cell * len(columns)),
        "height": 20 * len(rows) + 10,
        "encoding": {
            "x": {"field": column, "type": "nominal", "sort": columns, "scale": {"domain": columns}, "title": None,
                  "axis": {"orient": "top", "labelAngle": -40, "labelLimit": 160}},
            "y": {"field": row, "type": "nominal", "sort": rows, "scale": {"domain": rows}, "title": None},
            "tooltip": _tooltip(row, column, "score"),
        },
        "layer": [
            {"mark": "rect", "encoding": {"color": {"field": "score", "type": "quantitative", "title": "score",
                                                    "scale": {"scheme": "viridis", "zero": False}}}},
            {"mark": {"type": "text", "fontSize": 10},
             "encoding": {"text": {"field": "score", "type": "quantitative", "format": ".3f"},
                          "color": {"condition": dark, "value": "black"}}},
        ],
    }  # fmt: skip


def _critical_difference(ranks: Ranks) -> Figure:
    shown = ranks.groups[:_GROUPS]
    difference = f"critical difference {ranks.critical_difference:.2f}"
    lanes = [difference, *(" " * (number + 1) for number in range(len(shown)))]
    order = [*lanes, *ranks.labels]
    end = 1 + ranks.critical_difference
    bars = [{"lane": lanes[0], "from": 1.0, "to": end}]
    groups = [
        {"lane": lane, "from": float(ranks.mean[first]), "to": float(ranks.mean[last]), "pipelines": last - first + 1}
        for lane, (first, last) in zip(lanes[1:], shown, strict=True)
    ]
    points = [{"lane": label, "rank": rank} for label, rank in zip(ranks.labels, ranks.mean.tolist(), strict=True)]
    highest = max(float(ranks.mean[-1]), end)
    scale = {"domain": [1, float(np.ceil(highest + 0.2))], "nice": False}
    x = {"type": "quantitative", "scale": scale, "title": "mean rank (1: best on every machine section)",
         "axis": {"orient": "top", "tickMinStep": 1}}  # fmt: skip
    ends = {"x": {"field": "from", **x}, "x2": {"field": "to"}}
    spec = {
        "width": 640,
        "height": 18 * len(order) + 10,
        "encoding": {"y": {"field": "lane", "type": "nominal", "sort": order, "scale": {"domain": order}, "title": None,
                           "axis": {"ticks": False}}},
        "layer": [
            {"data": {"values": bars}, "encoding": ends,
             "mark": {"type": "rule", "strokeWidth": 2, "color": COLOURS[1]}},
            {"data": {"values": groups}, "mark": {"type": "rule", "strokeWidth": 5, "color": _GROUND},
             "encoding": {**ends, "tooltip": _tooltip("pipelines", "from", "to")}},
            {"data": {"values": points}, "mark": {"type": "point", "size": 60},
             "encoding": {"x": {"field": "rank", **x}, "tooltip": _tooltip("lane", "rank")}},
        ],
    }  # fmt: skip
    told = "The pipelines differ" if ranks.p_value < 0.05 else "No difference between the pipelines is shown"
    caption = (
        f"Mean rank over {ranks.sections} machine sections. {told} (Friedman's test by permutation, p = "
        f"{ranks.p_value:.3g}). Grey: pipelines whose mean ranks lie within the critical difference of Nemenyi's test "
        "at 5 %, which are not told apart (Demšar, JMLR 7:1–30, 2006)."
        + (f" The first {_GROUPS} of {len(ranks.groups)} such groups are shown." if len(ranks.groups) > _GROUPS else "")
    )
    return Figure("critical-difference", "Ranks over the machine sections", spec, caption)


def _roc(results: Results, sections: list[str], left_out: str) -> Figure:
    chosen = [summary for summary in results.ranking if summary.complete][:_CURVES]
    values = [
        {"u": section, "p": number, "x": round(x, 4), "y": round(y, 4), "i": i}
        for section in sections
        for number, summary in enumerate(chosen)
        for i, (x, y) in enumerate(_corners(*roc_curve(*_scores(results, summary, section))))
    ]
    names = [{"p": number, "pipeline": summary.label} for number, summary in enumerate(chosen)]
    axes: Spec = {
        "x": {"field": "x", "type": "quantitative", "title": "false positive rate", "scale": {"domain": [0, 1]}},
        "y": {"field": "y", "type": "quantitative", "title": "true positive rate", "scale": {"domain": [0, 1]}},
    }
    region = {"type": "rect", "color": COLOURS[1], "opacity": 0.18}
    plain = {"x": {"datum": 0, "type": "quantitative"}, "y": {"datum": 0, "type": "quantitative"}}
    once: Spec = {"values": [{}]}
    line = {"type": "line", "interpolate": "step-after", "strokeWidth": 1.5}
    legend = {"orient": "top", "columns": 1}
    colour = {
        "field": "pipeline",
        "type": "nominal",
        "title": None,
        "legend": legend,
        "sort": [n["pipeline"] for n in names],
    }
    inner = {
        "width": 200,
        "height": 200,
        "transform": [{"lookup": "p", "from": {"data": {"values": names}, "key": "p", "fields": ["pipeline"]}}],
        "layer": [
            {"data": once, "mark": region, "encoding": {**plain, "x2": {"datum": 0.1}, "y2": {"datum": 1}}},
            {"data": once, "mark": {"type": "rule", "color": _GROUND, "opacity": 0.6},
             "encoding": {**plain, "x2": {"datum": 1}, "y2": {"datum": 1}}},
            {"mark": line, "encoding": {**axes, "order": {"field": "i"}, "color": colour}},
        ],
    }  # fmt: skip
    caption = f"First seed. Shaded: false positive rates up to 0.1, over which pAUC is taken.{left_out}"
    return Figure("roc", f"ROC of the best {len(chosen)}", _faceted(values, sections, inner), caption)


def _histograms(results: Results, best: PipelineSummary, sections: list[str], left_out: str) -> Figure:
    values = []
    for section in sections:
        normal, anomalous = _scores(results, best, section)
        edges = np.histogram_bin_edges(np.concatenate([normal, anomalous]), bins=_BINS)
        for label, scores in (("normal", normal), ("anomalous", anomalous)):
            counts = np.histogram(scores, edges)[0]
            values += [
                {"u": section, "x": float(edges[i]), "x2": float(edges[i + 1]), "n": int(n), "label": label}
                for i, n in enumerate(counts.tolist())
                if n
            ]
    colour = {"field": "label", "type": "nominal", "title": None, "legend": {"orient": "top"},
              "scale": {"domain": ["normal", "anomalous"], "range": [COLOURS[0], COLOURS[1]]}}  # fmt: skip
    inner = {
        "width": 200,
        "height": 110,
        "mark": {"type": "bar", "opacity": 0.65},
        "encoding": {
            "x": {"field": "x", "type": "quantitative", "bin": {"binned": True}, "title": "clip score",
                  "axis": {"tickCount": 4, "format": ".3~g"}},
            "x2": {"field": "x2"},
            "y": {"field": "n", "type": "quantitative", "stack": None, "title": "clips"},
            "color": colour,
            "tooltip": [{"field": "label"}, {"field": "n", "title": "clips"}],
        },
    }  # fmt: skip
    spec = _faceted(values, sections, inner) | {"resolve": {"scale": {"x": "independent", "y": "independent"}}}
    return Figure(
        "scores",
        f"Scores of the best: {best.label}",
        spec,
        f"Test clips of each machine section, first seed.{left_out}",
    )


def _time(results: Results) -> Figure:
    groups = groups_of(results)
    values = [
        {
            "pipeline": each.label,
            "score": each.score,
            "seconds": each.costs["seconds_per_second"],
            "group": groups[each.label],
        }
        for each in results.ranking
        if each.complete and each.costs.get("seconds_per_second")
    ]
    names = list(dict.fromkeys(value["group"] for value in values))
    spec = {
        "data": {"values": values},
        "width": 640,
        "height": 340,
        "mark": {"type": "point", "size": 80},
        "encoding": {
            "x": {"field": "seconds", "type": "quantitative", "scale": {"type": "log"},
                  "title": "seconds of computing per second of sound", "axis": {"format": "~g", "tickCount": 5}},
            "y": {"field": "score", "type": "quantitative", "scale": {"zero": False}, "title": "score"},
            "color": {"field": "group", "type": "nominal", "title": None, "legend": {"orient": "top"}, "sort": names},
            "tooltip": [*_tooltip("pipeline", "score"), {"field": "seconds", "format": ".2~g"}],
        },
    }  # fmt: skip
    caption = "Embedding and scoring on this machine, training left out. Up and to the left is better."
    return Figure("time", "Time against quality", spec, caption)


def split_label(label: str) -> tuple[str, str]:
    """Return the names of the representation and of the detector, with whose name the options stand."""
    pipeline, _, options = label.partition(" [")
    representation, _, detector = pipeline.rpartition(" → ")
    return representation or "default", f"{detector} [{options}" if options else detector


def _faceted(values: list[dict[str, Any]], sections: list[str], inner: Spec) -> Spec:
    facet = {"field": "u", "type": "nominal", "title": None, "sort": sections}
    return {"data": {"values": values}, "facet": facet, "columns": 4, "spec": inner}


def _sections(results: Results) -> list[str]:
    return list(dict.fromkeys(result.trial.section.name for result in results.trials))


def _corners(x: Float64, y: Float64) -> list[tuple[float, float]]:
    """Return the points of a curve at which it turns."""
    turning = np.ones(len(x), bool)
    turning[1:-1] = ~(((x[:-2] == x[1:-1]) & (x[1:-1] == x[2:])) | ((y[:-2] == y[1:-1]) & (y[1:-1] == y[2:])))
    return list(zip(x[turning].tolist(), y[turning].tolist(), strict=True))


def _scores(results: Results, summary: PipelineSummary, section: str) -> tuple[Float64, Float64]:
    """Return the scores of the normal and of the anomalous test clips with the first seed."""
    own = (r for r in results.trials if r.trial.label == summary.label and r.trial.section.name == section)
    record = next(own).record
    scores, anomalous = np.array(record["scores"]), np.array(record["anomalous"], dtype=bool)
    return scores[~anomalous], scores[anomalous]


def _meaning(results: Results) -> str:
    return _MEASURES.get(results.recipe.metric, results.recipe.metric)


def _tooltip(*names: str) -> list[Spec]:
    numbers = {"score", "low", "high", "rank", "from", "to"}
    return [
        {"field": name, "type": "quantitative", "format": ".3f"}
        if name in numbers
        else {"field": name, "type": "nominal"}
        for name in names
    ]
