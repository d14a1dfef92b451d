"""``asd evaluate --stream``: how a monitor does in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asd.cli.output import print_table, say
from asd.cli.pictures import write_picture
from asd.detection.rate import Rate

if TYPE_CHECKING:
    from asd.detection.streams import StreamEvaluation
    from asd.records import Float64

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 800, 300, 60, 20, 45
_STYLE = "font: 13px sans-serif; fill: #37474f"


def watched_streams(
    model: Any, healthy: Sequence[Any], faulty: Sequence[Any], rate: Rate | None, runs: int, picture: Path | None
) -> StreamEvaluation:
    """Let monitors watch streams of these verdicts, and draw their evidence if wanted."""
    from asd.detection.monitor import DEFAULT_RATE
    from asd.detection.streams import evaluate_streams

    streams = evaluate_streams(model, healthy, faulty, rate or DEFAULT_RATE, streams=runs)
    if picture:
        write_picture(picture, drawn(streams).encode())
    return streams


def streams_as_dict(streams: StreamEvaluation) -> dict[str, Any]:
    """Return what JSON output says of streams."""
    found = {each.name: getattr(streams, each.name) for each in fields(streams) if each.name != "evidence"}
    return {**found, "contradicts_promise": streams.contradicts_promise}


def print_streams(streams: StreamEvaluation) -> None:
    """Show a monitor's false alarms and delays."""
    rate, seconds = Rate.of(streams.rate), streams.clip_seconds
    low, high = streams.false_alarm_interval
    least, most = streams.delay_interval
    few, many = streams.missed_interval
    watched = streams.healthy_clips * seconds / 86400
    print_table(
        ("a monitor over time", "value", "95 % interval"),
        [
            (
                f"false alarms a {rate.unit}, at most {rate.alarms:g} promised",
                f"{streams.false_alarm_rate:.3g}",
                f"{low:.3g} – {high:.3g}",
            ),
            (
                "median delay of the alarm",
                _clips(streams.delay_median, seconds),
                f"{_number(least)} – {_number(most)} clips",
            ),
            ("90 % of faults are found within", _clips(streams.delay_90, seconds), ""),
            (
                f"missed within {_minutes(streams)}",
                f"{streams.missed / streams.streams:.0%}",
                f"{few:.0%} – {many:.0%}",
            ),
        ],
    )
    say(
        f"{streams.false_alarms} false alarms in {watched:.3g} days of healthy clips; {streams.streams} faults after "
        f"{_minutes(streams)} of healthy clips. All clips were drawn from those given, with replacement."
    )
    if streams.contradicts_promise:
        click.echo(
            "asd: warning: more false alarms than promised, beyond chance: these healthy recordings are unlike those "
            "of the fit; fit on recordings like them, too",
            err=True,
        )


def _minutes(streams: StreamEvaluation) -> str:
    return f"{streams.onset * streams.clip_seconds / 60:.3g} minutes"


def _clips(number: float | None, seconds: float) -> str:
    return "missed" if number is None else f"{number:g} clips ({number * seconds:.0f} s)"


def _number(number: float | None) -> str:
    return "missed" if number is None else f"{number:g}"


def drawn(streams: StreamEvaluation) -> str:
    """Return an SVG picture of the evidence over time: the median of the streams, and the 80 % around it."""
    low, median, high = streams.evidence
    top = 1.05 * max(streams.threshold, float(high.max()))
    minutes = streams.clip_seconds / 60

    def x(clip: float) -> float:
        return _LEFT + clip * (_WIDTH - _LEFT - 10) / len(median)

    def y(evidence: float) -> float:
        return _HEIGHT - _BOTTOM - evidence * (_HEIGHT - _BOTTOM - _TOP) / top

    def points(values: Float64, clips: range) -> str:
        return " ".join(f"{x(clip):.1f},{y(float(values[clip])):.1f}" for clip in clips)

    forth = range(len(median))
    ticks = [(x(clip), f"{clip * minutes:.0f}") for clip in range(0, len(median), max(1, len(median) // 8))]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" style="background: white">',
            "<title>Evidence of a change over time</title>",
            f'<polygon points="{points(low, forth)} {points(high, forth[::-1])}" fill="#b2dfdb"/>',
            f'<polyline points="{points(median, forth)}" fill="none" stroke="#00897b" stroke-width="2"/>',
            _line(x(0), y(streams.threshold), x(len(median)), y(streams.threshold), "#c62828"),
            _line(x(streams.onset), y(0), x(streams.onset), y(top), "#607d8b"),
            _text(x(0) + 5, y(streams.threshold) - 5, "alarm"),
            _text(x(streams.onset) + 5, y(0) - 5, "fault"),
            *(_text(at, _HEIGHT - _BOTTOM + 16, label, "middle") for at, label in ticks),
            *(_text(_LEFT - 8, y(each) + 4, str(each), "end") for each in range(int(top) + 1)),
            _text(_WIDTH / 2, _HEIGHT - 8, "minutes", "middle"),
            f'<g transform="translate(18 {_HEIGHT / 2:g}) rotate(-90)">{_text(0, 0, "evidence", "middle")}</g>',
            "</svg>\n",
        ]
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-dasharray="6 4"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{_STYLE}">{text}</text>'
