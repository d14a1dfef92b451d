"""A machine's model learns what was judged normal: shown before, done in a job, heeded by the listener, taken back."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from teaching_plant import alarm_of, answered, copied, monitor_of

import asd
from asd.experiment import copy_of_monitor
from asd_listen import judge
from asd_serve.state import State
from waiting import until


@pytest.fixture
def plant(plant_folder: Path, tmp_path: Path) -> Path:
    return copied(plant_folder, tmp_path / "demo")


def finished(client: Any, job: str) -> Any:
    """Wait for a job, and return what is said of it."""
    path = f"/api/jobs/{job}"
    until(lambda: answered(client.get(path))["state"] not in ("waiting", "running"))
    return answered(client.get(path))


def model_in(plant: Path, machine: str = "fan") -> str:
    """Return the model that the settings name for a machine."""
    sources = tomllib.loads((plant / "plant.toml").read_text())["source"]
    return next(str(each["model"]) for each in sources if each["name"] == machine)


def test_marked_clips_are_learned_used_and_taken_back(plant: Path, server: Callable[..., Any]) -> None:
    running = server(listen=plant / "plant.toml")
    own, path = running.client("administer"), "/api/machines/fan/update"
    nothing = answered(own.get(path))
    assert (nothing["clips"], nothing["undo"]) == (0, False)
    assert nothing["text"].startswith("No alarm of this machine was judged normal")
    assert answered(own.post(path), 409)["error"].endswith("nothing to learn from")
    answered(own.post(f"/api/events/{alarm_of(plant)}/judgement", json={"judgement": "normal"}))
    former = model_in(plant)
    shown = answered(own.get(path))
    assert shown["model"] == "fan"
    assert shown["clips"] >= 20
    assert shown["after"]["calibration_clips"] > shown["before"]["calibration_clips"]
    assert shown["after"]["anomalous_clips"] < shown["before"]["anomalous_clips"]
    assert [each["id"] for each in shown["alarms_not_raised"]] == [alarm_of(plant)]
    assert "clips of 1 alarm that were normal." in shown["text"]
    assert model_in(plant) == former  # a preview changes nothing
    assert answered(own.get(path)) == shown
    listener = running.state.plant.listener
    job = answered(own.post(path), 202)
    done = finished(own, job["id"])
    assert done["state"] == "done", done
    assert done["result"]["model"] == "fan 2"
    assert done["text"].startswith("fan is judged by fan 2 from now on; it learned from ")
    assert model_in(plant) == str(running.state.folder / "models" / "fan 2.asd")
    assert "# for ever" in (plant / "plant.toml").read_text()
    assert running.state.plant.listener is not listener
    assert "fan 2" in {each["name"] for each in answered(own.get("/api/models"))["models"]}
    assert answered(own.get("/api/machines/fan"))["model"] == "fan 2"
    after = answered(own.get(path))
    assert (after["undo"], after["clips"]) == (True, 0)
    assert after["text"] == "The model has learned all that was judged normal."
    with asd.load(model_in(plant), cache=False) as model:
        assert asd.Monitor(model).state.model == copy_of_monitor(plant / "history/monitors/fan.monitor").state.model
    until(lambda: answered(own.get("/api/machines/fan"))["phase"] == "learning")
    assert answered(own.delete(path))["text"] == "fan is judged by fan again, with its monitor from then."
    assert model_in(plant) == former
    monitor = monitor_of(plant)  # of the old model, with what it knew
    assert monitor.state.watched > 300
    assert answered(own.delete(path), 409)["error"].startswith("nothing was taught to the model of 'fan' from here")
    pump = [each for each in (plant / "history/monitors/former").iterdir() if each.name.startswith("pump")]
    assert pump == []  # the others went on as they were


def test_an_update_whose_model_cannot_be_used_changes_nothing(
    plant: Path, server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from asd.errors import AsdError

    judge(plant / "history", alarm_of(plant), "normal", "me")
    running = server(listen=plant / "plant.toml")
    own, before = running.client("administer"), (plant / "plant.toml").read_text()

    def fails(settings: Any) -> None:
        raise AsdError("the disk is gone")

    monkeypatch.setattr(running.state.plant, "restart", fails)
    job = answered(own.post("/api/machines/fan/update"), 202)
    done = finished(own, job["id"])
    assert (done["state"], done["text"]) == ("failed", "the disk is gone")
    assert (plant / "plant.toml").read_text() == before
    assert list((running.state.folder / "models").glob("*.asd")) == []
    assert "fan 2" not in {each["name"] for each in answered(own.get("/api/models"))["models"]}
    assert not answered(own.get("/api/machines/fan/update"))["undo"]
    assert list(running.state.folder.glob(".teaching-*")) == []


def test_models_are_taught_only_where_they_are_listened_by(
    plant: Path, state: State, client: Callable[..., Any]
) -> None:
    state.history = plant / "history"
    judge(plant / "history", alarm_of(plant), "normal", "me")
    own = client("administer")
    error = answered(own.post("/api/machines/fan/update"), 409)["error"]
    assert error == "no listener runs in this server: 'asd update' and 'asd recalibrate' teach models elsewhere"
    assert answered(own.post("/api/machines/none/update"), 404)["error"].startswith("no machine 'none'")
    assert answered(client("feedback").post("/api/machines/fan/update"), 403)["error"].endswith("use another key")
