"""Models of many machines written to and read from an address: what is there is asked of the store, not done again."""

# ruff: noqa: F811  # fixtures are named where they are used

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import asd
from asd.detection import fleet
from asd.detection.fleet_index import INDEX
from asd.detection.fleet_store import opened
from asd.errors import AsdError, ModelFileError
from asd.experiment import using_engine
from asd.files import writing
from fleet_sound import OPTIONS, PIPELINE, hum, plant, same_arrays

pytest.importorskip("moto")
from elsewhere import Run, Store, error_of, run, s3  # noqa: F401  # fixtures

pytestmark = pytest.mark.usefixtures("embedding_cache")

MACHINES = {"north": 150, "south": 250, "pump 2": 350}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant(tmp_path_factory.mktemp("recordings") / "plant", MACHINES)


@pytest.fixture(scope="module")
def here(recordings: Path) -> asd.Models:
    return asd.fit(recordings, by="folder", **PIPELINE)


@pytest.fixture
def there(s3: Store, recordings: Path) -> Iterator[str]:
    """Return the address of models of all machines."""
    asd.fit(recordings, by="folder", folder="s3://plant/fleet", **PIPELINE)
    s3.requests.clear()
    yield "s3://plant/fleet"
    s3.fs.rm("plant/fleet", recursive=True)


def test_models_are_those_of_a_folder_here(there: str, s3: Store, here: asd.Models, recordings: Path, run: Run) -> None:
    models = asd.Models.load(there)
    assert set(models) == set(MACHINES)
    assert all(same_arrays(models[name], here[name]) for name in MACHINES)
    names = sorted(name.rpartition("/")[2] for name in s3.fs.find("plant/fleet"))
    assert names == sorted([INDEX, *(machine.file for machine in models.machines.values())])
    code, out, err = run("score", there, recordings, "--json")
    assert code in (0, 1), err
    rows = json.loads(out)["clips"]
    assert [(row["machine"], row["p_value"]) for row in rows] == [
        (each.machine, each.p_value) for each in here.score(recordings)
    ]
    code, out, err = run("evaluate", there, "--normal", recordings, "--anomalous", recordings, "--json")
    assert set(json.loads(out)["machines"]) == set(MACHINES), err


def test_a_second_run_does_what_is_missing(there: str, s3: Store, recordings: Path, run: Run, tmp_path: Path) -> None:
    command = ["fit", recordings, "--by", "folder", "-o", there, *OPTIONS, "--json"]
    assert json.loads(run(*command)[1])["summary"]["unchanged"] == 3
    assert not s3.got("PUT", ".asd ")
    assert not s3.got("GET", ".asd ")
    s3.fs.rm_file("plant/fleet/south.asd")
    assert json.loads(run(*command)[1])["summary"] == {"fitted": 1, "unchanged": 2, "failed": 0, "of_no_machine": 0}
    assert s3.got("PUT", "fleet/south.asd ") == 1
    assert s3.got("PUT", "fleet/north.asd ") == 0
    plant(tmp_path / "more", {"east": 450})
    asd.fit(tmp_path / "more", by="folder", folder=there, **PIPELINE)
    assert set(asd.Models.load(there)) == {*MACHINES, "east"}
    assert "its machines were told by 'folder', now by 'machine'" in error_of(
        run("fit", recordings, "--by", "machine", "-o", there, *OPTIONS)
    )


def test_a_failed_machine_is_a_row_and_ctrl_c_keeps_what_is_done(
    s3: Store, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path / "plant", {"a": 150, "b": 250, "c": 350})
    hum(tmp_path / "plant" / "silent" / "1.wav", 100, 1, gain=0)
    done, extract = [], fleet.extract

    def stopped(pipeline: Any, clips: Any, **how: Any) -> Any:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(clips)
        return extract(pipeline, clips, **how)

    with monkeypatch.context() as patch:
        patch.setattr(fleet, "extract", stopped)
        with pytest.raises(AsdError, match=r"interrupted; 2 of 4 machines were fitted and are in s3://plant/stopped"):
            asd.fit(tmp_path / "plant", by="folder", folder="s3://plant/stopped", **PIPELINE)
    assert set(asd.Models.load("s3://plant/stopped")) == {"a", "b"}
    code, out, err = run("fit", tmp_path / "plant", "--by", "folder", "-o", "s3://plant/stopped", *OPTIONS, "--json")
    assert code == 0, err
    assert json.loads(out)["summary"] == {"fitted": 1, "unchanged": 2, "failed": 1, "of_no_machine": 0}


def test_workers_of_an_engine_write_the_same(s3: Store, recordings: Path, here: asd.Models) -> None:
    with using_engine("local:2"):
        models = asd.fit(recordings, by="folder", folder="s3://plant/spread", **PIPELINE)
        verdicts = [each.to_dict() for each in models.score(recordings)]
    assert all(same_arrays(models[name], here[name]) for name in MACHINES)
    assert verdicts == [each.to_dict() for each in here.score(recordings)]


def test_of_two_runs_at_once_one_ends(there: str, s3: Store) -> None:
    with opened(there, "folder") as one, opened(there, "folder") as other:
        one.write()
        one.write()
        with pytest.raises(ModelFileError, match=r"fleet: another run writes models to this address: .*; give"):
            other.write()
        one.write()
    assert set(asd.Models.load(there)) == set(MACHINES)


def test_a_model_that_was_listed_and_is_gone_is_failed_rows(there: str, s3: Store, recordings: Path, run: Run) -> None:
    s3.fs.rm_file("plant/fleet/south.asd")
    code, out, err = run("score", there, recordings, "--json")
    assert code in (0, 1), err
    failed = [row for row in json.loads(out)["clips"] if row["error"]]
    assert [row["machine"] for row in failed] == ["south"] * 6
    assert "s3://plant/fleet/south.asd: no such model file" in failed[0]["error"]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("s3://nobody/fleet", "s3://nobody/fleet: no such bucket (nobody); is it written correctly?"),
        ("s3://plant/other/0.wav", "s3://plant/other/0.wav: is a file; models of several machines are written i"),
        ("s3://plant/other", "s3://plant/other: this folder holds something else than models of an earlier 'asd fit"),
        ("https://me:s3cret@127.0.0.1:9/fleet", "https://***@127.0.0.1:9/fleet: a web server is only"),
        (
            "zip://fleet::s3://plant/x.zip",
            "zip://fleet::s3://plant/x.zip: nothing can be written into an archive",
        ),
    ],
)
def test_what_cannot_be_written_is_told_before_the_work(
    s3: Store, recordings: Path, run: Run, url: str, text: str
) -> None:
    s3.fs.pipe_file("plant/other/0.wav", b"recorded")
    assert error_of(run("fit", recordings, "--by", "folder", "-o", url, *OPTIONS)).startswith(text)
    assert s3.fs.find("plant/other") == ["plant/other/0.wav"]


def test_a_store_that_fails_meanwhile_ends_the_run_and_keeps_what_is_done(
    s3: Store, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = writing._upload

    def failing(fs: Any, place: str, *rest: Any) -> None:
        if place.endswith("south.asd"):
            raise RuntimeError("the line is cut")
        upload(fs, place, *rest)

    monkeypatch.setattr(writing, "_upload", failing)
    with pytest.raises(ModelFileError, match=r"south\.asd: .*the line is cut; the model is kept in (\S+)$") as raised:
        asd.fit(recordings, by="folder", folder="s3://plant/broken", **PIPELINE)
    Path(str(raised.value).rpartition(" ")[2]).unlink()
    assert set(asd.Models.load("s3://plant/broken")) == {"north", "pump 2"}
