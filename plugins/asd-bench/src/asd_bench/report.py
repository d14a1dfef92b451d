"""The HTML report: one file that needs no other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from asd.errors import AudioError
from asd.experiment import Clip, read
from asd_bench.compare import comparisons
from asd_bench.conclusion import conclusion
from asd_bench.export import as_json
from asd_bench.figures import figures
from asd_bench.misjudged import Misjudged, misjudged
from asd_bench.results import Results
from asd_bench.show import caption, comparison_table
from asd_bench.tables import ranking_columns, ranking_rows
from asd_bench.writing import writing
from asd_pages import charts, pictures, sound
from asd_pages import page as pages
from asd_pages.page import Html

_FORMAT = 2
_SECONDS = 12.0
_BYTES = 120_000


def write_report(
    results: Results, path: Path, provenance: Mapping[str, str] | None = None, *, audio: bool = True
) -> Path:
    """Write the report of `results`: conclusion, table, charts, the clips that the best misjudges, provenance.

    A report that already shows these results is not written again: when all trials are finished, drawing takes longer
    than the rest of the run.

    Parameters
    ----------
    results : Results
        The results.
    path : Path
        The file.
    provenance : mapping of str to str, optional
        Where they come from (`asd_bench.provenance.provenance`).
    audio : bool
        Whether the misjudged clips are in it, with picture and player; their recordings are read for it.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    lasting = {name: value for name, value in (provenance or {}).items() if name != "date"}
    shown = [_FORMAT, as_json(results), lasting, audio]
    digest = hashlib.sha256(json.dumps(shown).encode()).hexdigest()
    with writing(path):
        if path.is_file() and f"<!-- {digest} -->" in path.read_text(encoding="utf-8")[-100:]:
            return path
    content = _page(results, provenance or {}, audio=audio)
    return pages.write(path, f"{content}<!-- {digest} -->\n")


def _page(results: Results, provenance: Mapping[str, str], *, audio: bool) -> str:
    parts = [pages.section("Conclusion", *map(pages.paragraph, conclusion(results)))]
    if results.ranking:
        table = pages.table(
            ranking_columns(results),
            ranking_rows(results),
            caption="All pipelines, the best first; a click on a heading sorts.",
            filter_label="Show pipelines with",
        )
        parts.append(pages.section("All pipelines", table, pages.paragraph(caption(results))))
    parts += [
        pages.section(figure.title, charts.chart(figure.spec, figure.title, figure.caption, name=figure.name))
        for figure in figures(results)
    ]
    if results.best and audio:
        parts.append(_misjudged(results))
    parts += [_failures(results), _published(results)]
    parts.append(pages.section("Provenance", pages.definitions(provenance)) if provenance else pages.Html(""))
    recipe = results.recipe
    return pages.page(f"asd bench {recipe.name}", *parts, summary=recipe.summary or None)


def _misjudged(results: Results) -> Html:
    assert results.best is not None
    missed, raised = misjudged(results, results.best)
    parts = []
    for title, clips, words in (
        ("Anomalous clips that score low", missed, "of the normal clips score as high or higher"),
        ("Normal clips that score high", raised, "of the anomalous clips score as low or lower"),
    ):
        cards = [_card(clip, words) for clip in clips]
        none = pages.paragraph("None: every clip is on its side.")
        parts.append(pages.section(title, pages.cards(*cards) if cards else none, level=3))
    return pages.section(f"What {results.best.label} misjudges most", *parts)


def _card(clip: Misjudged, words: str) -> Html:
    """Return a clip's picture, player and place among the others; without sound if it cannot be read any more."""
    name = clip.recording.path.name
    text = pages.markup(
        pages.paragraph(clip.section, ": ", name),
        pages.paragraph(f"{clip.share:.0%} {words}; score {clip.score:.4g}."),
    )
    try:
        audio = read(Clip(clip.recording.path))
    except AudioError as error:
        return pages.markup(text, pages.paragraph(str(error)))
    image = pictures.spectrogram(audio.samples, audio.sample_rate, size=(4.2, 2.0))
    heard = sound.encode(audio.samples, audio.sample_rate, seconds=_SECONDS, limit=_BYTES)
    cut = "" if heard.whole else pages.paragraph(f"The first {heard.seconds:.1f} s are to be heard.")
    return pages.markup(
        pages.picture(image, f"Spectrogram of {name}"), pages.player(heard.data, heard.media_type, name), text, cut
    )


def _failures(results: Results) -> Html:
    reasons = {summary.label: dict.fromkeys(summary.failures) for summary in results.ranking if summary.failures}
    listed = pages.items(f"{label}: {reason}" for label, own in reasons.items() for reason in own)
    return pages.section("No result", listed) if reasons else pages.Html("")


def _published(results: Results) -> Html:
    rows = comparison_table([each for each in comparisons(results) if each.ours is not None])
    if not rows:
        return pages.Html("")
    title = "Published numbers beside ours"
    return pages.section(title, pages.table(list(rows[0]), [list(row.values()) for row in rows], caption=title))
