"""What clients send that is no sound, too much of it, or meant to harm: one line each, and nothing is left behind."""

from __future__ import annotations

import gzip
import io
import pickle
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import asd
from asd.experiment import Decoders
from asd_serve.app import opened
from asd_serve.judging.sound import safe_name
from asd_serve.limits import Limits
from asd_serve.state import State
from waiting import PATIENCE, until

RATE = 16000
PUMP = "/api/models/pump/score"


def sound(seed: int, seconds: float = 1.0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(0, 2000, round(seconds * RATE)).astype(np.int16)


def recording(samples: Any, rate: int = RATE, form: str = "WAV", **how: Any) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, **how)
    return file.getvalue()


GOOD = recording(sound(1))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("bad")
    model = folder / "pump.asd"
    pipeline: dict[str, Any] = {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"}
    asd.fit([(sound(seed), RATE) for seed in range(12)], **pipeline).save(model)
    state = State(folder / "server", {"pump": model}, limits=Limits(upload_bytes=3_000_000, rate=10_000, burst=10_000))
    with opened(state) as app:
        _, key = state.keys.create("test", "look")
        headers = {"Authorization": f"Bearer {key}"}
        with TestClient(app, "http://127.0.0.1", headers=headers, raise_server_exceptions=False) as found:
            until(lambda: found.get("/readyz").status_code == 200)
            yield found


def spool(client: TestClient) -> Path:
    found: Path = client.app.state.serve.judging.spool  # type: ignore[attr-defined]
    return found


def sent(
    client: TestClient, body: Any, kind: str = "audio/wav", path: str = "/api/models/pump/score", **how: Any
) -> Any:
    headers = {"Content-Type": kind, **how.pop("headers", {})}
    answer = client.post(path, content=body, headers=headers, **how)
    assert list(spool(client).iterdir()) == []
    assert str(spool(client)) not in answer.text
    return answer


def flac_of_silence(hours: float, *, states_length: bool) -> bytes:
    """Return a FLAC of so many hours of silence, some hundred times smaller than its samples."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 8000, 1, format="FLAC") as written:
        minute = np.zeros(60 * 8000, np.int16)
        for _ in range(round(hours * 60)):
            written.write(minute)
    data = bytearray(file.getvalue())
    if not states_length:  # of STREAMINFO, the lower 36 bits of its bytes 10 to 17
        data[21] &= 0xF0
        data[22:26] = bytes(4)
    return bytes(data)


PCM = "audio/pcm;rate=16000;channels=1;format=s16le"
FORM = "multipart/form-data; boundary=x"
NO_SOUND = "not a recording that libsndfile can read (Format not recognised); expected WAV, FLAC, OGG, MP3 or AIFF"
SEGMENT = "expected auto, none, or seconds, at least 0.05"
BAD: dict[str, tuple[bytes, str, str, int, str]] = {
    "nothing": (b"", "audio/wav", "", 422, "no sound came: the body is empty; send the bytes of a recording"),
    "no PCM": (b"", PCM, "", 422, "no sound came: the body is empty; send the bytes of a recording"),
    "text": (
        b"this is no sound, " * 10, "text/plain", "", 422,
        f"upload: {NO_SOUND}",
    ),
    "a manifest of paths": (
        b"path\n/etc/passwd\n", "text/csv", "?name=x.csv", 422,
        f"x.csv: {NO_SOUND}",
    ),
    "a pickle": (
        pickle.dumps({"a": 1}), "application/octet-stream", "?name=x.npy", 422,
        f"x.npy: {NO_SOUND}",
    ),
    "a length that lies": (
        GOOD[:4] + struct.pack("<I", 36 + 64000) + GOOD[8:40] + struct.pack("<I", 64000) + GOOD[44:], "audio/wav", "",
        422,
        "upload: cut off: its header states 64000 bytes of sound, the file holds 32000; copy it again from its source",
    ),
    "half a header": (GOOD[:30], "audio/wav", "", 422, "upload: "),
    "NaN": (
        np.full(16000, np.nan, "<f4").tobytes(), "audio/pcm;rate=16000;format=f32le", "?name=x", 422,
        "x: holds NaN or infinite samples, the first at 0 s; export it again",
    ),
    "infinite": (
        np.array([0.1] * 8000 + [np.inf] * 8000, "<f4").tobytes(), "audio/pcm;rate=16000;format=f32le", "", 422,
        "upload: holds NaN or infinite samples, the first at 0.5 s; export it again",
    ),
    "an odd byte": (
        bytes(16001), PCM, "", 422,
        "PCM of 16,001 bytes: expected a multiple of 2, a sample of 1 channel(s) in s16le; was it cut off, or is it of "
        "another format?",
    ),
    "half of a stereo sample": (
        bytes(4002), "audio/pcm;rate=16000;channels=2;format=s16le", "", 422,
        "PCM of 4,002 bytes: expected a multiple of 4, a sample of 2 channel(s) in s16le; was it cut off, or is it of "
        "another format?",
    ),
    "no rate": (
        bytes(16), "audio/pcm", "", 422, "PCM needs its sample rate: audio/pcm;rate=48000;channels=1;format=s16le"
    ),
    "rate zero": (
        bytes(16), "audio/pcm;rate=0", "", 422, "rate=0: expected a whole number from 100 to 1,000,000"
    ),
    "rate of a billion": (
        bytes(16), "audio/pcm;rate=1000000000000000000000", "", 422,
        "rate=1000000000000000000000: expected a whole number from 100 to 1,000,000",
    ),
    "a rate that is none": (
        bytes(16), "audio/pcm;rate=-1e3", "", 422, "rate=-1e3: expected a whole number from 100 to 1,000,000"
    ),
    "no channels": (
        bytes(16), "audio/pcm;rate=8000;channels=0", "", 422, "channels=0: expected a whole number from 1 to 16"
    ),
    "no format": (
        bytes(16), "audio/pcm;rate=8000;format=mp3", "", 422,
        "format=mp3: expected one of u8, s16le, s24le, s32le, f32le",
    ),
    "a header of rate zero": (
        GOOD[:24] + bytes(4) + GOOD[28:], "audio/wav", "", 422, "upload: "
    ),
    "many channels": (
        recording(np.zeros((1000, 17), np.int16)), "audio/wav", "", 422, "upload: 17 channels; at most 16 are taken"
    ),
    "no such model": (GOOD, "audio/wav", "!mixer", 404, "no model 'mixer'; served are pump"),
    "no segment": (GOOD, "audio/wav", "?segment=half", 422, f"segment=half: {SEGMENT}"),
    "segment of nothing": (
        GOOD, "audio/wav", "?segment=nan", 422, f"segment=nan: {SEGMENT}"
    ),
    "a form without a boundary": (
        GOOD, "multipart/form-data", "", 422,
        "multipart/form-data without a boundary; let the client's library make the header",
    ),
    "a form that is none": (
        b"hello", FORM, "", 422, "the multipart body is broken ("
    ),
    "a form without a file": (
        b'--x\r\nContent-Disposition: form-data; name="sound"\r\n\r\nabc\r\n--x--\r\n', FORM,
        "", 422, "the form has no part 'file'; send the recording in it: curl -F file=@clip.wav",
    ),
    "a form with an empty file": (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n\r\n--x--\r\n',
        FORM, "", 422, "no sound came: the body is empty; send the bytes of a recording",
    ),
    "too many bytes": (
        bytes(3_000_001), PCM, "", 413,
        "the body has more than 3,000,000 bytes, the most that this path takes; send less",
    ),
}  # fmt: skip


@pytest.mark.parametrize("url", ["s3://bucket/x", "http://127.0.0.1:9/x", "zip://x.wav::s3://bucket/x", "memory://x"])
def test_no_address_of_a_client_is_opened(client: TestClient, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("asd.files.remote.filesystem_of", asked.append)
    monkeypatch.setattr("asd.files.reading.filesystem_of", asked.append)
    for name in (f"{url}.wav", f"{url}.csv", f"{url}.zip"):
        for body in (f"path\n{url}.wav\n".encode(), GOOD):
            answer = sent(client, body, "text/csv", f"/api/models/pump/score?name={quote(name, safe='')}")
            assert answer.status_code == (200 if body is GOOD else 422), answer.text
    for model in (url, f"{url}.asd"):
        assert sent(client, GOOD, path=f"/api/models/{quote(model, safe='')}/score").status_code == 404
    assert not asked


@pytest.mark.parametrize("name", BAD)
def test_one_line_for_each(client: TestClient, name: str) -> None:
    body, kind, query, status, text = BAD[name]
    path = f"/api/models/{query[1:] if query[:1] == '!' else 'pump'}/score{query if query[:1] == '?' else ''}"
    answer = sent(client, body, kind, path)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error == text or (text[-1] in " (" and error.startswith(text)), error
    assert "\n" not in error
    assert sent(client, GOOD).status_code == 200  # nothing is broken by it


@pytest.mark.parametrize("headers", [{}, {"Content-Encoding": "gzip"}])
def test_what_is_packed_is_not_unpacked(client: TestClient, headers: dict[str, str]) -> None:
    answer = sent(client, gzip.compress(bytes(20_000_000), 1), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (422, f"upload: {NO_SOUND}")


@pytest.mark.parametrize("states_length", [True, False])
def test_a_small_file_of_hours_is_not_decoded(client: TestClient, states_length: bool) -> None:
    body = flac_of_silence(1.5, states_length=states_length)
    assert len(body) < 3_000_000
    began = time.perf_counter()
    answer = sent(client, body)
    assert answer.status_code == 413
    assert answer.json()["error"].startswith("upload: ")
    assert "of sound; at most 3,600 s are taken at a time: send it in parts" in answer.json()["error"]
    assert time.perf_counter() - began < PATIENCE / 2


def answered(port: int, head: str, body: Iterator[bytes]) -> bytes:
    """Return what a real server answers to a client that sends until it is told not to."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(head.encode())
        for data in body:
            try:
                connection.settimeout(0.2)
                found = connection.recv(4000)
                connection.settimeout(PATIENCE)
                return found + connection.recv(4000)  # the head, and what it says
            except TimeoutError:
                connection.settimeout(PATIENCE)
                connection.sendall(data)
    return b""


def test_ten_gigabytes_are_refused(server: Any, client: TestClient) -> None:
    running = server(models=client.app.state.serve.models)  # type: ignore[attr-defined]
    head = f"POST {PUMP} HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\nAuthorization: Bearer {running.key()}\r\n"
    at_once = answered(running.port, f"{head}Content-Length: 10000000000\r\n\r\n", iter([b"RIFF"] * 20))
    assert at_once.startswith(b"HTTP/1.1 413 ")
    assert b"the body has more than 100,000,000 bytes, the most that this path takes; send less" in at_once


def test_too_many_clips_and_too_long_ones(client: TestClient) -> None:
    kind = "audio/pcm;rate=1000;format=u8"
    body = np.random.default_rng(0).integers(0, 255, 700_000, np.uint8).tobytes()
    answer = sent(client, body, kind, params={"segment": "0.05"})
    assert (answer.status_code, answer.json()["error"]) == (
        413,
        "upload: 10,001 clips; at most 10,000 are judged at a time: send it in parts, or give longer ones "
        "(segment=SECONDS)",
    )
    answer = sent(client, body, kind, params={"segment": "none"})
    assert (answer.status_code, answer.json()["error"]) == (
        413, "upload: a clip of 700 s; at most 600 s are judged as one: leave segment=none out"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("../../etc/passwd", "../../etc/passwd"),
        ("a\r\nSet-Cookie: x", "a Set-Cookie: x"),
        ("<script>alert(1)</script>.wav", "<script>alert(1)</script>.wav"),
        ("\u202egnp.wav", "gnp.wav"),
        ("\ud800", "upload"),
        ("", "upload"),
        ("x" * 300, "x" * 200 + "…"),
    ],
)
def test_a_name_is_text(text: str, shown: str) -> None:
    assert safe_name(text) == shown


def test_a_name_is_never_opened(client: TestClient, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(recording(sound(3)))
    for name in (str(secret), f"file://{secret}", "*.wav", "/dev/zero", "x.csv", "x.mp3/../../y"):
        row = sent(client, GOOD, params={"name": name}).json()["clips"][0]
        assert row["clip"] == name
        assert row["score"] == sent(client, GOOD).json()["clips"][0]["score"]
        assert sent(client, name.encode(), params={"name": name}).status_code == 422


_HOSTILE = """
import os, signal
from asd.detection import apart_process
decode = apart_process.open_sound
def open_sound(path):
    if path.read_bytes()[:5] == b"CRASH":
        os.kill(os.getpid(), signal.SIGSEGV)
    return decode(path)
apart_process.open_sound = open_sound
apart_process.main()
"""
"""Stands for a decoder with a weakness, and for files that use it."""


def test_a_file_that_makes_the_decoder_crash_is_an_error_of_that_file(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    judging = client.app.state.serve.judging  # type: ignore[attr-defined]
    monkeypatch.setattr("asd.detection.apart._START", f"exec({_HOSTILE!r})")
    monkeypatch.setattr(judging, "decoders", Decoders(1))
    for _ in range(2):
        answer = sent(client, b"CRASH", params={"name": "x.wav"})
        assert (answer.status_code, answer.json()["error"]) == (
            422, "x.wav: cannot be decoded: its decoder ended (SIGSEGV); convert it to WAV"
        )  # fmt: skip
        assert sent(client, GOOD).status_code == 200
    judging.decoders.close()


def test_what_takes_too_long_is_given_up(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    judging = client.app.state.serve.judging  # type: ignore[attr-defined]
    long = recording(sound(1, 80.0))
    monkeypatch.setattr(judging, "limits", msgspec.structs.replace(judging.limits, answer_seconds=0.05))
    answer = client.post(PUMP, content=long, params={"segment": "0.05"})
    assert (answer.status_code, answer.headers["Retry-After"], answer.json()["error"]) == (
        503, "10",
        "the answer takes longer than 0.05 s, the most, and was given up; send shorter recordings, or try again when "
        "fewer wait",
    )  # fmt: skip
    monkeypatch.undo()
    until(lambda: not judging.batcher.waiting and not list(spool(client).iterdir()), "nobody works for it any more")
    assert sent(client, GOOD).status_code == 200


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_recordings(client: TestClient, data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["WAV", "FLAC", "OGG", "AIFF", "MP3", "noise"]))
    body = bytearray(data.draw(st.binary(max_size=400)) if form == "noise" else recording(sound(2, 0.4), form=form))
    for _ in range(data.draw(st.integers(0, 6))):
        if body:
            at = data.draw(st.integers(0, min(len(body) - 1, 200) if data.draw(st.booleans()) else len(body) - 1))
            body[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del body[data.draw(st.integers(0, len(body))) :]
    kind = data.draw(st.sampled_from(["audio/wav", PCM, FORM, "audio/pcm;rate=200;format=u8"]))
    answer = sent(client, bytes(body), kind)
    assert answer.status_code in (200, 413, 422), answer.text
    if answer.status_code != 200:
        error = answer.json()["error"]
        assert "\n" not in error
        assert error
