"""Models, verdicts and evaluations as a notebook shows them: a few lines of HTML with a picture in SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from asd_registry.text import counted, printable

if TYPE_CHECKING:
    from asd.detection.evaluation import Evaluation
    from asd.detection.features import Failure
    from asd.detection.model import Model
    from asd.detection.verdict import Verdict
    from asd.records import Float64

_WIDTH, _LEFT, _RIGHT = 480, 12, 12
_RED, _GREEN, _BLUE = "#e53935", "#43a047", "#1e88e5"
"""To be read on white and on black."""
_BINS = 24
_POINTS = 400
"""Of a curve: more than its picture has columns."""


class ShownModel:
    """How a model is shown at a prompt and in a notebook."""

    def __repr__(self: Any) -> str:
        from asd.detection.calibration import describe_decision

        names = [name.rpartition(":")[2] for name in self.config.names]
        pipeline = f"Branches: {', '.join(names)}." if len(names) > 1 else f"Pipeline: {_pipelines(self)[0]}."
        decision = describe_decision(self.decision, len(self.calibration.scores))
        return f"<Model of {self.clips} clips. {pipeline} {decision}>"

    def _repr_html_(self: Any) -> str:
        return model_html(self)


def model_html(model: Model) -> str:
    """Return a model: its pipeline, its promise, and how its held-out healthy clips score."""
    from asd.detection.calibration import describe_decision
    from asd.detection.comparison import alarm_from, held_out_deviations

    calibration = model.calibration
    return _block(
        _heading("asd.Model", f"learned from {model.clips} clips"),
        _lines(_pipelines(model)),
        _lines([describe_decision(model.decision, len(calibration.scores))]),
        _histogram(held_out_deviations(calibration), alarm_from(calibration, model.decision.level)),
    )


def _pipelines(model: Model) -> list[str]:
    """Return the components of each branch; their parameters are in `Model.config`."""
    lines = []
    for name, part in zip(model.config.names, model.config.parts, strict=True):
        choices = (part.frontend, part.extractor, part.detector)
        named = f"{name}: " if model.config.branches else ""
        lines.append(named + " → ".join(choice.name.rpartition(":")[2] for choice in choices))
    return lines


def verdict_html(verdict: Verdict) -> str:
    """Return a verdict: in words, how each branch judges, and the score over time."""
    colour, word = (_RED, "ANOMALOUS") if verdict.anomalous else (_GREEN, "normal")
    said = f'<b style="color: {colour}">{word}</b> {_text(str(verdict.clip))}'
    branches = (
        [f"{each.name}: p = {each.p_value:.3f}" for each in verdict.branches] if len(verdict.branches) > 1 else []
    )
    reasons = [text for each in verdict.branches for text, _ in each.reasons[:1]]
    return _block(
        f"<div>{said}</div>",
        _lines([f"p = {verdict.p_value:.3f}, score {verdict.score:.4g}, most unusual at {verdict.peak:.1f} s"]),
        _lines([", ".join(branches)] if branches else []),
        _lines([*reasons, *verdict.notes]),
        _curve(verdict.window_start, verdict.window_scores) if len(verdict.window_scores) > 1 else "",
    )


def failure_html(failure: Failure) -> str:
    """Return a clip that could not be judged, and why."""
    said = f'<b style="color: {_RED}">not judged</b> {_text(str(failure.clip))}'
    return _block(f"<div>{said}</div>", _lines(failure.notes))


def evaluation_html(found: Evaluation) -> str:
    """Return an evaluation: its measures, and the intervals of the AUC and of the false alarms as bars."""
    low, high = found.auc_interval
    return _block(
        _heading("asd.Evaluation", f"{found.normal} healthy and {found.anomalous} faulty clips"),
        _lines(
            [
                f"AUC {found.auc:.3f} (95 % interval {low:.3f} – {high:.3f}), pAUC {found.partial_auc:.3f}",
                f"Alarms: {found.hits} of {found.anomalous} faulty clips, {found.false_alarms} of {found.normal} "
                f"healthy clips ({found.false_alarm_rate:.1%}; promised {found.promised_false_alarm_rate:.1%})",
            ]
        ),
        _lines([f"{counted(len(found.failures), 'clip')} could not be read"] if found.failures else []),
        _lines([f"{found.training_clips} clips were in the training set"] if found.training_clips else []),
        _intervals(
            [
                ("AUC", found.auc, found.auc_interval, 0.5),
                (
                    "false alarms",
                    found.false_alarm_rate,
                    found.false_alarm_interval,
                    found.promised_false_alarm_rate,
                ),
            ]
        ),
    )


def _block(*parts: str) -> str:
    return f'<div style="line-height: 1.5">{"".join(parts)}</div>'


def _heading(name: str, text: str) -> str:
    return f"<div><b>{_text(name)}</b> {_text(text)}</div>"


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"<div>{_text(line)}</div>" for line in lines)


def _text(text: str) -> str:
    return escape(printable(text))


def _histogram(values: Float64, alarm: float) -> str:
    """Return how values lie, in deviations from the usual score, and where the alarm begins."""
    low, high = min(float(values.min()), alarm), max(float(values.max()), alarm)
    margin = 0.05 * (high - low) or 1.0
    counts, edges = np.histogram(values, _BINS, (low - margin, high + margin))
    base, top = 84, 20

    def x(value: float) -> float:
        return _across((value - edges[0]) / (edges[-1] - edges[0]))

    bars = [
        f'<rect x="{x(left):.1f}" y="{base - height:.1f}" width="{x(right) - x(left) - 1:.1f}" '
        f'height="{height:.1f}" fill="{_BLUE}"/>'
        for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True)
        if (height := (base - top) * count / counts.max())
    ]
    line = [_line(x(alarm), top - 6, x(alarm), base, _RED), _label(x(alarm), 10, "alarm", _RED)]
    axis = [_line(x(edges[0]), base, x(edges[-1]), base), *_ticks(x, edges[0], edges[-1], base)]
    caption = _label(_WIDTH / 2, base + 30, "held-out healthy clips: deviations from the usual score")
    return _svg(f"Scores of {len(values)} held-out healthy clips", base + 38, [*bars, *line, *axis, caption])


def _curve(start: Float64, scores: Float64) -> str:
    """Return the scores of windows over time, with the highest marked."""
    base, top = 84, 12
    order = np.linspace(0, len(scores) - 1, min(len(scores), _POINTS)).round().astype(int)
    peak = int(np.argmax(scores))
    order = np.unique([*order, peak])  # what is drawn keeps the peak
    low, span = float(np.min(scores)), float(np.ptp(scores)) or 1.0
    length = float(start[-1] - start[0]) or 1.0

    def x(seconds: float) -> float:
        return _across((seconds - float(start[0])) / length)

    def y(score: float) -> float:
        return base - (base - top) * (score - low) / span

    points = " ".join(f"{x(float(start[i])):.1f},{y(float(scores[i])):.1f}" for i in order)
    return _svg(
        "Score of each window over time",
        base + 38,
        [
            f'<polyline points="{points}" fill="none" stroke="{_BLUE}" stroke-width="1.5"/>',
            f'<circle cx="{x(float(start[peak])):.1f}" cy="{y(float(scores[peak])):.1f}" r="4" fill="{_RED}"/>',
            _line(x(float(start[0])), base, x(float(start[-1])), base),
            *_ticks(x, float(start[0]), float(start[-1]), base),
            _label(_WIDTH / 2, base + 30, "seconds; the most unusual window is marked"),
        ],
    )


def _intervals(rows: Sequence[tuple[str, float, tuple[float, float], float]]) -> str:
    """Return values from 0 to 1 with their intervals, each beside what it is compared with: chance, or a promise."""
    left, step = 100, 26
    parts: list[str] = []

    def x(value: float) -> float:
        return left + value * (_WIDTH - _RIGHT - left)

    for number, (name, value, (low, high), compared) in enumerate(rows):
        y = 14 + step * number
        parts += [
            _label(left - 8, y + 4, name, anchor="end"),
            _line(x(0), y, x(1), y, opacity=0.3),
            _line(x(low), y, x(high), y, _BLUE, width=4),
            f'<circle cx="{x(value):.1f}" cy="{y}" r="5" fill="{_BLUE}"/>',
            _line(x(compared), y - 9, x(compared), y + 9, _RED, width=2),
        ]
    base = 14 + step * len(rows)
    caption = _label(x(0.5), base + 30, "95 % intervals; red: guessing, and the false alarms promised")
    return _svg("Measures with their 95 % intervals", base + 38, [*parts, *_ticks(x, 0.0, 1.0, base - 8), caption])


def _across(fraction: float) -> float:
    return _LEFT + fraction * (_WIDTH - _LEFT - _RIGHT)


def _ticks(x: Any, low: float, high: float, y: float) -> list[str]:
    """Return labels at round numbers."""
    step = 10 ** np.floor(np.log10((high - low) / 2))
    step = next(step * factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 8)
    values = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
    return [_label(x(value), y + 15, f"{value:g}") for value in map(float, np.round(values, 12))]


def _svg(title: str, height: float, parts: Iterable[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {_WIDTH} {height:g}" '
        f'style="width: 100%; max-width: {_WIDTH}px; font: 11px sans-serif">'
        f"<title>{_text(title)}</title>{''.join(parts)}</svg>"
    )


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str = "currentColor", *, width: float = 1, opacity: float = 1
) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width:g}" '
        f'stroke-opacity="{opacity:g}"/>'
    )


def _label(x: float, y: float, text: str, colour: str = "currentColor", *, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{_text(text)}</text>'
