"""Data where it lies: recordings, manifests, models and results at addresses, on real servers of S3 and HTTP."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.errors import AudioError, DataError, ModelFileError, RemoteError
from asd.files import reading
from asd.files.remote import RemotePath, as_path
from asd.sound.finding import find_clips
from asd.sound.reading import duration_of, read
from asd.sound.times import in_time_order

pytest.importorskip("moto")
from elsewhere import OLD, Site, Store, s3_server, web_server

pytestmark = pytest.mark.usefixtures("embedding_cache")

QUICK = ["--frontend", "mel-stack", "--extractor", "mel-statistics", "--detector", "mahalanobis"]
QUICK = ["--extractor", "mel-statistics", "--detector", "mahalanobis"]


def sound(seed: int, seconds: float = 1.0, rate: int = 16000) -> bytes:
    file = io.BytesIO()
    samples = np.random.default_rng(seed).normal(0, 0.1, int(seconds * rate))
    soundfile.write(file, samples, rate, format="WAV")
    return file.getvalue()


SOUNDS = {f"train/normal/{i:02}.wav": sound(i) for i in range(12)} | {f"test/{i}.wav": sound(50 + i) for i in range(3)}


@pytest.fixture(scope="module")
def s3() -> Iterator[Store]:
    with pytest.MonkeyPatch.context() as patch, s3_server(patch) as store:
        store.fs.mkdir("plant")
        for name, content in SOUNDS.items():
            store.fs.pipe_file(f"plant/{name}", content)
        yield store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in SOUNDS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, so that nothing is known."""
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "own-cache"))
    forget(monkeypatch)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what the process has in memory, as a new one would."""
    reading._bodies.clear()
    reading._without_parts.clear()


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a command in this process, as the script does."""
    from asd.cli.main import _run

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = _run([str(each) for each in arguments], verbose=False)
        out, err = capfd.readouterr()
        assert "Traceback" not in err, err
        return code, out, err

    return run


Run = Callable[..., tuple[int, str, str]]


def error_of(done: tuple[int, str, str]) -> str:
    """Return the only line of an error with exit code 2."""
    code, out, err = done
    lines = [line for line in err.splitlines() if line.startswith("asd: error: ")]
    assert (code, len(lines)) == (2, 1), (code, out, err)
    return lines[0].removeprefix("asd: error: ")


@pytest.fixture(scope="module")
def model(s3: Store) -> str:
    """A model that was fitted from S3 and lies there."""
    from asd.cli.main import _run

    assert _run(["fit", "s3://plant/train", "-o", "s3://plant/models/fan.asd", *QUICK], verbose=False) == 0
    return "s3://plant/models/fan.asd"


# The whole way


def test_fit_score_embed_evaluate_and_explain_from_s3_say_what_files_say(
    s3: Store, model: str, folder: Path, run: Run
) -> None:
    code, _, err = run("fit", folder / "train", "-o", folder / "fan.asd", *QUICK)
    assert code == 0, err
    local, elsewhere = asd.load(folder / "fan.asd"), asd.load(model)
    assert local.calibration.scores.tobytes() == elsewhere.calibration.scores.tobytes()
    assert [each["sha256"] for each in local.training] == [each["sha256"] for each in elsewhere.training]
    here = json.loads(run("score", folder / "fan.asd", folder / "test", "--json")[1])["clips"]
    code, out, err = run("score", model, "s3://plant/test", "--json")
    there = json.loads(out)["clips"]
    assert code in (0, 1), err
    assert [row["clip"] for row in there] == [f"s3://plant/test/{i}.wav" for i in range(3)]
    assert [row["score"] for row in there] == [row["score"] for row in here]
    code, out, _ = run("score", model, "s3://plant/test/*.wav", "--csv")
    assert [row["clip"] for row in csv.DictReader(io.StringIO(out))] == [row["clip"] for row in there]
    code, out, _ = run("score", model, "s3://plant/test")
    assert "Recordings in s3://plant/test:" in out
    code, out, err = run("evaluate", model, "--normal", "s3://plant/test", "--anomalous", "s3://plant/train", "--json")
    assert json.loads(out)["training_clips"] == 12, err
    code, out, err = run("embed", "s3://plant/test", "-o", "s3://plant/out.npz", "--extractor", "mel-statistics")
    assert code == 0, err
    kept = asd.Embeddings.load("s3://plant/out.npz")
    assert [str(clip) for clip in kept.clips] == [row["clip"] for row in there]
    assert kept.vectors.tobytes() == asd.embed(folder / "test", extractor="mel-statistics").vectors.tobytes()
    code, out, err = run("explain", model, "s3://plant/test/1.wav", "--healthy", "s3://plant/train")
    assert code == 0, err


def test_report_is_written_to_s3(s3: Store, model: str, run: Run) -> None:
    pytest.importorskip("asd_report")
    code, _, err = run("report", model, "s3://plant/test", "-o", "s3://plant/report.html", "--details", "0")
    assert code == 0, err
    assert b"s3://plant/test" in s3.fs.cat_file("plant/report.html")
    assert "s3://plant/report.html: exists already" in error_of(
        run("report", model, "s3://plant/test", "-o", "s3://plant/report.html")
    )


def test_bench_takes_a_folder_of_s3(s3: Store, folder: Path, run: Run) -> None:
    pytest.importorskip("asd_bench")
    from asd_bench.runner import read_data  # noqa: F401
    from asd_data.folder import Folder

    s3.fs.pipe_file("plant/set/manifest.csv", b"path,label,machine\n../test/1.wav,anomalous,fan\n../test/0.wav,normal,fan\n")
    from asd_data.manifest import Manifest

    found = Manifest().recordings(as_path("s3://plant/set"))
    assert [(str(each.path), each.anomalous) for each in found] == [
        ("s3://plant/test/0.wav", False), ("s3://plant/test/1.wav", True)
    ]  # fmt: skip
    for name in ("normal/0.wav", "normal/1.wav", "abnormal/2.wav"):
        s3.fs.pipe_file(f"plant/folder/{name}", sound(3))
    assert len(Folder().recordings(as_path("s3://plant/folder"))) == 3
    assert "a folder of results is a file on this computer" in error_of(
        run("bench", "sota-2023", "--data", "s3://plant/set", "-o", "s3://plant/results")
    )


# What is fetched, and what is not


def test_an_unchanged_object_is_not_fetched_again(s3: Store, model: str, run: Run, fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.requests.clear()
    assert run("embed", "s3://plant/test", "-o", "s3://plant/a.npz", "--extractor", "mel-statistics", "--force")[0] == 0
    assert s3.got("GET", "/plant/test/1.wav") == 1
    forget(monkeypatch)
    s3.requests.clear()
    code, _, err = run("embed", "s3://plant/test", "-o", "s3://plant/b.npz", "--extractor", "mel-statistics", "--force")
    assert (code, s3.got("GET", "/plant/test/1.wav")) == (0, 0)
    assert "the embeddings of 3 of 3 clips come from the cache" in err
    changed = sound(77)
    s3.fs.pipe_file("plant/test/1.wav", changed)
    try:
        kept = asd.embed("s3://plant/test", extractor="mel-statistics")
        assert kept.contents[as_path("s3://plant/test/1.wav")] == hashlib.sha256(changed).hexdigest()
    finally:
        s3.fs.pipe_file("plant/test/1.wav", SOUNDS["test/1.wav"])


def test_content_that_goes_to_and_fro_never_gives_the_other_ones_embedding(s3: Store) -> None:
    one, other = sound(1), sound(2)
    expected = {}
    for content in (one, other):
        array, rate = soundfile.read(io.BytesIO(content))
        expected[content] = asd.embed([(array.astype(np.float32), rate)], extractor="mel-statistics").vectors
    for content in (one, other, one, other):
        s3.fs.pipe_file("plant/same.wav", content)
        found = asd.embed("s3://plant/same.wav", extractor="mel-statistics").vectors
        assert found.tobytes() == expected[content].tobytes()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_long_wav_is_read_in_parts_where_the_server_sends_parts(
    ranges: bool, fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = sound(5, 600.0, 8000)  # 9.6 MB
    with web_server(files={"/long.wav": content}, ranges=ranges) as site:
        path = as_path(f"{site.url}/long.wav")
        assert duration_of(path) == 600.0
        part = read(asd.Clip(path, 570.0, 2.0))
        whole, rate = soundfile.read(io.BytesIO(content), dtype="float32")
        assert np.array_equal(part.samples[0], whole[570 * rate : 572 * rate])
        spooled = list(Path(os.environ["ASD_CACHE"], "spool").glob("*.copy"))
        assert len(spooled) == (not ranges)
        if ranges:
            fetched = [each for each in site.requests if each[0] == "GET"]
            assert all(each[2] for each in fetched), fetched
            assert len(fetched) <= 5
        site.requests.clear()
        assert duration_of(path) == 600.0
        assert site.got("GET") == 0


def test_a_long_wav_is_read_in_parts_from_s3(s3: Store, fresh: None) -> None:
    content = sound(5, 700.0, 8000)
    s3.fs.pipe_file("plant/long/long.wav", content)
    clips = find_clips(["s3://plant/long"], segment=100.0)
    assert len(clips) == 7
    part = read(clips[6])
    whole, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert np.array_equal(part.samples[0], whole[600 * rate :])
    assert not list(Path(os.environ["ASD_CACHE"], "spool").glob("*"))


FORMATS = {"wav": "WAV", "flac": "FLAC", "ogg": "OGG", "mp3": "MP3", "aiff": "AIFF", "w64": "W64"}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("whole", [1 << 23, 1000])
def test_every_format_reads_as_from_a_file(
    suffix: str, whole: int, tmp_path: Path, fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_WHOLE", whole)
    monkeypatch.setattr(reading, "_GLANCE", 500)
    monkeypatch.setattr(reading, "_BLOCK", 4096)
    samples = np.random.default_rng(3).normal(0, 0.1, (40000, 2))
    soundfile.write(tmp_path / f"x.{suffix}", samples, 16000, format=FORMATS[suffix])
    with web_server(files={f"/x.{suffix}": (tmp_path / f"x.{suffix}").read_bytes()}) as site:
        path = as_path(f"{site.url}/x.{suffix}")
        assert duration_of(path) == duration_of(tmp_path / f"x.{suffix}")
        for clip in (asd.Clip(path), asd.Clip(path, 1.2, 0.7)):
            here = read(asd.Clip(tmp_path / f"x.{suffix}", clip.start, clip.duration))
            assert np.array_equal(read(clip).samples, here.samples)


def test_other_formats_are_read_by_ffmpeg(tmp_path: Path, fresh: None) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "x.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        noise = np.random.default_rng(0).normal(0, 0.1, (1, 16384)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout="mono")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    with web_server(files={"/x.m4a": (tmp_path / "x.m4a").read_bytes()}) as site:
        there = read(asd.Clip(as_path(f"{site.url}/x.m4a")))
    assert np.array_equal(there.samples, read(asd.Clip(tmp_path / "x.m4a")).samples)


# Naming


def test_manifests_name_what_is_beside_them(s3: Store, model: str, run: Run) -> None:
    text = "path,label,time\ntest/0.wav,normal,2026-11-26T20:00:00Z\ns3://plant/test/1.wav,anomalous,2026-11-26T19:00:00Z\n"
    s3.fs.pipe_file("plant/list.csv", text.encode())
    clips = find_clips(["s3://plant/list.csv"])
    assert [str(clip) for clip in clips] == ["s3://plant/test/0.wav", "s3://plant/test/1.wav"]
    assert len(find_clips(["s3://plant/list.csv"], label="normal")) == 1
    timed, source = in_time_order(["s3://plant/list.csv"], clips)
    assert ([str(each.clip) for each in timed], source) == (
        ["s3://plant/test/1.wav", "s3://plant/test/0.wav"], "the manifest's column of times"
    )  # fmt: skip
    s3.fs.pipe_file("plant/bad.csv", b"path\n/etc/passwd\n")
    assert error_of(run("score", model, "s3://plant/bad.csv")) == (
        "s3://plant/bad.csv, line 2: '/etc/passwd' is a file of this computer, and the manifest is not: name recordings "
        "beside it, or by their address"
    )


def test_time_stamps_and_groups_work_as_with_files(s3: Store) -> None:
    for name in ("a/20261126_201500.wav", "b/20261126_191500.wav"):
        s3.fs.pipe_file(f"plant/times/{name}", sound(1))
    clips = find_clips(["s3://plant/times"])
    timed, source = in_time_order(["s3://plant/times"], clips)
    assert ([each.clip.path.name for each in timed], source) == (
        ["20261126_191500.wav", "20261126_201500.wav"], "the time stamps in the files' names"
    )  # fmt: skip
    from asd.detection.groups import group_labels

    assert group_labels(clips, "folder") == ["a", "b"]
    kept = asd.embed("s3://plant/times", extractor="mel-statistics", group="folder")
    assert [clip.group for clip in kept.clips] == ["a", "b"]
    with web_server(files={"/x.wav": sound(1), "/y.wav": sound(2)}, modified=OLD) as site:
        timed, source = in_time_order([], find_clips([f"{site.url}/"]))
        assert (source, timed[0].time) == ("the files' modification times", OLD - 1.0)
        site.modified = None
        with pytest.raises(DataError, match=r"x\.wav: when it was recorded cannot be known: its server states no time;"):
            in_time_order([], find_clips([f"{site.url}/x.wav"]))


def test_a_web_servers_folders_and_patterns() -> None:
    files = {"/day/a/1.wav": sound(1), "/day/2.wav": sound(2), "/day/.x.wav": sound(3), "/day/notes.txt": b"-"}
    with web_server(files=files, user="me:s3cret") as site:
        url = site.url.replace("http://", "http://me:s3cret@")
        shown = site.url.replace("http://", "http://***@")
        assert [str(clip) for clip in find_clips([f"{url}/day/"])] == [f"{shown}/day/2.wav", f"{shown}/day/a/1.wav"]
        assert [str(clip) for clip in find_clips([f"{url}/day/*.wav"])] == [f"{shown}/day/2.wav"]
        assert read(find_clips([f"{url}/day/2.wav"])[0]).samples.shape == (1, 16000)
        with pytest.raises(DataError, match=r"a web page, not a recording; the address of a folder ends with /"):
            site.moved["/day"] = "/day/"
            find_clips([f"{url}/day"])


@pytest.mark.parametrize("where", ["s3", "file", "http", "http without ranges"])
def test_archives(where: str, s3: Store, tmp_path: Path, fresh: None) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in SOUNDS.items():
            archive.writestr(name, content)
        archive.writestr("test/list.csv", "path\n2.wav\n../train/normal/00.wav\n")
    (tmp_path / "all.zip").write_bytes(packed.getvalue())
    s3.fs.pipe_file("plant/all.zip", packed.getvalue())
    with web_server(files={"/all.zip": packed.getvalue()}, ranges="without" not in where) as site:
        archive_url = {"s3": "s3://plant/all.zip", "file": str(tmp_path / "all.zip")}.get(where, f"{site.url}/all.zip")
        clips = find_clips([f"zip://test::{archive_url}"])
        assert [str(clip) for clip in clips] == [f"zip://test/{i}.wav::{archive_url}" for i in range(3)]
        assert len(find_clips([f"zip://::{archive_url}"])) == 15
        assert len(find_clips([f"zip://train/*/1*.wav::{archive_url}"])) == 2
        listed = find_clips([f"zip://test/list.csv::{archive_url}"])
        assert [clip.path.name for clip in listed] == ["2.wav", "00.wav"]
        whole, _ = soundfile.read(io.BytesIO(SOUNDS["test/1.wav"]), dtype="float32")
        assert np.array_equal(read(pickle.loads(pickle.dumps(clips[1]))).samples[0], whole)  # noqa: S301
        with pytest.raises(DataError, match=r"no such object or folder"):
            find_clips([f"zip://none.wav::{archive_url}"])


def test_an_archive_that_is_written_again_is_read_again(tmp_path: Path) -> None:
    for seed in (1, 2):
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.writestr("x.wav", sound(seed))
        expected, _ = soundfile.read(io.BytesIO(sound(seed)), dtype="float32")
        assert np.array_equal(read(asd.Clip(as_path(f"zip://x.wav::{tmp_path}/all.zip"))).samples[0], expected)
    (tmp_path / "all.zip").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match=r"all\.zip: not an archive of that kind, or cut off; copy it again"):
        find_clips([f"zip://x.wav::{tmp_path}/all.zip"])


def test_a_model_on_the_web_is_a_file_if_it_ends_so(s3: Store, model: str, folder: Path, run: Run) -> None:
    with web_server(files={"/models/fan.asd": s3.fs.cat_file("plant/models/fan.asd")}) as site:
        code, out, err = run("score", f"{site.url}/models/fan.asd?signed=s3cret", folder / "test", "--json")
        assert code in (0, 1), err
        assert len(json.loads(out)["clips"]) == 3
        assert site.got("GET", "/models/fan.asd") >= 1
        site.requests.clear()
        text = error_of(run("score", f"{site.url}/models/fan", folder / "test"))
        assert site.got("GET", "/api") or site.got("GET", "ready"), (text, site.requests)


# Writing


def test_an_existing_object_is_kept_unless_forced(s3: Store, model: str, run: Run) -> None:
    before = s3.fs.cat_file("plant/models/fan.asd")
    assert error_of(run("fit", "s3://plant/train", "-o", model, *QUICK)) == (
        "s3://plant/models/fan.asd: exists already; choose another name, or overwrite it with --force"
    )
    assert s3.fs.cat_file("plant/models/fan.asd") == before
    assert run("fit", "s3://plant/train", "-o", model, "--force", *QUICK)[0] == 0
    assert [name for name in s3.fs.find("plant/models")] == ["plant/models/fan.asd"]


def test_of_two_that_write_one_name_the_second_is_refused_and_loses_nothing(s3: Store, model: str) -> None:
    from asd.detection.output import reserve

    with reserve(as_path("s3://plant/two.asd"), overwrite=False) as file:
        s3.fs.pipe_file("plant/two.asd", b"another")
        with pytest.raises(ModelFileError, match=r"two\.asd: exists already; .*; the model is kept in (\S+)") as raised:
            file.write([b"whole ", b"content"])
    assert s3.fs.cat_file("plant/two.asd") == b"another"
    kept = Path(str(raised.value).rpartition(" ")[2])
    assert kept.read_bytes() == b"whole content"
    kept.unlink()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("s3://nobody/x.asd", "s3://nobody/x.asd: no such bucket (nobody); is it written correctly?"),
        ("s3://plant/train", "s3://plant/train: is a folder; name a file in it"),
        ("https://me:s3cret@host/x.asd", "https://***@host/x.asd: a web server is only read from; write to a file, or"),
        ("zip://x.asd::/tmp/x.zip", "zip://x.asd::/tmp/x.zip: nothing can be written into an archive; write to a file"),
    ],
)
def test_what_cannot_be_written_is_told_before_the_work(s3: Store, run: Run, url: str, text: str) -> None:
    assert error_of(run("fit", "s3://plant/train", "-o", url, *QUICK)).startswith(text)


def test_half_an_object_is_never_there(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for url in ("memory://out/x.bin", "s3://plant/out/x.bin"):
        path = as_path(url)
        path.write_bytes(b"first")
        with monkeypatch.context() as patch:
            for fs in (memory, type(s3.fs)):
                patch.setattr(fs, "pipe_file", _fails)
            with pytest.raises(OSError, match=r"out/x\.bin: RuntimeError: the line is cut"):
                path.write_bytes(b"second")
        assert path.read_bytes() == b"first"
        with pytest.raises(RemoteError, match=r"exists already"):
            path.write_bytes(b"second", overwrite=False)
        path.write_bytes(b"second")
        assert path.read_bytes() == b"second"
        assert [found.name for found in path.parent.iterdir()] == ["x.bin"]


def _fails(*_: Any, **__: Any) -> None:
    raise RuntimeError("the line is cut")


def test_a_monitor_and_a_picture_are_files_here(model: str, run: Run) -> None:
    assert error_of(run("score", model, "s3://plant/test", "--monitor", "s3://plant/state")) == (
        "s3://plant/state: a monitor is a file on this computer; name a local file"
    )
    assert "a picture is a file on this computer" in error_of(run("diff", model, model, "--picture", "s3://plant/x.svg"))


# What goes wrong


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("s3://nobody/x.wav", "s3://nobody/x.wav: no such bucket (nobody); is it written correctly?"),
        ("s3://plant/none.wav", "s3://plant/none.wav: no such object or folder"),
        ("s3://plant/none/*.wav", "s3://plant/none/*.wav: no object matches this pattern"),
        ("s3://plant/models", "s3://plant/models: this folder holds no recordings"),
    ],
)
def test_what_is_not_in_a_store(s3: Store, model: str, run: Run, data: str, text: str) -> None:
    assert error_of(run("score", model, data)).startswith(text)


def test_an_object_that_was_listed_and_is_gone_is_a_failed_row(s3: Store) -> None:
    for number in range(3):
        s3.fs.pipe_file(f"plant/fleeting/{number}.wav", sound(number))
    clips = find_clips(["s3://plant/fleeting"])
    s3.fs.rm_file("plant/fleeting/1.wav")
    kept = asd.embed([clip.path for clip in clips] if False else clips, extractor="mel-statistics")
    assert len(kept.clips) == 2
    assert [str(failure.error) for failure in kept.failures] == ["s3://plant/fleeting/1.wav: no such file"]


def test_wrong_credentials(s3: Store, model: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server(status={"/plant/x.wav": 403, "/plant": 403, "/plant/": 403}) as site:
        monkeypatch.setenv("AWS_ENDPOINT_URL", site.url)
        from asd.files import filesystems

        filesystems._created.cache_clear()
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        try:
            text = error_of(run("score", model.replace("s3://plant", "s3://plant"), "s3://plant/x.wav"))
        finally:
            monkeypatch.undo()
            filesystems._created.cache_clear()
            s3fs.S3FileSystem.clear_instance_cache()
    assert "access is refused; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in text


STATUSES = [
    (404, "no such file"),
    (403, "HTTP 403: access is refused; check user name and password"),
    (500, "HTTP 500: the server failed; try again later"),
    (418, "HTTP 418: the server refuses it"),
]


@pytest.mark.parametrize(("status", "text"), STATUSES)
def test_a_web_server_that_refuses(status: int, text: str) -> None:
    with web_server(files={"/x.wav": sound(1)}, status={"/x.wav": status}) as site:
        url = site.url.replace("http://", "http://me:s3cret@")
        with pytest.raises(AudioError) as raised:
            read(asd.Clip(as_path(f"{url}/x.wav?key=s3cret")))
    assert f"/x.wav?key=***: {text}" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_a_host_that_is_not_there(model: str, run: Run) -> None:
    text = error_of(run("score", model, "http://me:s3cret@127.0.0.1:9/x.wav"))
    assert text == "http://***@127.0.0.1:9/x.wav: cannot be reached; is the address right, and the network up?"


def test_a_body_that_is_cut_off(fresh: None) -> None:
    with web_server(files={"/x.wav": sound(1)}, short=100) as site, pytest.raises(AudioError) as raised:
        read(asd.Clip(as_path(f"{site.url}/x.wav")))
    assert str(raised.value) == f"{site.url}/x.wav: the transfer broke off before its end; try again"


def test_a_body_of_unknown_size_is_spooled_and_bounded(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server(files={"/x.wav": sound(1)}, sized=False) as site:
        assert read(asd.Clip(as_path(f"{site.url}/x.wav"))).samples.shape == (1, 16000)
        monkeypatch.setenv("ASD_SPOOL_SIZE", "20000")
        site.files["/y.wav"] = sound(2)
        with pytest.raises(AudioError, match=r"y\.wav: it cannot be read in parts, and a whole copy takes more, the spool"):
            read(asd.Clip(as_path(f"{site.url}/y.wav")))


def test_an_object_that_changes_while_it_is_read(fresh: None, s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_WHOLE", 1000)
    monkeypatch.setattr(reading, "_GLANCE", 500)
    monkeypatch.setattr(reading, "_BLOCK", 4096)

    def changed(path: str) -> None:
        site.files[path] = sound(2)
        site.then = None

    with web_server(files={"/x.wav": sound(1)}) as site:
        site.then = changed
        with pytest.raises(AudioError, match=r"x\.wav: it changed while it was read; read it again when it is written"):
            read(asd.Clip(as_path(f"{site.url}/x.wav")))
        site.then = changed
        site.files["/x.wav"] = sound(3)
        with pytest.raises(RemoteError, match=r"x\.wav: it changed while it was read"):
            reading.sha256_of(as_path(f"{site.url}/x.wav"))
    s3.fs.pipe_file("plant/moving.wav", sound(1))
    file = reading.opened(as_path("s3://plant/moving.wav"))
    file.read(4096)
    s3.fs.pipe_file("plant/moving.wav", sound(2))
    with pytest.raises(RemoteError, match=r"moving\.wav: it changed while it was read"):
        file.seek(20000) and file.read(4096)
    file.close()


def test_a_redirection_to_a_file_of_this_computer_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(sound(1))
    with web_server(moved={"/x.wav": f"file://{tmp_path}/x.wav"}) as site, pytest.raises(AudioError) as raised:
        read(asd.Clip(as_path(f"{site.url}/x.wav")))
    assert str(raised.value).startswith(f"{site.url}/x.wav: the server sends on to an address that is not followed;")


def test_a_redirection_to_another_host_gets_no_password() -> None:
    seen: list[str] = []
    with web_server(files={"/x.wav": sound(1)}) as other, web_server(user="me:s3cret") as site:
        site.moved["/x.wav"] = f"{other.url.replace('127.0.0.1', 'localhost')}/x.wav"
        assert read(asd.Clip(as_path(f"{site.url.replace('//', '//me:s3cret@')}/x.wav"))).samples.shape == (1, 16000)
        seen = [each[1] for each in other.requests]
    assert seen
    assert all("s3cret" not in each for each in seen)


# Secrets and consent


def test_no_secret_is_kept_in_a_model_or_a_result(folder: Path, run: Run, tmp_path: Path) -> None:
    files = {f"/{name}": content for name, content in SOUNDS.items()}
    with web_server(files=files, user="me:s3cret") as site:
        url = site.url.replace("//", "//me:s3cret@")
        done = [run("fit", f"{url}/train/", "-o", tmp_path / "m.asd", *QUICK)]
        done.append(run("embed", f"{url}/test/", "-o", tmp_path / "e.npz", "--extractor", "mel-statistics"))
        done.append(run("score", tmp_path / "m.asd", f"{url}/test/", "--json"))
        done.append(run("score", tmp_path / "m.asd", f"{url}/test/"))
        done.append(run("score", tmp_path / "m.asd", f"{url}/none.wav"))
    assert [code for code, *_ in done[:2]] == [0, 0], done
    assert not any("s3cret" in text for _, *texts in done for text in texts)
    with zipfile.ZipFile(tmp_path / "e.npz") as archive:
        assert not any(b"s3cret" in archive.read(name) for name in archive.namelist())
    assert b"s3cret" not in (tmp_path / "m.asd").read_bytes()
    kept = Path(os.environ["ASD_CACHE"])
    assert not any(b"s3cret" in path.read_bytes() for path in kept.rglob("*") if path.is_file())


def test_a_file_of_embeddings_opens_no_address(s3: Store) -> None:
    kept = asd.embed("s3://plant/test", extractor="mel-statistics")
    kept.save("s3://plant/names.npz")
    again = asd.Embeddings.load("s3://plant/names.npz")
    s3.requests.clear()
    assert str(again.clips[0]) == "s3://plant/test/0.wav"
    with pytest.raises(AudioError):
        read(again.clips[0])
    assert not s3.requests


@pytest.mark.parametrize("value", ["s3://evil/x.onnx", "memory://x", "hf://me/x", "zip://x::https://evil/x.zip"])
def test_a_model_file_that_names_an_address_needs_consent(value: str) -> None:
    from asd.contract.permissions import check_parameters, model_file_rules

    with model_file_rules("x.asd"), pytest.raises(ModelFileError, match=r"for a model file nothing is fetched"):
        check_parameters("extractor", "mel-statistics", {"anything": value})


# Other processes


def test_another_process_reads_the_same(s3: Store, tmp_path: Path) -> None:
    clips = find_clips(["s3://plant/test"])
    (tmp_path / "clips").write_bytes(pickle.dumps(clips))
    program = "import pickle, sys; from asd.sound.reading import read; " + (
        "print(sum(float(abs(read(c).samples).sum()) for c in pickle.load(open(sys.argv[1], 'rb'))))"
    )
    done = subprocess.run(
        [shutil.which("python") or "python", "-W", "error", "-c", program, str(tmp_path / "clips")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(done.stdout) == pytest.approx(sum(float(abs(read(clip).samples).sum()) for clip in clips))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_reads_too(s3: Store) -> None:
    path = as_path("s3://plant/test/0.wav")
    assert path.read_bytes() == SOUNDS["test/0.wav"]
    child = os.fork()
    if not child:
        os._exit(0 if isinstance(path, RemotePath) and path.read_bytes() == SOUNDS["test/0.wav"] else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_nothing_of_it_is_imported_for_files(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(sound(1))
    program = (
        "import sys; from asd.sound.finding import find_clips; from asd.sound.reading import read; "
        "from asd.detection.identity import content_of; "
        "[ (read(c), content_of(c.path)) for c in find_clips([sys.argv[1]]) ]; "
        "print(sorted({'fsspec', 's3fs', 'aiohttp', 'sqlite3', 'asd.files.reading'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [shutil.which("python") or "python", "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_several_threads_read_at_once(s3: Store, fresh: None) -> None:
    first = asd.embed("s3://plant/train", extractor="mel-statistics", workers=4, cache=False)
    assert first.vectors.tobytes() == asd.embed("s3://plant/train", extractor="mel-statistics").vectors.tobytes()


def test_a_web_site_is_described(site: Site | None = None) -> None:
    assert Site().got("GET") == 0
