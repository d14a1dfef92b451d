"""``asd data`` as a user meets it, and what it finds wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from asd.errors import DataError
from asd.experiment import duplicates
from asd.plugin import Recording
from asd_data.data_command import data


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(data, list(map(str, arguments)))
    if result.exception is not None and not isinstance(result.exception, DataError | SystemExit):
        raise result.exception
    return result


def sound(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, 160), 16000)
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    for number, name in enumerate(("train/a", "train/b", "test/normal/c", "test/abnormal/d")):
        sound(tmp_path / "fan" / f"{name}.wav", number)
    return tmp_path


def test_list_names_every_data_set_with_its_licence() -> None:
    listed = {row["name"]: row["licence"] for row in json.loads(run("list", "--json").stdout)}
    years = {f"dcase{year}" for year in range(2020, 2027)}
    assert years | {"mimii", "mimii-due", "mimii-dg", "toyadmos", "folder", "manifest"} <= set(listed)
    assert listed["dcase2023"] == "CC BY-NC-SA 4.0"
    assert listed["mimii"] == "CC BY-SA 4.0"
    assert "dcase2026" in run("list").stdout


def test_show_gives_the_publishers_files_and_what_is_here(shared: Path) -> None:
    shown = json.loads(run("show", "dcase2023", "--json", "--dataset.machines", "ToyCar,fan").stdout)
    assert [d["url"] for d in shown["downloads"]] == [
        f"https://zenodo.org/records/7882613/files/dev_{machine}.zip" for machine in ("ToyCar", "fan")
    ]
    assert shown["downloads"][1]["checksum"] == "md5:9348591e96fb0ad499a1e33b082562fc"
    assert shown["protocol"] == "dcase2022"
    text = run("show", "mimii", shared / "data", "--dataset.snr=-6").exception
    assert "this holds no recordings of mimii at -6dB" in str(text)
    text = run("show", "dcase2023", shared / "data" / "toycar").stdout
    assert "Dohi et al. 2023, arXiv:2305.07828" in text
    assert ["ToyCar", "00", "train", "208", "0", "0"] in [line.split() for line in text.splitlines()]


def test_verify_finds_nothing_in_a_sound_folder(own: Path) -> None:
    result = run("verify", "folder", own)
    assert result.exit_code == 0, result.exception
    assert result.stdout.endswith("4 recordings of folder: nothing wrong.\n")


def verified(name: str, folder: Path) -> tuple[list[str], Any]:
    result = run("verify", name, folder, "--json")
    return json.loads(result.stdout)["problems"], result.exception


def test_verify_tells_found_from_expected_numbers(shared: Path) -> None:
    problems, error = verified("dcase2023", shared / "data" / "toycar")
    assert problems == [
        "ToyCar, section 00: found 208 train clips, expected 1000",
        "ToyCar, section 00: found 100 test clips, expected 200",
    ]
    assert "2 problem(s) with dcase2023; the first: ToyCar, section 00: found 208 train clips" in str(error)


def test_verify_finds_contents_that_occur_twice(own: Path) -> None:
    shutil.copy(own / "fan/train/a.wav", own / "fan/test/normal/copy.wav")
    shutil.copy(own / "fan/test/normal/c.wav", own / "fan/test/abnormal/twin.wav")
    problems, error = verified("folder", own)
    assert problems == [
        "1 recordings are in train and in test: a.wav = copy.wav",
        "1 recordings are normal and anomalous: c.wav = twin.wav",
    ]
    assert isinstance(error, DataError)


def test_verify_says_that_a_class_is_missing_and_a_file_is_broken(own: Path) -> None:
    (own / "fan/test/abnormal/d.wav").unlink()
    (own / "fan/train/broken.wav").write_text("not sound")
    problems, _ = verified("folder", own)
    assert problems[0] == "fan: no anomalous test clips: AUC is undefined"
    assert "broken.wav" in problems[1]
    assert len(problems) == 2


def test_duplicates_are_found_by_content_whoever_knows_the_digests(tmp_path: Path) -> None:
    first, twin, other = (
        Recording(sound(tmp_path / f"{name}.wav", seed), "fan") for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert duplicates([first], [twin, other]) == [(first, twin)]
    asked: list[str] = []

    def known(path: Path) -> str:
        asked.append(path.name)
        return path.name

    assert duplicates([first], [twin, other], known) == []
    assert asked == ["a.wav", "b.wav", "c.wav"]
    short = Recording(tmp_path / "short.wav", "fan")
    short.path.write_text("x")
    assert duplicates([short], [first, twin], known) == []
    assert len(asked) == 3  # files of different sizes need not be read


def test_a_data_set_of_ones_own_has_nothing_to_fetch(tmp_path: Path) -> None:
    assert "folder has nothing to download: it reads recordings of your own" in str(
        run("fetch", "folder", tmp_path).exception
    )


def test_offline_it_says_what_to_download_and_where_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_OFFLINE", "1")
    result = run("fetch", "dcase2023", tmp_path / "new", "--dataset.machines", "fan")
    assert "https://zenodo.org/records/7882613/files/dev_fan.zip" in result.stdout
    assert "md5:9348591e96fb0ad499a1e33b082562fc" in result.stdout
    assert f"1 file(s) of dcase2023 are missing: download them elsewhere, put them into {tmp_path / 'new'}" in str(
        result.exception
    )
    assert not (tmp_path / "new").exists()
