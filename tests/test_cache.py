"""The embedding cache: the same numbers as computing, keys that cover what matters, several processes, damage."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asd
from asd.contract.interfaces import Runtime
from asd.detection import embeddings, identity
from asd.detection.config import Choice, Config
from asd.detection.embeddings import EmbeddingCache
from asd.detection.model import Model
from asd.detection.pipeline import ClipFeatures, Failure, Pipeline, embed_all
from asd.errors import CacheError, ConfigError
from asd.files import database, digest, known
from asd.records import Clip

CONFIG = Config(frontend=Choice("mel-stack"), extractor=Choice("identity"))
CANNOT = "the embedding cache cannot be used"
GOING_ON = (
    "; delete the file, make room, or set ASD_CACHE to a folder that you may write to; going on without the cache"
)


@pytest.fixture(autouse=True)
def size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_CACHE_SIZE", "2GB")


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{index}.wav" for index in range(4)]
    for path in paths:
        soundfile.write(path, rng.normal(0, 0.1, 16000), 16000)
    return [Clip(path) for path in paths]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[EmbeddingCache]:
    cache = EmbeddingCache(tmp_path / "cache" / "embeddings.sqlite")
    yield cache
    cache.close()


def values(results: object) -> list[np.ndarray]:
    return [features.values for features, _ in results]  # type: ignore[attr-defined]


def computed(pipeline: Pipeline, clips: list[Clip], cache: EmbeddingCache) -> int:
    """Embed and return how many clips were computed, not taken from the cache."""
    count = 0
    embed = pipeline.extractor.embed

    def counted(windows: object) -> object:
        nonlocal count
        count += 1
        return embed(windows)

    pipeline.extractor.embed = counted  # type: ignore[assignment, method-assign]
    try:
        assert all(isinstance(result, ClipFeatures) for result in pipeline.embed_all(clips, cache=cache))
    finally:
        del pipeline.extractor.embed
    return count


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_second_pass_gives_the_same_bits_and_computes_nothing(
    clips: list[Clip], cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    pipeline = Pipeline(CONFIG)
    plain = [pipeline.embed(clip).values for clip in clips]
    first = list(embed_all(pipeline, clips, cache, workers=workers))
    monkeypatch.setattr(pipeline.extractor, "embed", None)
    second = list(embed_all(pipeline, clips, cache, workers=workers))
    for own, again, expected in zip(values(first), values(second), plain, strict=True):
        assert np.array_equal(own, expected)
        assert np.array_equal(again, expected)
    assert [cost for _, cost in second] == [cost for _, cost in first]  # type: ignore[misc]  # none failed
    assert cache.usage()[0].clips == 4


def test_what_is_known_of_a_clip_comes_back_too(tmp_path: Path, cache: EmbeddingCache) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros((800, 2)), 8000)
    soundfile.write(tmp_path / "clipped.wav", np.ones(44100), 44100, "FLOAT")
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(1).normal(0, 0.1, 50000), 16000)
    clips = [Clip(tmp_path / "silent.wav"), Clip(tmp_path / "clipped.wav"), Clip(tmp_path / "long.wav", 0.5, 1.7)]
    pipeline = Pipeline(CONFIG)
    expected = [pipeline.embed(clip) for clip in clips]
    list(pipeline.embed_all(clips, cache=cache))
    taken = list(pipeline.embed_all(clips, cache=cache))
    for own, other in zip(taken, expected, strict=True):
        assert isinstance(own, ClipFeatures)
        for name in ("values", "start"):
            got, wanted = getattr(own, name), getattr(other, name)
            assert (got.dtype, got.shape, got.flags.writeable) == (wanted.dtype, wanted.shape, True)
            assert got.tobytes() == wanted.tobytes()
        facts = ("clip", "seconds", "file_rate", "silent", "notes")
        assert [getattr(own, name) for name in facts] == [getattr(other, name) for name in facts]
    assert [bool(other.notes) for other in expected] == [True, True, False]


def test_a_copy_under_another_name_is_the_same_clip(clips: list[Clip], cache: EmbeddingCache, tmp_path: Path) -> None:
    copy = tmp_path / "copy.wav"
    copy.write_bytes(clips[0].path.read_bytes())
    pipeline = Pipeline(CONFIG)
    assert computed(pipeline, clips[:1], cache) == 1
    assert computed(pipeline, [Clip(copy)], cache) == 0
    assert computed(pipeline, [clips[1], Clip(copy, 0.5)], cache) == 2


@pytest.mark.parametrize(
    "other",
    [
        Config(frontend=Choice("mel-stack", {"frames": 3}), extractor=Choice("identity")),
        Config(frontend=Choice("mel-patch"), extractor=Choice("identity")),
        Config(frontend=Choice("mel-stack"), extractor=Choice("identity"), channel=1),
        Config(frontend=Choice("mel-stack"), extractor=Choice("identity"), short="refuse"),
    ],
)
def test_whatever_changes_embeddings_changes_the_key(clips: list[Clip], cache: EmbeddingCache, other: Config) -> None:
    assert computed(Pipeline(CONFIG), clips, cache) == 4
    assert computed(Pipeline(other), clips[:1], cache) == 1


def test_a_parameter_that_is_given_with_its_default_is_the_same_pipeline(
    clips: list[Clip], cache: EmbeddingCache
) -> None:
    frontend = Pipeline(CONFIG).frontend.get_params()
    spelled_out = Config(frontend=Choice("mel-stack", frontend), extractor=Choice("identity"), detector=Choice("gmm"))
    assert computed(Pipeline(CONFIG, cache=cache), clips, cache) == 4
    assert computed(Pipeline(spelled_out, cache=cache), clips, cache) == 0


def test_another_library_or_hardware_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    automatic, asked = Pipeline(CONFIG), Pipeline(CONFIG, Runtime(device="cpu", precision="fp32"))
    before = automatic.description
    libraries = before["extractor"]["libraries"]
    assert libraries["numpy"] == importlib.metadata.version("numpy")
    assert {"asd-framework", "soxr", "cffi"} <= libraries.keys()  # cffi is soundfile's
    assert before["runtime"]["hardware"]
    assert "hardware" not in asked.description["runtime"]
    monkeypatch.setattr("asd.detection.identity.hardware", lambda: "another processor")
    assert Pipeline(CONFIG).description != before
    assert Pipeline(CONFIG, Runtime(device="cpu", precision="fp32")).description != asked.description


def test_another_batch_size_changes_the_key() -> None:
    assert Pipeline(CONFIG, Runtime(batch_size=3)).description != Pipeline(CONFIG).description


@pytest.mark.parametrize(
    ("frontend", "extractor", "engine", "same"),
    [
        ("mel-patch", "mel-statistics", "auto", True),
        ("efficientat-mel", "efficientat-mn04", "auto", True),  # ONNX Runtime, of several engines
        ("efficientat-mel", "efficientat-mn04", "torch", False),
        ("efficientat-mel", "efficientat-mn04-torch", "auto", False),
        ("yamnet-mel", "onnx", "auto", False),  # anybody's network
    ],
)
def test_the_number_of_threads_is_in_the_key_where_it_may_change_bits(
    frontend: str, extractor: str, engine: Any, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Embeddings of workers that are limited to one thread are found by a process that is not."""

    def key() -> dict[str, Any]:
        config = Config.from_mapping({"frontend": frontend, "extractor": extractor}).resolved()
        given: tuple[dict[str, Any], dict[str, Any]] = ({}, {"model": "x.onnx"} if extractor == "onnx" else {})
        chosen = "onnx" if engine == "auto" and extractor == "efficientat-mn04" else engine  # as an embedder has it
        return identity.features_identity(config.parts[0], Runtime(engine=chosen), *given)

    before = key()
    monkeypatch.setenv("OMP_NUM_THREADS", "17")
    assert (key() == before) is same


def test_the_default_extractor_depends_on_all_that_its_plugin_needs() -> None:
    described = identity.identity_of("extractor", "efficientat-mn04")
    assert {"asd-onnx", "asd-framework", "onnxruntime", "numpy"} <= described["libraries"].keys()
    assert {"asd-onnx", "asd-framework"} <= described["sources"].keys()


PLUGIN = """
    from asd.plugin import Extractor, Representation
    from asd_registry import ComponentSpec, hookimpl
    from trial_helper import FACTOR

    class Loud(Extractor):
        consumes, dimension = Representation("any", ()), None

        def embed(self, values):
            return values.reshape(len(values), -1)[:, :4] * FACTOR

    @hookimpl
    def asd_components():
        options = {"kind": "extractor", "licence": "MIT", "frontend": "mel-stack", "target": "trial_plugin:Loud"}
        yield ComponentSpec(name="loud", summary="Louder.", **options)
"""


@pytest.fixture
def editable(tmp_path: Path) -> Path:
    """Return a folder for the import path with a plugin and its helper's distribution, both installed as editable."""
    site, projects = tmp_path / "site", tmp_path / "projects"
    for name, needs in (("trial_plugin", "trial-helper"), ("trial_helper", "asd-framework")):
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        name_and_needs = f"Name: {name.replace('_', '-')}\nVersion: 1.0\nRequires-Dist: {needs} >=0\n"
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\n{name_and_needs}\nA text.\nRequires-Dist: nothing\n")
        origin = {"url": (projects / name).as_uri(), "dir_info": {"editable": True}}
        (info / "direct_url.json").write_text(json.dumps(origin))
        package = projects / name / "src" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("FACTOR = 2\n" if name == "trial_helper" else textwrap.dedent(PLUGIN))
    (site / "trial_plugin-1.0.dist-info" / "entry_points.txt").write_text("[asd.plugins]\ntrial = trial_plugin\n")
    return site


def test_sources_of_an_editable_distribution_that_a_plugin_needs_count(
    editable: Path, clips: list[Clip], tmp_path: Path
) -> None:
    script = """
        import sys; from pathlib import Path; from asd.experiment import *
        config = Config.from_mapping({"extractor": "loud"})
        features = list(Pipeline(config).embed_all([Clip(Path(sys.argv[2]))], cache=EmbeddingCache(Path(sys.argv[1]))))
        print(float(features[0].values.sum()))
    """
    projects = editable.parent / "projects"
    folders = [editable, *(project / "src" for project in projects.iterdir()), os.environ.get("PYTHONPATH")]
    path = os.pathsep.join(str(folder) for folder in folders if folder)
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", textwrap.dedent(script), tmp_path / "kept", clips[0].path]

    def ask() -> float:
        return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    first = ask()
    helper = projects / "trial_helper" / "src" / "trial_helper" / "__init__.py"
    helper.write_text("FACTOR = 3\n")
    assert ask() == pytest.approx(first * 1.5)
    helper.write_text("FACTOR = 2\n")
    assert ask() == first
    assert EmbeddingCache(tmp_path / "kept").usage()[0].clips == 1


def test_a_file_that_changes_is_embedded_anew(clips: list[Clip], cache: EmbeddingCache) -> None:
    pipeline = Pipeline(CONFIG)
    before = values(embed_all(pipeline, clips[:1], cache))[0]
    soundfile.write(clips[0].path, np.random.default_rng(9).normal(0, 0.2, 16000), 16000)
    assert not np.array_equal(values(embed_all(pipeline, clips[:1], cache))[0], before)


def test_files_that_change_places_are_not_mistaken(clips: list[Clip], cache: EmbeddingCache) -> None:
    """They have the same size and, as from an archive, the same time."""
    for clip in clips[:2]:
        os.utime(clip.path, (10**9, 10**9))
    pipeline = Pipeline(CONFIG)
    first, second = values(embed_all(pipeline, clips[:2], cache))
    between = clips[0].path.with_suffix(".moved")
    for source, target in ((clips[0].path, between), (clips[1].path, clips[0].path), (between, clips[1].path)):
        source.rename(target)
    swapped = values(embed_all(pipeline, clips[:2], cache))
    assert np.array_equal(swapped[0], second)
    assert np.array_equal(swapped[1], first)


def test_a_file_that_changes_while_it_is_read_is_not_kept(clips: list[Clip], cache: EmbeddingCache) -> None:
    pipeline = Pipeline(CONFIG)
    for _ in pipeline.embed_all(clips[:1], cache=cache, workers=0):
        pass
    assert cache.usage()[0].clips == 1
    embed = pipeline.extractor.embed

    def embed_and_write(windows: object) -> object:
        soundfile.write(clips[1].path, np.zeros(16000), 16000)  # the recorder goes on writing
        return embed(windows)

    pipeline.extractor.embed = embed_and_write  # type: ignore[assignment, method-assign]
    assert len(values(embed_all(pipeline, clips[1:2], cache))) == 1
    assert cache.usage()[0].clips == 1


def test_a_file_that_a_parameter_names_belongs_to_the_key(tmp_path: Path) -> None:
    network = tmp_path / "network"
    network.mkdir()
    (network / "weights").write_text("one")
    single = tmp_path / "single"
    single.write_text("one")
    parameters = {"model": str(network), "noise": single, "pool": "mean", "several": ("a", str(single))}
    before = identity.named_files(parameters)
    assert before.keys() == {str(network), str(single)}
    (network / "weights").write_text("two")
    after = identity.named_files(parameters)
    assert after[str(network)] != before[str(network)]
    assert after[str(single)] == before[str(single)]
    single.write_text("two")
    assert identity.named_files(parameters)[str(single)] != before[str(single)]


def test_a_folder_of_thousands_of_files_is_not_read(
    clips: list[Clip], cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's recordings may be called as a parameter's value; nothing can be kept then."""
    monkeypatch.setattr(identity, "_MOST_FILES", 2)
    monkeypatch.chdir(clips[0].path.parent.parent)
    named = Config(
        frontend=Choice("mel-stack"), extractor=Choice("mel-statistics", {"statistics": clips[0].path.parent.name})
    )
    with pytest.raises(ValueError, match="more than 2 files"):
        identity.named_files(named.extractor.parameters)  # type: ignore[union-attr]
    pipeline = Pipeline(CONFIG)
    monkeypatch.setattr(pipeline.extractor, "get_params", lambda: {"folder": str(clips[0].path.parent)})
    assert computed(pipeline, clips, cache) == 4
    assert computed(pipeline, clips, cache) == 4


def test_a_bad_clip_is_a_failure_and_nothing_is_kept_of_it(clips: list[Clip], cache: EmbeddingCache) -> None:
    clips[1].path.write_bytes(b"")
    results = list(embed_all(Pipeline(CONFIG), [*clips, Clip(Path("gone.wav"))], cache))
    assert [isinstance(result, Failure) for result in results] == [False, True, False, False, True]
    assert cache.usage()[0].clips == 3


def test_pruning_keeps_what_was_used_last(clips: list[Clip], cache: EmbeddingCache) -> None:
    pipeline = Pipeline(CONFIG)
    list(embed_all(pipeline, clips, cache))
    one = cache.usage()[0].size // 4
    assert cache.prune(unused_days=1) == 0
    assert computed(pipeline, clips[:1], cache) == 0  # now it is not the oldest
    assert cache.prune(max_bytes=2 * one) == 2
    assert cache.usage()[0].clips == 2
    assert computed(pipeline, [clips[0], clips[3]], cache) == 0
    size = cache.path.stat().st_size
    assert cache.prune(max_bytes=0) == 2
    assert cache.usage() == []
    assert cache.path.stat().st_size < size / 2


def test_entries_of_the_same_half_second_are_written_together(
    cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = EmbeddingCache(cache.path)
    moments = iter([0.0, 0.0, 0.1, 0.2, 0.7, 0.7, 0.8, 0.8])
    monkeypatch.setattr(embeddings.time, "monotonic", lambda: next(moments))
    values, start = np.ones((3, 2), np.float32), np.arange(3.0)
    there = []
    for key in "abcd":
        cache.store(key, "{}", values, start, {"of": key})
        kept = cache.load(key)
        assert kept is not None  # also while it waits to be written
        assert kept[2] == {"of": key}
        there.append([each for each in "abcd" if other.load(each)])
    assert there == [["a"], ["a"], ["a"], ["a", "b", "c", "d"]]
    cache.store("e", "{}", values, start, {})
    assert other.load("e") is None
    cache.flush()
    assert other.load("e") is not None


def test_what_was_used_within_the_hour_is_not_written_again(
    clips: list[Clip], cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(CONFIG)
    assert computed(pipeline, clips, cache) == 4
    changes = cache._connection.total_changes
    assert computed(pipeline, clips, cache) == 0
    assert cache._connection.total_changes == changes
    monkeypatch.setattr(embeddings, "_FRESH", 0.0)
    assert computed(pipeline, clips, cache) == 0
    assert cache._connection.total_changes == changes + 4


def clip_of(number: int) -> tuple[str, np.ndarray, np.ndarray]:
    return f"{number:064}", np.full((20, 384), number, np.float32), np.arange(20.0)


def test_a_stream_of_new_clips_never_grows_beyond_the_limit(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "kept", 1_000_000)  # about 30 clips
    other = EmbeddingCache(tmp_path / "kept", 1_000_000)
    largest = 0
    for number in range(200):
        key, embedding, start = clip_of(number)
        (other if number % 3 else cache).store(key, "{}", embedding, start, {})
        assert cache.load(clip_of(0)[0]) is not None  # always in use
        largest = max(largest, cache.path.stat().st_size)
    assert 800_000 < largest <= 1_000_000
    kept = [number for number in range(200) if cache.load(clip_of(number)[0])]
    assert kept[0] == 0
    assert kept[1:] == list(range(200 - len(kept) + 1, 200))
    assert len(kept) > 20
    cache.close()
    other.close()


def test_a_lower_limit_gives_space_back_and_a_huge_clip_pushes_nothing_out(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "kept", 3_000_000)
    for number in range(80):
        key, embedding, start = clip_of(number)
        cache.store(key, "{}", embedding, start, {})
    cache.store("huge", "{}", np.zeros((1000, 384), np.float32), np.arange(1000.0), {})
    assert cache.load("huge") is None
    assert cache.load(clip_of(0)[0]) is not None
    cache.close()
    assert cache.path.stat().st_size > 2_000_000
    smaller = EmbeddingCache(tmp_path / "kept", 1_000_000)
    for number in range(100, 105):
        key, embedding, start = clip_of(number)
        smaller.store(key, "{}", embedding, start, {})
    assert smaller.load(clip_of(104)[0]) is not None
    smaller.close()
    assert cache.path.stat().st_size <= 1_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [("500MB", 500_000_000), ("2GB", 2 * 10**9), ("1.5 gb", 15 * 10**8), ("123", 123), ("10kB", 10_000), ("0", 0)],
)
def test_the_limit_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, expected: int) -> None:
    monkeypatch.setenv("ASD_CACHE_SIZE", text)
    assert EmbeddingCache().limit == expected


def test_a_limit_that_is_no_size_is_one_clear_line(
    clips: list[Clip], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ASD_CACHE_SIZE")
    assert EmbeddingCache().limit == 2 * 10**9
    monkeypatch.setenv("ASD_CACHE_SIZE", "plenty")
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "kept"))
    with pytest.raises(ConfigError) as caught:
        asd.fit(clips[0].path.parent, frontend="mel-stack", extractor="identity")
    assert str(caught.value) == (
        "ASD_CACHE_SIZE takes a size such as 500MB or 2GB, or bytes, or 0: no cache; got 'plenty'"
    )


def test_nothing_is_kept_with_limit_0(clips: list[Clip], tmp_path: Path) -> None:
    off = EmbeddingCache(tmp_path / "kept", 0)
    assert computed(Pipeline(CONFIG, cache=off), clips, off) == 4
    assert not off.path.exists()
    assert embeddings.cache_from(off) is None
    assert embeddings.cache_from(False) is None


# --- What is wrong with the file, its folder or its drive costs time, never a result, and is said once.


def going_on(clips: list[Clip], cache: EmbeddingCache, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Fit and score with a cache that cannot be used; return what it warns of."""
    expected = Model.fit(halves(clips), CONFIG, cache=False)
    with caplog.at_level(logging.WARNING, "asd"):
        model = Model.fit(halves(clips), CONFIG, cache=cache)
        verdicts = list(model.score(clips))
    scores = [[v.score for v in each] for each in (verdicts, expected.score(clips))]  # type: ignore[union-attr]
    assert scores[0] == pytest.approx(scores[1], rel=1e-6)
    np.testing.assert_allclose(model.calibration.scores, expected.calibration.scores, rtol=1e-6)
    return [record.getMessage() for record in caplog.records if record.module == "embeddings"]


def halves(clips: list[Clip]) -> list[Clip]:
    return [Clip(clip.path, start, 0.5) for clip in clips for start in (0, 0.5)]


def test_a_cache_that_cannot_be_used_costs_time_only(
    clips: list[Clip], cache: EmbeddingCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.path.parent.mkdir()
    cache.path.write_bytes(b"this is no database" * 100)
    with caplog.at_level(logging.WARNING, "asd"):
        results = list(embed_all(Pipeline(CONFIG), clips, cache))
    assert len(values(results)) == 4
    assert [record.getMessage() for record in caplog.records] == [
        f"{cache.path}: {CANNOT} (file is not a database){GOING_ON}"
    ]
    with pytest.raises(CacheError, match="file is not a database"):
        cache.usage()


def test_a_file_where_the_folder_should_be(clips: list[Clip], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = EmbeddingCache(tmp_path / "file" / "kept")
    told = going_on(clips, cache, caplog)
    assert len(told) == 1
    assert told[0].startswith(f"{cache.path}: {CANNOT} ([Errno ")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX permissions")
@pytest.mark.parametrize("kept", [False, True], ids=["empty", "filled"])
def test_a_folder_that_is_read_only(clips: list[Clip], caplog: pytest.LogCaptureFixture, kept: bool) -> None:
    """As another user where the tests run as root, whom no permission stops."""
    # pytest's own folders are closed to other users.
    with tempfile.TemporaryDirectory() as temporary:
        top, folder = Path(temporary), Path(temporary) / "read-only"
        top.chmod(0o755)
        copies = [Clip(Path(shutil.copy(clip.path, top))) for clip in clips]
        folder.mkdir()
        cache = EmbeddingCache(folder / "kept")
        going_on(copies, cache if kept else EmbeddingCache(top / "elsewhere"), caplog)  # imports what it needs, too
        cache.close()
        for path in (*folder.iterdir(), folder):
            path.chmod(path.stat().st_mode & ~0o222)
        root = os.geteuid() == 0
        try:
            if root:
                os.seteuid(65534)
            told = going_on(copies, cache, caplog)
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)
    assert len(told) == 1
    assert told[0].startswith(f"{cache.path}: {CANNOT} (")


def test_a_drive_that_is_full(clips: list[Clip], tmp_path: Path) -> None:
    """No file may grow beyond 64 kB: SQLite gets the error of a full drive."""
    pytest.importorskip("resource")
    script = """
        import logging, resource, sys; from pathlib import Path; from asd.experiment import *
        logging.basicConfig(format="%(message)s", level=logging.WARNING)
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
        config = Config(frontend=Choice("mel-stack"), extractor=Choice("identity"))
        clips = [Clip(Path(path)) for path in sys.argv[2:]]
        cache = EmbeddingCache(Path(sys.argv[1]))
        kept = list(Pipeline(config, cache=cache).embed_all(clips, cache=cache))
        plain = list(Pipeline(config).embed_all(clips))
        assert all((a.values == b.values).all() for a, b in zip(kept, plain)) and len(kept) == 4
    """
    command = [sys.executable, "-c", textwrap.dedent(script), tmp_path / "kept", *(clip.path for clip in clips)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = done.stderr.splitlines()
    assert len(told) == 1, told
    assert told[0].startswith(f"{tmp_path / 'kept'}: {CANNOT} (")
    assert told[0].endswith(GOING_ON)


def test_a_drive_that_fills_up_amid_the_clips(
    clips: list[Clip], cache: EmbeddingCache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = cache._store
    calls = iter(range(100))

    def store(*arguments: object) -> None:
        if next(calls) == 2:
            raise sqlite3.OperationalError("database or disk is full")
        kept(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cache, "_store", store)
    assert going_on(clips, cache, caplog) == [f"{cache.path}: {CANNOT} (database or disk is full){GOING_ON}"]


@pytest.mark.parametrize("error", ["database is locked", "locking protocol", "disk I/O error"])
def test_a_network_share_that_cannot_lock(
    clips: list[Clip],
    cache: EmbeddingCache,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: str,
) -> None:
    """A double: no such share is here."""

    class Share(sqlite3.Connection):
        def execute(self, *arguments: object) -> sqlite3.Cursor:
            if str(arguments[0]).startswith("BEGIN"):
                raise sqlite3.OperationalError(error)
            return super().execute(*arguments)  # type: ignore[arg-type]

    connect = sqlite3.connect
    monkeypatch.setattr(database.sqlite3, "connect", lambda *args, **options: connect(*args, factory=Share, **options))
    assert going_on(clips, cache, caplog) == [f"{cache.path}: {CANNOT} ({error}){GOING_ON}"]


def test_a_file_system_without_locks_for_files(
    clips: list[Clip], cache: EmbeddingCache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock", fail)
    told = going_on(clips, cache, caplog)
    assert told == [f"{cache.path}: {CANNOT} (FileSystem does not appear to support flock){GOING_ON}"]


def test_a_file_system_without_write_ahead_log(
    clips: list[Clip], cache: EmbeddingCache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind of file access that SQLite uses where nothing locks: it has no shared memory, which WAL mode needs."""
    connect = sqlite3.connect
    monkeypatch.setattr(
        database.sqlite3,
        "connect",
        lambda path, **options: connect(f"{path.as_uri()}?vfs=unix-none", uri=True, **options),
    )
    assert going_on(clips, cache, caplog) == []
    assert cache._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert computed(Pipeline(CONFIG), clips, cache) == 0


def test_the_former_cache_is_left_alone(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from asd.cli.main import cli

    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "own"))
    former = tmp_path / "own" / "embeddings.sqlite"
    former.parent.mkdir()
    connection = sqlite3.connect(former)
    connection.execute("CREATE TABLE embeddings (key TEXT PRIMARY KEY, dimension INTEGER, embedding BLOB)")
    connection.execute("INSERT INTO embeddings VALUES ('a', 3, 'old')")
    connection.commit()
    connection.close()
    before = former.read_bytes()
    with caplog.at_level(logging.WARNING, "asd"):
        cache = EmbeddingCache()
        assert computed(Pipeline(CONFIG), clips, cache) == 4
        cache.close()
    assert cache.path != former
    assert former.read_bytes() == before
    assert caplog.records == []
    cli.main(["cache", "prune", "--all"], standalone_mode=False)
    assert not former.exists()
    assert cache.path.exists()


@pytest.mark.parametrize("column", ["facts", "start", "embedding", "checksum"])
def test_damaged_entries_are_computed_again_and_reported_once(
    clips: list[Clip], cache: EmbeddingCache, caplog: pytest.LogCaptureFixture, column: str
) -> None:
    pipeline = Pipeline(CONFIG)
    expected = values(embed_all(pipeline, clips, cache))
    cache.close()
    connection = sqlite3.connect(cache.path)
    for key, content in connection.execute(f"SELECT key, {column} FROM embeddings LIMIT 2").fetchall():
        content = content.replace("false", "true") if column == "facts" else content[:-1] + bytes([content[-1] ^ 1])
        connection.execute(f"UPDATE embeddings SET {column} = ? WHERE key = ?", (content, key))
    connection.commit()
    connection.close()
    with caplog.at_level(logging.WARNING, "asd"):
        assert computed(pipeline, clips, cache) == 2
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"{cache.path}: holds damaged entries; they are computed again; is the drive sound?"]
    again = values(embed_all(pipeline, clips, cache))
    assert all(np.array_equal(own, other) for own, other in zip(again, expected, strict=True))
    assert computed(pipeline, clips, cache) == 0


def test_two_entries_that_changed_places_are_damage(clips: list[Clip], cache: EmbeddingCache) -> None:
    pipeline = Pipeline(CONFIG)
    list(embed_all(pipeline, clips[:2], cache))
    cache.close()
    connection = sqlite3.connect(cache.path)
    keys = [key for (key,) in connection.execute("SELECT key FROM embeddings")]
    for old, new in ((keys[0], "-"), (keys[1], keys[0]), ("-", keys[1])):
        connection.execute("UPDATE embeddings SET key = ? WHERE key = ?", (new, old))
    connection.commit()
    connection.close()
    assert computed(pipeline, clips[:2], cache) == 2


def test_a_file_with_damaged_pages_costs_time_only(
    clips: list[Clip], cache: EmbeddingCache, caplog: pytest.LogCaptureFixture
) -> None:
    Model.fit(halves(clips), CONFIG, cache=cache)
    cache.close()
    content = bytearray(cache.path.read_bytes())
    content[4096:40960] = os.urandom(36864)
    cache.path.write_bytes(content)
    told = going_on(clips, cache, caplog)
    assert len(told) == 1
    assert CANNOT in told[0]


def test_a_forked_process_leaves_the_connection_alone(clips: list[Clip], cache: EmbeddingCache) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    assert computed(Pipeline(CONFIG), clips[:1], cache) == 1
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = int(cache.load("any") is not None or "_connection" not in vars(cache))
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert computed(Pipeline(CONFIG), clips[:1], cache) == 0


def test_a_stop_in_the_middle_keeps_what_is_done_and_stops_the_threads(
    clips: list[Clip], cache: EmbeddingCache
) -> None:
    results = Pipeline(CONFIG).embed_all(clips, cache=cache, workers=2)
    next(results)
    results.close()  # type: ignore[attr-defined]  # it is a generator
    assert cache.usage()[0].clips == 1
    time.sleep(0.3)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("asd-prefetch")]


@pytest.mark.slow
def test_two_processes_fill_one_cache_at_once(clips: list[Clip], cache: EmbeddingCache) -> None:
    script = (
        "import sys; from pathlib import Path; from asd.experiment import *\n"
        "config = Config(frontend=Choice('mel-stack'), extractor=Choice('identity'))\n"
        "clips = [Clip(Path(p)) for p in sys.argv[2:]]\n"
        "print(len([values for values, _ in embed_all(Pipeline(config), clips, EmbeddingCache(Path(sys.argv[1])))]))"
    )
    command = [sys.executable, "-c", script, str(cache.path), *(str(clip.path) for clip in clips)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=60) for process in running] == [("4\n", "")] * 3
    assert cache.usage()[0].clips == 4


def test_a_process_that_opens_a_cache_twice_keeps_its_locks(tmp_path: Path) -> None:
    """Another process that closes the file last, as it believes, would delete the log that is still written to."""
    tables, path = "CREATE TABLE IF NOT EXISTS t (a)", tmp_path / "x.sqlite"
    first, second = (database.open_database(path, tables) for _ in range(2))
    first.execute("INSERT INTO t VALUES (1)")
    script = (
        "import sys; from pathlib import Path; from asd.files.database import open_database\n"
        "other = open_database(Path(sys.argv[1]), sys.argv[2])\n"
        "other.execute('INSERT INTO t VALUES (2)'); other.close()"
    )
    subprocess.run([sys.executable, "-c", script, str(path), tables], check=True)
    assert (tmp_path / "x.sqlite-wal").exists()
    first.execute("INSERT INTO t VALUES (3)")
    assert second.execute("SELECT a FROM t").fetchall() == [(1,), (2,), (3,)]
    first.close()
    second.close()


# --- Commands and the Python interface


LISTENING = """
import sys
from asd.cli.main import main
try:
    main()
finally:
    heavy = sorted({"torch", "soundfile"} & sys.modules.keys())
    print("LOADED", *heavy, file=sys.stderr)
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "own"))

    def run(*arguments: object) -> tuple[str, list[str]]:
        """Run the command; return what it says on stdout, and which heavy modules it loaded."""
        command = [sys.executable, "-c", LISTENING, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        loaded = done.stderr.splitlines()[-1].split()[1:]
        return done.stdout, [*loaded, *(["network"] if "computing on cpu" in done.stderr else [])]

    return run


@pytest.mark.slow
def test_fitting_again_with_another_detector_loads_no_network(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    samples = Path(__file__).resolve().parent.parent / "examples" / "data"
    first, again = tmp_path / "first.asd", tmp_path / "again.asd"
    network = ("--extractor", "efficientat-mn04")
    assert run("fit", samples / "train", "-o", first, *network)[1] == ["soundfile", "network"]
    said, loaded = run("fit", samples / "train", "-o", again, *network, "--detector", "mahalanobis")
    assert loaded == ["soundfile"]  # it looks at the lengths, for the order in time
    assert "Pipeline: efficientat-mel → efficientat-mn04 → mahalanobis." in said
    expected = asd.fit(samples / "train", extractor="efficientat-mn04", detector="mahalanobis", cache=False)
    refitted = asd.load(again, cache=False)
    # Sums over rows may differ in the last bits from one process to another.
    np.testing.assert_allclose(refitted.calibration.scores, expected.calibration.scores, rtol=1e-6)
    assert refitted.full_config() == expected.full_config()
    assert refitted.pipeline.weight_hashes() == expected.pipeline.weight_hashes()
    assert refitted.training == expected.training

    normal, anomalous = samples / "test" / "normal", samples / "test" / "anomalous"
    verdicts = list(asd.score(refitted, [normal, anomalous]))
    list(asd.score(again, [normal, anomalous]))  # now they are kept
    said, loaded = run("score", again, normal, anomalous, "--json")
    assert loaded == ["soundfile"]  # it looks at the lengths
    scores = [row["score"] for row in json.loads(said)["clips"]]
    assert scores == pytest.approx([v.score for v in verdicts], rel=1e-6)  # type: ignore[union-attr]
    said, loaded = run("evaluate", again, "--normal", normal, "--anomalous", anomalous, "--json")
    assert loaded == ["soundfile"]
    assert (json.loads(said)["normal"], json.loads(said)["anomalous"]) == (6, 9)


def test_no_cache_means_none(run, clips: list[Clip], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    model, folder = tmp_path / "model.asd", clips[0].path.parent
    components = ("--frontend", "mel-stack", "--extractor", "identity", "--segment", "0.5")
    run("fit", folder, "-o", model, *components, "--no-cache")
    run("score", model, folder, "--no-cache")
    run("evaluate", model, "--normal", clips[0].path, "--anomalous", clips[1].path, "--no-cache")
    assert not (tmp_path / "own").exists()
    run("score", model, folder)
    assert (tmp_path / "own" / "embeddings-2.sqlite").exists()


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "own"))
    return tmp_path / "own" / "embeddings-2.sqlite"


OPTIONS = {"frontend": "mel-stack", "extractor": "identity", "segment": 0.5}


def test_the_python_interface_keeps_and_takes_unless_asked_not_to(clips: list[Clip], own_cache: Path) -> None:
    folder = clips[0].path.parent
    model = asd.fit(folder, cache=False, **OPTIONS)
    list(asd.score(model, folder))  # the model has no cache
    list(asd.score(model, folder, cache=False))
    assert not own_cache.exists()

    kept = asd.fit(folder, detector="mahalanobis", **OPTIONS)
    assert EmbeddingCache(own_cache).usage()[0].clips == 8
    new = folder.parent / "new.wav"
    soundfile.write(new, np.random.default_rng(7).normal(0, 0.1, 16000), 16000)
    expected = [verdict.score for verdict in asd.score(kept, new, cache=False)]  # type: ignore[union-attr]
    assert EmbeddingCache(own_cache).usage()[0].clips == 8
    assert [verdict.score for verdict in asd.score(kept, new)] == expected  # type: ignore[union-attr]
    assert EmbeddingCache(own_cache).usage()[0].clips == 10
    assert [verdict.score for verdict in asd.score(kept, new)] == expected  # type: ignore[union-attr]


def test_a_known_pipeline_that_meets_a_new_clip_loads_its_network(
    clips: list[Clip], cache: EmbeddingCache, tmp_path: Path
) -> None:
    plain = Pipeline(CONFIG).embed(clips[3])
    list(Pipeline(CONFIG, cache=cache).embed_all(clips[:2], cache=cache))
    known = Pipeline(CONFIG, cache=cache)
    assert known.embedders[0]._components is None
    assert known.sample_rate == 16000
    assert known.parameters("frontend") == Pipeline(CONFIG).parameters("frontend")
    assert known.weight_hashes() == {}
    results = list(known.embed_all(clips, cache=cache, workers=3))
    assert known.embedders[0]._components is not None
    assert np.array_equal(results[3].values, plain.values)  # type: ignore[union-attr]
    assert cache.usage()[0].clips == 4


def test_a_mistake_in_a_parameter_is_said_although_the_cache_is_full(clips: list[Clip], cache: EmbeddingCache) -> None:
    list(Pipeline(CONFIG, cache=cache).embed_all(clips, cache=cache))
    wrong = Config(frontend=Choice("mel-stack", {"frame": 3}), extractor=Choice("identity"))
    with pytest.raises(ConfigError, match="has no parameter 'frame'"):
        Pipeline(wrong, cache=cache)


def test_evaluate_reads_the_content_of_each_file_once(clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    from asd.detection.evaluation import evaluate

    parts = [Clip(clip.path, start, 0.25) for clip in clips for start in (0, 0.25, 0.5, 0.75)]
    read: list[Path] = []
    digest_of = digest.digest_of
    for module in (identity, digest):
        monkeypatch.setattr(module, "digest_of", lambda path: (read.append(path), digest_of(path))[1])
    monkeypatch.setattr(identity, "_SETTLED", 0.0)  # the recordings are new
    model = Model.fit(parts[:8], CONFIG, cache=False)
    result = evaluate(model, parts[4:12], parts[12:], cache=False)
    assert sorted(read) == [clip.path for clip in clips]
    assert (result.normal, result.anomalous, result.training_clips) == (8, 4, 4)


def test_a_file_beside_a_plugin_file_belongs_to_its_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from asd_registry import Registry

    plugin = tmp_path / "plugin_with_helper.py"
    plugin.write_text(
        textwrap.dedent(PLUGIN).replace("trial_helper", "lone_helper").replace("trial_plugin", plugin.stem)
    )
    helper = tmp_path / "lone_helper.py"
    helper.write_text("FACTOR = 2\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    found = Registry()
    found.add_file(plugin)
    monkeypatch.setattr(identity, "registry", lambda: found)
    before = identity.identity_of("extractor", "loud")
    assert before["sources"].keys() >= {"plugin_with_helper.py", "asd-framework"}
    assert {"numpy", "torch"} <= before["libraries"].keys()  # it declares nothing
    helper.write_text("FACTOR = 3\n")
    assert identity.identity_of("extractor", "loud") != before


WEIGHTS = {"a.pt": "ab" * 32, "b.pt": "cd" * 32}


@pytest.mark.parametrize(
    ("declared", "named", "pinned"),
    [
        (["ab" * 32, "cdcdcdcd"], {}, True),
        (["ab" * 32], {}, False),
        ([], {}, False),
        (["ab" * 32], {"file": "cd" * 32}, True),
        (["ab" * 32], {"file": "ef" * 32}, False),
        ([], {"folder": {"a.pt": [1], "b.pt": [2]}}, True),
        ([], {"folder": {"a.pt": [1]}}, False),
    ],
)
def test_a_network_counts_as_known_only_if_what_the_user_gave_pins_its_weights(
    monkeypatch: pytest.MonkeyPatch, declared: list[str], named: dict[str, object], pinned: bool
) -> None:
    from asd_registry import WeightFile

    found = identity.registry().find("extractor", "identity")
    weights = tuple(WeightFile(name="w", licence="MIT", sha256=each) for each in declared)
    object.__setattr__(found.spec, "weights", weights)
    try:
        parts = {"frontend": {"parameters": {}}, "extractor": {"parameters": {"layer": 3}, "named": named}}
        assert identity.is_pinned(CONFIG.resolved(), {**parts, "weights": WEIGHTS}) is pinned
        assert identity.is_pinned(CONFIG.resolved(), {**parts, "weights": {}})
        former_name = Config(frontend=Choice("mel-stack", {"n_frames": 5}), extractor=Choice("identity")).resolved()
        assert not identity.is_pinned(former_name, {**parts, "weights": {}})
    finally:
        object.__setattr__(found.spec, "weights", ())


def test_the_command_shows_and_prunes(
    clips: list[Clip], own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from asd.cli.main import cli

    cli.main(["cache", "show"], standalone_mode=False)
    assert "No embeddings are kept." in capsys.readouterr().out
    list(embed_all(Pipeline(CONFIG), clips, EmbeddingCache()))
    cli.main(["cache", "show"], standalone_mode=False)
    shown = capsys.readouterr()
    assert {"mel-stack", "identity", "4"} <= set(shown.out.split())
    assert shown.err == f"asd: the embedding cache is {own_cache} and takes at most 2000 MB\n"
    cli.main(["cache", "show", "--json"], standalone_mode=False)
    described = json.loads(capsys.readouterr().out)
    assert described["pipelines"][0]["clips"] == 4
    assert described["limit"] == 2 * 10**9
    monkeypatch.setenv("ASD_CACHE_SIZE", "0")
    cli.main(["cache", "show"], standalone_mode=False)
    assert capsys.readouterr().err.endswith("is off (ASD_CACHE_SIZE is 0)\n")
    cli.main(["cache", "prune", "--all"], standalone_mode=False)
    assert capsys.readouterr().out == "Removed the embeddings of 4 clips.\n"
    with pytest.raises(Exception, match="say what to remove: --unused-days DAYS, --max-size MB or --all"):
        cli.main(["cache", "prune"], standalone_mode=False)


def test_a_clip_that_two_names_share_is_computed_once_for_each_process(
    clips: list[Clip], cache: EmbeddingCache, tmp_path: Path
) -> None:
    shutil.copy(clips[0].path, tmp_path / "twin.wav")
    list(Pipeline(CONFIG).embed_all([*clips, Clip(tmp_path / "twin.wav")], cache=cache))
    assert cache.usage()[0].clips == 4


# Digests of recordings, kept between runs


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording that is old enough to be trusted, with a cache of its own."""
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 3 * 48000), 48000)
    monkeypatch.setattr(identity, "_SETTLED", -1.0)
    identity._content.cache_clear()
    return path


def unread(path: Path, *_: str) -> str:
    raise AssertionError(f"{path} is read again")


def again(path: Path) -> str:
    """Return the digest as another process would."""
    identity._content.cache_clear()
    return identity.content_of(path)


def test_a_recording_that_has_not_changed_is_not_read_by_the_next_run(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = identity.content_of(recording)
    assert first == hashlib.sha256(recording.read_bytes()).hexdigest()
    monkeypatch.setattr(digest, "digest_of", unread)
    assert again(recording) == first


@pytest.mark.parametrize("place", [0, 0.5, 1], ids=["beginning", "middle", "end"])
def test_another_recording_of_the_same_name_size_and_times_is_another_one(
    recording: Path, monkeypatch: pytest.MonkeyPatch, place: float
) -> None:
    """A card from a recorder without a clock: every file is of the first of January 1980."""
    monkeypatch.setattr(identity, "stamp_of", lambda path: (1, 2, path.stat().st_size, 0, 0))
    first = identity.content_of(recording)
    content = bytearray(recording.read_bytes())
    content[min(int(place * len(content)), len(content) - 1)] ^= 1
    recording.write_bytes(content)
    assert again(recording) == hashlib.sha256(content).hexdigest() != first


def test_the_digest_of_a_recording_that_changes_while_it_is_read_is_not_kept(
    recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = iter(range(100))
    monkeypatch.setattr(identity, "stamp_of", lambda path: (next(stamps), path.stat().st_size, 0, 0))
    kept: list[str] = []
    monkeypatch.setattr(known, "remember", lambda key, *_: kept.append(key))
    identity.content_of(recording)
    assert not kept


@pytest.mark.parametrize("off", [{"ASD_CACHE_SIZE": "0"}, {}], ids=["no cache", "small file"])
def test_a_digest_is_not_kept_where_that_is_not_wanted_or_saves_nothing(
    recording: Path, monkeypatch: pytest.MonkeyPatch, off: dict[str, str]
) -> None:
    for name, value in off.items():
        monkeypatch.setenv(name, value)
    if not off:
        recording.write_bytes(b"small")
    first = identity.content_of(recording)
    assert again(recording) == first == hashlib.sha256(recording.read_bytes()).hexdigest()
    assert not list((recording.parent / "cache").glob("known*"))
