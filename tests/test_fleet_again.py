"""A fit of many machines goes on: what is fitted again, after a change, an interruption, a kill, on a full disk."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import asd
from asd.detection.fleet_index import INDEX, Index, read_index
from asd.detection.fleet_store import opened
from asd.errors import ModelFileError
from fleet_sound import INSTALLED, OPTIONS, PIPELINE, hum, plant, times
from waiting import until


class TestAgain:
    @pytest.fixture
    def there(self, tmp_path: Path) -> Path:
        plant(tmp_path / "plant", {"a": 150, "b": 250})
        self.fit(tmp_path)
        return tmp_path

    @staticmethod
    def fit(place: Path, **options: Any) -> asd.Models:
        return asd.fit(place / "plant", by="folder", folder=place / "m", **{**PIPELINE, **options})

    def changed(self, there: Path, **options: Any) -> set[str]:
        before = times(there / "m")
        self.fit(there, **options)
        after = times(there / "m")
        return {name for name in after if after[name] != before.get(name)}

    def test_nothing_changed_nothing_done(self, there: Path) -> None:
        assert self.changed(there) == set()

    def test_force_fits_all(self, there: Path) -> None:
        assert self.changed(there, force=True) == {"a.asd", "b.asd"}

    def test_another_configuration_fits_all(self, there: Path) -> None:
        assert self.changed(there, folds=3) == {"a.asd", "b.asd"}

    def test_a_recording_more(self, there: Path) -> None:
        hum(there / "plant" / "a" / "more.wav", 150, 99)
        assert self.changed(there) == {"a.asd"}

    def test_a_recording_of_other_content(self, there: Path) -> None:
        hum(there / "plant" / "b" / "0.wav", 250, 99)
        assert self.changed(there) == {"b.asd"}

    def test_a_model_file_that_is_gone(self, there: Path) -> None:
        (there / "m" / "a.asd").unlink()
        assert self.changed(there) == {"a.asd"}

    def test_a_new_machine_is_added_and_the_others_stay(self, there: Path) -> None:
        plant(there / "plant", {"c": 350})
        shutil.rmtree(there / "plant" / "a")
        assert self.changed(there) == {"c.asd"}
        assert set(asd.Models.load(there / "m")) == {"a", "b", "c"}

    def test_recordings_that_were_copied_or_moved_are_the_same(self, there: Path) -> None:
        shutil.copytree(there / "plant", there / "copy")
        shutil.rmtree(there / "plant")
        (there / "copy").rename(there / "plant")
        (there / "plant" / "a" / "0.wav").rename(there / "plant" / "a" / "zero.wav")
        assert self.changed(there) == set()

    def test_a_fit_that_fails_leaves_the_former_model_and_is_tried_again(self, there: Path) -> None:
        for path in sorted((there / "plant" / "a").iterdir())[2:]:
            path.unlink()
        assert self.changed(there) == set()
        models = asd.Models.load(there / "m")
        assert models.machines["a"].state == "failed"
        assert list(models.errors) == ["a"]
        assert all(verdict.ok for verdict in models.score(there / "plant"))
        plant(there / "plant", {"a": 150})
        assert self.changed(there) == {"a.asd"}
        assert asd.Models.load(there / "m").errors == {}

    def test_an_unreadable_machine_does_not_stop_the_others(self, there: Path) -> None:
        shutil.rmtree(there / "m")
        for path in (there / "plant" / "a").iterdir():
            path.write_bytes(b"no sound")
        assert set(self.fit(there)) == {"b"}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a fit of machines that takes a while, and wait until the first models are there."""
    plant(tmp_path / "plant", {f"machine{number:02d}": 100 + 20 * number for number in range(40)})
    command = [INSTALLED, "fit", tmp_path / "plant", "--by", "folder", "-o", tmp_path / "m", *OPTIONS]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        until(lambda: len(list((tmp_path / "m").glob("*.asd"))) >= 2, "two models", by=process)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(running: subprocess.Popen[str], tmp_path: Path) -> None:
    running.send_signal(signal.SIGINT)
    _, said = running.communicate()
    assert running.returncode == 2
    models = asd.Models.load(tmp_path / "m")
    assert 2 <= len(models) < 40
    assert f"asd: error: interrupted; {len(models)} of 40 machines were fitted and are in {tmp_path / 'm'}" in said
    before = times(tmp_path / "m")
    assert len(asd.fit(tmp_path / "plant", by="folder", folder=tmp_path / "m", **PIPELINE)) == 40
    after = times(tmp_path / "m")
    assert {name: after[name] for name in before} == before


@pytest.mark.slow
def test_after_a_kill_the_same_command_goes_on(running: subprocess.Popen[str], tmp_path: Path) -> None:
    running.kill()
    running.communicate()
    index = read_index(tmp_path / "m")
    assert len(index.machines) == 40  # all are named before the first is fitted
    assert len(asd.fit(tmp_path / "plant", by="folder", folder=tmp_path / "m", **PIPELINE)) == 40
    assert all(machine.state == "fitted" for machine in read_index(tmp_path / "m").machines.values())
    assert not list((tmp_path / "m").glob(".*.part"))


def test_a_full_disk_ends_the_run_and_keeps_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asd.detection import fleet_store

    plant(tmp_path / "plant", {"a": 150, "b": 250, "c": 350})
    write, written = fleet_store.modelfile.write, []

    def full(path: Path, *content: Any) -> None:
        if len(written) == 1:
            raise ModelFileError(f"{path}: the model cannot be saved here (No space left on device)")
        written.append(path)
        write(path, *content)

    monkeypatch.setattr(fleet_store.modelfile, "write", full)  # a disk cannot be filled here
    with pytest.raises(ModelFileError, match="No space left"):
        asd.fit(tmp_path / "plant", by="folder", folder=tmp_path / "m", **PIPELINE)
    assert list(asd.Models.load(tmp_path / "m")) == ["a"]


def test_an_index_of_thousands_is_not_written_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "m", "folder") as store:
        store.add([f"machine {number}" for number in range(2000)])
        store.write()
        written = (tmp_path / "m" / INDEX).stat().st_mtime_ns
        store.write(soon=True)
        assert (tmp_path / "m" / INDEX).stat().st_mtime_ns == written
        store.write()
        assert (tmp_path / "m" / INDEX).stat().st_mtime_ns > written
    index = msgspec.json.decode((tmp_path / "m" / INDEX).read_bytes(), type=Index)
    assert len(index.machines) == 2000
