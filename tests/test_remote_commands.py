"""Commands with addresses: the whole way, results, what goes wrong, and what must never be seen."""

# ruff: noqa: F811  # fixtures are named where they are used

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

import asd
from asd.command import results_folder
from asd.errors import AudioError, DataError, ModelFileError, RemoteError
from asd.files import reading, writing
from asd.files.filesystems import filesystem_of
from asd.files.remote import as_path
from asd.sound.finding import find_clips
from asd.sound.reading import read

pytest.importorskip("moto")
from elsewhere import QUICK, SOUNDS, Run, Store, error_of, folder, fresh, model, run, s3, sound, web_server  # noqa: F401  # fixtures

pytestmark = pytest.mark.usefixtures("embedding_cache")


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
    assert b"1.wav" in s3.fs.cat_file("plant/report.html")
    assert "s3://plant/report.html: exists already" in error_of(
        run("report", model, "s3://plant/test", "-o", "s3://plant/report.html")
    )


def test_bench_takes_a_folder_of_s3(s3: Store, folder: Path, run: Run) -> None:
    pytest.importorskip("asd_bench")
    pytest.importorskip("asd_data")
    from asd_data.folder import Folder
    from asd_data.manifest import Manifest

    s3.fs.pipe_file(
        "plant/set/manifest.csv", b"path,label,machine\n../test/1.wav,anomalous,fan\n../test/0.wav,normal,fan\n"
    )
    found = Manifest().recordings(as_path("s3://plant/set"))
    assert [(str(each.path), each.anomalous) for each in found] == [
        ("s3://plant/test/0.wav", False), ("s3://plant/test/1.wav", True)
    ]  # fmt: skip
    for name in ("normal/0.wav", "normal/1.wav", "abnormal/2.wav"):
        s3.fs.pipe_file(f"plant/folder/{name}", sound(3))
    assert len(Folder().recordings(as_path("s3://plant/folder"))) == 3


GRID = """
summary = "Quick"
dataset = "folder"
metric = "auc"
seeds = [0]

[[grid]]
extractors = [{ name = "identity", frontend = "mel-stack" }]
detectors = ["kde", "deviation"]
"""


def test_bench_keeps_its_results_in_s3_and_goes_on_from_them(
    s3: Store, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("asd_bench")
    monkeypatch.setattr("asd_pages.charts.bundle", lambda: "")  # seconds to put together, and tested elsewhere
    monkeypatch.setattr("asd_pages.charts.svg", lambda *_: "<svg></svg>")
    (tmp_path / "grid.toml").write_text(GRID)
    for label, count in (("train/normal", 6), ("test/normal", 3), ("test/abnormal", 3)):
        for number in range(count):
            path = tmp_path / "data" / "fan" / label / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sound(len(label) * 10 + number))
    command = ["bench", tmp_path / "grid.toml", "--data", tmp_path / "data", "--no-audio", "--json"]
    code, out, err = run(*command, "-o", "s3://plant/results", "--recommend", "s3://plant/best.toml")
    assert code == 0, err
    assert "s3://plant/results/report.html" in err
    assert "s3://plant/best.toml" in err
    found = {name.removeprefix("plant/results/") for name in s3.fs.find("plant/results")}
    assert {"rows.csv", "results.json", "report.html", "ranking.md"} < found
    trials = {name for name in found if name.startswith("trials/")}
    assert len(trials) == 3  # loudness alone, too
    assert b"[detector]" in s3.fs.cat_file("plant/best.toml")
    s3.requests.clear()
    s3.fs.rm_file(f"plant/results/{min(trials)}")
    assert (
        json.loads(run(*command, "-o", "s3://plant/results")[1])["ranking"][0]["score"]
        == (json.loads(out)["ranking"][0]["score"])
    )
    assert s3.got("PUT", "results/trials/") == 1
    code, out, err = run("bench", "compare", "s3://plant/results", "s3://plant/results", "--json")
    assert [each["difference"] for each in json.loads(out)] == [0.0] * 2, err
    assert error_of(run(*command, "-o", "s3://nobody/results")).startswith(
        "s3://nobody/results: no such bucket (nobody"
    )
    assert "a web server is only read from" in error_of(run(*command, "-o", "https://127.0.0.1:9/results"))


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
    assert s3.fs.find("plant/models") == ["plant/models/fan.asd"]


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
    for url in ("memory://out/x.bin", "s3://plant/out/x.bin"):
        path = as_path(url)
        path.write_bytes(b"first")
        with monkeypatch.context() as patch:
            patch.setattr(filesystem_of(path.address)[0], "pipe_file", _fails)
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


def test_a_monitor_is_a_file_here(model: str, run: Run) -> None:
    text = (
        "s3://plant/state: a monitor must be on this computer (it is locked while it is used, and replaced after "
        "every clip); name a local path"
    )
    assert error_of(run("score", model, "s3://plant/test", "--monitor", "s3://plant/state")) == text
    assert error_of(run("monitor", "s3://plant/state", "show")) == text


def test_pictures_are_written_to_s3(s3: Store, model: str, run: Run) -> None:
    pytest.importorskip("matplotlib")
    assert run("diff", model, model, "--picture", "s3://plant/diff.svg")[0] == 0
    assert s3.fs.cat_file("plant/diff.svg").startswith(b"<?xml")
    data = ("--normal", "s3://plant/test", "--anomalous", "s3://plant/train")
    code, _, err = run("evaluate", model, *data, "--stream", "--streams", "2", "--picture", "s3://plant/evidence.svg")
    assert code == 0, err
    assert s3.fs.cat_file("plant/evidence.svg").startswith(b"<svg")
    for command in (["diff", model, model], ["evaluate", model, *data, "--stream"]):
        assert error_of(run(*command, "--picture", "s3://nobody/x.svg")) == (
            "s3://nobody/x.svg: no such bucket (nobody); is it written correctly?"
        )


def test_a_folder_of_results_is_put_whole_even_after_an_error_and_never_lost(
    s3: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(url: str) -> None:
        with results_folder(as_path(url)) as here:
            (here / "sub").mkdir()
            (here / "rows.csv").write_bytes(b"1")
            (here / "sub" / "more.csv").write_bytes(b"2")
            raise KeyboardInterrupt

    for url in ("s3://plant/put", "memory://put"):
        with pytest.raises(KeyboardInterrupt):
            write(url)
        assert as_path(f"{url}/rows.csv").read_bytes() == b"1"
        assert as_path(f"{url}/sub/more.csv").read_bytes() == b"2"
    upload = writing._upload

    def failing(fs: Any, place: str, *rest: Any) -> None:
        upload(fs, place, *rest) if place.endswith("rows.csv") else _fails()

    monkeypatch.setattr(writing, "_upload", failing)
    with pytest.raises(
        DataError, match=r"more\.csv: RuntimeError: the line is cut; 1 of 2 files are kept in "
    ) as raised:
        write("s3://plant/put")
    kept = Path(str(raised.value).rpartition(" ")[2])
    assert [path.name for path in kept.rglob("*.csv")] == ["more.csv"]
    shutil.rmtree(kept)


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
    kept = asd.embed(clips, extractor="mel-statistics")
    assert len(kept.clips) == 2
    assert [str(failure.error) for failure in kept.failures] == ["s3://plant/fleeting/1.wav: no such file"]


def test_wrong_credentials(s3: Store, model: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with web_server(status={"/plant/x.wav": 403, "/plant": 403, "/plant/": 403}) as site:
        monkeypatch.setenv("AWS_ENDPOINT_URL", site.url)
        text = error_of(run("score", model, "s3://plant/x.wav"))
    assert "access is refused; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in text


STATUSES = [
    (404, "no such file"),
    (403, "HTTP 403: access is refused; check user and password"),
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
        with pytest.raises(
            AudioError, match=r"y\.wav: it cannot be read in parts, and a whole copy takes more, the spool"
        ):
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
