"""Engines: what runs an extractor's network, chosen by the user, by the extractor, or by the fit."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

import asd
from asd.command import runtime_from, runtime_options
from asd.contract.installed import use_plugin_file
from asd.detection import identity
from asd.detection.config import Config
from asd.detection.embeddings import EmbeddingCache
from asd.detection.pipeline import Pipeline
from asd.errors import ConfigError
from asd_registry import ENGINES, ComponentSpec, Engine

ASD = Path(os.environ["ASD_COMMAND"])
CLIPS = Path(__file__).resolve().parent.parent / "examples" / "data"
PLUGIN = '''
"""An extractor whose choice of engine shows in its embeddings."""
from dataclasses import replace
import numpy as np
from asd.plugin import Extractor, Representation
from asd_registry import ComponentSpec, hookimpl

class Either(Extractor):
    consumes = Representation("any", ())
    dimension = 4

    def choose_engine(self, clips):
        many = clips >= 13
        precision = self.runtime.precision if self.runtime.precision != "auto" else "bf16" if many else "fp32"
        return replace(self.runtime, engine="torch" if precision == "bf16" else "onnx", precision=precision)

    def embed(self, values):
        part = np.asarray(values).reshape(len(values), -1)[:, :4].astype(np.float32)
        return part if self.runtime.engine == "onnx" else part + np.float32(0.25)

    def computes_with(self):
        return replace(self.runtime, device="cpu")

class OnlyTorch(Either):
    pass

class Silent(Either):
    pass

@hookimpl
def asd_components():
    options = dict(kind="extractor", summary="A test", licence="MIT", frontend="mel-stack")
    yield ComponentSpec(name="either", target="engines_plugin:Either", engines=("onnx", "torch"), **options)
    yield ComponentSpec(name="only-torch", target="engines_plugin:OnlyTorch", engines=("torch",), **options)
    yield ComponentSpec(name="silent", target="engines_plugin:Silent", **options)
'''


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the plugin file for this process; return it for others."""
    path = tmp_path_factory.mktemp("plugin") / "engines_plugin.py"
    path.write_text(PLUGIN)
    use_plugin_file(path)
    return path


def pipeline(name: str = "either", runtime: asd.Runtime | None = None, **options: Any) -> Pipeline:
    return Pipeline(Config.from_mapping({"extractor": name}), runtime, **options)


def engine_of(built: Pipeline) -> tuple[str, str]:
    runtime = built.embedders[0].runtime
    assert built.extractor.runtime == runtime
    return runtime.engine, runtime.precision


@pytest.mark.parametrize(
    ("clips", "expected"), [(0, ("onnx", "fp32")), (12, ("onnx", "fp32")), (13, ("torch", "bf16"))]
)
def test_auto_asks_the_extractor_how_many_clips_pay(clips: int, expected: tuple[str, str]) -> None:
    assert engine_of(pipeline(clips=clips)) == expected


def test_what_the_user_asks_for_is_not_chosen_anew() -> None:
    assert engine_of(pipeline(runtime=asd.Runtime(engine="torch"))) == ("torch", "auto")
    assert engine_of(pipeline(runtime=asd.Runtime(engine="onnx"), clips=99)) == ("onnx", "auto")


def test_an_only_engine_is_taken_without_a_question() -> None:
    assert engine_of(pipeline("only-torch")) == ("torch", "auto")
    with pytest.raises(ConfigError) as caught:
        pipeline("only-torch", asd.Runtime(engine="onnx"))
    assert str(caught.value) == (
        "extractor 'only-torch' computes with torch, asked for onnx; leave --engine out or choose another extractor"
    )


def test_an_extractor_that_does_not_say_is_left_alone() -> None:
    assert engine_of(pipeline("silent", asd.Runtime(engine="torch"))) == ("auto", "auto")


def test_the_cache_tells_engines_apart(tmp_path: Path) -> None:
    clip = asd.Clip(next(iter(sorted((CLIPS / "train").glob("*.flac")))))

    def values(runtime: asd.Runtime) -> Any:
        cache = EmbeddingCache(tmp_path / "embeddings.sqlite", limit=2**20)
        with pipeline(runtime=runtime, cache=cache) as built:
            (found,) = built.embed_all([clip], cache=cache)
            return found

    by_onnx, by_torch = values(asd.Runtime(engine="onnx")), values(asd.Runtime(engine="torch"))
    assert (by_onnx.engine, by_torch.engine) == ("onnx", "torch")
    np.testing.assert_allclose(by_torch.values, by_onnx.values + 0.25, rtol=1e-6)
    again = values(asd.Runtime(engine="torch"))
    np.testing.assert_array_equal(again.values, by_torch.values)
    assert again.engine == "torch"
    assert again.cost == by_torch.cost  # so it comes from the cache


def test_what_an_engine_brings_counts_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of PyTorch may give other numbers; an extractor that ONNX Runtime runs does not require it."""
    installed = identity._installed

    def described(version: str, engine: Engine) -> Any:
        found = {"torch": (("torch", version, ""),)}
        monkeypatch.setattr(identity, "_installed", lambda *names: found.get(names[0]) or installed(*names))
        return pipeline(runtime=asd.Runtime(engine=engine)).embedders[0].description

    assert described("2.14", "torch") != described("2.15", "torch")
    assert described("2.14", "onnx") == described("2.15", "onnx")


@pytest.mark.parametrize(("count", "engine", "precision"), [(12, "onnx", "fp32"), (14, "torch", "bf16")])
def test_a_model_scores_with_what_it_was_fitted_with(tmp_path: Path, count: int, engine: str, precision: str) -> None:
    recordings = sorted((CLIPS / "train").glob("*.flac"))[:count]
    assert len(recordings) == count
    model = asd.fit(recordings, extractor="either", cache=False)
    assert (model.fitted_with["engine"], model.fitted_with["precision"]) == (engine, precision)
    model.save(tmp_path / "model.asd")
    loaded = asd.load(tmp_path / "model.asd", cache=False)
    assert engine_of(loaded.pipeline) == (engine, precision)
    first = [verdict.score for verdict in asd.score(model, recordings[:2])]
    assert [verdict.score for verdict in asd.score(loaded, recordings[:2])] == pytest.approx(first)


def test_an_engine_that_was_asked_for_in_the_fit_stays(tmp_path: Path) -> None:
    model = asd.fit(CLIPS / "train", extractor="either", runtime=asd.Runtime(engine="onnx"), cache=False)
    model.save(tmp_path / "model.asd")
    assert asd.load(tmp_path / "model.asd").pipeline.embedders[0].runtime.engine == "onnx"
    asked = asd.load(tmp_path / "model.asd", runtime=asd.Runtime(engine="torch"))
    assert asked.pipeline.embedders[0].runtime.engine == "torch"


def test_the_command_line(tmp_path: Path, plugin: Path) -> None:
    def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([ASD, *options, "--plugin-file", plugin], capture_output=True, text=True, check=False)

    for engine in ENGINES:
        path = tmp_path / f"{engine}.asd"
        done = run("fit", CLIPS / "train", "-o", path, "--extractor", "either", "--engine", engine)
        assert done.returncode == 0, done.stderr
        assert asd.load(path).fitted_with["engine"] == engine
    refused = run("fit", CLIPS / "train", "-o", tmp_path / "x.asd", "--extractor", "only-torch", "--engine", "onnx")
    assert refused.returncode == 2
    assert "asd: error: extractor 'only-torch' computes with torch, asked for onnx" in refused.stderr
    unknown = run("fit", CLIPS, "-o", tmp_path / "x", "--engine", "tvm").stderr
    assert "--engine 'tvm' is unknown; expected auto, onnx, torch (what runs the network), or local, " in unknown


def test_commands_of_plugins_that_do_not_expect_the_option_have_it() -> None:
    @click.command()
    @runtime_options
    def own(device: str, precision: str, batch_size: str, workers: int) -> None:
        click.echo(json.dumps(runtime_from(device, precision, batch_size).engine))

    assert CliRunner().invoke(own, ["--engine", "torch"]).output == '"torch"\n'
    assert CliRunner().invoke(own, []).output == '"auto"\n'
    assert runtime_from("cpu", "fp32", "3") == asd.Runtime("cpu", "fp32", 3)


@pytest.mark.parametrize("engines", [("tvm",), "onnx", (1,)])
def test_a_spec_with_an_unknown_engine(engines: Any) -> None:
    with pytest.raises(ValueError, match=r"engines must be a tuple of engines of onnx, torch, got"):
        ComponentSpec(kind="extractor", name="x", summary="x", target="a:B", licence="MIT", engines=engines)


def test_engines_are_for_extractors() -> None:
    with pytest.raises(ValueError, match="detector specs take no engines: leave it out"):
        ComponentSpec(kind="detector", name="x", summary="x", target="a:B", licence="MIT", engines=ENGINES)
