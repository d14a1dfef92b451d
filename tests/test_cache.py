"""The embedding cache: the same numbers as computing, and keys that cover what matters."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
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
from asd.detection.embedder import Embedder
from asd.detection.embeddings import EmbeddingCache
from asd.detection.pipeline import ClipFeatures, Failure, Pipeline, embed_all
from asd.errors import ConfigError
from asd.records import Clip, Windows
from asd.sound.reading import ClipReader
from caching import CONFIG, computed, four_recordings, values
from waiting import PATIENCE


@pytest.fixture(autouse=True)
def size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASD_CACHE_SIZE", "2GB")


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    return four_recordings(tmp_path)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[EmbeddingCache]:
    cache = EmbeddingCache(tmp_path / "cache" / "embeddings.sqlite")
    yield cache
    cache.close()


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


def test_a_clip_that_two_names_share_is_computed_once_for_each_process(
    clips: list[Clip], cache: EmbeddingCache, tmp_path: Path
) -> None:
    shutil.copy(clips[0].path, tmp_path / "twin.wav")
    list(Pipeline(CONFIG).embed_all([*clips, Clip(tmp_path / "twin.wav")], cache=cache))
    assert cache.usage()[0].clips == 4


def test_the_next_recording_is_looked_up_while_one_is_cut(
    clips: list[Clip], cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = {clip: threading.Event() for clip in clips}
    following = dict(itertools.pairwise(clips))
    find, cut = Embedder.find, Embedder.windows

    def found(self: Embedder, clip: Clip, *args: Any) -> Any:
        result = find(self, clip, *args)
        looked_up[clip].set()
        return result

    def windows(self: Embedder, reader: ClipReader) -> Iterator[Windows]:
        if reader.clip in following:
            assert looked_up[following[reader.clip]].wait(PATIENCE)
        yield from cut(self, reader)

    monkeypatch.setattr(Embedder, "find", found)
    monkeypatch.setattr(Embedder, "windows", windows)
    assert computed(Pipeline(CONFIG), clips, cache) == len(clips)
    assert computed(Pipeline(CONFIG), clips, cache) == 0
