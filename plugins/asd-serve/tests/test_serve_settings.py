"""The listener's settings over HTTP: secrets stay hidden, mistakes change nothing, comments and a backup are kept."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from teaching_plant import answered, copied

from asd_listen import read_settings
from asd_serve.teaching import options
from asd_serve.teaching.options import MASK
from waiting import until

SINKS = """
[[sink]]
kind = "webhook"              # tells the foreman
name = "foreman"
url = "https://me:pass@hooks.example/T000/B000/secretpath?token=abc"
at_least = "alarm"

[[sink]]
kind = "jsonl"
path = "events.jsonl"
"""


@pytest.fixture
def plant(plant_folder: Path, tmp_path: Path) -> Path:
    folder = copied(plant_folder, tmp_path / "demo")
    settings = folder / "plant.toml"
    settings.write_text(settings.read_text() + SINKS.replace("events.jsonl", str(folder / "events.jsonl")))
    settings.chmod(0o660)  # more than the umask allows
    return folder


@pytest.fixture
def running(plant: Path, server: Callable[..., Any]) -> Any:
    return server(listen=plant / "plant.toml")


def test_settings_are_shown_without_secrets(plant: Path, running: Any) -> None:
    answer = running.client("administer").get("/api/settings")
    assert "secretpath" not in answer.text
    assert "pass@" not in answer.text
    assert "abc" not in answer.text
    found = answered(answer)
    tables = found["settings"]
    assert tables["sink"][0]["url"] == f"https://{MASK}@hooks.example/{MASK}?{MASK}"
    assert tables["sink"][1] == {"kind": "jsonl", "name": "jsonl-2", "path": str(plant / "events.jsonl")}
    assert (tables["false_alarms"], tables["hop"], tables["evidence"]["healthy_per_day"]) == ("1/month", 1.0, 288)
    assert found["machines"] == ["pump 1", "fan", "mill"]
    assert found["editable"]
    kinds = {each["name"]: each for each in found["sinks"]}
    assert {"webhook", "jsonl", "mqtt", "email"} <= kinds.keys()
    assert {"name", "takes", "default", "required", "description"} <= kinds["mqtt"]["parameters"][0].keys()
    assert running.client("feedback").get("/api/settings").status_code == 403


def test_a_change_keeps_comments_and_secrets_and_the_listener_goes_on_with_it(plant: Path, running: Any) -> None:
    own, path = running.client("administer"), plant / "plant.toml"
    shown = answered(own.get("/api/settings"))
    before, tables = path.read_text(), shown["settings"]
    listener = running.state.plant.listener
    tables["alerts"]["cool_down"] = 120
    tables["sink"][0]["at_least"] = "warning"
    tables["sink"][1]["machines"] = ["fan"]
    wanted = {
        "settings": {name: tables[name] for name in ("false_alarms", "hop", "alerts", "evidence", "sink", "source")}
    }
    done = answered(own.put("/api/settings", json={**wanted, "digest": shown["digest"]}))
    assert done["text"] == (
        "Written; the listener goes on with the new settings. Those from before are in plant.toml.before."
    )
    text = path.read_text()
    assert "# tells the foreman" in text
    assert "# for each machine" in text
    assert "https://me:pass@hooks.example/T000/B000/secretpath?token=abc" in text
    given = tomllib.loads(text)
    assert given["alerts"] == {"cool_down": 120}  # what is as it would be by default is not written
    assert given["source"] == tomllib.loads(before)["source"]
    assert (plant / "plant.toml.before").read_text() == before
    assert path.stat().st_mode & 0o777 == (plant / "plant.toml.before").stat().st_mode & 0o777 == 0o660
    now = read_settings(path)
    assert (now.alerts.cool_down, now.sink[0].at_least, now.sink[1].machines) == (120, "warning", ["fan"])
    assert running.state.plant.listener is not listener
    assert running.state.plant.listener.settings.alerts.cool_down == 120
    until(lambda: answered(own.get("/api/machines/fan"))["listening"])
    stale = own.put("/api/settings", json={**wanted, "digest": shown["digest"]})
    assert answered(stale, 409)["error"].endswith("was changed meanwhile; look at it again, and make your change anew")
    assert answered(own.put("/api/settings", json=wanted))["text"] == "Nothing was changed."


def test_sinks_are_added_and_removed(plant: Path, running: Any) -> None:
    own = running.client("administer")
    added = {"kind": "jsonl", "name": "second", "path": str(plant / "second.jsonl")}
    tables = answered(own.get("/api/settings"))["settings"]
    answered(own.put("/api/settings", json={"settings": {"sink": [tables["sink"][0], added]}}))
    assert [each.name for each in read_settings(plant / "plant.toml").sink] == ["foreman", "second"]
    answered(own.put("/api/settings", json={"settings": {"sink": []}}))
    assert read_settings(plant / "plant.toml").sink == []
    answered(own.put("/api/settings", json={"settings": {"sink": [added]}}))
    assert [each.name for each in read_settings(plant / "plant.toml").sink] == ["second"]
    assert len(read_settings(plant / "plant.toml").source) == 3


WRONG: dict[str, tuple[Any, int, str, str, str]] = {
    "unknown table": ({"alarms": {}}, 422, "unknown setting 'alarms'; known: false_alarms, hop, alerts", "", ""),
    "unknown key": ({"alerts": {"cooldown": 3}}, 422, "unknown setting 'cooldown'; did you mean cool_down?", "alerts", ""),  # noqa: E501
    "number": ({"alerts": {"cool_down": -1}}, 422, "cool_down must be a number of seconds from 0, got -1", "alerts", ""),  # noqa: E501
    "type": ({"alerts": {"cool_down": "x"}}, 422, "expected `float`, got `str`", "", ""),
    "no table": ({"alerts": 3}, 422, "alerts: expected a table, got int", "alerts", ""),
    "no list": ({"sink": {"kind": "jsonl"}}, 422, "sink: expected a list of tables", "sink", ""),
    "hop": ({"hop": 0}, 422, "hop: expected seconds above 0, got 0", "", "hop"),
    "kind": ({"sink": [{"kind": "nosuch"}]}, 422, "kind: 'nosuch' is not installed here; known: ", "sink[0]", "kind"),
    "a class": ({"sink": [{"kind": "os:system"}]}, 422, "kind: 'os:system' is not installed here", "sink[0]", "kind"),
    "missing": ({"sink": [{"kind": "mqtt"}]}, 422, "host", "sink[0]", ""),
    "level": ({"sink": [{"kind": "jsonl", "path": "a", "at_least": "loud"}]}, 422, "at_least", "sink[0]", "at_least"),
    "a moved secret": (
        {"sink": [{"kind": "webhook", "name": "foreman", "url": f"https://{MASK}@evil.example/{MASK}?{MASK}"}]},
        422,
        "url: the hidden part is kept only if nothing else changes (it was changed beside its mask); give all of it",
        "sink[0]",
        "url",
    ),
    "a new mask": ({"sink": [{"kind": "webhook", "name": "x", "url": f"https://a/{MASK}"}]}, 422, "url: the hidden", "sink[0]", "url"),  # noqa: E501
    "no source": ({"source": []}, 422, "no source; add a table [[source]]", "", ""),
    "folder": ({"folder": "/etc"}, 409, "folder is not changed from here: edit ", "", ""),
    "a model's path": (
        {"source": [{"kind": "microphone", "name": "m", "model": "/etc/passwd"}]},
        422,
        "model: '/etc/passwd' is not served here; known: ",
        "source[0]",
        "model",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_change_nothing_and_are_told_beside_their_field(plant: Path, running: Any, case: str) -> None:
    body, code, text, table, key = WRONG[case]
    before, listener = (plant / "plant.toml").read_text(), running.state.plant.listener
    found = answered(running.client("administer").put("/api/settings", json={"settings": body}), code)
    assert text in found["error"]
    assert "\n" not in found["error"]
    assert (plant / "plant.toml").read_text() == before
    assert running.state.plant.listener is listener
    assert not (plant / "plant.toml.before").exists()
    if code == 422:
        assert found["table"].startswith(table)
        assert key in (found["key"], "")


def test_settings_with_which_the_listener_cannot_go_on_are_taken_back(plant: Path, running: Any) -> None:
    own, path = running.client("administer"), plant / "plant.toml"
    running.state.models["broken"] = plant / "broken.asd"
    (plant / "broken.asd").write_bytes(b"no model")
    tables = answered(own.get("/api/settings"))["settings"]
    tables["source"][0]["model"] = "broken"
    before = path.read_text()
    error = answered(own.put("/api/settings", json={"settings": {"source": tables["source"]}}), 409)["error"]
    assert error.startswith("the listener cannot go on with these settings, and keeps those from before: ")
    assert path.read_text() == before
    until(lambda: running.state.plant.listener is not None)
    assert [each.name for each in running.state.plant.listener.machines] == ["pump 1", "fan", "mill"]


def test_a_file_that_cannot_be_written_stays_as_it_is(
    plant: Path, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (plant / "plant.toml").read_text()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(options.os, "fsync", full)
    answer = running.client("administer").put("/api/settings", json={"settings": {"hop": 0.5}})
    assert (
        "the settings cannot be written (No space left on device); they are as before" in answered(answer, 400)["error"]
    )
    assert (plant / "plant.toml").read_text() == before
    assert not list(plant.glob(".*.part"))


def test_without_a_listener_there_are_no_settings(client: Callable[..., Any]) -> None:
    error = answered(client("administer").get("/api/settings"), 409)["error"]
    assert error.startswith("no listener runs in this server: its settings are where 'asd listen' runs")
