"""Recordings that are arrays in memory, and frames of paths: what Python callers give instead of files."""

from __future__ import annotations

import array
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import soundfile

import asd
from asd.detection.identity import content_of, stamp_of
from asd.sound.data import entries_of
from asd.sound.finding import find_clips
from asd.sound.memory import held
from asd.sound.reading import duration_of, read

RATE = 16000
LIGHT = {"extractor": "mel-statistics", "detector": "knn"}


def machine(seed: int, seconds: float = 1.0, level: float = 0.05) -> Any:
    """Return the sound of a machine: a hum with noise, float32[n]."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * RATE)) / RATE
    hum = np.sin(2 * np.pi * (120 + random.normal()) * time)
    return (level * (hum + 0.3 * random.normal(size=time.size))).astype(np.float32)


@pytest.fixture(scope="module")
def healthy() -> list[Any]:
    return [machine(seed) for seed in range(24)]


@pytest.fixture(scope="module")
def model(healthy: list[Any]) -> asd.Model:
    return asd.fit(healthy, rate=RATE, cache=False, **LIGHT)


def the_clip(data: Any, rate: int | None = RATE) -> asd.Clip:
    (clip,) = find_clips(entries_of(data, rate=rate))
    return clip


def test_an_array_is_judged_as_the_file_with_its_samples(model: asd.Model, tmp_path: Path) -> None:
    samples = np.rint(machine(50) * 2**15).astype(np.int16)
    soundfile.write(tmp_path / "clip.wav", samples, RATE)
    file, array, floats = [
        *asd.score(model, tmp_path / "clip.wav", cache=False),
        *asd.score(model, [(samples, RATE), (samples / 2**15, RATE)], cache=False),
    ]
    assert file.score == array.score == floats.score
    assert file.p_value == array.p_value


@pytest.mark.parametrize(
    ("dtype", "full_scale", "middle"),
    [("int8", 2**7, 0), ("int16", 2**15, 0), ("int32", 2**31, 0), ("uint8", 2**7, 2**7), ("uint16", 2**15, 2**15)],
)
def test_integers_have_the_full_scale_of_their_type_which_is_said(
    dtype: str, full_scale: int, middle: int, caplog: pytest.LogCaptureFixture
) -> None:
    half = np.full(400, 0.5 * full_scale + middle).astype(dtype)
    with caplog.at_level(logging.WARNING, "asd"):
        clip, _ = find_clips(entries_of([half, half], rate=RATE))
    assert read(clip).samples.tolist() == [[0.5] * 400]
    assert caplog.messages[0].startswith(f"2 arrays of {dtype}: divided by {full_scale}, the full scale of their type")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["i2", "f4"])
def test_the_order_of_bytes_changes_nothing(order: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    full_scale = 2**15 if kind == "i2" else 1
    clip = the_clip(np.full(400, 0.5 * full_scale).astype(f"{order}{kind}"))
    assert read(clip).samples.tolist() == [[0.5] * 400]
    said = "1 array of int16: divided by 32768, the full scale of its type"
    assert caplog.messages == ([said] if kind == "i2" else [])


@pytest.mark.parametrize(
    "given",
    [
        memoryview(machine(1)),
        [memoryview(machine(1))],
        array.array("f", machine(1)),
        np.asfortranarray(machine(1)[:, None]),
        np.repeat(machine(1), 2)[::2],
        np.ma.array(machine(1)),
        np.frombuffer(machine(1).tobytes(), np.float32),  # read-only
        pd.Series([machine(1)]),
        np.array([machine(1), None], object)[:1],
    ],
    ids=["memoryview", "list", "array", "Fortran", "strided", "unmasked", "read-only", "Series of arrays", "objects"],
)
def test_whatever_holds_the_samples_they_are_the_same(given: Any) -> None:
    (clip,) = find_clips(entries_of(given, rate=RATE))
    assert np.array_equal(read(clip).samples[0], machine(1))


def test_integers_far_below_their_full_scale_are_said(caplog: pytest.LogCaptureFixture) -> None:
    the_clip(np.full(400, 1000, np.int32))
    the_clip(np.full(400, 1_000_000, np.int32))
    the_clip(np.full(400, 1_000_000 << 8, np.int32))
    said = "1 array of int32: divided by 2147483648, the full scale of its type"
    assert caplog.messages == [
        f"{said}; samples stay below 16 bits of it: if they are 16-bit, give array.astype('int16')",
        f"{said}; samples stay below 24 bits of it: if they are 24-bit, give array / 2**23",
        said,
    ]


def test_floats_of_the_scale_of_integers_are_scaled_and_noted(model: asd.Model) -> None:
    (verdict,) = asd.score(model, np.rint(machine(3) * 2**15).astype(np.float64), rate=RATE, cache=False)
    assert "float samples of the scale of 16-bit integers: divided by 32768" in verdict.notes


@pytest.mark.parametrize("shape", [(400,), (400, 2), (2, 400), (400, 1), (1, 400)])
def test_the_longer_axis_is_time(shape: tuple[int, ...]) -> None:
    samples = np.zeros(shape, np.float32)
    clip = the_clip(samples)
    assert duration_of(clip.path) == 400 / RATE
    assert read(clip).samples.shape == (1, 400)
    assert str(clip) == "array 1 (0.025 s, 16000 Hz)"


def test_channels_are_mixed_or_chosen_as_those_of_a_file() -> None:
    stereo = np.array([[0.25] * 400, [0.75] * 400])
    assert read(the_clip(stereo)).samples[0, 0] == 0.5
    assert read(the_clip(stereo.T), channel=2).samples[0, 0] == 0.75


def test_a_later_change_of_the_array_changes_nothing() -> None:
    samples = machine(1)
    clip = the_clip(samples)
    before = samples.copy()
    samples[:] = 0
    assert (read(clip).samples[0] == before).all()


def test_an_array_is_identified_by_its_content() -> None:
    first, again, other = (the_clip(machine(seed)) for seed in (1, 1, 2))
    assert (first, hash(first)) == (again, hash(again))
    assert first != other
    assert content_of(first.path) == content_of(again.path) != content_of(other.path)
    assert stamp_of(first.path) == ()
    assert first.path != Path(str(first.path))
    assert first.path.parent == Path()
    assert held(first.path.parent) is None
    assert pickle.loads(pickle.dumps(first)) == first  # noqa: S301  # its own


def test_arrays_use_the_embedding_cache(
    healthy: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path))
    monkeypatch.setenv("ASD_CACHE_SIZE", "100MB")
    with caplog.at_level(logging.INFO, "asd"):
        once = asd.fit(healthy, rate=RATE, **LIGHT)
        assert "come from the cache" not in caplog.text
        twice = asd.fit([(samples, RATE) for samples in reversed(healthy)], workers=2, **LIGHT)
    assert "the embeddings of 24 of 24 clips come from the cache" in caplog.messages
    assert (once.calibration.scores == twice.calibration.scores).all()


def test_an_array_given_twice_calibrates_once(healthy: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    fitted = asd.fit([*healthy, healthy[4]], rate=RATE, cache=False, **LIGHT)
    ((copy,), found) = ([each.clip for each in fitted.duplicates], caplog.text)
    assert {str(copy), str(fitted.duplicates[0].original)} == {"array 5 (1 s, 16000 Hz)", "array 25 (1 s, 16000 Hz)"}
    assert fitted.duplicates[0].found_by == "content"
    assert "1 of 25 clips repeat others" in found


def test_a_model_file_holds_no_sound(model: asd.Model, tmp_path: Path, healthy: list[Any]) -> None:
    model.save(tmp_path / "model.asd")
    content = (tmp_path / "model.asd").read_bytes()
    assert not any(samples[:64].tobytes() in content for samples in healthy)
    loaded = asd.load(tmp_path / "model.asd")
    assert {entry["name"] for entry in loaded.training} == {f"array {n} (1 s, 16000 Hz)" for n in range(1, 25)}
    assert [v.score for v in asd.score(loaded, healthy[:2], rate=RATE)] == [
        v.score for v in asd.score(model, healthy[:2], rate=RATE)
    ]


def test_a_model_of_arrays_goes_on(model: asd.Model, healthy: list[Any]) -> None:
    new = [machine(seed) for seed in range(100, 124)]
    assert len(asd.recalibrate(model, new, rate=RATE).calibration.scores) == 24
    assert asd.update(model, [(each, RATE) for each in new], old_data=healthy, rate=RATE).clips == 48
    with pytest.raises(asd.AsdError, match="the model knows all 24 clips already"):
        asd.recalibrate(model, healthy, rate=RATE)
    assert asd.diff(model, model, new[:3], rate=RATE).alarms.clips == 3


def test_an_array_is_explained_by_the_arrays_of_the_fit(model: asd.Model) -> None:
    whistle = machine(31) + (0.5 * np.sin(2 * np.pi * 3000 * np.arange(RATE) / RATE)).astype(np.float32)
    said = str(asd.explain(model, whistle, rate=RATE))
    assert "louder at" in said
    assert "than any of" in said


def test_long_arrays_are_cut(model: asd.Model) -> None:
    verdicts = list(asd.score(model, machine(7, 3.0), rate=RATE))
    assert [str(each.clip) for each in verdicts] == [f"array 1 (3 s, 16000 Hz) [{n}–{n + 1} s]" for n in range(3)]


def test_paths_arrays_and_pairs_stand_in_one_list(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", machine(1), RATE)
    clips = find_clips(entries_of([str(tmp_path), (machine(2), 8000), machine(3)], rate=RATE))
    assert [clip.path.name for clip in clips] == ["clip.wav", "array 2 (2 s, 8000 Hz)", "array 3 (1 s, 16000 Hz)"]


def test_a_tensor_is_an_array() -> None:
    torch = pytest.importorskip("torch")
    clip = the_clip(torch.ones(2, 400) / 2)
    assert read(clip).samples[0, 0] == 0.5
    with pytest.raises(asd.AsdError, match=r"^array 1: NumPy cannot read this Tensor \(Can't call numpy\(\) on Tensor"):
        the_clip(torch.ones(400, requires_grad=True))


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_frame_is_read_as_a_manifest(library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "abc":
        soundfile.write(f"{name}.wav", machine(1), RATE)
    frame = library(
        {
            "path": ["a.wav", str(tmp_path / "b.wav"), "c.wav"],
            "label": ["normal", None, "faulty"],
            "start": [0.25, None, 0.0],
            "end": [0.75, None, 1.0],
            "speed": [1200, 1500, 1200],
        }
    )
    clips = find_clips(entries_of(frame), label="normal", group="speed")
    assert clips == [asd.Clip(Path("a.wav"), 0.25, 0.5), asd.Clip(tmp_path / "b.wav")]
    assert [clip.group for clip in clips] == ["1200", "1500"]


def test_labels_of_a_frame_may_be_truth_values_and_gaps() -> None:
    frame = pd.DataFrame({"path": ["a.wav", "b.wav", "c.wav"], "label": pd.array([False, True, pd.NA], "boolean")})
    assert [clip.path.name for clip in find_clips(entries_of(frame), label="normal")] == ["a.wav", "c.wav"]
    frame["label"] = [0.0, 1.0, np.nan]
    assert [clip.path.name for clip in find_clips(entries_of(frame), label="normal")] == ["a.wav", "c.wav"]


@pytest.mark.parametrize(
    "paths",
    [np.array(["a.wav", "b.wav"]), pd.Series(["a.wav", "b.wav"]), pl.Series(["a.wav", "b.wav"]), ("a.wav", "b.wav")],
)
def test_a_column_of_paths_is_a_list_of_paths(paths: Any) -> None:
    assert entries_of(paths) == ["a.wav", "b.wav"]


TONE = np.zeros(400, np.float32)


@pytest.mark.parametrize(
    ("data", "rate", "text"),
    [
        (TONE, None, "array 1: its sample rate is not known; give rate=16000 (in Hz), or (samples, rate) pairs"),
        ([(TONE, 8000), TONE], None, "array 2: its sample rate is not known; give rate="),
        ((TONE, None), None, "array 1: its sample rate is not known; give rate="),
        (TONE, float("nan"), "array 1: the sample rate is nan, expected Hz, a whole number from 100 to 10,000,000"),
        (TONE, 16000.5, "array 1: the sample rate is 16000.5, expected Hz, a whole number"),
        (TONE, "16k", "array 1: the sample rate is '16k', expected Hz"),
        (TONE, True, "array 1: the sample rate is True, expected Hz"),
        (TONE, -8000, "array 1: the sample rate is -8000, expected Hz"),
        ("a.wav", RATE, "rate=16000 is for arrays without a rate of their own, and there are none"),
        ((RATE, TONE), None, "array 1: got the pair (rate, samples), expected (samples, rate): swap them"),
        (np.zeros((2, 2, 400)), RATE, "array 1: has the shape (2, 2, 400), expected (n,), (n, channels) or (channels"),
        (
            np.zeros((20, 400)),
            RATE,
            "array 1: has the shape (20, 400): 20 channels, at most 16 are taken; if each row ",
        ),
        (np.zeros((3, 3)), RATE, "array 1: has the shape (3, 3): which axis is time cannot be told"),
        (np.array(0.5), RATE, "array 1: has the shape (), expected (n,)"),
        (np.zeros(400, complex), RATE, "array 1: holds values of type complex128, expected floats or integers; conv"),
        (np.zeros(400, bool), RATE, "array 1: holds values of type bool, expected floats or integers; convert it"),
        (np.array([TONE, None], object), RATE, "element 2 of the data is NoneType None; expected a path, an array, a"),
        (pd.Series(["a.wav", float("nan")]), None, "element 2 of the data is float nan; expected a path, an array, a"),
        (TONE.astype(object), RATE, "element 1 of the data is float 0.0: samples are given as arrays, numpy.array(sa"),
        (TONE.tolist(), RATE, "element 1 of the data is float 0.0: samples are given as arrays, numpy.array(samples)"),
        ([TONE.tolist()], RATE, "element 1 of the data is list [0.0, 0.0"),
        (np.ma.array(TONE, mask=TONE == 0), RATE, "array 1: 400 of 400 samples are masked; fill them, or cut the arr"),
        (
            pd.DataFrame({0: TONE, 1: TONE}),
            RATE,
            "the frame: it needs a column 'path' and at least one row; found '0'"
            ", '1'; sound is given as an array: frame.to_numpy()",
        ),
        (
            pd.DataFrame([["a.wav", 1]], columns=pd.MultiIndex.from_tuples([("path", ""), ("x", "y")])),
            None,
            "the frame: it needs a column 'path' and at least one row; found \"('path', '')\"",
        ),
        (
            pd.DataFrame({"x": [1]}, index=pd.Index(["a.wav"], name="path")),
            None,
            "the frame: it needs a column 'path'"
            " and at least one row; found 'x'; the paths are its index: give frame.reset_index()",
        ),
        (pl.LazyFrame({"path": ["a.wav"]}), None, "the data is LazyFrame"),
        (np.zeros(400, np.int64), RATE, "array 1: int64 has no full scale of sound: convert it to the type that it w"),
        (
            [0.1, 0.2],
            RATE,
            "element 1 of the data is float 0.1: samples are given as arrays, numpy.array(samples)",
        ),
        ([[TONE]], RATE, "element 1 of the data is list [array("),
        ({"a": TONE}, RATE, "the data is dict {'a': array("),
        (5, None, "the data is int 5; expected paths, arrays, pairs (samples, rate), a list of these, or a frame"),
        (pd.DataFrame({"x": [1]}), None, "the frame: it needs a column 'path' and at least one row; found 'x'"),
        (pd.DataFrame({"path": ["a.wav", None]}), None, "the frame, row 1: the path is empty"),
        (pd.DataFrame([["a.wav", 1, 1]], columns=["path", "x", "x"]), None, "the frame has columns of one name"),
        (pl.DataFrame({"path": ["a.wav"], "start": ["soon"]}), None, "the frame, row 0: start is 'soon', expected sec"),
        ([], None, "no recordings were given; name files, folders, globs or a CSV manifest"),
    ],
)
def test_what_is_no_sound_is_refused_in_one_line(data: Any, rate: Any, text: str) -> None:
    with pytest.raises(asd.AsdError) as refusal:
        asd.fit(data, rate=rate, **LIGHT)
    assert str(refusal.value).startswith(text)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        (np.array([0, 0, np.nan, 0] * 100), "holds NaN or infinite samples, the first at 0.000125 s; export it again"),
        (np.full(400, 1e300), "holds NaN or infinite samples, the first at 0 s; export it again"),
        (np.zeros(0), "holds no samples; record it again or leave it out"),
        (np.zeros((0, 2)), "holds no samples; record it again or leave it out"),
    ],
)
def test_an_array_with_bad_samples_fails_alone(model: asd.Model, samples: Any, text: str) -> None:
    bad, good = model.score([samples, machine(1)], rate=RATE, cache=False)
    assert str(bad.error) == f"{bad.clip}: {text}"
    assert good.p_value > 0
