"""DATA: files, folders, globs and manifests."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.errors import DataError
from asd.sound.finding import find_clips


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


def test_folders_are_searched_in_order(folder: Path) -> None:
    assert names(folder) == ["a.WAV", "b.wav", "c.flac", "d.wav"]


def test_files_globs_and_repetition(folder: Path) -> None:
    assert names(folder / "b.wav", f"{folder}/*.wav", f"{folder}/**/*.wav") == ["b.wav", "d.wav"]
    assert names(f"{folder}/s*") == ["c.flac", "d.wav"]


def test_a_file_with_magic_characters_in_its_name(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "fan [1].wav", np.zeros(1600), 16000)
    assert names(tmp_path / "fan [1].wav") == ["fan [1].wav"]


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
