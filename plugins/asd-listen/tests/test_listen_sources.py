"""Sources, with real pipes, servers and folders."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from asd.errors import AsdError, ConfigError, SourceError
from asd.plugin import Block, Float32, Source, create
from asd_listen.conditions import GAP
from waiting import PATIENCE, until

RATE = 16000


def tone(seconds: float, channels: int = 1, rate: int = RATE) -> Float32:
    time = np.arange(round(seconds * rate)) / rate
    one = (0.25 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    return np.stack([one * (1 - 0.5 * i) for i in range(channels)], axis=1)


def data_of(seconds: float) -> Float32:
    """Return a tone that rises, so that each part of it is another."""
    moment = np.arange(round(seconds * RATE)) / RATE
    return (0.25 * np.sin(2 * np.pi * (200 + 50 * moment) * moment)).astype(np.float32)


def taken(source: Source, seconds: float, missing: float = 0.001) -> list[Block]:
    """Return blocks with so many seconds of sound, of which a codec may miss some."""
    found: list[Block] = []
    end = time.monotonic() + PATIENCE
    blocks = source.blocks()
    for block in blocks:
        if len(block.samples):
            found.append(block)
            seconds -= len(block.samples) / block.sample_rate
        assert time.monotonic() < end, "no sound came"
        if seconds <= missing:
            break
    blocks.close()  # type: ignore[attr-defined]
    return found


def joined(blocks: list[Block]) -> Float32:
    return np.concatenate([block.samples for block in blocks])


# ------------------------------------------------------------------------------------------------------------------ pcm


@pytest.mark.parametrize(("name", "dtype"), [("s16le", "<i2"), ("s32le", "<i4"), ("f32le", "<f4"), ("s24le", "s24")])
def test_raw_samples_through_a_pipe(name: str, dtype: str, tmp_path: Path) -> None:
    sound = tone(1.0, channels=2)
    if dtype == "s24":
        wide = (sound.astype(np.float64) * 2**31).astype("<i4").view(np.uint8).reshape(-1, 4)
        data = np.ascontiguousarray(wide[:, 1:]).tobytes()
    elif dtype == "<f4":
        data = sound.astype("<f4").tobytes()
    else:
        data = (sound.astype(np.float64) * 2 ** (8 * int(dtype[-1]) - 1)).astype(dtype).tobytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("wb") as file:
            for first in range(0, len(data), 1001):  # in pieces that cut samples
                file.write(data[first : first + 1001])
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    source = create("source", "pcm", {"path": str(pipe), "format": name, "channels": 2, "sample_rate": RATE})
    blocks = taken(source, 1.0, missing=1e-6)
    writer.join()
    assert joined(blocks) == pytest.approx(sound, abs=1e-4)


def test_samples_that_come_in_bursts_have_regular_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    blocks: list[Block] = []
    now = [1000.0]
    monkeypatch.setattr("asd_listen.sources.pcm.time", SimpleNamespace(time=lambda: now[0]))

    def write() -> None:
        with pipe.open("wb", buffering=0) as file:
            for number in range(3):  # as FFmpeg does at 16 kHz
                until(lambda number=number: sum(len(each.samples) for each in blocks) == number * RATE)
                now[0] += 1.0
                file.write(bytes(2 * RATE))

    writer = threading.Thread(target=write)
    writer.start()
    source = create("source", "pcm", {"path": str(pipe), "sample_rate": RATE}).blocks()
    while sum(len(each.samples) for each in blocks) < 3 * RATE:
        blocks += [each for each in [next(source)] if len(each.samples)]
    source.close()  # type: ignore[attr-defined]
    writer.join()
    steps = [after.time - before.time - len(before.samples) / RATE for before, after in itertools.pairwise(blocks)]
    assert sum(len(each.samples) for each in blocks) == 3 * RATE
    assert max(map(abs, steps)) < GAP / 5


def test_a_named_pipe_waits_for_the_next_writer(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = (tone(0.5) * 32768).astype("<i2").tobytes()

    def write() -> None:
        for _ in range(3):
            pipe.write_bytes(data)
            time.sleep(0.3)

    source = create("source", "pcm", {"path": str(pipe), "sample_rate": RATE})
    empty = source.blocks()
    assert len(next(empty).samples) == 0  # nobody writes yet, and the listener can end it
    empty.close()  # type: ignore[attr-defined]
    writer = threading.Thread(target=write)
    writer.start()
    blocks = taken(source, 1.5)
    writer.join()
    assert joined(blocks) == pytest.approx(np.concatenate([tone(0.5)] * 3), abs=1e-3)


@pytest.mark.parametrize("pause", [0.0, 2.5])
def test_samples_that_waited_in_a_pipe_have_regular_times(pause: float, tmp_path: Path) -> None:
    """Who reads late, or a recording as fast as it is read, makes neither a gap nor a clock that was set."""
    (tmp_path / "raw").write_bytes((tone(8.0) * 32768).astype("<i2").tobytes())
    source = create("source", "pcm", {"path": str(tmp_path / "raw"), "sample_rate": RATE})
    blocks = []
    for each in source.blocks():
        blocks.append(each)
        if len(blocks) == 10:
            time.sleep(pause)
    steps = [after.time - before.time - len(before.samples) / RATE for before, after in itertools.pairwise(blocks)]
    assert max(map(abs, steps)) < 1e-6


def test_standard_input_of_the_command(tmp_path: Path) -> None:
    words = [os.environ["ASD_COMMAND"], "listen", "--record-healthy", "3s", "--clip", "1", "-o", "out"]
    options = ["--source", "pcm", "--source.sample_rate", str(RATE)]
    data = (data_of(3.2) * 32768).astype("<i2").tobytes()
    done = subprocess.run([*words, *options], cwd=tmp_path, input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"3 clips of 1 s in out, 0 left out." in done.stdout
    files = sorted((tmp_path / "out").iterdir())
    assert [soundfile.info(each).samplerate for each in files] == [RATE] * 3
    together = np.concatenate([soundfile.read(each)[0] for each in files])
    assert together == pytest.approx(data_of(3.0), abs=1e-3)  # in the order of their names


# --------------------------------------------------------------------------------------------------------------- stream


_ENDS = threading.Event()
"""A stream that stalls may end."""


class _Radio(BaseHTTPRequestHandler):
    """Sends a stream for ever, or as long as the address says, or nothing."""

    def do_GET(self) -> None:
        import av

        self.send_response(200)
        self.send_header("Content-Type", "audio/aac")
        if self.path in ("/stalls", "/page"):
            self.end_headers()
        if self.path == "/stalls":
            _ENDS.wait(PATIENCE)
            return
        if self.path == "/page":
            self.wfile.write(b"<html>no sound here</html>" * 100)
            return
        content = io.BytesIO()
        with av.open(content, "w", format="adts") as container:
            stream = container.add_stream("aac", rate=44100, layout="stereo")
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone(4.0, 2, 44100).T), "fltp", "stereo")
            frame.sample_rate = 44100
            container.mux([*stream.encode(frame), *stream.encode(None)])
        self.send_header("Content-Length", str(len(content.getvalue())))
        self.end_headers()
        self.wfile.write(content.getvalue())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def radio() -> Iterator[str]:
    pytest.importorskip("av")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Radio)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _ENDS.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    _ENDS.set()
    server.shutdown()
    server.server_close()


def test_a_stream_over_http(radio: str) -> None:
    blocks = taken(create("source", "stream", {"url": f"{radio}/pump.aac"}), 3.0)
    sound = joined(blocks)
    assert (blocks[0].sample_rate, sound.shape[1]) == (44100, 2)
    level = float(np.sqrt(np.mean(sound[44100:88200, 0] ** 2)))
    assert level == pytest.approx(0.25 / np.sqrt(2), rel=0.05)
    ends = [b.time + len(b.samples) / b.sample_rate for b in blocks]
    assert [b.time for b in blocks[1:]] == pytest.approx(ends[:-1], abs=0.01)  # it came at once, in regular times


def test_a_stream_that_ends_is_a_fault_unless_it_may(radio: str) -> None:
    with pytest.raises(SourceError, match="has ended"):
        list(create("source", "stream", {"url": radio}).blocks())
    assert list(create("source", "stream", {"url": radio, "endless": False}).blocks())


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("/stalls", r"no data for 0\.5 s; is the other side running\?"),
        ("/page", "cannot be listened to .*; check address and network"),
    ],
)
def test_a_stream_that_cannot_be_listened_to(place: str, message: str, radio: str) -> None:
    timeout = 0.5 if place == "/stalls" else PATIENCE
    with pytest.raises(SourceError, match=message):
        list(create("source", "stream", {"url": radio + place, "timeout": timeout}).blocks())


def test_no_password_is_shown() -> None:
    pytest.importorskip("av")
    with pytest.raises(SourceError) as caught:
        list(create("source", "stream", {"url": "http://ann:secret@127.0.0.1:9/x", "timeout": 60}).blocks())
    assert "secret" not in str(caught.value)
    assert "http://…@127.0.0.1:9/x" in str(caught.value)


# --------------------------------------------------------------------------------------------------------------- folder

_RECORDER = """
import sys, time, pathlib
folder, content = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).read_bytes()
for name in ("20261126_201500.wav", "20261126_201510.wav"):
    with (folder / name).open("wb") as file:
        for first in range(0, len(content), len(content) // 5):
            file.write(content[first:first + len(content) // 5]); file.flush(); time.sleep(0.15)
(folder / "cut.wav").write_bytes(content[: len(content) // 2])
(folder / "notes.txt").write_text("no sound")
"""


def test_a_folder_that_another_process_fills(tmp_path: Path) -> None:
    folder, content = tmp_path / "new", tmp_path / "x.wav"
    folder.mkdir()
    soundfile.write(content, tone(2.0), RATE)
    shutil.copy(content, folder / "old.wav")
    source = create("source", "folder", {"path": str(folder), "settle": 0.4})
    blocks = source.blocks()
    assert len(next(blocks).samples) == 0  # what was there is left alone
    recorder = subprocess.Popen([sys.executable, "-c", _RECORDER, str(folder), str(content)])
    found: dict[str, list[Block]] = {}
    end = time.monotonic() + PATIENCE
    empty = 0
    while len(found) < 2 or recorder.poll() is None or empty < 10:  # neither a file that is cut off nor a text comes
        block = next(blocks)
        empty = 0 if len(block.samples) else empty + 1
        if len(block.samples):
            found.setdefault(str(block.name), []).append(block)
        assert time.monotonic() < end
    assert sorted(found) == ["20261126_201500.wav", "20261126_201510.wav"]
    for name, own in found.items():
        assert joined(own) == pytest.approx(tone(2.0), abs=1e-3)
        stated = time.strptime(name[:15], "%Y%m%d_%H%M%S")
        assert own[0].time == time.mktime(stated)
    recorder.wait()
    blocks.close()  # type: ignore[attr-defined]


def test_a_folder_source_forgets_files_that_are_deleted(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1.0), RATE)
    source = create("source", "folder", {"path": str(tmp_path), "existing": True, "settle": 0.0})
    deleted = False
    end = time.monotonic() + PATIENCE
    for _ in source.blocks():
        assert time.monotonic() < end, "the file is still remembered"
        if source._done and not deleted:
            (tmp_path / "a.wav").unlink()
            deleted = True
        if deleted and not source._done:
            break


def test_a_recorder_that_is_dead_is_told_by_the_times_of_its_recordings(tmp_path: Path) -> None:
    for minute in range(8):
        soundfile.write(tmp_path / f"20261126_20{10 * minute // 2:02d}00.wav", tone(1.0), RATE)
    source = create("source", "folder", {"path": str(tmp_path)})
    assert source.patience == 86400.0  # nothing is known yet
    blocks = source.blocks()
    next(blocks)
    assert source.patience == pytest.approx(3 * 300)
    blocks.close()  # type: ignore[attr-defined]
    assert create("source", "folder", {"path": str(tmp_path), "every": 600}).patience == 1200.0


def test_an_outage_of_a_recorder_does_not_become_its_rhythm() -> None:
    from asd_listen.sources.folder import _Rhythm

    rhythm, moment = _Rhythm(), 0.0
    for number in range(40):
        moment += 7200.0 if number == 20 else 60.0
        rhythm.add(moment)
    assert rhythm.patience == 180.0


@pytest.mark.parametrize(
    ("kind", "parameters", "permanent", "message"),
    [
        ("file", {"path": "none.wav"}, True, "no such recording, nor a folder of recordings; check the path"),
        ("file", {"path": "bad.wav"}, True, "bad.wav"),
        ("folder", {"path": "none"}, False, "no such folder; make it, or check whether the drive is there"),
        ("folder", {"path": "bad.wav"}, True, "is a file; name its folder, or use the source file"),
        ("pcm", {"path": "none"}, False, "cannot be opened (No such file or directory); make it with mkfifo"),
        ("pcm", {"path": "."}, True, "cannot be opened (Is a directory)"),
        ("stream", {"url": "none.wav"}, True, "No such file or directory"),
        ("stream", {"url": "nonsense://x"}, True, "Protocol not found"),
        ("stream", {"url": "x", "format": "nonsense"}, True, "no container format 'nonsense'"),
        ("stream", {"url": "rtsp://127.0.0.1:9/x", "timeout": 60.0}, False, "Connection refused"),
    ],
)
def test_what_can_never_work_is_told_from_what_may_come(
    kind: str, parameters: dict[str, object], permanent: bool, message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if kind == "stream":
        pytest.importorskip("av")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.wav").write_bytes(b"no sound at all")
    with pytest.raises(SourceError) as caught:
        next(iter(create("source", kind, parameters).blocks()))
    assert message in str(caught.value)
    assert caught.value.permanent is permanent


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such folder; make it, or check whether the drive is there"):
        next(iter(create("source", "folder", {"path": str(tmp_path / "none")}).blocks()))


# ----------------------------------------------------------------------------------------------------------------- file


def test_recordings_in_real_time_and_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.wav", "b.flac"):
        soundfile.write(tmp_path / name, tone(1.0), RATE)
    for speed, least in ((2.0, 0.8), (0.0, 0.0)):
        if not speed:  # it never waits
            monkeypatch.setattr(
                "asd_listen.sources.file.time", SimpleNamespace(time=time.time, monotonic=time.monotonic)
            )
        source = create("source", "file", {"path": str(tmp_path), "speed": speed})
        began = time.monotonic()
        blocks = list(source.blocks())
        assert time.monotonic() - began >= least
        assert joined(blocks) == pytest.approx(np.concatenate([tone(1.0)] * 2), abs=1e-3)
        ends = [b.time + len(b.samples) / RATE for b in blocks]
        assert [b.time for b in blocks[1:]] == pytest.approx(ends[:-1], abs=1e-3)
    assert not create("source", "file", {"path": "x", "speed": 0.0}).paced


def test_what_a_file_may_not_be(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such recording, nor a folder of recordings"):
        list(create("source", "file", {"path": str(tmp_path / "none.wav")}).blocks())
    (tmp_path / "x.wav").write_bytes(b"no sound at all")
    with pytest.raises(SourceError, match=r"x\.wav"):
        list(create("source", "file", {"path": str(tmp_path / "x.wav")}).blocks())
    soundfile.write(tmp_path / "y.wav", tone(1.0), RATE)
    (tmp_path / "z.wav").write_bytes(b"no sound at all")
    blocks = list(create("source", "file", {"path": str(tmp_path), "speed": 0.0, "repeat": 2}).blocks())
    assert len(joined(blocks)) == 2 * RATE  # what is broken is left out
    with pytest.raises(ConfigError, match="start takes a date such as 2026-11-26T20:15:00, got 'noon'"):
        create("source", "file", {"path": "x", "start": "noon"})


# ----------------------------------------------------------------------------------------------------------- microphone


def test_a_microphone_that_is_not_there() -> None:
    """No sound card is in reach of the tests; what is said without one is what they can see."""
    with pytest.raises(AsdError, match=r"microphone|sounddevice"):
        next(iter(create("source", "microphone", {"device": "no such device"}).blocks()))


# --------------------------------------------------------------------------------------------------- recording of clips


def test_clips_that_are_wrong_are_left_out(tmp_path: Path) -> None:
    good, silent = tone(3.0), np.zeros((4 * RATE, 1), np.float32)
    loud = np.clip(20 * tone(4.0), -1, 1)
    soundfile.write(tmp_path / "x.wav", np.concatenate([good, silent, good, loud, tone(30.0)]), RATE, subtype="FLOAT")
    words = [
        os.environ["ASD_COMMAND"],
        "listen",
        "--record-healthy",
        "20s",
        "--clip",
        "1",
        "-o",
        "out",
        "--name",
        "a/b c",
    ]
    options = ["--source", "file", "--source.path", "x.wav", "--source.speed", "0"]
    done = subprocess.run([*words, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning: a/b c: digital silence: is the microphone connected?" in done.stdout
    assert "warning: a/b c: clipped: the level reaches full scale" in done.stdout
    assert "Levels from -15 to -15 dB of full scale." in done.stdout
    assert "Next: asd fit out -o MODEL.asd" in done.stdout
    files = list((tmp_path / "out").iterdir())
    assert len(files) == 20
    assert all(each.name.startswith("a_b_c_") and each.suffix == ".flac" for each in files)
    levels = [np.abs(soundfile.read(each)[0]).max() for each in files]
    assert min(levels) == pytest.approx(0.25, abs=0.01)
    assert max(levels) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--record-healthy", "30m", "-o", "out", "--source", "pcm"),
            "such as 90s, 30min or 8h, got '30m'",
        ),
        (("--record-healthy", "30min", "--source", "pcm"), "needs -o FOLDER: where the clips go"),
        (("-o", "out", "--source", "pcm"), "-o is for --record-healthy"),
        ((), "what is to be listened to? give --source NAME"),
        (("--source", "mikrophone"), "microphone"),
        (("--source", "stream"), "--source.url"),
        (("x.toml", "--source", "pcm"), "x.toml says it all: --source must be written there"),
        (("--source", "pcm", "--sink.path", "x"), "--sink.… needs --sink NAME"),
    ],
)
def test_mistakes_on_the_command_line(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    words = [os.environ["ASD_COMMAND"], "listen", *options]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert message in line
