"""The components as users meet them: parameters, windows, errors, a fitted model."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import torch

from asd.errors import AsdError, AudioError, ConfigError
from asd.experiment import ClipReader, Config, Model, Pipeline
from asd.plugin import Audio, Clip, Runtime, create, registry

Array = npt.NDArray[Any]
PARAMETERS = {"representation": "mel128", "weights": "random"}
RANDOM = {"name": "openl3-env", **PARAMETERS}
MEL128 = {"name": "openl3-mel", "representation": "mel128"}


def random_pipeline(**more: Any) -> Pipeline:
    options = {"extractor": RANDOM, "frontend": {**MEL128, **more}}
    return Pipeline(Config.from_mapping(options), Runtime(precision="fp32"))


def noise(path: Path, seconds: float, seed: int = 0, rate: int = 48000) -> Clip:
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, int(rate * seconds)), rate)
    return Clip(path)


def test_the_specs_say_what_the_components_are() -> None:
    for name, content in (("openl3-env", "env"), ("openl3-music", "music")):
        spec = registry().find("extractor", name).spec
        made = create("extractor", name)
        assert (made.content, made.representation, made.weights, made.engine) == (content, "mel256", "default", "torch")
        assert (spec.shape, spec.dimension) == (made.consumes.shape, made.dimension)
        assert "CC-BY-4.0" in spec.licence
        frontend = registry().find("frontend", spec.frontend or "").spec
        assert create("frontend", frontend.name).produces == made.consumes
        assert (frontend.sample_rate, frontend.shape) == (48000, spec.shape)


def test_listing_imports_neither_torch_nor_h5py() -> None:
    script = "import sys, asd_openl3.plugin; print({'torch', 'h5py', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_spectrogram_of_the_wrong_kind_is_named() -> None:
    with pytest.raises(
        ConfigError, match=r"^openl3-env takes openl3-linear \(257, 197\); openl3-mel gives openl3-mel256 \(256, 199\)$"
    ):
        Pipeline(Config.from_mapping({"extractor": {**RANDOM, "representation": "linear"}}))


WRONG = [
    ("frontend", "openl3-mel", {"hop": 0.0}, "hop is 0 s, expected a time above 0 such as 0.5"),
    ("frontend", "openl3-mel", {"hop": float("nan")}, "hop is nan s, expected"),
    ("frontend", "openl3-mel", {"representation": "mel64"}, "takes mel256 or mel128 or linear, got 'mel64'"),
    ("extractor", "openl3-env", {"embedding_size": 1024}, "takes 512 or 6144, got 1024"),
    ("extractor", "openl3-env", {"content": "music"}, "fixes content = 'env'"),
    ("extractor", "openl3-env", {"engine": "openl3", "weights": "random"}, "random weights are for engine torch"),
]


@pytest.mark.parametrize(("kind", "name", "parameters", "told"), WRONG)
def test_wrong_parameters_are_named(kind: Any, name: str, parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        create(kind, name, parameters)


def test_wrong_parameters_are_named_in_python_too() -> None:
    from asd_openl3.extractor import OpenL3
    from asd_openl3.frontend import OpenL3Spectrogram

    with pytest.raises(ConfigError, match="OpenL3: embedding_size must be 512 or 6144, got 1024"):
        OpenL3(content="env", embedding_size=1024)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="openl3-mel: representation must be mel256, mel128 or linear, got 'mel64'"):
        OpenL3Spectrogram(representation="mel64")  # type: ignore[arg-type]


def test_windows_that_are_too_short_are_named(tmp_path: Path) -> None:
    frontend = create("frontend", "openl3-mel")
    with pytest.raises(AudioError, match=r"^a\.wav: 24000 samples are shorter than OpenL3's window of 48000"):
        frontend(Audio(np.zeros((1, 24000), np.float32), 48000, "a.wav"))
    extractor = create("extractor", "openl3-env", {"weights": "random"})
    with pytest.raises(
        AsdError, match=r"mel256 takes spectrograms of shape \(256, 199\), got \(256, 100\); use the fr"
    ):
        extractor.embed(np.zeros((2, 256, 100), np.float32))


@pytest.mark.parametrize("center", [True, False])
def test_a_long_recording_has_no_seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, center: bool) -> None:
    pipeline = random_pipeline(center=center, hop=0.3)
    reader = ClipReader(noise(tmp_path / "a.wav", 5.17), sample_rate=pipeline.sample_rate)
    (whole,) = pipeline.embedders[0].windows(reader)
    windows = int(np.ceil((5.17 - 1 + 0.5 * center) / 0.3)) + 1
    np.testing.assert_allclose(whole.start, np.arange(windows) * 0.3 - 0.5 * center)
    monkeypatch.setattr("asd.detection.embedder._BLOCK_SECONDS", 0.7)
    blocks = list(pipeline.embedders[0].windows(reader))
    assert len(blocks) > 3
    np.testing.assert_allclose(np.concatenate([block.start for block in blocks]), whole.start)
    np.testing.assert_allclose(np.concatenate([block.values for block in blocks]), whole.values, atol=1e-3)


def test_silence_and_short_clips_give_finite_numbers(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(48000), 48000)
    pipeline = random_pipeline()
    reader = ClipReader(Clip(tmp_path / "silence.wav"), sample_rate=pipeline.sample_rate)
    (windows,) = pipeline.embedders[0].windows(reader)
    assert (windows.values == 0).all()  # everything is as loud as the loudest: the package says the same
    features = random_pipeline().embed(noise(tmp_path / "short.wav", 0.4))
    assert np.isfinite(features.values).all()
    assert features.notes == ["0.4 s is shorter than a window of 1 s: padded with its own repetition"]


def test_batches_layouts_and_owners_of_memory_change_nothing() -> None:
    windows = np.random.default_rng(0).uniform(-60, 0, (3, 128, 199)).astype(np.float32)
    extractor = create("extractor", "openl3-env", PARAMETERS)
    extractor.runtime = Runtime(precision="fp32", batch_size=1)
    one_by_one = extractor.embed(windows)
    assert one_by_one.shape == (3, 512)
    assert one_by_one.dtype == np.float32

    read_only = windows.copy()
    read_only.flags.writeable = False
    for values, expected in (
        (read_only, one_by_one),
        (torch.from_numpy(windows), one_by_one),
        (np.asfortranarray(windows), one_by_one),
        (windows[::-1], one_by_one[::-1]),
    ):
        extractor = create("extractor", "openl3-env", PARAMETERS)
        extractor.runtime = Runtime(precision="fp32")
        np.testing.assert_allclose(extractor.embed(values), expected, rtol=1e-4, atol=1e-4)


def test_the_seed_decides_random_weights() -> None:
    windows = np.random.default_rng(0).uniform(-60, 0, (1, 128, 199)).astype(np.float32)
    first, again, other = (
        create("extractor", "openl3-env", {**PARAMETERS, "seed": seed}).embed(windows) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.skipif(importlib.util.find_spec("openl3") is not None, reason="the openl3 package is installed")
@pytest.mark.parametrize("weights", ["default", "file"])
def test_without_the_package_its_engine_says_what_to_do(weight_file: Path, weights: str) -> None:
    extractor = {**RANDOM, "engine": "openl3", "weights": str(weight_file) if weights == "file" else weights}
    pipeline = Pipeline(Config.from_mapping({"extractor": extractor, "frontend": MEL128}))
    told = (
        r"needs the package openl3 \(.*\): pip install .*, or use --extractor\.engine torch, which needs nothing more"
    )
    with pytest.raises(AsdError, match=told) as e:
        pipeline.extractor.embed(np.zeros((1, 128, 199), np.float32))
    assert "\n" not in str(e.value)


@pytest.mark.slow
def test_a_model_is_fitted_saved_and_tells_noise_from_a_whine(tmp_path: Path, weight_file: Path) -> None:
    clips = [noise(tmp_path / f"{seed}.wav", 2.0, seed, rate=16000) for seed in range(12)]
    whine = np.random.default_rng(99).normal(0, 0.1, 32000) + 0.3 * np.sin(2 * np.pi * 1500 * np.arange(32000) / 16000)
    soundfile.write(tmp_path / "whine.wav", whine, 16000)
    options = {"extractor": {**RANDOM, "weights": str(weight_file)}, "frontend": MEL128, "detector": "knn"}
    Model.fit(clips[:10], Config.from_mapping(options)).save(tmp_path / "m.asd")
    model = Model.load(tmp_path / "m.asd")
    *healthy, odd = (verdict.score for verdict in model.score([*clips[10:], Clip(tmp_path / "whine.wav")]))  # type: ignore[union-attr]
    assert odd > 2 * max(healthy)


def test_asd_plugins_shows_licence_and_parameters() -> None:
    arguments = ["asd", "plugins", "show", "openl3-music", "--json"]
    script = f"import sys; sys.argv = {arguments!r}; from asd.command import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    shown = json.dumps(json.loads(done.stdout))
    for expected in ("CC-BY-4.0", "representation", "embedding_size", "weights_sha256", "engine"):
        assert expected in shown
