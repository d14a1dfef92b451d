"""The embedding cache: the same numbers as computing, keys that cover what matters, several processes, damage."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.contract.interfaces import Runtime
from asd.detection.config import Choice, Config
from asd.detection.embeddings import EmbeddingCache, describe, embed_all, key_of
from asd.detection.pipeline import Failure, Pipeline
from asd.errors import CacheError
from asd.records import Clip

CONFIG = Config(frontend=Choice("mel-stack"), extractor=Choice("identity"))


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{index}.wav" for index in range(4)]
    for path in paths:
        soundfile.write(path, rng.normal(0, 0.1, 16000), 16000)
    return [Clip(path) for path in paths]


@pytest.fixture
def cache(tmp_path: Path) -> EmbeddingCache:
    return EmbeddingCache(tmp_path / "cache" / "embeddings.sqlite")


def values(results: object) -> list[np.ndarray]:
    return [features.values for features, _ in results]  # type: ignore[attr-defined]


def test_a_second_pass_gives_the_same_bits_and_computes_nothing(
    clips: list[Clip], cache: EmbeddingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline(CONFIG)
    plain = [pipeline.embed(clip).values for clip in clips]
    first = list(embed_all(pipeline, clips, cache))
    monkeypatch.setattr(pipeline.extractor, "embed", None)
    second = list(embed_all(pipeline, clips, cache))
    for own, again, expected in zip(values(first), values(second), plain, strict=True):
        assert np.array_equal(own, expected)
        assert np.array_equal(again, expected)
    assert [cost for _, cost in second] == [cost for _, cost in first]  # type: ignore[misc]  # none failed
    assert cache.usage()[0].clips == 4


def test_a_copy_under_another_name_is_the_same_clip(clips: list[Clip], tmp_path: Path) -> None:
    copy = tmp_path / "copy.wav"
    copy.write_bytes(clips[0].path.read_bytes())
    described = describe(Pipeline(CONFIG))
    assert key_of(described, Clip(copy)) == key_of(described, clips[0])
    assert key_of(described, clips[1]) != key_of(described, clips[0])
    assert key_of(described, Clip(copy, 0.5)) != key_of(described, clips[0])


@pytest.mark.parametrize(
    "other",
    [
        Config(frontend=Choice("mel-stack", {"frames": 3}), extractor=Choice("identity")),
        Config(frontend=Choice("mel-patch"), extractor=Choice("identity")),
        Config(frontend=Choice("mel-stack"), extractor=Choice("identity"), channel=1),
        Config(frontend=Choice("mel-stack"), extractor=Choice("identity"), short="refuse"),
    ],
)
def test_whatever_changes_embeddings_changes_the_key(clips: list[Clip], other: Config) -> None:
    assert key_of(describe(Pipeline(other)), clips[0]) != key_of(describe(Pipeline(CONFIG)), clips[0])


def test_another_library_or_hardware_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    automatic, asked = Pipeline(CONFIG), Pipeline(CONFIG, Runtime(device="cpu", precision="fp32"))
    before = describe(automatic)
    assert before["libraries"]["numpy"] == importlib.metadata.version("numpy")
    assert "soxr" in before["libraries"]
    assert before["runtime"]["hardware"]
    assert "hardware" not in describe(asked)["runtime"]
    monkeypatch.setattr("asd.detection.identity._hardware", lambda: "another processor")
    assert describe(automatic) != before


def test_a_file_that_changes_is_embedded_anew(clips: list[Clip], cache: EmbeddingCache) -> None:
    pipeline = Pipeline(CONFIG)
    before = values(embed_all(pipeline, clips[:1], cache))[0]
    soundfile.write(clips[0].path, np.random.default_rng(9).normal(0, 0.2, 16000), 16000)
    assert not np.array_equal(values(embed_all(pipeline, clips[:1], cache))[0], before)


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
    assert cache.prune(max_bytes=2 * one) == 2
    assert cache.usage()[0].clips == 2
    size = cache.path.stat().st_size
    assert cache.prune(max_bytes=0) == 2
    assert cache.usage() == []
    assert cache.path.stat().st_size < size


def test_a_cache_that_cannot_be_used_costs_time_only(
    clips: list[Clip], cache: EmbeddingCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.path.parent.mkdir()
    cache.path.write_bytes(b"this is no database" * 100)
    with caplog.at_level(logging.WARNING, "asd"):
        results = list(embed_all(Pipeline(CONFIG), clips, cache))
    assert len(values(results)) == 4
    assert [record.getMessage() for record in caplog.records] == [
        f"{cache.path}: the embedding cache cannot be used (file is not a database); delete the file, make room, or "
        "set ASD_CACHE to a folder that you may write to; going on without the cache"
    ]
    with pytest.raises(CacheError, match="file is not a database"):
        cache.usage()


@pytest.mark.slow
def test_two_processes_fill_one_cache_at_once(clips: list[Clip], cache: EmbeddingCache) -> None:
    script = (
        "import sys; from pathlib import Path; from asd.records import Clip; from asd.detection.embeddings import *\n"
        "from asd.detection.config import *; from asd.detection.pipeline import Pipeline\n"
        "config = Config(frontend=Choice('mel-stack'), extractor=Choice('identity'))\n"
        "clips = [Clip(Path(p)) for p in sys.argv[2:]]\n"
        "print(len([values for values, _ in embed_all(Pipeline(config), clips, EmbeddingCache(Path(sys.argv[1])))]))"
    )
    command = [sys.executable, "-c", script, str(cache.path), *(str(clip.path) for clip in clips)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=60) for process in running] == [("4\n", "")] * 3
    assert cache.usage()[0].clips == 4


def test_the_command_shows_and_prunes(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from asd.cli.main import cli

    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "own"))
    cli.main(["cache", "show"], standalone_mode=False)
    assert "No embeddings are kept." in capsys.readouterr().out
    list(embed_all(Pipeline(CONFIG), clips, EmbeddingCache()))
    cli.main(["cache", "show"], standalone_mode=False)
    assert {"mel-stack", "identity", "4"} <= set(capsys.readouterr().out.split())
    cli.main(["cache", "show", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["pipelines"][0]["clips"] == 4
    cli.main(["cache", "prune", "--all"], standalone_mode=False)
    assert capsys.readouterr().out == "Removed the embeddings of 4 clips.\n"
    with pytest.raises(Exception, match="needs to know what: --unused-days DAYS, --max-size MB or --all"):
        cli.main(["cache", "prune"], standalone_mode=False)
