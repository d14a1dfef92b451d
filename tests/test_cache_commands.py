"""The embedding cache as commands and the Python interface use it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

import asd
from asd.detection import identity
from asd.detection.config import Choice, Config
from asd.detection.embeddings import EmbeddingCache
from asd.detection.model import Model
from asd.detection.pipeline import Pipeline, embed_all
from asd.errors import ConfigError
from asd.files import digest
from asd.records import Clip
from caching import CONFIG, four_recordings


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
