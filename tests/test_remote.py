"""Recordings at addresses are read as from files, on real servers of S3 and HTTP: whole, in parts, in archives."""

# ruff: noqa: F811  # fixtures are named where they are used

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

import asd
from asd.detection.embeddings import to_json
from asd.detection.identity import stamp_of
from asd.errors import DataError
from asd.files import reading
from asd.files.remote import RemotePath, as_path
from asd.sound.finding import find_clips
from asd.sound.reading import duration_of, read
from asd.sound.times import in_time_order

pytest.importorskip("moto")
from elsewhere import OLD, SOUNDS, Run, Store, error_of, forget, fresh, model, run, s3, sound, web_server  # noqa: F401  # fixtures

pytestmark = pytest.mark.usefixtures("embedding_cache")


# What is fetched, and what is not


def test_an_unchanged_object_is_not_fetched_again(
    s3: Store, model: str, run: Run, fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.requests.clear()
    assert run("embed", "s3://plant/test", "-o", "s3://plant/a.npz", "--extractor", "mel-statistics", "--force")[0] == 0
    assert s3.got("GET", "/plant/test/1.wav") == 1
    forget()
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
        "s3://plant/bad.csv, line 2: '/etc/passwd' is a file of this computer, and the manifest is not: name "
        "recordings beside it, or by their address"
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
        with pytest.raises(
            DataError, match=r"x\.wav: when it was recorded cannot be known: its server states no time;"
        ):
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


def test_stamps_are_plain_and_machines_are_told_by_folder_or_column(s3: Store) -> None:
    from asd.detection.fleet_data import machine_data

    for name in ("fleet/a/1.wav", "fleet/a/2.wav", "fleet/b/1.wav"):
        s3.fs.pipe_file(f"plant/{name}", sound(1))
    s3.fs.pipe_file("plant/fleet.csv", b"path,machine\nfleet/a/1.wav,one\nfleet/b/1.wav,two\n")
    by_folder = machine_data(["s3://plant/fleet"], "folder")
    assert {name: len(clips) for name, clips in by_folder.clips.items()} == {"a": 2, "b": 1}
    by_column = machine_data(["s3://plant/fleet.csv"], "machine")
    assert {name: [str(clip) for clip in clips] for name, clips in by_column.clips.items()} == {
        "one": ["s3://plant/fleet/a/1.wav"], "two": ["s3://plant/fleet/b/1.wav"]
    }  # fmt: skip
    assert to_json(stamp_of(as_path("s3://plant/fleet/a/1.wav")))


# Other processes


def test_another_process_reads_the_same(s3: Store, tmp_path: Path) -> None:
    clips = find_clips(["s3://plant/test"])
    (tmp_path / "clips").write_bytes(pickle.dumps(clips))
    program = "import pickle, sys; from asd.sound.reading import read; " + (
        "print(sum(float(abs(read(c).samples).sum()) for c in pickle.load(open(sys.argv[1], 'rb'))))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path / "clips")],
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


def test_nothing_of_it_is_imported_for_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_CACHE_SIZE", "0")  # it would remember the digest of a file that is not quite new
    (tmp_path / "x.wav").write_bytes(sound(1))
    program = (
        "import sys; from asd.sound.finding import find_clips; from asd.sound.reading import read; "
        "from asd.detection.identity import content_of; "
        "[ (read(c), content_of(c.path)) for c in find_clips([sys.argv[1]]) ]; "
        "print(sorted({'fsspec', 's3fs', 'aiohttp', 'sqlite3', 'asd.files.reading', 'urllib.request'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_several_threads_read_at_once(s3: Store, fresh: None) -> None:
    first = asd.embed("s3://plant/train", extractor="mel-statistics", workers=4, cache=False)
    assert first.vectors.tobytes() == asd.embed("s3://plant/train", extractor="mel-statistics").vectors.tobytes()
