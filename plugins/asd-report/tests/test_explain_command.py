"""``asd explain``, driven as a user would."""

from __future__ import annotations

import json
import xml.etree.ElementTree
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile

from driven import asd, error

QUICK = ("--extractor", "band-levels", "--detector", "deviation", "--embedding-pooling", "mean")
RATE = 8000


def hum(path: Path, *, seed: int, whine: float = 0.0, seconds: float = 4.0) -> Path:
    """Write a motor's hum in noise, with a whine from 1 s to 2.5 s if it is faulty."""
    rng, time = np.random.default_rng(seed), np.arange(round(seconds * RATE)) / RATE
    signal = sum(0.05 / k * np.sin(2 * np.pi * 50 * k * time + rng.uniform(0, 6)) for k in range(1, 6))
    signal += rng.normal(0, 0.01, len(time))
    signal += whine * np.sin(2 * np.pi * 2400 * time) * ((time >= 1) & (time < 2.5))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, RATE)
    return path


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explain")
    for seed in range(12):
        hum(folder / "healthy" / f"{seed:02d}.wav", seed=seed)
    asd("fit", folder / "healthy", "-o", folder / "m.asd", *QUICK)
    hum(folder / "faulty.wav", seed=50, whine=0.02)
    hum(folder / "fine.wav", seed=51)
    return folder


def test_it_says_when_where_and_by_how_much(sounds: Path) -> None:
    done = asd("explain", sounds / "m.asd", sounds / "faulty.wav")
    lines = done.stdout.splitlines()
    assert lines[0] == f"{sounds / 'faulty.wav'}: anomalous, p-value 0.077."
    assert lines[1].startswith("1. ")
    assert "dB louder at 2.2–2.5 kHz from 1.0 s to 2.5 s than any of 12 healthy clips (100% of" in lines[1]
    assert lines[2].startswith("The clip as a whole: ")
    assert lines[3].startswith("Most like the healthy clip ")


def test_of_a_healthy_clip_it_says_that_nothing_stands_out(sounds: Path) -> None:
    lines = asd("explain", sounds / "m.asd", sounds / "fine.wav").stdout.splitlines()
    assert lines[0].startswith(f"{sounds / 'fine.wav'}: normal, p-value ")
    assert lines[1] == "Nothing stands out: each level is one that some of 12 healthy clips have."


def test_json_has_places_spectrum_and_windows(sounds: Path) -> None:
    done = asd("explain", sounds / "m.asd", sounds / "faulty.wav", "--json", "--healthy", sounds / "healthy")
    found = json.loads(done.stdout)
    place = found["findings"][0]
    assert (place["start"], place["end"]) == pytest.approx((1.0, 2.5), abs=0.1)
    assert place["low"] < 2400 < place["high"]
    assert place["direction"] == "louder"
    assert place["contribution"] > 0.8
    assert Path(found["nearest"]["path"]).parent == sounds / "healthy"
    assert len(found["windows"]["start"]) == len(found["windows"]["score"]) == 4


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_it_draws_a_picture(suffix: str, sounds: Path, tmp_path: Path) -> None:
    picture = tmp_path / f"why.{suffix}"
    assert f"Wrote {picture}." in asd("explain", sounds / "m.asd", sounds / "faulty.wav", "-o", picture).stdout
    if suffix == "png":
        assert matplotlib.image.imread(picture).std() > 0.1
    elif suffix == "svg":
        assert xml.etree.ElementTree.parse(picture).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    else:
        assert picture.read_bytes().startswith(b"%PDF")
    before = picture.read_bytes()
    text = error("explain", sounds / "m.asd", sounds / "faulty.wav", "-o", picture)
    assert text == f"{picture} exists; give another name, or --force to overwrite it"
    assert picture.read_bytes() == before
    asd("explain", sounds / "m.asd", sounds / "fine.wav", "-o", picture, "--force")
    assert picture.read_bytes() != before
    assert [each.name for each in tmp_path.iterdir()] == [picture.name]


def test_what_cannot_be_explained_is_one_line(sounds: Path, tmp_path: Path) -> None:
    model = sounds / "m.asd"
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "silent.wav", np.zeros(4 * RATE), RATE)
    soundfile.write(tmp_path / "short.wav", np.full(400, 0.1), RATE)
    (tmp_path / "empty").mkdir()
    assert "text.wav: not a recording" in error("explain", model, tmp_path / "text.wav")
    assert "no such file" in error("explain", model, tmp_path / "none.wav")
    assert "digital silence: nothing to explain; is the microphone connected?" in error(
        "explain", model, tmp_path / "silent.wav"
    )
    assert "lasts 0.05 s; an explanation takes 0.256 s or more" in error("explain", model, tmp_path / "short.wav")
    assert "holds no recordings" in error("explain", model, tmp_path / "empty")
    text = error("explain", model, sounds / "fine.wav", "-o", tmp_path / "why.bmp")
    assert text == f"{tmp_path / 'why.bmp'}: writes .png or .svg or .pdf, got '.bmp'; rename it"
    text = error("explain", model, sounds / "fine.wav", "-o", tmp_path / "nowhere" / "why.png")
    assert text == f"{tmp_path / 'nowhere'}: no such folder; make it first"


def test_of_a_folder_the_most_unusual_clip_is_explained(sounds: Path, tmp_path: Path) -> None:
    hum(tmp_path / "a.wav", seed=60)
    hum(tmp_path / "b.wav", seed=61, whine=0.02)
    assert asd("explain", sounds / "m.asd", tmp_path).stdout.startswith(f"{tmp_path / 'b.wav'}: anomalous")


@pytest.mark.parametrize("command", ["explain", "report"])
def test_a_model_of_features_takes_no_recordings(command: str, sounds: Path, tmp_path: Path) -> None:
    from asd import fit_features

    features = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    fit_features(features, detector="knn", seconds=4.0).save(tmp_path / "features.asd")
    output = ("-o", tmp_path / "r.html") if command == "report" else ()
    text = error(command, tmp_path / "features.asd", sounds / "fine.wav", *output)
    assert text.startswith("this model was fitted on features and takes no recordings; ")
