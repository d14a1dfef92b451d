"""`asd.embed` and ``asd embed``: what a fit learns from, with where it comes from, kept in files without pickle."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.detection.config import Config
from asd.detection.pipeline import Pipeline
from asd.detection.pooling import pool_embeddings
from asd.detection.training import extract
from asd.errors import AudioError, ConfigError, DataError
from asd.experiment import ClipFeatures, find_clips

pytestmark = pytest.mark.usefixtures("embedding_cache")

ASD = Path(os.environ["ASD_COMMAND"])
SAMPLES = Path(__file__).resolve().parent.parent / "examples" / "data"
TRAIN, TEST = SAMPLES / "train", SAMPLES / "test"
QUICK = {"extractor": "mel-statistics"}


def run(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([ASD, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def error(*arguments: str | Path) -> str:
    """Return the one line of an error with exit code 2."""
    lines = [line for line in run(*arguments, code=2).stderr.splitlines() if line.startswith("asd: error: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("asd: error: ")


def same(one: asd.Embeddings, other: asd.Embeddings) -> bool:
    return (
        one.vectors.tobytes() == other.vectors.tobytes()
        and one.window_start.tobytes() == other.window_start.tobytes()
        and one.clips == other.clips
        and one.provenance == other.provenance
    )


@pytest.fixture(scope="module")
def clips(embedding_cache: None) -> asd.Embeddings:
    return asd.embed(TRAIN, **QUICK)


@pytest.fixture(scope="module")
def windows(embedding_cache: None) -> asd.Embeddings:
    return asd.embed(TRAIN, windows=True, **QUICK)


@pytest.mark.parametrize("branch", ["timbre", "level", "spectrum", "tonality", "pulsation"])
def test_the_vectors_are_bit_for_bit_what_a_fit_of_the_default_pipeline_learns_from(branch: str) -> None:
    pipeline = Pipeline(Config())
    found, _ = extract(pipeline, find_clips([TRAIN]), workers=1, strict=True)
    number = pipeline.config.names.index(branch)
    part = pipeline.config.parts[number]
    learned = [each[number].values if each[number].pooled else pool_embeddings(each[number].values, part)
               for each in found]  # fmt: skip
    embedded = asd.embed(TRAIN, branch=branch)
    assert embedded.vectors.dtype == np.float32
    assert np.array_equal(embedded.vectors, np.concatenate(learned))
    assert embedded.clips == tuple(each[number].clip for each in found)
    assert embedded.provenance["branch"] == branch


def test_without_arguments_it_is_the_first_branch_of_the_default_pipeline(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "asd"):
        embedded = asd.embed(TRAIN)
    assert same_vectors(embedded, asd.embed(TRAIN, branch="timbre"))
    assert (
        "the vectors are those of the branch 'timbre', the first of 5 (the others: level, spectrum, tonality, "
        "pulsation)" in caplog.text
    )
    assert repr(embedded) == (
        "<asd.Embeddings: 14 clips, 256 values each; efficientat-mel → efficientat-mn04, mean over the clip>"
    )


def same_vectors(one: asd.Embeddings, other: asd.Embeddings) -> bool:
    return one.vectors.tobytes() == other.vectors.tobytes()


def test_windows_are_those_of_the_pipeline_with_their_starts(windows: asd.Embeddings) -> None:
    config = Config.from_mapping(QUICK)
    expected = list(Pipeline(config).embed_all(find_clips([TRAIN])))
    assert all(isinstance(each, ClipFeatures) for each in expected)
    assert np.array_equal(windows.vectors, np.concatenate([each.values for each in expected]))  # type: ignore[union-attr]
    assert np.array_equal(windows.window_start, np.concatenate([each.start for each in expected]))  # type: ignore[union-attr]
    assert windows.windows
    assert len(windows) == len(windows.window_start) == len(windows.clip_number) > len(windows.clips) == 14
    assert [str(windows.clips[i]) for i in np.unique(windows.clip_number)] == [str(clip) for clip in windows.clips]


def test_parts_of_a_recording_say_where_they_begin() -> None:
    recording = next(iter(sorted(TRAIN.iterdir())))
    embedded = asd.embed(recording, segment=2.5, **QUICK)
    assert embedded.window_start.tolist() == [0.0, 2.5, 5.0, 7.5]
    assert len({clip.path for clip in embedded.clips}) == 1
    inside = asd.embed(recording, segment=2.5, windows=True, **QUICK)
    assert (
        (inside.window_start >= 2.5 * inside.clip_number) & (inside.window_start < 2.5 * inside.clip_number + 2.5)
    ).all()


def test_the_pooling_is_the_pipelines_or_the_mean(windows: asd.Embeddings) -> None:
    own = windows.vectors[windows.clip_number == 0]
    for pooling, expected in {
        "mean": own.mean(0),
        "max": own.max(0),
        "mean-std": np.r_[own.mean(0), own.std(0)],
    }.items():
        embedded = asd.embed(TRAIN, embedding_pooling=pooling, **QUICK)
        np.testing.assert_allclose(embedded.vectors[0], expected, rtol=1e-4, atol=1e-5)
        assert embedded.provenance["pooling"] == pooling
    assert asd.embed(TRAIN, **QUICK).provenance["pooling"] == "mean"


def test_the_provenance_says_how_they_were_computed() -> None:
    provenance = asd.embed(TRAIN, branch="timbre", channel=1).provenance
    assert provenance["extractor"]["name"] == "asd-onnx:efficientat-mn04"
    assert provenance["extractor"]["parameters"]["layer"] == 6
    assert provenance["frontend"]["parameters"] == {"hop": 1.0, "window": 1.0}
    assert all(len(sha256) == 64 for sha256 in provenance["weights"].values())
    assert provenance["weights"]
    assert (provenance["channel"], provenance["sample_rate"], provenance["pooling"]) == (1, 32000, "mean")
    assert provenance["libraries"]["numpy"] == np.__version__
    assert provenance["created"].startswith("20")
    json.dumps(provenance, allow_nan=False)


def test_what_was_embedded_before_comes_from_the_cache(monkeypatch: pytest.MonkeyPatch, clips: asd.Embeddings) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("asd.detection.embedder.Embedder.embed", refuse)
    assert same_vectors(asd.embed(TRAIN, **QUICK), clips)
    asd.fit(TRAIN, detector="knn", **QUICK)  # so does a fit of the same pipeline
    with pytest.raises(AssertionError, match="computed again"):
        asd.embed(TRAIN, cache=False, **QUICK)


def test_arrays_are_data_too(clips: asd.Embeddings) -> None:
    pairs = [soundfile.read(clip.path, dtype="int16") for clip in clips.clips]
    embedded = asd.embed(pairs, **QUICK)
    np.testing.assert_array_equal(embedded.vectors, clips.vectors)
    assert str(embedded.clips[0]) == "array 1 (10 s, 16000 Hz)"
    alone = asd.embed(pairs[0][0], rate=pairs[0][1], **QUICK)
    np.testing.assert_array_equal(alone.vectors, clips.vectors[:1])


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
@pytest.mark.parametrize("kind", ["clips", "windows", "parts"])
def test_a_file_gives_back_what_was_saved(
    kind: str, suffix: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "parts":
        embedded = asd.embed(TRAIN, segment=4, windows=True, group="folder", **QUICK)
        assert {clip.group for clip in embedded.clips} == {"train"}
    else:
        embedded = request.getfixturevalue(kind)
    path = tmp_path / f"x.{suffix}"
    embedded.save(path)
    loaded = asd.Embeddings.load(path)
    assert same(loaded, embedded)
    assert [clip.group for clip in loaded.clips] == [clip.group for clip in embedded.clips]
    assert loaded.contents == embedded.contents
    for own, its in zip(loaded.features, embedded.features, strict=True):
        for name in ("seconds", "file_rate", "channels", "level", "silent", "notes", "precision", "pooled"):
            assert getattr(own, name) == getattr(its, name), name


def test_numpy_alone_reads_the_file_without_pickle(clips: asd.Embeddings, tmp_path: Path) -> None:
    clips.save(tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        assert np.array_equal(file["vectors"], clips.vectors)
        assert file["path"].tolist() == [str(clip.path) for clip in clips.clips]
        assert json.loads(str(file["about"]))["provenance"] == clips.provenance


def test_pandas_and_polars_read_the_parquet_file(windows: asd.Embeddings, tmp_path: Path) -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    windows.save(tmp_path / "x.parquet")
    frame = pandas.read_parquet(tmp_path / "x.parquet")
    assert np.array_equal(np.stack(frame["vectors"]), windows.vectors)
    assert frame["path"].tolist() == [str(windows.clips[i].path) for i in windows.clip_number]
    other = polars.read_parquet(tmp_path / "x.parquet")
    assert np.array_equal(other["vectors"].to_numpy(), windows.vectors)
    assert other["window_start"].to_list() == windows.window_start.tolist()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_of_either_library(library: str, windows: asd.Embeddings, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(library)
    hide(monkeypatch, *({"pandas", "polars"} - {library}))
    frame = windows.to_frame()
    assert type(frame).__module__.startswith(library)
    assert list(frame.columns)[:6] == ["path", "clip_start", "clip_seconds", "window_start", "group", "v0"]
    assert np.array_equal(frame[[f"v{i}" for i in range(windows.dimension)]].to_numpy(), windows.vectors)


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    from importlib.util import find_spec

    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *more: None if name in names else find_spec(name, *more)
    )


def test_what_is_not_installed_is_said(clips: asd.Embeddings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "pandas", "polars", "pyarrow")
    with pytest.raises(ConfigError, match="a data frame needs pandas or polars: pip install pandas"):
        clips.to_frame()
    with pytest.raises(
        ConfigError, match=r"x.parquet: Parquet needs pyarrow: pip install pyarrow, or name a file \*.npz"
    ):
        clips.save(tmp_path / "x.parquet")


def test_a_name_that_is_no_text_can_be_kept(tmp_path: Path) -> None:
    name = os.fsdecode(b"fan\xff.wav")
    soundfile.write(tmp_path / "fan.wav", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    (tmp_path / "fan.wav").rename(tmp_path / name)
    embedded = asd.embed(tmp_path / name, **QUICK)
    embedded.save(tmp_path / "x.npz")
    assert asd.Embeddings.load(tmp_path / "x.npz").clips == embedded.clips
    pytest.importorskip("pyarrow")
    embedded.save(tmp_path / "x.parquet")
    assert asd.Embeddings.load(tmp_path / "x.parquet").clips[0].path.name == "fan\\udcff.wav"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Return a folder with two recordings, a silent one and a text."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for seed in range(2):
        soundfile.write(folder / f"{seed}.wav", np.random.default_rng(seed).normal(0, 0.1, 16000), 16000)
    soundfile.write(folder / "silent.wav", np.zeros(16000), 16000)
    (folder / "text.wav").write_text("no sound")
    return folder


def test_a_clip_that_cannot_be_read_is_left_out_and_noted(mixed: Path, tmp_path: Path) -> None:
    embedded = asd.embed(mixed, **QUICK)
    assert [clip.path.name for clip in embedded.clips] == ["0.wav", "1.wav", "silent.wav"]
    (failure,) = embedded.failures
    assert "text.wav: not a recording" in str(failure.error)
    assert "silence" in embedded.features[2].notes[0]
    assert embedded.features[2].silent
    for suffix in ("npz", "parquet"):
        embedded.save(tmp_path / f"x.{suffix}")
        loaded = asd.Embeddings.load(tmp_path / f"x.{suffix}")
        assert [each.as_dict() for each in loaded.failures] == [failure.as_dict()]
        assert loaded.features[2].silent
    with pytest.raises(AudioError, match=r"text.wav: not a recording"):
        asd.embed(mixed, strict=True, **QUICK)
    with pytest.raises(DataError, match=r"no clip could be read: .*text.wav"):
        asd.embed(mixed / "text.wav", **QUICK)


BAD_OPTIONS: list[tuple[dict[str, Any], str]] = [
    (
        {"branch": "timber"},
        "no branch 'timber': the pipeline's branches are timbre, level, spectrum, tonality, pulsation",
    ),
    ({"branch": "timbre", **QUICK}, "no branch 'timbre': the pipeline's only branch is mel-statistics"),
    ({"windows": True, "embedding_pooling": "max"}, "windows and embedding_pooling 'max' exclude each other"),
    ({"extractor": "yamnett"}, "yamnet"),
    ({"rate": 16000}, "rate=16000 is for arrays without a rate of their own"),
]


@pytest.mark.parametrize(("options", "text"), BAD_OPTIONS)
def test_bad_options_are_one_line(options: dict[str, Any], text: str) -> None:
    with pytest.raises(asd.AsdError) as caught:
        asd.embed(TRAIN, **options)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def corrupt(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        with np.load(path) as file:
            arrays = dict(file)
        change(arrays)
        np.savez(path, **arrays)

    return spoil


def altered(**changes: Any) -> Callable[[Path], None]:
    return corrupt(lambda arrays: arrays.update(changes))


def about(**changes: Any) -> Callable[[Path], None]:
    def change(arrays: dict[str, Any]) -> None:
        arrays["about"] = np.array(json.dumps({**json.loads(str(arrays["about"])), **changes}))

    return corrupt(change)


DAMAGED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-900]), "holds no embeddings that 'asd embed' wrote"),
    "text": (lambda path: path.write_text("vectors"), "holds no embeddings that 'asd embed' wrote"),
    "empty": (lambda path: path.write_bytes(b""), "holds no embeddings that 'asd embed' wrote"),
    "another": (lambda path: np.savez(path, x=np.zeros(3)), "holds no embeddings that 'asd embed' wrote"),
    "array": (
        lambda path: (np.save(path.with_suffix(".npy"), np.zeros(3)), path.with_suffix(".npy").replace(path)),
        "a single array",
    ),
    "pickled": (altered(vectors=np.array([{}, None], object)), "allow_pickle=False"),
    "not finite": (altered(vectors=np.full((14, 128), np.nan, np.float32)), "vectors must be finite numbers"),
    "double": (altered(vectors=np.zeros((14, 128))), "vectors must be finite numbers, float32"),
    "other clips": (altered(clip_number=np.zeros(14, np.int64)), "it does not describe each clip"),
    "out of order": (altered(clip_number=np.arange(14)[::-1]), "in the order of the clips"),
    "a gap": (altered(clip_number=np.arange(14) + 1), "in the order of the clips"),
    "newer": (about(format=2), "written in format 2, this asd reads up to 1: pip install --upgrade asd-framework"),
    "no provenance": (about(provenance=None), "holds no embeddings that 'asd embed' wrote"),
    "absent": (lambda path: path.unlink(), "no such file of embeddings; make one with 'asd embed DATA -o"),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_file_is_one_line(how: str, clips: asd.Embeddings, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    clips.save(path)
    spoil, text = DAMAGED[how]
    spoil(path)
    with pytest.raises(DataError) as caught:
        asd.Embeddings.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spoil", [lambda data: data[:-50], lambda data: b"PAR1" + b"\0" * 40, lambda data: b""])
def test_a_damaged_parquet_file_is_one_line(
    spoil: Callable[[bytes], bytes], clips: asd.Embeddings, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow")
    clips.save(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").write_bytes(spoil((tmp_path / "x.parquet").read_bytes()))
    with pytest.raises(DataError, match="holds no embeddings that 'asd embed' wrote, or is damaged"):
        asd.Embeddings.load(tmp_path / "x.parquet")


def test_another_parquet_file_is_refused(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"x": [1.0]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="holds no embeddings that 'asd embed' wrote"):
        asd.Embeddings.load(tmp_path / "x.parquet")


def test_a_file_is_not_overwritten_unasked(clips: asd.Embeddings, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(b"mine")
    with pytest.raises(DataError, match="exists already"):
        clips.save(path)
    assert path.read_bytes() == b"mine"
    clips.save(path, overwrite=True)
    assert same(asd.Embeddings.load(path), clips)
    with pytest.raises(ConfigError, match=r"x.npy: embeddings are kept in \*.npz or \*.parquet; got '.npy'"):
        clips.save(tmp_path / "x.npy")
    assert [each.name for each in tmp_path.iterdir()] == ["x.npz"]


OPTIONS = ("--extractor", "mel-statistics")


def test_the_command_writes_the_same_and_says_what(clips: asd.Embeddings, tmp_path: Path) -> None:
    done = run("embed", TRAIN, "-o", tmp_path / "x.npz", *OPTIONS)
    said = " ".join(done.stdout.split())
    assert f"Embedded 14 clips (140 s of sound), written to {tmp_path}/x.npz." in said
    assert "14 vectors of 128 values, one for each clip (mean of its windows): mel-patch → mel-statistics." in said
    assert max(map(len, done.stdout.replace(str(tmp_path), "").splitlines())) <= 80
    assert same_vectors(asd.Embeddings.load(tmp_path / "x.npz"), clips)


def test_the_command_tells_in_json_what_it_wrote(mixed: Path, tmp_path: Path) -> None:
    done = run("embed", mixed, "-o", tmp_path / "x.parquet", "--windows", "--json", *OPTIONS)
    told = json.loads(done.stdout)
    assert (told["clips"], told["dimension"], told["windows"], told["left_out"]) == (3, 128, True, 1)
    assert told["vectors"] == len(asd.Embeddings.load(tmp_path / "x.parquet"))
    assert "text.wav" in told["failures"][0]["error"]
    assert told["notes"][2]["clip"].endswith("silent.wav")
    assert "silence" in told["notes"][2]["notes"][0]
    assert told["provenance"]["frontend"]["name"] == "asd-frontends:mel-patch"
    assert "left out: " in done.stderr


def test_the_command_takes_a_pipeline_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        '[[branch]]\nextractor = "sound-level"\n[[branch]]\nextractor = "mel-statistics"\ndetector = "knn"\n'
    )
    arguments = ("embed", TRAIN, "--config", tmp_path / "p.toml", "--json", "-o")
    assert json.loads(run(*arguments, tmp_path / "a.npz").stdout)["dimension"] == 1
    assert json.loads(run(*arguments, tmp_path / "b.npz", "--branch", "mel-statistics").stdout)["dimension"] == 128


BAD_COMMANDS = [
    ("{train} -o {tmp}/x.csv", "x.csv: embeddings are kept in *.npz or *.parquet; got '.csv'"),
    ("{train} -o {tmp}/x", "embeddings are kept in *.npz or *.parquet; got 'no suffix'"),
    ("{train} -o {tmp}/there.npz", "there.npz: exists already; choose another name, or overwrite it with --force"),
    ("{train} -o {tmp}/no/x.npz", "no such folder to write the embeddings to"),
    (
        "{train} -o {tmp}/x.npz --windows --embedding-pooling max",
        "windows and embedding_pooling 'max' exclude each other",
    ),
    ("{train} -o {tmp}/x.npz --branch no", "no branch 'no': the pipeline's branches are timbre, level"),
    ("{train} -o {tmp}/x.npz --detector knn", "No such option"),
    ("{tmp}/absent -o {tmp}/x.npz", "absent: no such file or folder"),
    ("{tmp}/there.npz -o {tmp}/x.npz", "no clip could be read"),
]


@pytest.mark.parametrize(("arguments", "text"), BAD_COMMANDS)
def test_bad_commands_write_nothing(arguments: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "there.npz").write_bytes(b"mine")
    given = arguments.format(train=TRAIN, tmp=tmp_path).split()
    assert text in error("embed", *given)
    assert [each.name for each in tmp_path.iterdir()] == ["there.npz"]
    assert (tmp_path / "there.npz").read_bytes() == b"mine"


def test_force_overwrites_and_strict_stops(mixed: Path, tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"mine")
    assert "text.wav" in error("embed", mixed, "-o", tmp_path / "x.npz", "--force", "--strict", *OPTIONS)
    assert (tmp_path / "x.npz").read_bytes() == b"mine"
    run("embed", mixed, "-o", tmp_path / "x.npz", "--force", *OPTIONS)
    assert len(asd.Embeddings.load(tmp_path / "x.npz")) == 3
