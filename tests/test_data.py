"""DATA: files, folders, globs and manifests."""

from __future__ import annotations

import ctypes
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.errors import AudioError, ConfigError, DataError
from asd.records import Clip
from asd.sound.finding import find_clips
from asd.sound.reading import read

GOLDEN = Path(__file__).resolve().parent / "golden"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.wav", "a.WAV", "sub/c.flac", "sub/deep/d.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, np.zeros(1600), 16000, format=name[-4:].strip(".").upper())
    (tmp_path / "notes.txt").write_text("not sound")
    (tmp_path / ".hidden.wav").write_text("an editor's or a Mac's left-over")
    return tmp_path


def names(*data: str | Path, **options: str) -> list[str]:
    return [clip.path.name for clip in find_clips(data, **options)]  # type: ignore[arg-type]


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def test_folders_are_searched_in_order(folder: Path) -> None:
    assert names(folder) == ["a.WAV", "b.wav", "c.flac", "d.wav"]


def test_files_globs_and_repetition(folder: Path) -> None:
    assert names(folder / "b.wav", f"{folder}/*.wav", f"{folder}/**/*.wav") == ["b.wav", "d.wav"]
    assert names(f"{folder}/s*") == ["c.flac", "d.wav"]


def test_a_file_with_magic_characters_in_its_name(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fan [1].wav", np.zeros(1600), 16000)
    assert names(tmp_path / "fan [1].wav") == ["fan [1].wav"]


def test_hidden_folders_are_not_read(tmp_path: Path) -> None:
    touch(tmp_path / ".Trash" / "a.wav", tmp_path / "b" / ".ipynb_checkpoints" / "c.wav", tmp_path / "b" / "d.wav")
    assert names(tmp_path) == ["d.wav"]
    assert names(tmp_path / ".Trash") == ["a.wav"]  # named, it is meant


def test_linked_folders_are_read_once(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "a.wav", tmp_path / "data" / "z" / "b.wav")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "a_link_to_z").symlink_to(tmp_path / "data" / "z")
    (tmp_path / "data" / "z" / "round").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "up").symlink_to(tmp_path)
    (tmp_path / "data" / "broken").symlink_to(tmp_path / "nowhere")
    found = [clip.path.relative_to(tmp_path).as_posix() for clip in find_clips([tmp_path / "data"])]
    assert len(found) == 2
    assert found[0] in ("data/again/a.wav", "data/linked/a.wav")
    assert found[1] == "data/z/b.wav"


def test_a_file_and_links_to_it_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "sub" / "a.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "sub" / "a.wav")
    monkeypatch.chdir(tmp_path / "sub")
    assert names("a.wav", "../sub/a.wav", tmp_path / "sub" / "a.wav", tmp_path) == ["a.wav"]


@pytest.mark.parametrize("entry", ["", "  "])
def test_an_unset_variable_of_the_shell_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    touch(tmp_path / "a.wav")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"an empty name was given for recordings; is a variable of the shell unset\?"):
        find_clips([entry])


@pytest.mark.parametrize(
    ("files", "kinds", "example"),
    [
        (("normal/a.wav", "abnormal/b.wav"), "'normal' and 'abnormal'", "fan/normal"),
        (("id_00/Healthy/a.wav", "id_02/faulty/b.wav"), "'Healthy' and 'faulty'", "fan/id_00/Healthy"),
        (("train/ok/a.wav", "test/anomaly/deep/b.wav"), "'ok' and 'anomaly'", "fan/train/ok"),
    ],
)
def test_a_folder_of_both_kinds_cannot_be_learned(
    tmp_path: Path, files: tuple[str, ...], kinds: str, example: str
) -> None:
    touch(*(tmp_path / "fan" / file for file in files))
    with pytest.raises(DataError) as error:
        find_clips([tmp_path / "fan"], label="normal")
    assert str(error.value) == (
        f"{tmp_path}/fan: holds recordings of both kinds, in {kinds}; name the folder of one kind, for example "
        f"{tmp_path}/{example}"
    )
    assert len(find_clips([tmp_path / "fan"])) == 2  # scoring them is all right
    assert len(find_clips([tmp_path / example], label="normal")) == 1


def test_numbers_and_folders_above_are_no_labels(tmp_path: Path) -> None:
    touch(tmp_path / "abnormal" / "0" / "a.wav", tmp_path / "abnormal" / "1" / "normal" / "b.wav")
    assert len(find_clips([tmp_path / "abnormal"], label="normal")) == 2


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """A file name from an older system, in Latin-1."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    try:
        path.write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes only names that are text")
    soundfile.write(os.fsencode(path), np.ones(1600) / 2, 16000)
    (clip,) = find_clips([tmp_path])
    assert read(clip).samples.shape == (1, 1600)
    listed = tmp_path / "clips.csv"
    listed.write_bytes(b"path\ncaf\xe9.wav\n")
    assert find_clips([listed]) == [clip]


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict", "cp1252:strict"])
def test_names_that_are_no_text_end_no_command(tmp_path: Path, encoding: str) -> None:
    model, clips = GOLDEN / "mel-stack-gmm.asd", sorted((GOLDEN / "clips").iterdir())  # needs no PyTorch: starts soon
    folder = os.fsencode(tmp_path / "clips")
    Path(os.fsdecode(folder)).mkdir()
    try:
        Path(os.fsdecode(folder + b"/caf\xe9.wav")).write_bytes(clips[0].read_bytes())
        Path(os.fsdecode(folder + b"/broken\xe9.wav")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes only names that are text")
    outputs = []
    for options in ([], ["--csv"], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "asd", "score", model, tmp_path / "clips", *options],
            capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"},
        )  # fmt: skip
        assert done.returncode in (0, 1)
        assert b"Traceback" not in done.stderr
        assert done.stderr.count(b"left out: ") == 1
        outputs.append(done.stdout)
    table, listing, json_text = outputs
    assert b"caf" in b"".join(table.split())  # a narrow table wraps names
    assert listing.count(b"clips/") == 3  # two rows, and the error
    found = json.loads(json_text.decode(encoding.partition(":")[0]))
    if encoding.startswith("utf-8"):
        assert os.fsencode(found["clips"][1]["clip"]) == folder + b"/caf\xe9.wav"


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(DataError, match=r"pipe\.wav: a pipe can be read only once, .*; save it to a file$"):
        find_clips([tmp_path / "pipe.wav"])
    (clip,) = find_clips([tmp_path])
    with pytest.raises(AudioError, match=r"pipe\.wav: a pipe can be read only once, .*; save it to a file$"):
        read(clip)
    with pytest.raises(AudioError, match=r"/dev/zero: a device, not a recording"):
        read(*find_clips(["/dev/zero"]))
    with pytest.raises(AudioError, match=r": a folder, not a recording"):
        read(Clip(tmp_path))
    with pytest.raises(AudioError, match=r": cannot be opened \(embedded null byte\)"):
        read(Clip(Path("a\0b.wav")))
    with pytest.raises(DataError, match=r": cannot be opened \(File name too long\)"):
        find_clips(["a" * 5000])


@pytest.mark.parametrize("segment", [0.0, -1.0, float("nan"), float("inf"), 1e-6])
def test_segments_that_are_no_length(folder: Path, segment: float) -> None:
    with pytest.raises(ConfigError, match=r"segment takes seconds, at least 0\.01, got"):
        find_clips([folder], segment=segment)


def manifest(folder: Path, text: str) -> Path:
    path = folder / "clips.csv"
    path.write_text(text, encoding="utf-8-sig")
    return path


def test_manifest_with_labels_and_splits(folder: Path) -> None:
    path = manifest(
        folder,
        "path,label,split,comment\na.WAV,normal,train,x\nb.wav,Abnormal,test,\nsub/c.flac,0,test,\nsub/deep/d.wav,,,\n",
    )
    assert names(path) == ["a.WAV", "b.wav", "c.flac", "d.wav"]
    assert names(path, label="normal") == ["a.WAV", "c.flac", "d.wav"]
    assert names(path, label="normal", split="train") == ["a.WAV", "d.wav"]
    assert names(path, label="anomalous") == ["b.wav", "d.wav"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "sound,label\na.WAV,normal\n",
            r"a manifest needs a header line with a column 'path' and at least one row; found 'sound', 'label'",
        ),
        ("path\n", r"a manifest needs a header line"),
        ("path,label\na.WAV,normal\n,normal\n", r"clips\.csv, line 3: the path is empty"),
        ("path,label\na.WAV,odd\n", r"clips\.csv, line 2: label 'odd' is neither 'normal' nor 'anomalous'"),
        ("path,label\na.WAV,anomaly\n", r"clips\.csv: no row with label 'normal'"),
    ],
)
def test_bad_manifests(folder: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        names(manifest(folder, text), label="normal")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("column", ["path", "Path", "FILE", " filename "])
def test_manifests_as_programs_write_them(folder: Path, delimiter: str, encoding: str, column: str) -> None:
    lines = [["Label", column, "note"], ["normal", "a.WAV", "ä, b; c"], ["faulty", "sub/c.flac", ""]]
    path = folder / "clips.CSV"
    text = "\r\n".join(delimiter.join(f'"{field}"' for field in line) for line in lines) + "\r\n\r\n"
    path.write_text(text, encoding=encoding)
    assert names(path) == ["a.WAV", "c.flac"]
    assert names(path, label="normal") == ["a.WAV"]


def test_manifest_with_parts_of_recordings(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.arange(10000) / 10000, 1000)
    path = manifest(tmp_path, "path;start;end\nlong.wav;;\nlong.wav;1,5;4\nlong.wav;8;\n./long.wav;1.5;4.0\n")
    whole, middle, rest = find_clips([path])
    assert (whole.start, whole.duration) == (0, None)
    assert (middle.start, middle.duration) == (1.5, 2.5)
    assert (rest.start, rest.duration) == (8, None)
    assert str(rest) == f"{tmp_path}/long.wav [8 s–]"
    assert read(rest).samples[0, 0] == pytest.approx(0.8, abs=1e-4)
    assert read(rest).samples.shape == (1, 2000)
    assert [(c.start, c.duration) for c in find_clips([path], segment=2.0)[5:]] == [(1.5, 2.5), (8, 2)]


def test_manifest_names_are_relative_to_it_and_one_file_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "sounds" / "a.wav")
    (tmp_path / "lists").mkdir()
    path = manifest(tmp_path / "lists", f"path\n../sounds/a.wav\n../lists/../sounds/a.wav\n{tmp_path}/sounds/a.wav\n")
    monkeypatch.chdir(tmp_path / "sounds")
    assert names(path, "a.wav") == ["a.wav"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x,1", r"clips\.csv, line 2: start is 'x', expected seconds from the beginning of the recording"),
        ("nan,1", r"clips\.csv, line 2: start is 'nan', expected seconds"),
        ("-1,1", r"clips\.csv, line 2: start is '-1', expected seconds"),
        ("2,2", r"clips\.csv, line 2: the part ends at 2 s, before it begins"),
    ],
)
def test_bad_parts_in_manifests(folder: Path, row: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_clips([manifest(folder, f"path,start,end\na.WAV,{row}\n")])


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such file or folder"):
        find_clips([tmp_path / "nowhere"])
    with pytest.raises(DataError, match=r"\*\.wav: no file matches this pattern"):
        find_clips([str(tmp_path / "*.wav")])
    with pytest.raises(DataError, match=r"this folder holds no recordings \(\.aif, "):
        find_clips([tmp_path])
    with pytest.raises(DataError, match=r"no recordings were given"):
        find_clips([])


def _obey_permissions() -> None:
    """Make root obey file permissions in a child process, as everybody else must (drops CAP_DAC_*)."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            libc.prctl(24, capability)  # PR_CAPBSET_DROP


@pytest.mark.skipif(sys.platform != "linux", reason="permissions are tested through Linux capabilities")
def test_an_unreadable_folder(folder: Path) -> None:
    (folder / "sub").chmod(0)
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"from asd.sound.finding import find_clips; find_clips([{str(folder)!r}])"],
            capture_output=True, text=True, check=False, preexec_fn=_obey_permissions,
        )  # fmt: skip
    finally:
        (folder / "sub").chmod(0o755)
    assert "sub: cannot read this folder (Permission denied); check its permissions" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="permissions are tested through Linux capabilities")
def test_what_may_not_be_read_says_so(folder: Path) -> None:
    (folder / "b.wav").chmod(0)
    (folder / "sub").chmod(0)
    script = (
        "from pathlib import Path\n"
        "from asd.errors import AsdError\n"
        "from asd.records import Clip\n"
        "from asd.sound.finding import find_clips\n"
        "from asd.sound.reading import read\n"
        f"for path in ({str(folder / 'b.wav')!r}, {str(folder / 'sub' / 'c.flac')!r}):\n"
        "    for attempt in (lambda: find_clips([path]), lambda: read(Clip(Path(path)))):\n"
        "        try:\n"
        "            attempt()\n"
        "        except AsdError as error:\n"
        "            print(error)\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, preexec_fn=_obey_permissions
        )
    finally:
        (folder / "sub").chmod(0o755)
    assert done.stdout.splitlines() == [
        f"{folder}/b.wav: no permission to read it; check its permissions and its folder's",
        f"{folder}/sub/c.flac: no permission to read it; check the permissions of its folder",
        f"{folder}/sub/c.flac: no permission to read it; check its permissions and its folder's",
    ]


def test_long_recordings_are_cut_into_clips(tmp_path: Path) -> None:
    for name, seconds in (("exact", 30), ("short_rest", 33), ("long_rest", 37), ("brief", 4)):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(1000 * seconds), 1000)
    (tmp_path / "broken.wav").write_text("x")
    clips = find_clips([tmp_path], segment=10.0)
    lengths = {
        name: [c.duration for c in clips if c.path.stem == name] for name in dict.fromkeys(c.path.stem for c in clips)
    }
    assert lengths == {
        "brief": [4],
        "broken": [None],
        "exact": [10, 10, 10],
        "long_rest": [10, 10, 10, 7],
        "short_rest": [10, 10, 13],
    }
    assert [c.start for c in clips if c.path.stem == "exact"] == [0, 10, 20]


def test_more_clips_than_anybody_means(tmp_path: Path) -> None:
    size = 30_000_000
    head = struct.pack("<4sI4s4sI", b"RIFF", size + 36, b"WAVE", b"fmt ", 16)
    with (tmp_path / "a.wav").open("wb") as file:
        file.write(head + struct.pack("<HHIIHH4sI", 1, 1, 1000, 1000, 1, 8, b"data", size))
        file.truncate(file.tell() + size)
    with pytest.raises(DataError, match=r"a\.wav: 3000000 clips of 0\.01 s are too many; use a longer --segment"):
        find_clips([tmp_path], segment=0.01)
