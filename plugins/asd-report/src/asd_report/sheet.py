"""The page of a report."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from asd.experiment import Verdict
from asd.plugin import Audio, Clip
from asd_pages import charts, pictures, sound
from asd_pages.page import (
    Cell,
    Column,
    Content,
    Html,
    cards,
    details,
    items,
    markup,
    page,
    paragraph,
    picture,
    player,
    section,
    table,
)
from asd_report import graphs
from asd_report.card import model_card, promise
from asd_report.gather import THUMBNAIL, Report, Row, names_of, sound_of
from asd_report.picture import draw

_SOUND_SECONDS = 15.0


def render(report: Report, title: str, *, audio: bool = True) -> str:
    """Return the page of a report.

    Parameters
    ----------
    report : Report
        What to show.
    title : str
        Its heading.
    audio : bool
        Whether the explained clips can be played.
    """
    names = names_of(report.rows)
    single = len(report.rows) == 1
    parts: list[Content] = [paragraph(*_conclusion(report))]
    if report.notes:
        parts.append(items(report.notes))
    if report.monitor is not None:
        parts.append(_timeline(report, names))
    if not single:
        parts.append(_table(report, names))
    if report.explained:
        parts.append(_explanations(report, names, audio=audio))
    parts.append(_calibration(report))
    parts.append(section("The model", model_card(report.model, report.model_name)))
    now = datetime.datetime.now().astimezone().isoformat(" ", "minutes")
    summary = f"Model {report.model_name}, {len(report.rows)} clip{'' if single else 's'}, {now}"
    return page(
        title, *parts, summary=summary, footer="Made by asd report. This page is one file and needs no network."
    )


def _conclusion(report: Report) -> Iterator[str]:
    judged, anomalous = len(report.judged), report.anomalous
    level = report.model.decision.level
    if len(report.rows) == 1:
        ((_, verdict),) = report.judged
        yield f"The clip is {'anomalous' if verdict.anomalous else 'normal'}: p-value {verdict.p_value:.3g}. "
    else:
        yield f"{anomalous} of {judged} clips are anomalous; {level * judged:.1f} would be by chance alone. "
    if left_out := len(report.rows) - judged:
        yield f"{left_out} could not be read. "
    if report.evaluation is not None:
        result = report.evaluation
        low, high = result.auc_interval
        yield (
            f"Healthy and faulty clips are told apart with an AUC of {result.auc:.3f} ({low:.3f}–{high:.3f}); "
            f"{result.hits} of {result.anomalous} faulty clips raise the alarm, {result.false_alarms} of "
            f"{result.normal} healthy ones do. "
        )
        if result.training_clips:
            yield f"{result.training_clips} of them were learned from: the result is too good. "
    if report.monitor is not None:
        phase = report.monitor.state.evidence.phase
        yield f"The monitor, which promises {report.monitor.state.rate}, says: {_PHASES[phase]}. "
    yield promise(report.model)


_PHASES = {
    "learning": "still learning, no fault could raise the alarm yet",
    "watching": "as before",
    "unlike": "steady, but unlike the sound that the model learned",
    "alarm": "ALARM, the machine has changed",
    "cleared": "as before again, after an alarm",
}


def _timeline(report: Report, names: dict[Clip, str]) -> Html:
    monitor = report.monitor
    assert monitor is not None
    about = (
        f"Evidence that the machine has changed, added up over clips. The alarm is raised at {monitor.threshold:.1f}, "
        f"the dashed line: {monitor.state.rate} is promised. Clips are in the order of {report.order}."
    )
    if report.remembered:
        about += f" The first {len(report.remembered)} clips were watched before; their evidence is counted anew."
    parts: list[Content] = [charts.chart(graphs.evidence(report, names), about, about, name="evidence")]
    if len(report.judged) > 1:
        text = "The p-value of each clip; above the dashed line a clip is anomalous by itself."
        parts.append(charts.chart(graphs.p_values(report, names), text, text, name="p-values"))
    if events := monitor.state.history:
        rows = [[_date(event.time), event.kind, event.text] for event in events]
        parts.append(
            details(f"History of the monitor ({len(rows)})", table(["time", "what", "details"], rows, caption="Events"))
        )
    return section("Over time", *parts, anchor="time")


def _table(report: Report, names: dict[Clip, str]) -> Html:
    several = len(report.model.branches) > 1
    labelled = any(row.label for row in report.rows)
    pictured = any(row.thumbnail for row in report.rows)
    watched = any(row.status for row in report.rows)
    columns: list[Column | str] = ["clip", *(["known as"] if labelled else []), "verdict"]
    columns += [Column("p-value", 3, "about the chance that a healthy clip looks as unusual"), "what stands out"]
    columns += [Column("unusual in", None, "branches of the pipeline")] if several else []
    columns += [Column("score", 3), *([Column("evidence", 1, "powers of ten, after this clip")] if watched else [])]
    columns += ["time", *(["sound"] if pictured else [])]
    rows: list[list[Content | Cell]] = []
    for row in report.rows:
        verdict = row.verdict
        cells: list[Content | Cell] = [names[row.clip], *([row.label or ""] if labelled else []), _word(verdict)]
        cells += [None if verdict is None else verdict.p_value, _standing_out(row, verdict)]
        if several:
            cells.append("" if verdict is None else ", ".join(verdict.unusual))
        cells.append(None if verdict is None else verdict.score)
        if watched:
            cells.append(row.status.evidence if row.status else None)
        cells.append(Cell(_date(row.time), row.time))
        if pictured:
            cells.append(Cell(_small(row), None))
        rows.append(cells)
    text = f"All {len(rows)} clips, in the order of {report.order}. A click on a heading sorts."
    return section("Clips", table(columns, rows, caption=text, filter_label="Show clips with"), anchor="clips")


def _word(verdict: Verdict | None) -> Cell:
    if verdict is None:
        return Cell("not read", "not read")
    word = "anomalous" if verdict.anomalous else "normal"
    return Cell(Html(f"<strong>{word.upper()}</strong>") if verdict.anomalous else word, word)


def _standing_out(row: Row, verdict: Verdict | None) -> Content:
    if verdict is None:
        return row.error
    if row.explanation is not None and row.explanation.findings:
        texts = [each.text(row.explanation.healthy_clips) for each in row.explanation.findings[:2]]
    else:
        texts = [branch.reasons[0][0] for branch in verdict.branches if branch.reasons][:2]
    return "; ".join([*texts, *verdict.notes])


def _small(row: Row) -> Content:
    return picture(row.thumbnail, f"spectrogram of {row.clip.path.name}", later=THUMBNAIL) if row.thumbnail else ""


def _explanations(report: Report, names: dict[Clip, str], *, audio: bool) -> Html:
    parts = [_explanation(report, row, names[row.clip], audio=audio) for row in report.explained]
    if len(report.rows) == 1:
        return section("Why", *parts, anchor="why")
    text = f"The {len(parts)} most unusual clips, the most unusual first. Outlined is what differs from healthy sound."
    return section("The most unusual clips", paragraph(text), cards(*parts), anchor="why")


def _explanation(report: Report, row: Row, name: str, *, audio: bool) -> Html:
    found, single = row.explanation, len(report.rows) == 1
    parts: list[Content] = [Html(f"<h3>{markup(name)}</h3>\n")]
    heard = sound_of(row.clip, report.model)
    if single and found is not None:
        parts.append(picture(draw(found, "png"), f"explanation of {name}"))
    elif heard is not None:
        parts.append(_spectrogram(row, heard, name))
    if audio and heard is not None:
        parts.append(_player(heard, name))
    if found is None:
        parts.append(paragraph(f"Not explained: {row.note}" if row.note else "Not explained."))
        return Html(markup(*parts))
    first, *others = found.sentences()
    parts.append(items([first.removeprefix(f"{row.clip}: ").capitalize(), *others]))
    nearest = found.nearest
    if audio and nearest is not None and nearest.path is not None:
        healthy = sound_of(Clip(nearest.path, nearest.start, nearest.duration), report.model)
        if healthy is not None:
            parts += [paragraph(f"The healthy clip {nearest.name}:"), _player(healthy, nearest.name)]
    return Html(markup(*parts))


def _spectrogram(row: Row, heard: Audio, name: str) -> Html:
    places = row.explanation.findings if row.explanation else ()
    start = row.clip.start
    boxes = [
        pictures.Box(place.start - start, place.end - start, place.low, place.high, str(number))
        for number, place in enumerate(places, start=1)
    ]
    drawn = pictures.spectrogram(heard.samples[0], heard.sample_rate, boxes=boxes, size=(5.6, 2.4))
    return picture(drawn, f"spectrogram of {name}")


def _player(heard: Audio, name: str) -> Html:
    coded = sound.encode(heard.samples[0], heard.sample_rate, seconds=_SOUND_SECONDS)
    return player(coded.data, coded.media_type, name)


def _calibration(report: Report) -> Html:
    about = (
        "Share of clips with a p-value or less. Healthy clips that are like those of the fit follow the diagonal or "
        "stay below it; a line that rises steeply at the left has unusual clips."
    )
    parts: list[Content] = []
    if len(report.judged) > 1:
        parts.append(charts.chart(graphs.calibration(report), about, about, name="calibration"))
    text = "Scores beside those of the healthy clips that calibrate the model."
    parts.append(charts.chart(graphs.scores(report), text, text, name="scores"))
    return section("Calibration", *parts, anchor="calibration")


def _date(moment: float | None) -> str | None:
    return None if moment is None else datetime.datetime.fromtimestamp(moment).isoformat(" ", "seconds")
