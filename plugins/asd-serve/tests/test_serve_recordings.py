"""Healthy sound recorded from a browser or a machine, and a model that learns from it: checked, limited, served."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from teaching_plant import answered, copied

import asd
from asd_serve.state import State
from asd_serve.teaching import recording
from asd_serve.teaching.fitting import safe_name
from asd_serve.teaching.recording import Recordings
from waiting import until

RATE = 16_000


def hum(seconds: float, loud: float = 0.1, seed: int = 0) -> Any:
    """Return the sound of a machine, float32 of shape (n,)."""
    at = np.arange(round(seconds * RATE)) / RATE
    sound = loud * np.sin(2 * np.pi * 97 * at) + loud / 5 * np.random.default_rng(seed).normal(size=len(at))
    return sound.astype(np.float32)


def begun(client: Any, **body: Any) -> str:
    """Begin a recording from a browser, and return its id."""
    wanted = {"name": "pump", "browser": True, "clip_seconds": 1.0, **body}
    return str(answered(client.post("/api/recordings", json=wanted), 201)["id"])


def send(client: Any, number: str, sound: Any, form: str = "s16le") -> list[Any]:
    """Send sound in messages of a quarter of a second, wait until it is taken, and return what was answered."""
    scaled = (sound * 32767).astype("<i2") if form == "s16le" else sound.astype("<f4")
    with client.websocket_connect(f"/api/recordings/{number}/sound?rate={RATE}&format={form}") as socket:
        for start in range(0, len(scaled), RATE // 4):
            socket.send_bytes(scaled[start : start + RATE // 4].tobytes())
        heard = len(sound) / RATE
        until(lambda: answered(client.get(f"/api/recordings/{number}"))["heard"] >= heard - 0.01)
        return [socket.receive_json()]


@pytest.mark.parametrize("form", ["s16le", "f32le"])
def test_a_browsers_sound_becomes_clips(state: State, client: Callable[..., Any], form: str) -> None:
    own = client("administer")
    number = begun(own)
    first = send(own, number, hum(5.5), form)[0]
    assert (first["type"], first["id"], first["done"]) == ("recording", number, False)
    done = answered(own.post(f"/api/recordings/{number}/stop"))
    assert (done["clips"], done["seconds"], done["left_out"], done["done"]) == (5, 5.0, 0, True)
    assert done["level"] == pytest.approx(-22.9, abs=1)
    assert done["problems"] == ["5 clips are few: a model that promises a rate of false alarms needs 20"]
    clips = sorted((state.folder / "recordings" / number).glob("*.flac"))
    sound = np.concatenate([soundfile.read(each, dtype="float32")[0] for each in clips])
    np.testing.assert_allclose(sound, hum(5.5)[: 5 * RATE], atol=1e-4)
    assert answered(own.get("/api/recordings"))["recordings"] == [done]
    again = Recordings(state.folder / "recordings")  # after a restart
    assert again.find(number).to_dict() | {"level": 0, "peak": 0, "heard": 0} == done | {
        "level": 0,
        "peak": 0,
        "heard": 0,
    }
    assert own.delete(f"/api/recordings/{number}").status_code == 204
    assert not clips[0].exists()


@pytest.mark.parametrize(
    ("sound", "problem"),
    [
        (np.zeros(8 * RATE, np.float32), "silence"),
        (np.clip(hum(12, 8.0), -1, 1), "full scale"),
        (hum(6, 0.0001), "the recording is quiet: move the microphone closer, or turn the gain up, and record again"),
        (np.concatenate([hum(7, 0.02), hum(3, 0.2)]), "the level jumped by +20 dB in clip 8: did the machine change?"),
    ],
    ids=["silence", "clipping", "quiet", "jump"],
)
def test_what_is_wrong_is_told_while_it_is_recorded(client: Callable[..., Any], sound: Any, problem: str) -> None:
    own = client("administer")
    number = begun(own)
    send(own, number, sound)
    found = answered(own.get(f"/api/recordings/{number}"))
    assert not found["done"]
    assert any(problem in text for text in found["problems"]), found["problems"]
    answered(own.post(f"/api/recordings/{number}/stop"))


def test_a_recording_ends_as_long_as_was_wanted(client: Callable[..., Any]) -> None:
    own = client("administer")
    number = begun(own, seconds=3)
    with own.websocket_connect(f"/api/recordings/{number}/sound?rate={RATE}&format=f32le") as socket:
        for start in range(0, 5 * RATE, RATE):
            socket.send_bytes(hum(5)[start : start + RATE].tobytes())
        until(lambda: answered(own.get(f"/api/recordings/{number}"))["done"])
    found = answered(own.get(f"/api/recordings/{number}"))
    assert (found["clips"], found["why"]) == (3, "as long as was wanted")
    refused = own.get(f"/api/recordings/{number}")
    assert refused.status_code == 200
    with pytest.raises(Exception) as caught, own.websocket_connect(f"/api/recordings/{number}/sound?rate={RATE}"):  # noqa: PT011
        pytest.fail("it is done")
    assert getattr(caught.value, "status_code", 409) == 409


def test_a_page_that_was_closed_ends_its_recording(client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "_IDLE", 0.5)
    own = client("administer")
    number = begun(own)
    send(own, number, hum(2.0))
    until(lambda: answered(own.get(f"/api/recordings/{number}"))["done"])
    assert answered(own.get(f"/api/recordings/{number}"))["why"].startswith("no sound has come for ")


def test_bytes_that_are_no_samples_are_told_and_change_nothing(client: Callable[..., Any]) -> None:
    own = client("administer")
    number = begun(own)
    with own.websocket_connect(f"/api/recordings/{number}/sound?rate={RATE}") as socket:
        socket.send_bytes(b"abc")
        error = socket.receive_json()
        socket.send_bytes((hum(1.5) * 32767).astype("<i2").tobytes())
        until(lambda: answered(own.get(f"/api/recordings/{number}"))["clips"] == 1)
    assert error == {"type": "error", "error": "a message of 3 bytes holds no whole samples of s16le, 2 bytes each"}
    answered(own.post(f"/api/recordings/{number}/stop"))


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ({"name": "a"}, 422, "give either machine, which is listened to here, or browser: true, which sends sound"),
        ({"name": "a", "machine": "b", "browser": True}, 422, "give either machine"),
        ({"name": " \n", "browser": True}, 422, "name: expected 1 to 60 characters that can be shown"),
        (
            {"name": "a", "machine": "fan"},
            409,
            "no listener runs in this server: record with a browser, or start it with",
        ),
        ({"name": "a", "browser": True, "seconds": 1e9}, 422, "seconds"),
        ({"name": "a", "browser": True, "clip_seconds": -1}, 422, "clip_seconds"),
        ({"name": "a" * 61, "browser": True}, 422, "name"),
    ],
)
def test_what_cannot_be_recorded_is_one_line(client: Callable[..., Any], body: Any, code: int, text: str) -> None:
    answer = client("administer").post("/api/recordings", json=body)
    assert answer.status_code in (code, 400 if code == 422 else code), answer.text
    assert text in answer.json()["error"]


def test_recordings_are_limited_in_number_and_on_disk(
    state: State, client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = client("administer")
    assert client("feedback").post("/api/recordings", json={"name": "a", "browser": True}).status_code == 403
    numbers = [begun(own) for _ in range(8)]
    wanted = {"name": "a", "browser": True}
    error = answered(own.post("/api/recordings", json=wanted), 409)["error"]
    assert error == "8 recordings are under way, which is the most; stop one first"
    for each in numbers:
        answered(own.post(f"/api/recordings/{each}/stop"))
    with monkeypatch.context() as patch:
        patch.setattr(recording.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        error = answered(own.post("/api/recordings", json=wanted), 507)["error"]
        assert error == "recordings take 0.0 GB, and 0.0 GB are free: delete some first"
        assert len(list((state.folder / "recordings").iterdir())) == 8  # nothing is left of it
    assert answered(own.get("/api/recordings/none"), 404)["error"].startswith(
        "no recording 'none'; GET /api/recordings"
    )


# ---------------------------------------------------------------------------------------------------------------- fits


def recorded(client: Any, seconds: float = 24.0) -> str:
    number = begun(client)
    send(client, number, hum(seconds))
    answered(client.post(f"/api/recordings/{number}/stop"))
    return number


def finished(client: Any, job: str) -> Any:
    """Wait for a job, and return what is said of it."""
    path = f"/api/jobs/{job}"
    until(lambda: answered(client.get(path))["state"] not in ("waiting", "running"))
    return answered(client.get(path))


def test_a_model_learns_from_a_recording_and_is_served(state: State, client: Callable[..., Any]) -> None:
    own = client("administer")
    number = recorded(own)
    job = answered(own.post("/api/fits", json={"recording": number, "name": "Pump 7"}), 202)
    assert (job["kind"], job["result"]) == ("fit", None)
    done = finished(own, job["id"])
    assert done["state"] == "done", done
    assert done["result"]["model"] == "Pump 7"
    assert (done["result"]["clips"], done["text"]) == (24, "Pump 7 has learned from 24 clips, and is served")
    assert done["result"]["promise"].startswith("About ")
    (model,) = answered(own.get("/api/models"))["models"]
    assert (model["name"], model["training_clips"]) == ("Pump 7", 24)
    assert [each.name for each in (state.folder / "models").iterdir()] == ["Pump 7.asd"]
    with asd.load(state.folder / "models" / "Pump 7.asd", cache=False) as loaded:
        assert loaded.clips == 24
    taken = answered(own.post("/api/fits", json={"recording": number, "name": "pump 7"}), 409)
    assert taken["error"] == "name: a model 'pump 7' is there already; choose another name"


def test_a_model_made_here_is_served_after_a_restart(state: State, server: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "again"
    (folder / "models").mkdir(parents=True)
    for name in ("one.asd", ".two.asd"):
        (folder / "models" / name).write_bytes(b"no model")
    running = server(folder=folder)
    found = answered(running.client("look").get("/api/models"))["models"]
    assert [each["name"] for each in found] == ["one"]


def test_a_fit_that_fails_leaves_nothing(state: State, client: Callable[..., Any]) -> None:
    own = client("administer")
    number = recorded(own, 1.5)
    job = answered(own.post("/api/fits", json={"recording": number, "name": "a"}), 202)
    done = finished(own, job["id"])
    assert done["state"] == "failed"
    assert "\n" not in done["text"]
    assert "clip" in done["text"]
    assert list((state.folder / "models").iterdir()) == []
    retry = answered(own.post("/api/fits", json={"recording": number, "name": "a"}), 202)  # the name is free again
    finished(own, retry["id"])


def test_a_fit_can_be_ended(state: State, client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    own = client("administer")
    number = recorded(own, 3)
    waiting = []

    def slow(folder: Path, **options: Any) -> Any:
        from asd.plugin import track

        for each in track(range(10_000), "learning slowly"):
            waiting.append(each)
            __import__("time").sleep(0.01)

    monkeypatch.setattr(asd, "fit", slow)
    first = answered(own.post("/api/fits", json={"recording": number, "name": "a"}), 202)
    second = answered(own.post("/api/fits", json={"recording": number, "name": "b"}), 202)
    shown = until(lambda: (each := answered(own.get(f"/api/jobs/{first['id']}")))["done"] > 3 and each)
    assert (shown["state"], shown["text"], shown["total"]) == ("running", "learning slowly", 10_000)
    assert answered(own.delete(f"/api/recordings/{number}"), 409)["error"].startswith("a model is learning from this")
    assert answered(own.delete(f"/api/jobs/{second['id']}"))["state"] == "cancelled"
    answered(own.delete(f"/api/jobs/{first['id']}"))
    done = finished(own, first["id"])
    assert (done["state"], done["text"]) == ("cancelled", "ended before its time")
    assert list((state.folder / "models").iterdir()) == []
    assert answered(own.get("/api/jobs/none"), 404)["error"] == "no job 'none'; jobs are forgotten when the server ends"
    third = answered(own.post("/api/fits", json={"recording": number, "name": "b"}), 202)  # its name is free again
    answered(own.delete(f"/api/jobs/{third['id']}"))


@pytest.mark.parametrize(
    "name", ["../up", "a/b", "", ".hidden", "a..b", "con:", "x" * 61, "a\n/../b", "a\x00", "-rf", "trailing."]
)
def test_names_that_lead_elsewhere_are_refused(client: Callable[..., Any], name: str) -> None:
    answer = client("administer").post("/api/fits", json={"recording": "0" * 16, "name": name})
    assert answer.status_code in (400, 422)
    assert "name" in answer.json()["error"]


def test_names_of_all_languages_are_taken() -> None:
    assert [safe_name(each) for each in ("Pumpe Süd  2", "泵 1", "a-b_c.d+e", "7")] == [
        "Pumpe Süd 2", "泵 1", "a-b_c.d+e", "7",
    ]  # fmt: skip


def test_a_fit_needs_a_recording_that_is_done(client: Callable[..., Any]) -> None:
    own = client("administer")
    number = begun(own)
    wanted = {"recording": number, "name": "a"}
    assert answered(own.post("/api/fits", json=wanted), 409)["error"] == "this recording is under way; stop it first"
    answered(own.post(f"/api/recordings/{number}/stop"))
    assert answered(own.post("/api/fits", json=wanted), 409)["error"] == "this recording has no clip; record again"


def test_a_machine_that_is_listened_to_is_recorded(
    tmp_path: Path, server: Callable[..., Any], plant_folder: Path
) -> None:
    plant = copied(plant_folder, tmp_path / "copy")
    running = server(listen=plant / "plant.toml")
    own = running.client("administer")
    body = {"name": "pump, healthy", "machine": "pump 1", "seconds": 3}
    number = answered(own.post("/api/recordings", json=body), 201)["id"]
    until(lambda: answered(own.get(f"/api/recordings/{number}"))["done"])
    found = answered(own.get(f"/api/recordings/{number}"))
    assert (found["clips"], found["clip_seconds"], found["why"]) == (3, 1.0, "as long as was wanted")
    (clip, *_) = sorted((running.state.folder / "recordings" / number).glob("*.flac"))
    assert soundfile.info(clip).frames == RATE
    assert json.loads((clip.parent / "recording.json").read_text())["machine"] == "pump 1"
    error = answered(own.post("/api/recordings", json={**body, "machine": "nobody"}), 404)["error"]
    assert error.startswith("no machine 'nobody'")
