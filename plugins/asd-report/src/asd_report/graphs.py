"""The charts of a report, as Vega-Lite specifications."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from asd.experiment import WatchedClip
from asd.plugin import Clip
from asd_pages.charts import COLOURS, Spec
from asd_report.gather import Report, Row

BLUE, ORANGE, GREEN = COLOURS[0], COLOURS[1], COLOURS[2]
_WIDTH = 900
_MOST = 4000
"""Points of a line; more cannot be seen."""
_GROUPS = {"healthy": "healthy clips", "faulty": "faulty clips", None: "these clips"}


def evidence(report: Report, names: dict[Clip, str]) -> Spec:
    """Return the evidence of a monitor over time, with the threshold of its alarm and what happened."""
    monitor = report.monitor
    assert monitor is not None
    points = [*_remembered(report.remembered), *_watched(report.rows, names)]
    events = [
        {"time": _iso(event.time), "what": f"{event.kind}: {event.text}"}
        for event in monitor.state.history
        if event.kind in ("alarm", "cleared", "drift", "normal", "undo", "reset")
    ]
    time = {"field": "time", "type": "temporal", "title": None}
    tooltip = [
        {"field": "clip", "title": "clip"},
        {"field": "time", "type": "temporal", "format": "%Y-%m-%d %H:%M:%S"},
        {"field": "evidence", "format": ".2f"},
        {"field": "phase"},
    ]
    line = {
        "data": {"values": _thinned(points)},
        "mark": {"type": "line", "point": {"size": 14}, "color": BLUE, "interpolate": "step-after"},
        "encoding": {
            "x": time,
            "y": {"field": "evidence", "type": "quantitative", "title": "evidence (powers of ten)"},
            "tooltip": tooltip,
        },
    }
    limit = {
        "data": {"values": [{"limit": monitor.threshold}]},
        "mark": {"type": "rule", "color": ORANGE, "strokeDash": [6, 4]},
        "encoding": {"y": {"field": "limit", "type": "quantitative"}},
    }
    rules = {
        "data": {"values": events},
        "mark": {"type": "rule", "color": ORANGE, "opacity": 0.7},
        "encoding": {"x": time, "tooltip": [{"field": "what"}]},
    }
    return {"width": _WIDTH, "height": 220, "layer": [line, limit, *([rules] if events else [])]}


def p_values(report: Report, names: dict[Clip, str]) -> Spec:
    """Return the p-value of each clip in the order of time, on a logarithmic axis, with the alarm's level."""
    values = [
        {
            "time": _iso(row.time),
            "p": verdict.p_value,
            "clip": names[row.clip],
            "verdict": "anomalous" if verdict.anomalous else "normal",
        }
        for row, verdict in report.judged
        if row.time is not None
    ]
    points = {
        "data": {"values": values},
        "mark": {"type": "point", "size": 30},
        "encoding": {
            "x": {"field": "time", "type": "temporal", "title": None},
            "y": {"field": "p", "type": "quantitative", "scale": {"type": "log", "reverse": True}, "title": "p-value"},
            "color": {
                "field": "verdict",
                "title": None,
                "scale": {"domain": ["normal", "anomalous"], "range": [BLUE, ORANGE]},
                "legend": {"orient": "top"},
            },
            "tooltip": [{"field": "clip"}, {"field": "p", "format": ".3g", "title": "p-value"}, {"field": "verdict"}],
        },
    }
    limit = {
        "data": {"values": [{"p": report.model.decision.level}]},
        "mark": {"type": "rule", "strokeDash": [6, 4], "color": ORANGE},
        "encoding": {"y": {"field": "p", "type": "quantitative"}},
    }
    return {"width": _WIDTH, "height": 200, "layer": [points, limit]}


def calibration(report: Report) -> Spec:
    """Return which share of the clips has at most each p-value; healthy clips lie on the diagonal or below it."""
    values: list[dict[str, Any]] = []
    for group, own in _by_group(report).items():
        ordered = np.sort(own)
        values += [
            {"p": float(p), "share": (i + 1) / len(ordered), "group": f"{group} ({len(ordered)})"}
            for i, p in enumerate(ordered)
        ]
    line = {
        "data": {"values": _thinned(values)},
        "mark": {"type": "line", "interpolate": "step-after", "point": {"size": 12}},
        "encoding": {
            "x": {"field": "p", "type": "quantitative", "title": "p-value", "scale": {"domain": [0, 1]}},
            "y": {
                "field": "share",
                "type": "quantitative",
                "title": "share of clips with it or less",
                "scale": {"domain": [0, 1]},
            },
            "color": {"field": "group", "title": None, "legend": {"orient": "top"}},
        },
    }
    diagonal = {
        "data": {"values": [{"p": 0, "share": 0}, {"p": 1, "share": 1}]},
        "mark": {"type": "line", "strokeDash": [6, 4], "color": "#808080"},
        "encoding": {"x": {"field": "p", "type": "quantitative"}, "y": {"field": "share", "type": "quantitative"}},
    }
    return {"width": 420, "height": 320, "layer": [diagonal, line]}


def scores(report: Report) -> Spec:
    """Return the scores of the clips beside those of the healthy clips that calibrate the model."""
    held_out = [float(score) for score in report.model.calibration.scores]
    values = [{"score": score, "group": f"calibration ({len(held_out)})"} for score in held_out]
    counts: dict[str, int] = {}
    for row, _ in report.judged:
        counts[_GROUPS[row.label]] = counts.get(_GROUPS[row.label], 0) + 1
    for row, verdict in report.judged:
        group = _GROUPS[row.label]
        values.append({"score": verdict.score, "group": f"{group} ({counts[group]})"})
    return {
        "data": {"values": values},
        "width": _WIDTH,
        "height": {"step": 44},
        "mark": {"type": "tick", "thickness": 1.5, "opacity": 0.6, "bandSize": 26},
        "encoding": {
            "x": {"field": "score", "type": "quantitative", "title": "score", "scale": {"zero": False}},
            "y": {"field": "group", "type": "nominal", "title": None, "sort": None},
            "color": {"field": "group", "legend": None},
        },
    }


def _by_group(report: Report) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for row, verdict in report.judged:
        found.setdefault(_GROUPS[row.label], []).append(verdict.p_value)
    return found


def _remembered(clips: Sequence[WatchedClip]) -> Iterator[dict[str, Any]]:
    for each in clips:
        yield {"time": _iso(each.time), "evidence": each.evidence, "clip": each.clip, "phase": "watched before"}


def _watched(rows: Sequence[Row], names: dict[Clip, str]) -> Iterator[dict[str, Any]]:
    for row in rows:
        if row.status is not None:
            yield {
                "time": _iso(row.status.time),
                "evidence": row.status.evidence,
                "clip": names[row.clip],
                "phase": row.status.phase,
            }


def _thinned(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    step = -(-len(values) // _MOST)
    return values[::step] if step > 1 else values


def _iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.datetime.fromtimestamp(moment).isoformat(timespec="milliseconds")
