"""What Python's prompt and a notebook show: versions, names, models, verdicts, evaluations, failures, frames."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

import asd
from asd.detection import frame
from asd.detection.evaluation import evaluate
from asd.detection.notebook import model_html, verdict_html
from asd.errors import AudioError, ConfigError
from asd.records import Clip

PLAIN: dict[str, Any] = {"frontend": "mel-stack", "extractor": "identity", "pca": 0.9, "detector": "mahalanobis"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    for name, count, level in (("healthy", 20, 0.1), ("normal", 4, 0.1), ("faulty", 4, 0.5)):
        (folder / name).mkdir()
        for number in range(count):
            soundfile.write(folder / name / f"<b>{number}.wav", rng.normal(0, level, 32000), 16000)
    (folder / "faulty" / "cut off.wav").write_bytes(b"RIFF")
    return folder


@pytest.fixture(scope="module")
def models(place: Path) -> dict[str, asd.Model]:
    level = {"name": "level", "frontend": "band-waveform", "extractor": "sound-level", "detector": "deviation"}
    branches = [{"name": "timbre", **PLAIN}, {**level, "pca": None, "embedding_pooling": "mean"}]
    return {
        "one": asd.fit(place / "healthy", false_alarms_per_hour=180, **PLAIN),
        "several": asd.fit(place / "healthy", false_alarms_per_hour=180, branch=branches),
    }


@pytest.fixture(params=["one", "several"])
def model(request: pytest.FixtureRequest, models: dict[str, asd.Model]) -> asd.Model:
    return models[request.param]


def pictures(html: str) -> list[ElementTree.Element]:
    """Return the pictures of a piece of HTML, which must be well-formed and need nothing from elsewhere."""
    assert "<script" not in html
    assert "url(" not in html
    root = ElementTree.fromstring(html)
    return list(root.iter("{http://www.w3.org/2000/svg}svg"))


def test_the_version_and_the_names_are_there() -> None:
    assert asd.__version__ == importlib.metadata.version("asd-framework")
    assert {"fit", "score", "to_frame", "Failure", "Model", "__version__"} <= set(dir(asd))
    assert not {"importlib", "sys", "_HOMES", "TYPE_CHECKING"} & set(dir(asd))
    for name in dir(asd):
        getattr(asd, name)


def test_a_model_says_what_it_is(model: asd.Model) -> None:
    said = repr(model)
    assert said.startswith("<Model of 20 clips. ")
    assert "Pipeline: mel-stack → identity → mahalanobis." in said or "Branches: timbre, level." in said
    assert "about 180 false alarms an hour" in said
    html = model_html(model)
    assert "learned from 20 clips" in html
    (picture,) = pictures(html)
    bars = [float(bar.attrib["height"]) for bar in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert max(bars) > 0
    assert any(label.text == "alarm" for label in picture.iter("{http://www.w3.org/2000/svg}text"))


def test_a_loaded_model_says_the_same(model: asd.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "m.asd")
    assert repr(asd.load(tmp_path / "m.asd")) == repr(model)


def test_a_verdict_says_what_it_is(model: asd.Model, place: Path) -> None:
    normal, faulty = (next(asd.score(model, place / name)) for name in ("normal", "faulty"))
    assert repr(faulty).startswith("<Verdict ANOMALOUS: ")
    assert f"p = {faulty.p_value:.3f}" in repr(faulty)
    assert "ANOMALOUS" in verdict_html(faulty)  # type: ignore[arg-type]  # it could be read
    for verdict in (normal, faulty):
        html = verdict._repr_html_()
        assert "&lt;b&gt;0.wav" in html
        assert len(pictures(html)) == (len(verdict.window_scores) > 1)
    assert faulty.ok
    assert faulty.error is None
    assert faulty.to_dict() == faulty.as_dict()


def test_an_evaluation_says_what_it_is(models: dict[str, asd.Model], place: Path) -> None:
    clips = [[Clip(path) for path in sorted((place / name).glob("*.wav"))] for name in ("normal", "faulty")]
    found = evaluate(models["one"], *clips)
    assert repr(found).startswith("<Evaluation of 4 healthy and 4 faulty clips: AUC 1.000 (1.000 – 1.000)")
    html = found._repr_html_()
    assert "1 clip could not be read" in html
    (picture,) = pictures(html)
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}circle"))) == 2


def test_what_cannot_be_read_never_ends_a_loop(model: asd.Model, place: Path) -> None:
    verdicts = list(asd.score(model, place / "faulty"))
    assert [verdict.ok for verdict in verdicts].count(False) == 1
    for verdict in verdicts:
        said = f"{verdict.clip} {verdict.score:.3f} {verdict.p_value:.3f} {verdict.peak:.1f} {', '.join(verdict.notes)}"
        assert said
        assert verdict.window_scores.shape == verdict.window_start.shape
    (failure,) = [verdict for verdict in verdicts if not verdict.ok]
    assert isinstance(failure, asd.Failure)
    assert failure.anomalous is None  # neither: it must not count as healthy
    assert math.isnan(failure.score)
    assert not failure.p_value <= 1
    assert "cut off.wav" in str(failure.error)
    assert "cut off.wav" not in failure.notes[0]
    assert repr(failure) == f"<Failure: {failure.clip}: {failure.notes[0]}>"
    assert "not judged" in failure._repr_html_()


def test_a_failure_has_the_fields_of_a_verdict(models: dict[str, asd.Model], place: Path) -> None:
    verdict = next(asd.score(models["one"], place / "normal"))
    failure = asd.Failure(Clip(Path("a.wav")), AudioError("a.wav: no sound"))
    public = {name for name in dir(verdict) if name[0] != "_"}
    assert public <= set(dir(failure))
    assert verdict.to_dict().keys() == failure.to_dict().keys()
    json.dumps(failure.to_dict(), allow_nan=False)


def without(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = importlib.import_module

    def refuse(wanted: str, *more: Any) -> Any:
        if wanted in name.split():
            raise ImportError(wanted)
        return imported(wanted, *more)

    monkeypatch.setattr(frame.importlib, "import_module", refuse)  # type: ignore[attr-defined]


def test_a_frame_of_pandas(model: asd.Model, place: Path) -> None:
    pytest.importorskip("pandas")
    verdicts = list(asd.score(model, place / "faulty"))
    found = asd.to_frame(iter(verdicts))
    assert list(found.columns[:4]) == ["clip", "ok", "anomalous", "p_value"]
    assert len(found) == 5
    assert found["ok"].sum() == 4
    assert found["anomalous"].isna().sum() == 1
    assert found["score"].dtype == np.float64
    assert bool(found.loc[~found["ok"], "error"].str.contains("cut off").all())
    assert ("level_z" in found.columns) == (len(model.branches) > 1)
    assert found.query("anomalous == True")["clip"].tolist() == [str(v.clip) for v in verdicts if v.anomalous]


def test_a_frame_of_polars_where_pandas_is_not(model: asd.Model, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    polars = pytest.importorskip("polars")
    without("pandas", monkeypatch)
    found = asd.to_frame(asd.score(model, place / "faulty"))
    assert isinstance(found, polars.DataFrame)
    assert found["anomalous"].null_count() == 1
    assert found["p_value"].dtype == polars.Float64
    assert len(asd.to_frame([])) == 0


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_an_empty_frame_has_its_columns(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(library)
    without("polars" if library == "pandas" else "pandas", monkeypatch)
    assert list(asd.to_frame([]).columns)[:2] == ["clip", "ok"]


def test_neither_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    without("pandas polars", monkeypatch)
    with pytest.raises(ConfigError, match=r"^a table needs pandas or polars, .*: pip install pandas$"):
        asd.to_frame([])
