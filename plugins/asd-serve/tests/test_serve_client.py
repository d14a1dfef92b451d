"""`asd.client.Client` and ``asd score http://…`` against a real server: what comes back is what is said here."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.client import Client
from asd.errors import ServerError

ASD = os.environ["ASD_COMMAND"]
DATA = Path(__file__).resolve().parents[3] / "examples" / "data"


@pytest.fixture(scope="module")
def fan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model of two branches and two states, one in each folder."""
    folder = tmp_path_factory.mktemp("fan")
    for number, path in enumerate(sorted((DATA / "train").rglob("*.flac"))):
        place = folder / "train" / ("slow" if number % 2 else "fast")
        place.mkdir(parents=True, exist_ok=True)
        (place / path.name).symlink_to(path)
    levels = {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"}
    statistics = {"extractor": "mel-statistics", "detector": "knn"}
    branches = [{"name": "level", **levels}, {"name": "spectrum", **statistics}]
    asd.fit(folder / "train", branches=branches, group="folder", cache=False).save(folder / "fan.asd")
    return folder / "fan.asd"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder: clips, a long recording that is cut, a silent one, one that is no sound, and a list of parts."""
    folder = tmp_path_factory.mktemp("today")
    found = sorted((DATA / "test").rglob("*.flac"))
    for number, path in enumerate(found[:4]):
        (folder / f"{number} [a] %20.flac").symlink_to(path)
    sound, rate = soundfile.read(found[0])
    soundfile.write(folder / "long.wav", np.concatenate([sound] * 4), rate)
    soundfile.write(folder / "silent.wav", np.zeros(rate * 10), rate)
    (folder / "broken.wav").write_bytes(b"no sound")
    (folder / "lists").mkdir()
    (folder / "lists" / "parts.csv").write_text("path,start,end\n../long.wav,2.5,12.5\n../long.wav,0,10\n")
    return folder


def told(results: Any) -> list[Any]:
    return [each.to_dict() if each.ok else str(each.error) for each in results]


def test_what_a_server_says_is_what_is_said_here(server: Callable[..., Any], fan: Path, recordings: Path) -> None:
    running = server({"fan": fan})
    for given in (recordings, recordings / "lists" / "parts.csv"):
        here = list(asd.score(fan, given, cache=False))
        with Client(running.url, running.key("look")) as client:
            there = list(client.score(given))
        assert len(here) == len(there) > 1
        assert told(there) == told(here)
        for own, other in zip(here, there, strict=True):
            if isinstance(own, asd.Verdict):
                assert own == other
                assert repr(own) == repr(other)
                np.testing.assert_array_equal(own.window_scores, other.window_scores)
                np.testing.assert_array_equal(own.window_start, other.window_start)


def test_arrays_states_and_segments_too(server: Callable[..., Any], fan: Path, recordings: Path) -> None:
    running = server({"fan": fan})
    sound, rate = soundfile.read(recordings / "long.wav", dtype="float32")
    train = fan.parent / "train"
    for given, options in (
        ([sound[: 10 * rate], sound[:, None][5 * rate : 15 * rate]], {"rate": rate}),
        ((sound * 0.5, rate), {"segment": 5.0}),
        (recordings / "long.wav", {"segment": None}),
        (train, {"state": "folder"}),
    ):
        here = list(asd.score(fan, given, cache=False, **options))
        with Client(running.url, running.key("look")) as client:
            assert told(client.score(given, **options)) == told(here)
    assert {each.state for each in here} == {"slow", "fast"}


def test_the_command_says_the_same(server: Callable[..., Any], fan: Path, recordings: Path) -> None:
    running = server({"fan": fan})
    for words in ([], ["--json"], ["--csv"], ["--false-alarms", "20/hour"], ["--strict"], ["--json", "--segment", "4"]):
        done = [
            subprocess.run(
                [ASD, "score", model, str(recordings), *words, *more],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "ASD_KEY": running.key("look"), "COLUMNS": "100"},
            )
            for model, more in ((str(fan), ["--no-cache"]), (f"{running.url}/fan", []))
        ]
        here, there = done
        assert there.returncode == here.returncode, there.stderr
        assert there.stdout == here.stdout
    assert json.loads(there.stdout)["summary"]["clips"] > 10


def test_keys_and_names_that_are_wrong(server: Callable[..., Any], fan: Path, recordings: Path) -> None:
    running = server({"fan": fan})
    with pytest.raises(ServerError, match="asks for a key; 'asd serve key create' makes one on the server"):
        Client(running.url, "").models()
    with pytest.raises(ServerError, match="does not accept this key"):
        Client(running.url, "asd_0000_wrong").models()
    client = Client(running.url, running.key("look"))
    assert [each["name"] for each in client.models()] == ["fan"]
    with pytest.raises(ServerError, match="no model 'mill'; served are fan"):
        list(client.score(recordings, model="mill"))
    with pytest.raises(ServerError) as caught:
        client.acknowledge("0123456789abcdef")
    assert caught.value.status in (403, 404)


def test_under_a_sub_path(server: Callable[..., Any], fan: Path, recordings: Path) -> None:
    running = server({"fan": fan}, root_path="/asd")
    done = subprocess.run(
        [ASD, "score", f"{running.url}/fan", str(recordings / "long.wav")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ASD_KEY": running.key("look")},
    )
    assert done.returncode in (0, 1), done.stderr
    assert "4 clips: " in done.stdout
    answer = running.client().get("/api/models")
    assert (answer.headers["cache-control"], answer.headers["x-asd-api"]) == ("no-store", "1")


def test_sound_that_comes_is_judged_as_it_comes(
    server: Callable[..., Any], fan: Path, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a proxy leads to other computers."""
    pytest.importorskip("websockets")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    running = server({"fan": fan})
    sound, rate = soundfile.read(recordings / "long.wav", dtype="float32")
    blocks = [sound[start : start + rate // 2] for start in range(0, 25 * rate, rate // 2)]
    with Client(running.url, running.key("look")) as client:
        found = list(client.stream(blocks, rate, model="fan", hop=5.0))
    scorer = asd.LiveScorer(asd.load(fan, cache=False), hop=5.0)
    stream = scorer.stream("stream")
    expected = [each for block in blocks for each in scorer.judge(stream.push(block[:, None], rate))]
    assert len(found) == len(expected) >= 3
    assert [each.p_value for each in found] == [each.p_value for each in expected]
    assert [each.score for each in found] == pytest.approx([each.score for each in expected])
    assert [each.clip.start for each in found] == [5.0 * number for number in range(len(found))]
    with pytest.raises(ServerError, match="does not accept the key for a stream"):
        list(Client(running.url, "asd_0_x").stream(blocks, rate, model="fan"))
    with pytest.raises(ServerError, match="no stream can be opened"):
        list(client.stream(blocks, rate, model="mill"))


def test_several_clients_at_once_have_their_own_answers(
    server: Callable[..., Any], fan: Path, recordings: Path
) -> None:
    running = server({"fan": fan})
    files = sorted(recordings.glob("? *.flac"))
    expected = {each.clip.path: each.score for each in asd.score(fan, files, cache=False)}
    found: list[Any] = []

    def ask(order: list[Path]) -> None:
        with Client(running.url, running.key("look"), workers=2) as client:
            found.extend(client.score(order))

    threads = [threading.Thread(target=ask, args=(files[number:] + files[:number],)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 16
    assert [each.score for each in found] == [expected[each.clip.path] for each in found]


def test_machines_and_events_are_asked_for_and_answered(server: Callable[..., Any], history: Path) -> None:
    running = server(history=history)
    with Client(running.url, running.key("feedback")) as client:
        (machine,) = client.machines()
        assert client.machine("pump <1>") == machine
        assert machine["name"] == "pump <1>"
        assert "points" in client.series("pump <1>", since=0.0, points=10)
        assert [each["kind"] for each in client.events()] == ["alarm", "condition", "started"]
        (alarm,) = client.events(machine="pump <1>", severity="alarm")
        assert client.event(alarm["id"])["explanation"]["text"] == "14 dB louder at 2.1–2.6 kHz"
        assert client.picture(alarm["id"]).startswith(b"\x89PNG")
        assert client.audio(alarm["id"]).startswith(b"fLaC")
        client.acknowledge(alarm["id"])
        client.note(alarm["id"], "bearing <b>")
        client.judge(alarm["id"], "fault")
        told = client.event(alarm["id"])
        assert (told["judgement"], [each["text"] for each in told["notes"]]) == ("fault", ["bearing <b>"])
        assert told["acknowledged"] is not None
        client.judge(alarm["id"], None)
        assert client.event(alarm["id"])["judgement"] is None
        with pytest.raises(ServerError, match="was not judged; nothing to take back"):
            client.judge(alarm["id"], None)
        with pytest.raises(ServerError) as caught:
            client.machine("mill")
        assert caught.value.status == 404
    with Client(running.url, running.key("look")) as client, pytest.raises(ServerError) as caught:
        client.judge(alarm["id"], "normal")
    assert caught.value.status == 403
