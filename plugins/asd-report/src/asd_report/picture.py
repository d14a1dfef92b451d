"""The picture of an explanation: spectrogram with the places, window scores, spectrum within the healthy band."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

import asd
from asd.plugin import Float64

TEAL, RED, BLUE, GREY = "#00897b", "#c62828", "#1565c0", "#607d8b"
_COLOURS = {"louder": RED, "quieter": BLUE, "unlike": "#6a1b9a"}
_DYNAMIC = 60.0
"""dB below the loudest cell that the colours reach."""


def draw(found: asd.Explanation, kind: str) -> bytes:
    """Return the picture of an explanation.

    Parameters
    ----------
    found : asd.Explanation
        What `asd.explain` returned.
    kind : {"png", "svg", "pdf"}
        Its format.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.size": 9, "svg.hashsalt": "asd", "axes.spines.top": False}):
        figure = Figure(figsize=(9.6, 5.6), layout="constrained")
        panels: Any = figure.subplots(
            2, 2, gridspec_kw={"width_ratios": [3.2, 1], "height_ratios": [3, 1]}, sharex="col", sharey="row"
        )
        _draw_spectrogram(panels[0, 0], found, figure)
        _draw_spectrum(panels[0, 1], found)
        _draw_windows(panels[1, 0], found)
        _write_texts(panels[1, 1], found)
        figure.suptitle(_title(found), x=0.01, ha="left", fontsize=10)
        content = io.BytesIO()
        figure.savefig(content, format=kind, dpi=130, metadata={"Date": None} if kind == "svg" else None)
    return content.getvalue()


def _draw_spectrogram(axes: Any, found: asd.Explanation, figure: Any) -> None:
    offset = found.verdict.clip.start
    times = offset + np.arange(len(found.levels) + 1) * found.hop
    loudest = float(found.levels.max())
    cells = axes.pcolormesh(
        times, found.edges, found.levels.T, vmin=loudest - _DYNAMIC, vmax=loudest, cmap="magma", rasterized=True
    )
    figure.colorbar(cells, ax=axes, label="dB of full scale", pad=0.01, fraction=0.04)
    for number, place in enumerate(found.findings, start=1):
        colour = _COLOURS[place.direction]
        corner, width, height = (place.start, place.low), place.end - place.start, place.high - place.low
        for edge, line in (("white", 2.6), (colour, 1.4)):
            axes.add_patch(_rectangle(corner, width, height, edge, line))
        style = {"color": "white", "fontsize": 8, "weight": "bold", "bbox": {"fc": colour, "ec": "none", "pad": 1.5}}
        axes.text(place.start, place.high, str(number), va="bottom", ha="left", clip_on=True, **style)
    axes.set(yscale="log", ylabel="Hz", ylim=(found.edges[0], found.edges[-1]))
    ticks = [tick for tick in (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000) if tick < found.edges[-1]]
    axes.set_yticks(ticks, [f"{tick // 1000}k" if tick >= 1000 else str(tick) for tick in ticks])
    axes.set_yticks([], minor=True)


def _draw_spectrum(axes: Any, found: asd.Explanation) -> None:
    middles = np.sqrt(found.edges[:-1] * found.edges[1:])
    if found.healthy is not None:
        low, usual, high = found.healthy
        label = f"5–95 % of {found.healthy_clips} healthy clips"
        axes.fill_betweenx(middles, low, high, color=TEAL, alpha=0.25, lw=0, label=label)
        axes.plot(usual, middles, color=TEAL, lw=1)
    axes.plot(found.levels.mean(axis=0, dtype=np.float64), middles, color="black", lw=1.2, label="this clip")
    for place in found.findings[:1]:
        axes.plot(_part(found, place), middles, color=_COLOURS[place.direction], lw=1.2, label="this clip, at 1")
    axes.tick_params(labelbottom=True)
    axes.set_xlabel("mean level, dB")
    axes.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, borderaxespad=0.1)


def _part(found: asd.Explanation, place: asd.Finding) -> Float64:
    offset = found.verdict.clip.start
    first, last = (round((second - offset) / found.hop) for second in (place.start, place.end))
    part = found.levels[max(0, first) : max(first + 1, last)]
    return np.asarray(part.mean(axis=0, dtype=np.float64))


def _draw_windows(axes: Any, found: asd.Explanation) -> None:
    verdict = found.verdict
    starts, scores = verdict.window_start, verdict.window_scores
    step = float(np.median(np.diff(starts))) if len(starts) > 1 else len(found.levels) * found.hop
    axes.stairs(scores, [*starts, starts[-1] + step], color=GREY, fill=True, alpha=0.5, baseline=min(0.0, scores.min()))
    for place in found.findings:
        axes.axvspan(place.start, place.end, color=_COLOURS[place.direction], alpha=0.15, lw=0)
    end = verdict.clip.start + len(found.levels) * found.hop
    axes.set(xlabel="seconds", ylabel="window score", xlim=(verdict.clip.start, end))


def _write_texts(axes: Any, found: asd.Explanation) -> None:
    axes.axis("off")
    lines = [f"{n}  {place.text(found.healthy_clips)}" for n, place in enumerate(found.findings[:3], start=1)]
    text = "\n".join(_wrapped(line) for line in lines or ["Nothing stands out."])
    axes.text(0.0, 0.85, text, transform=axes.transAxes, va="top", fontsize=7.5)


def _wrapped(line: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(line, 44, subsequent_indent="    "))


def _title(found: asd.Explanation) -> str:
    verdict = found.verdict
    word = "anomalous" if verdict.anomalous else "normal"
    name = verdict.clip.path.name.replace("$", r"\$")
    return f"{name}: {word}, p-value {verdict.p_value:.3f}"


def _rectangle(corner: tuple[float, float], width: float, height: float, colour: str, line: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, height, fill=False, ec=colour, lw=line)
