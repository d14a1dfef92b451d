"""Recordings that clients send: judged as `asd.score` judges them, many at a time, each with its own answer."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

import asd
from asd.experiment import Model
from asd_serve.app import opened
from asd_serve.state import State
from waiting import PATIENCE, until

RATE = 16000
BANDS: dict[str, Any] = {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"}


def sound(seed: int, seconds: float = 2.0, rate: int = RATE) -> np.ndarray[Any, Any]:
    """Return a machine's sound, int16; each seed has its own."""
    rng = np.random.default_rng(seed)
    moments = np.arange(round(seconds * rate)) / rate
    tone = 2000 * np.sin(2 * np.pi * 97 * moments) * (1 + 0.2 * np.sin(2 * np.pi * 3 * moments))
    return np.asarray(tone + rng.normal(0, 400 * (1 + seed % 7), len(moments)), np.int16)


def wav(samples: Any, rate: int = RATE, form: str = "WAV", **how: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, **how)
    return file.getvalue()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the files of two models: one of two-second clips, one that knows states."""
    folder = tmp_path_factory.mktemp("models")
    asd.fit([(sound(seed), RATE) for seed in range(12)], **BANDS).save(folder / "pump.asd")
    rows = ["path,speed"]
    for seed in range(12):
        soundfile.write(folder / f"{seed}.wav", sound(seed) // (1 + seed % 2 * 9), RATE)
        rows.append(f"{seed}.wav,{'slow' if seed % 2 else 'fast'}")
    (folder / "states.csv").write_text("\n".join(rows))
    asd.fit(folder / "states.csv", group="speed", **BANDS).save(folder / "states.asd")
    return {"pump": folder / "pump.asd", "states": folder / "states.asd"}


@pytest.fixture(scope="module")
def client(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with serving(State(tmp_path_factory.mktemp("server"), files)) as found:
        yield found


class serving:  # noqa: N801 - used as a function
    """Serve a state in this process, with a key that may look, until the models are ready."""

    def __init__(self, state: State, role: Any = "look", *, ready: bool = True) -> None:
        self.state, self.role, self.ready = state, role, ready

    def __enter__(self) -> TestClient:
        self._opened = opened(self.state)
        app = self._opened.__enter__()
        _, key = self.state.keys.create("test", self.role)
        headers = {"Authorization": f"Bearer {key}"}
        self._client = TestClient(app, base_url="http://127.0.0.1", headers=headers, raise_server_exceptions=False)
        self._client.__enter__()
        if self.ready:
            until(lambda: self._client.get("/readyz").status_code == 200, lambda: self._client.get("/readyz").json())
        return self._client

    def __exit__(self, *error: object) -> None:
        self._client.__exit__(None, None, None)
        self._opened.__exit__(None, None, None)


def score(client: TestClient, body: bytes, model: str = "pump", **how: Any) -> Any:
    answer = client.post(f"/api/models/{model}/score", content=body, **how)
    assert answer.status_code == 200, answer.text
    return answer.json()


def local(path: Path, name: str, model: Path, **how: Any) -> list[dict[str, Any]]:
    """Return what `asd.score` says of a file, under another name."""
    return [
        json.loads(json.dumps(each.to_dict()).replace(json.dumps(str(path))[1:-1], name))
        for each in asd.score(model, path, cache=False, **how)
    ]


def without_place(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in ("start", "duration")} for row in rows]


# ------------------------------------------------------------------------------------ the same as on the command line


@pytest.mark.parametrize(
    ("form", "how", "seconds", "channels"),
    [
        ("WAV", {}, 2.0, 1),
        ("WAV", {"subtype": "FLOAT"}, 2.0, 2),
        ("FLAC", {}, 9.0, 1),
        ("OGG", {}, 2.0, 1),
        ("MP3", {}, 2.0, 1),
        ("AIFF", {}, 2.3, 3),
    ],
)
def test_a_recording_gets_the_verdicts_of_asd_score(
    client: TestClient, files: dict[str, Path], tmp_path: Path, form: str, how: Any, seconds: float, channels: int
) -> None:
    samples = np.stack([sound(20 + channel, seconds) for channel in range(channels)], axis=1)
    path = tmp_path / f"clip.{form.lower()}"
    path.write_bytes(wav(samples, form=form, **how))
    answer = score(client, path.read_bytes(), params={"name": "clip"})
    assert without_place(answer["clips"]) == local(path, "clip", files["pump"])
    assert answer["seconds"] == pytest.approx(seconds, abs=0.1)


def test_real_recordings_get_the_verdicts_of_asd_score(shared: Path, tmp_path: Path) -> None:
    healthy = sorted((shared / "data" / "fan_id_00" / "normal").glob("*.flac"))
    others = sorted((shared / "data" / "fan_id_00" / "abnormal").glob("*.flac"))[:4]
    path = tmp_path / "fan.asd"
    with asd.fit(healthy[:12], cache=False) as model:  # the default pipeline: five branches, a network among them
        model.save(path)
    with serving(State(tmp_path / "server", {"fan": path})) as client, ThreadPoolExecutor(8) as pool:
        recordings = [*healthy[12:16], *others]
        answers = list(pool.map(lambda each: score(client, each.read_bytes(), "fan", params={"name": "x"}), recordings))
    for recording, answer in zip(recordings, answers, strict=True):
        (row,), (expected,) = without_place(answer["clips"]), local(recording, "x", path)
        branches, others_ = row.pop("branches"), expected.pop("branches")
        assert row.pop("score") == pytest.approx(expected.pop("score"), rel=1e-5)  # the last bits of a network's batch
        assert row == expected
        assert [each["name"] for each in branches] == [each["name"] for each in others_]
        assert [each["score"] for each in branches] == pytest.approx([each["score"] for each in others_], rel=1e-5)


def test_cut_as_the_caller_says(client: TestClient, files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(wav(sound(3, 12.0)))
    for text, segment in (("none", None), ("3", 3.0), ("auto", "auto")):
        answer = score(client, path.read_bytes(), params={"name": "long", "segment": text})
        assert without_place(answer["clips"]) == local(path, "long", files["pump"], segment=segment)
    assert [row["start"] for row in answer["clips"]] == [0, 2, 4, 6, 8, 10]
    assert answer["clips"][1]["clip"] == "long [2–4 s]"


def test_raw_pcm_is_a_recording(client: TestClient) -> None:
    samples = sound(5)
    expected = without_place(score(client, wav(samples), params={"name": "x"})["clips"])
    kinds = {
        "s16le": samples.astype("<i2").tobytes(),
        "f32le": (samples / 32768).astype("<f4").tobytes(),
        "s32le": (samples.astype("<i4") << 16).tobytes(),
        "s24le": (samples.astype("<i4") << 8).view(np.uint8).reshape(-1, 4)[:, :3].tobytes(),
    }
    for form, body in kinds.items():
        header = {"Content-Type": f"audio/pcm;rate={RATE};channels=1;format={form}"}
        answer = score(client, body, headers=header, params={"name": "x"})
        assert without_place(answer["clips"]) == expected, form
    quiet = score(client, bytes(128 for _ in range(RATE)), headers={"Content-Type": "audio/pcm;rate=8000;format=u8"})
    assert any("silence" in note for note in quiet["clips"][0]["notes"])


def test_a_form_with_a_file(client: TestClient) -> None:
    body = wav(sound(6))
    answer = client.post(
        "/api/models/pump/score", files={"other": b"x" * 1000, "file": ("<b>a\n../b.wav", body)}, data={"name": "no"}
    ).json()
    assert answer["clips"][0]["clip"] == "<b>a%0A../b.wav"  # as the client's library escapes it; text, and no path
    assert without_place(answer["clips"])[0] == {
        **without_place(score(client, body)["clips"])[0], "clip": "<b>a%0A../b.wav"
    }  # fmt: skip


def test_an_operating_state_is_named(client: TestClient, files: dict[str, Path], tmp_path: Path) -> None:
    body = wav(sound(7) // 10)
    answer = score(client, body, "states", params={"state": "slow"})
    assert answer["clips"][0]["state"] == "slow"
    answer = client.post("/api/models/states/score", content=body, params={"state": "off"})
    assert answer.status_code == 422
    assert answer.json()["error"] == ("state 'off' is none of those that the model was fitted with (fast, slow)")
    answer = client.post("/api/models/pump/score", content=body, params={"state": "slow"})
    assert answer.json()["error"] == "state: this model knows no operating states; leave it out"


def test_another_alarm_level_and_windows(client: TestClient, files: dict[str, Path]) -> None:
    body = wav(sound(3))
    plain = score(client, body)
    with Model.load(files["pump"], cache=False) as model:
        lowest = model.calibration.lowest_rate
        decision = vars(model.calibration.decide(lowest * 6))
    other = score(client, body, params={"false_alarms_per_hour": lowest * 6, "windows": "true"})
    assert other["decision"] == decision != plain["decision"]
    assert other["clips"][0]["anomalous"] == (plain["clips"][0]["p_value"] <= decision["level"])
    assert len(other["clips"][0]["window_scores"]) == len(other["clips"][0]["window_start"]) == 2
    answer = client.post("/api/models/pump/score?false_alarms_per_hour=0.001", content=body)
    assert answer.status_code == 400
    assert "the lowest rate they support is" in answer.json()["error"]


def test_the_most_unusual_clip_is_explained(client: TestClient) -> None:
    samples = sound(3, 8.0).astype(float)
    samples[4 * RATE : 6 * RATE] += 8000 * np.sin(2 * np.pi * 3000 * np.arange(2 * RATE) / RATE)
    answer = score(client, wav(samples.astype(np.int16)), params={"explain": "true", "name": "x.wav"})
    found = answer["explanation"]
    assert answer["clips"][found["clip"]]["clip"] == "x.wav [4–6 s]"
    assert found["error"] is None
    assert found["findings"][0]["low"] < 3000 < found["findings"][0]["high"]
    assert "x.wav [4–6 s]: anomalous" in found["sentences"][0]
    assert "spool" not in json.dumps(answer)


# ------------------------------------------------------------------------------------------------------------- together


def test_nobody_gets_the_answer_of_another(client: TestClient, files: dict[str, Path]) -> None:
    bodies = [wav(sound(seed, 0.5 + seed % 5 * 0.4)) for seed in range(60)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: score(client, bodies[i], params={"name": str(i)}), range(len(bodies))))
    expected = [
        next(asd.score(files["pump"], [(sound(seed, 0.5 + seed % 5 * 0.4), RATE)], cache=False, segment=None))
        for seed in range(60)
    ]
    assert [answer["clips"][0]["clip"] for answer in answers] == [str(i) for i in range(60)]
    assert [answer["clips"][0]["score"] for answer in answers] == [each.score for each in expected]
    assert len({answer["clips"][0]["score"] for answer in answers}) == 60
    text = client.get("/metrics").text
    passes = float(text.split("asd_serve_pass_clips_count ")[1].split()[0])
    clips = float(text.split("asd_serve_pass_clips_sum ")[1].split()[0])
    assert clips > 1.5 * passes  # they were judged together


def test_clips_of_several_callers_are_cut_by_processes_and_are_the_same(
    client: TestClient, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cutters = client.app.state.serve.judging.batcher._cutters  # type: ignore[attr-defined]
    bodies = [wav(sound(seed, 0.5 + seed % 5 * 0.4)) for seed in range(24)]
    cut: list[bool] = []
    own = cutters.cut
    monkeypatch.setattr(cutters, "cut", lambda *given: cut.append((found := own(*given)) is not None) or found)
    with ThreadPoolExecutor(8) as pool:

        def all_scored() -> list[Any]:
            rows = [answer["clips"][0] for answer in pool.map(lambda body: score(client, body), bodies)]
            return [{name: row[name] for name in ("score", "p_value", "notes")} for row in rows]

        first = all_scored()
        until(lambda: all_scored() and True in cut[-8:])
        assert all_scored() == first
    with ThreadPoolExecutor(1) as alone:
        cut.clear()
        assert [alone.submit(score, client, body).result()["clips"][0]["score"] for body in bodies] == [
            row["score"] for row in first
        ]
    assert cut == [], "who is alone waits for no other process"


def test_a_clip_that_fails_does_not_harm_the_others(client: TestClient) -> None:
    good, bad = wav(sound(1)), wav(np.full(RATE, np.nan), subtype="FLOAT")
    expected = score(client, good)["clips"][0]["score"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda body: client.post("/api/models/pump/score", content=body), [good, bad, good, bad] * 4)
        )
    for each in answers[::2]:
        assert each.json()["clips"][0]["score"] == expected
    for each in answers[1::2]:
        assert each.status_code == 422
        assert each.json()["error"].startswith("upload: holds NaN or infinite samples, the first at 0 s")


def test_models_that_compute_the_same_share_it(client: TestClient) -> None:
    one, other = (each.model for each in client.app.state.serve.judging.models.served)  # type: ignore[attr-defined]
    assert one is not other
    assert one.pipeline.extractor is other.pipeline.extractor
    assert one.pipeline.frontend is other.pipeline.frontend


# --------------------------------------------------------------------------------------------------------------- models


def test_what_is_served(client: TestClient, files: dict[str, Path]) -> None:
    pump, states = client.get("/api/models").json()["models"]
    assert pump["name"] == "pump"
    assert pump["clip_seconds"] == 2.0
    assert pump["training_clips"] == 12
    assert states["states"] == ["fast", "slow"]
    assert "band-levels" in pump["pipeline"]
    assert pump["promise"].startswith("about ")
    assert client.get("/api/models/pump").json() == pump
    answer = client.get("/api/models/mixer")
    assert (answer.status_code, answer.json()) == (404, {"error": "no model 'mixer'; served are pump, states"})


def test_models_become_ready_in_the_background(files: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.asd"
    broken.write_bytes(b"no model")
    go_on = threading.Event()

    def load(path: Path) -> asd.Model:
        if path == files["states"]:
            go_on.wait(PATIENCE)
        return asd.load(path, cache=False)

    models = {"broken": broken, "pump": files["pump"], "late": files["states"]}
    with serving(State(tmp_path / "server", models, load=load), ready=False) as client:
        until(lambda: client.get("/readyz").json()["models"]["pump"] == "ready")
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["models"]["late"] == "loading"
        assert answer.json()["models"]["broken"].startswith(f"{broken}: ")
        score(client, wav(sound(1)))
        late = client.post("/api/models/late/score", content=wav(sound(1)))
        assert (late.status_code, late.headers["retry-after"]) == (503, "2")
        assert late.json()["error"] == "the model 'late' is still loading; try again in 2 s"
        never = client.post("/api/models/broken/score", content=b"x")
        assert never.status_code == 503
        assert never.json()["error"].startswith(f"the model 'broken' cannot be used: {broken}: ")
        go_on.set()


def test_a_model_is_added_replaced_and_removed(client: TestClient, files: dict[str, Path], tmp_path: Path) -> None:
    models = client.app.state.serve.judging.models  # type: ignore[attr-defined]
    models.add("new", files["pump"])
    assert score(client, wav(sound(1)), "new")["clips"] == score(client, wav(sound(1)))["clips"]
    broken = tmp_path / "broken.asd"
    broken.write_bytes(b"no model")
    with pytest.raises(asd.AsdError, match=r"broken\.asd"):
        models.add("new", broken)
    score(client, wav(sound(1)), "new")
    models.remove("new")
    assert client.get("/api/models/new").status_code == 404


def test_requests_and_clips_are_counted(client: TestClient) -> None:
    score(client, wav(sound(1)))
    client.post("/api/models/<script>/score", content=b"x")
    text = client.get("/metrics").text
    assert 'asd_serve_requests_total{method="POST",path="/api/models/{model}/score",status="200"}' in text
    assert 'asd_serve_requests_total{method="POST",path="/api/models/{model}/score",status="404"}' in text
    assert "<script>" not in text
    assert 'asd_serve_clips_total{model="pump",verdict="normal"}' in text
    assert "asd_serve_models_ready 2.0" in text
    assert "asd_serve_clips_waiting 0.0" in text
    assert 'asd_serve_request_seconds_bucket{le="0.1",path="/api/models/{model}/score"}' in text
