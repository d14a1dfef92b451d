"""The benchmark's report in a reader's browser, its sentences, and what it does with odd results."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asd.errors import DataError
from asd_bench.conclusion import conclusion
from asd_bench.figures import figures, write_figures
from asd_bench.misjudged import misjudged, recordings_tested
from asd_bench.provenance import provenance
from asd_bench.report import write_report
from asd_bench.results import Results, summarise
from asd_bench.tables import latex, markdown
from asd_bench.trial import failed

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests"))

from invented import invented, without  # lies beside all distributions

HOSTILE = '"><script>document.title = "taken"</script><img src=x onerror="document.title = 1">'
PICTURES = Path(__file__).resolve().parents[3] / "docs" / "pictures"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("invented")


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return invented(folder / "sounds", pipelines=6, machines=4, clips=40, seeds=2)


@pytest.fixture(scope="module")
def report(results: Results, folder: Path) -> Path:
    return write_report(results, folder / "report.html", provenance(results, folder, ["asd", "bench", "a recipe"]))


def drawn(browser: Any, path: Path, width: int) -> None:
    """Open a page and scroll to each chart, so that all are drawn."""
    browser.open(path, width=width, height=1000)
    chart = "document.querySelectorAll('.chart')"
    for number in range(browser.evaluate(f"{chart}.length")):
        browser.evaluate(f"{chart}[{number}].scrollIntoView()")
        browser.wait_for(f"{chart}[{number}].matches('.live')")
    browser.evaluate("scrollTo(0, 0)")


@pytest.mark.parametrize("width", [400, 1400])
def test_a_browser_shows_every_chart_and_complains_of_nothing(width: int, report: Path, browser: Any) -> None:
    drawn(browser, report, width)
    assert browser.errors == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    titles = browser.evaluate(
        """[...document.querySelectorAll('.drawn svg .role-axis-title')].map((it) =>
           [it.getBoundingClientRect().right, it.closest('svg').getBoundingClientRect().right])"""
    )
    assert len(titles) > 4
    assert all(right <= edge for right, edge in titles)
    headings = browser.evaluate("[...document.querySelectorAll('h2')].map((it) => it.textContent)")
    assert headings[:8] == [
        "Conclusion", "All pipelines", "Ranking", "The grid", "Machine by machine", "Ranks over the machine sections",
        "ROC of the best 5", "Scores of the best: mel-image (n_mels 16) → knn",
    ]  # fmt: skip
    assert headings[-1] == "Provenance"
    assert browser.evaluate("document.querySelectorAll('audio').length") >= 4


def test_the_report_says_where_it_comes_from(report: Path, folder: Path, browser: Any) -> None:
    browser.open(report)
    said = browser.evaluate("Object.fromEntries([...document.querySelectorAll('dt')].map((it) => "
                            "[it.textContent, it.nextElementSibling.textContent]))")  # fmt: skip
    assert said["command line"] == "asd bench 'a recipe'"
    assert said["data"] == str(folder)
    assert re.fullmatch(r"sha256 [0-9a-f]{64} \(contents and labels, first seed\)", said["data digest"])
    assert said["clips"] == "16 to train, 160 to test (80 anomalous), in 4 machine sections"
    assert said["seeds"] == "0, 1"
    assert "asd-framework" in said["versions"]
    assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d", said["date"])
    assert "cores" in said["hardware"]


def test_names_with_html_in_them_are_shown_and_do_not_run(tmp_path: Path, browser: Any) -> None:
    hostile = invented(tmp_path, pipelines=3, machines=2, clips=16, name=HOSTILE)
    hostile = without(hostile, hostile.ranking[2].label, f"could not be run: {HOSTILE}")
    path = write_report(hostile, tmp_path / "report.html", {"command line": HOSTILE})
    drawn(browser, path, 1000)
    assert browser.evaluate("document.title") == "asd bench invented"
    assert browser.evaluate("document.querySelectorAll('img[src=x]').length") == 0
    assert HOSTILE in browser.evaluate("document.body.textContent")
    assert browser.errors == []


def test_three_sentences_say_what_was_shown(results: Results) -> None:
    best, alike, loudness = conclusion(results)
    assert re.fullmatch(
        r"The best of 6 pipelines is mel-image \(n_mels 16\) → knn: 0\.\d{3} ± 0\.\d{3} over the seeds \(95 % interval "
        r"0\.\d{3} to 0\.\d{3}\), over 4 machine sections, 2 seeds\.",
        best,
    )
    assert re.match(r"\d of the 5 others (is|are) not told from it|All 5 others are behind it", alike)
    assert re.match(r"Loudness alone reaches 0\.\d{3}.*; the best is 0\.\d{3} above it \(", loudness)


def test_an_intervals_end_decides_whether_a_pipeline_is_told_from_the_best(results: Results) -> None:
    same = [replace(each, label=f"copy of {each.label}") for each in results.ranking[:1]]
    doubled = replace(results, ranking=[results.ranking[0], *same])
    assert conclusion(doubled)[1] == (
        "1 of the 1 others is not told from it (paired 95 % interval includes 0): copy of mel-image (n_mels 16) → knn."
    )
    weak = replace(results, loudness=replace(results.ranking[0], label="loudness alone"))
    assert "the best is not shown to exceed it (+0.000, +0.000 to +0.000)." in conclusion(weak)[2]


def test_one_pipeline_on_one_machine_has_a_report(tmp_path: Path, browser: Any) -> None:
    alone = invented(tmp_path, pipelines=1, machines=1, clips=16)
    assert conclusion(alone)[1] == "There is no other pipeline to compare it with."
    assert "over 1 machine section, 1 seed." in conclusion(alone)[0]
    drawn(browser, write_report(alone, tmp_path / "report.html"), 1000)
    assert browser.errors == []
    assert [figure.name for figure in figures(alone)] == ["ranking", "grid", "roc", "scores", "time"]


@pytest.mark.parametrize("audio", [True, False])
def test_without_any_result_the_report_says_why(audio: bool, tmp_path: Path, browser: Any) -> None:
    some = invented(tmp_path / "sounds", pipelines=2, machines=2, clips=8)
    reason = "auc is undefined: the test has no anomalous clip that it needs"
    none = summarise(some.recipe, [failed(each.trial, reason) for each in some.trials])
    assert conclusion(none) == [f"No pipeline has a result on every machine section: {reason}."]
    browser.open(write_report(none, tmp_path / "report.html", audio=audio))
    assert reason in browser.evaluate("document.body.textContent")
    assert browser.errors == []
    assert figures(none) == []
    assert latex(none).count("incomplete") == markdown(none).count("incomplete") == 2


def test_a_pipeline_without_a_result_everywhere_is_not_ranked(results: Results) -> None:
    label = results.ranking[0].label
    partly = without(results, label, "out of memory")
    assert partly.best is not None
    assert partly.best.label != label
    assert "(1 without a result everywhere cannot be compared)" in conclusion(partly)[1]
    ranking = next(figure for figure in figures(partly) if figure.name == "ranking")
    assert label not in [value["pipeline"] for value in ranking.spec["data"]["values"]]


def test_misjudged_clips_are_those_on_the_wrong_side(results: Results) -> None:
    assert results.best is not None
    missed, raised = misjudged(results, results.best)
    assert all(clip.recording.anomalous for clip in missed)
    assert not any(clip.recording.anomalous for clip in raised)
    first = next(
        r for r in results.trials if r.trial.label == results.best.label and r.trial.section.name == missed[0].section
    )
    assert [r.path.name for r in recordings_tested(first)] == first.record["tested"]
    normal = [s for s, faulty in zip(first.record["scores"], first.record["anomalous"], strict=True) if not faulty]
    assert missed[0].share == pytest.approx(sum(score >= missed[0].score for score in normal) / len(normal))
    assert [clip.share for clip in missed] == sorted((clip.share for clip in missed), reverse=True)


def test_scores_find_their_recordings_even_if_some_were_left_out_or_renamed(results: Results) -> None:
    trial = results.trials[0]
    names = trial.record["tested"]
    shorter = {
        **trial.record,
        "tested": [*names[2:5], "gone.wav", *names[6:]],
        "anomalous": trial.record["anomalous"][2:],
    }
    found = [recording.path.name for recording in recordings_tested(replace(trial, record=shorter))]
    assert found == shorter["tested"]
    renamed = {**trial.record, "tested": [f"old {name}" for name in names]}
    assert recordings_tested(replace(trial, record=renamed)) == list(trial.trial.section.test)


def test_no_audio_leaves_pictures_and_sound_out(results: Results, report: Path, tmp_path: Path) -> None:
    quiet = write_report(results, tmp_path / "report.html", audio=False).read_text()
    assert "<audio" not in quiet
    assert "misjudges most" not in quiet
    assert len(quiet) < report.stat().st_size - 100_000


def test_a_recording_that_has_gone_is_told(folder: Path, tmp_path: Path) -> None:
    results = invented(tmp_path / "sounds", pipelines=1, machines=1, clips=16)
    shutil.rmtree(tmp_path / "sounds")
    page = write_report(results, tmp_path / "report.html").read_text()
    assert "<audio" not in page
    assert ".wav: " in page


@pytest.mark.parametrize("write", [write_report, lambda results, path: write_figures(results, path.parent)])
def test_what_cannot_be_written_is_one_line(write: Callable[..., Any], results: Results, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write it \(.*\); name a folder that you may write to"):
        write(results, tmp_path / "file" / "report.html")


def test_figures_are_svg_and_pdf(results: Results, tmp_path: Path) -> None:
    written = write_figures(results, tmp_path / "new" / "folder")
    names = ["ranking", "grid", "machines", "critical-difference", "roc", "scores", "time"]
    assert [path.name for path in written] == [f"{name}.{suffix}" for name in names for suffix in ("svg", "pdf")]
    for path in written:
        assert path.read_bytes().startswith(b"<svg" if path.suffix == ".svg" else b"%PDF")


def test_the_ranking_in_latex_and_markdown(results: Results) -> None:
    lines = latex(results).splitlines()
    assert lines[1:3] == [r"\begin{tabular}{lrrrrrr}", r"\toprule"]
    assert re.match(
        r"mel-image \(n\\_mels 16\) \$\\rightarrow\$ knn & \\textbf\{0\.\d{3} \$\\pm\$ 0\.\d{3}\} & ", lines[5]
    )
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]
    rows = markdown(results).splitlines()
    assert rows[0] == "| pipeline | score | 95 % interval | behind the best | AUC | pAUC | × real time |"
    assert len(rows) == 2 + 6
    assert re.match(
        r"\| mel-image \(n\\_mels 16\) → knn \| 0\.\d{3} ± 0\.\d{3} \| 0\.\d{3} – 0\.\d{3} \| best \|", rows[2]
    )


@pytest.mark.parametrize(("width", "name"), [(1400, "bench-report.png"), (400, "bench-report-narrow.png")])
def test_the_pictures_of_the_documentation(width: int, name: str, report: Path, browser: Any, tmp_path: Path) -> None:
    drawn(browser, report, width)
    browser.evaluate("scrollTo(0, 0)")
    picture = browser.screenshot(tmp_path / name)
    assert picture.stat().st_size > 20_000
    assert (PICTURES / name).is_file(), "python docs/make/pictures.py draws it"
