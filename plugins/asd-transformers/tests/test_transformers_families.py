"""Each family gives the hidden states of transformers itself, pooled over the time that the window lasts."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from asd.plugin import Float32, Representation, Runtime, create

FAMILIES = ("ast", "clap", "clap-fused", "data2vec", "hubert", "sew", "wav2vec2", "wav2vec2-bert", "wavlm", "whisper")
SIZES = {"clap": (8, 16, 16), "clap-fused": (8, 16, 16), "whisper": (16,) * 3}
"""Sizes of the hidden states; the others have four of 16."""

Published = Callable[[str], Path]
Noise = Callable[..., Float32]


def extractor(folder: Path, precision: Any = "fp32", **parameters: Any) -> Any:
    made = create("extractor", "huggingface", {"model": str(folder), **parameters})
    made.runtime = Runtime(device="cpu", precision=precision)
    return made


def reference(folder: Path, windows: Float32) -> list[torch.Tensor]:
    """Return the hidden states as a user of transformers would compute them, one window at a time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At least one mel filter has all zero values")
        feature_extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    network = model.audio_model if hasattr(model, "audio_model") else getattr(model, "encoder", model)
    if not isinstance(network, transformers.PreTrainedModel):
        network = model
    found = []
    for window in windows:
        inputs = feature_extractor(window, sampling_rate=feature_extractor.sampling_rate, return_tensors="pt")
        inputs = {k: v.float() if v.is_floating_point() else v for k, v in inputs.items()}
        if "is_longer" in inputs:
            inputs["is_longer"] = torch.zeros_like(inputs["is_longer"])
        with torch.inference_mode():
            found.append(network(**inputs, output_hidden_states=True).hidden_states)
    return [torch.cat(states) for states in zip(*found, strict=True)]


def rate_of(folder: Path) -> int:
    return int(extractor(folder).consumes.sample_rate)


@pytest.mark.parity
@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_is_the_hidden_state_of_transformers(family: str, published: Published, noise: Noise) -> None:
    folder = published(family)
    longest = 20000 if family == "ast" else 2 * rate_of(folder)  # nothing is filled up
    windows = noise(3, longest)
    states = reference(folder, windows)
    assert tuple(s.shape[1 if s.dim() == 4 else 2] for s in states) == SIZES.get(family, (16,) * 4)
    for layer, state in enumerate(states):
        tokens = state.flatten(2).transpose(1, 2) if state.dim() == 4 else state
        tokens = tokens[:, 2:] if family == "ast" else tokens  # the class tokens belong to no time
        for pool, expected in (("mean", tokens.mean(1)), ("max", tokens.amax(1))):
            for index in (layer, layer - len(states)):
                got = extractor(folder, layer=index, pool=pool).embed(windows)
                assert got.dtype == np.float32
                np.testing.assert_allclose(got, expected.numpy(), atol=2e-5 * float(tokens.abs().max()), rtol=0)


@pytest.mark.parity
@pytest.mark.parametrize("family", [family for family in FAMILIES if not family.startswith("clap")])
def test_the_first_token(family: str, published: Published, noise: Noise) -> None:
    windows = noise(2, 16000)
    expected = reference(published(family), windows)[-1][:, 0]
    got = extractor(published(family), pool="first").embed(windows)
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-5 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_dimension_and_rate(family: str, published: Published) -> None:
    sizes = SIZES.get(family, (16,) * 4)
    made = extractor(published(family), layer="0,-1,1")
    assert made.layer == (0, -1, 1)
    assert made.dimension == sizes[0] + sizes[-1] + sizes[1]
    assert made.consumes == Representation("waveform", (None,), 48000 if family.startswith("clap") else 16000)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_embeddings_repeat_and_do_not_depend_on_the_company(
    family: str, precision: str, published: Published, noise: Noise
) -> None:
    folder = published(family)
    windows = noise(11, rate_of(folder))
    first = extractor(folder, precision).embed(windows)
    assert np.isfinite(first).all()
    assert np.ptp(first, axis=0).max() > 0  # not the same for every window
    np.testing.assert_array_equal(extractor(folder, precision).embed(windows), first)
    small = extractor(folder, precision)
    small.runtime = Runtime(device="cpu", precision=small.runtime.precision, batch_size=3)
    tolerance = (2e-6 if precision == "fp32" else 0.02) * float(np.abs(first).max())
    np.testing.assert_allclose(small.embed(windows[::-1])[::-1], first, atol=tolerance, rtol=0)


def test_several_layers_are_concatenated_in_order(published: Published, noise: Noise) -> None:
    windows = noise(2, 16000)
    single = [extractor(published("wavlm"), layer=layer).embed(windows) for layer in (2, 0)]
    np.testing.assert_array_equal(
        extractor(published("wavlm"), layer="2,0").embed(windows), np.concatenate(single, axis=1)
    )


@pytest.mark.parity
@pytest.mark.parametrize("seconds", [0.1, 0.5, 1.234, 2.0])
def test_whisper_pools_over_the_window_not_over_the_silence_behind_it(
    seconds: float, published: Published, noise: Noise
) -> None:
    windows = noise(2, round(16000 * seconds))
    state = reference(published("whisper"), windows)[-1]
    heard = state[:, : int(np.ceil(50 * seconds))]  # a position is 20 ms
    got = extractor(published("whisper")).embed(windows)
    np.testing.assert_allclose(got, heard.mean(1).numpy(), atol=1e-5, rtol=0)
    if seconds < 2:
        assert np.abs(got - state.mean(1).numpy()).max() > 1e-3
    np.testing.assert_allclose(
        extractor(published("whisper"), pool="max").embed(windows), heard.amax(1).numpy(), atol=1e-5, rtol=0
    )


@pytest.mark.parity
def test_ast_pools_over_the_patches_that_the_window_fills(published: Published, noise: Noise) -> None:
    windows = noise(2, 8000)  # 48 of 128 frames, in patches of 16 every 10: columns 0 to 4 of 12 begin in them
    state = reference(published("ast"), windows)[-1]
    grid = state[:, 2:].reshape(2, 12, 12, 16)  # frequency, time
    expected = grid[:, :, :5].mean((1, 2))
    np.testing.assert_allclose(extractor(published("ast")).embed(windows), expected.numpy(), atol=1e-5, rtol=0)
    assert float((expected - grid.mean((1, 2))).abs().max()) > 1e-3


def test_the_mean_hears_the_end_of_the_window(published: Published, noise: Noise) -> None:
    for family in ("ast", "clap", "wavlm", "whisper"):
        windows = noise(1, rate_of(published(family)))
        changed = windows.copy()
        changed[:, -len(changed[0]) // 5 :] *= 0.01
        made = extractor(published(family))
        assert np.abs(made.embed(windows) - made.embed(changed)).max() > 1e-3, family


def test_auto_precision_rounds_no_waveform(published: Published) -> None:
    assert extractor(published("wavlm"), "auto")._encoder.plan.dtype == torch.float32
    assert extractor(published("wavlm"), "bf16")._encoder.plan.dtype == torch.bfloat16
    assert extractor(published("ast"), "bf16")._encoder.plan.dtype == torch.bfloat16


def test_a_model_with_a_head_gives_the_same_as_without(tmp_path: Path, published: Published, noise: Noise) -> None:
    headed = transformers.ASTForAudioClassification(transformers.ASTConfig.from_pretrained(published("ast")))
    headed.audio_spectrogram_transformer = transformers.ASTModel.from_pretrained(published("ast"))
    headed.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_bytes((published("ast") / "preprocessor_config.json").read_bytes())
    windows = noise(2, 16000)
    np.testing.assert_array_equal(extractor(tmp_path).embed(windows), extractor(published("ast")).embed(windows))


def test_half_precision_weights_compute_in_float32(tmp_path: Path, published: Published, noise: Noise) -> None:
    transformers.WavLMModel.from_pretrained(published("wavlm"), dtype=torch.float16).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_bytes((published("wavlm") / "preprocessor_config.json").read_bytes())
    windows = noise(2, 16000)
    exact = extractor(published("wavlm")).embed(windows)
    np.testing.assert_allclose(extractor(tmp_path).embed(windows), exact, atol=0.01 * np.abs(exact).max(), rtol=0)


def test_nothing_is_printed(published: Published, noise: Noise, capfd: pytest.CaptureFixture[str]) -> None:
    transformers.utils.logging.set_verbosity_info()
    transformers.utils.logging.enable_progress_bar()
    for family in ("ast", "clap", "wavlm", "whisper"):
        extractor(published(family)).embed(noise(1, rate_of(published(family))))
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.get_verbosity() == transformers.utils.logging.INFO
    assert transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.set_verbosity_warning()
    transformers.utils.logging.disable_progress_bar()


def test_its_rate_is_told_without_loading_anything_heavy(published: Published) -> None:
    script = (
        "import sys; from asd.plugin import create\n"
        f"made = create('extractor', 'huggingface', {{'model': {str(published('clap'))!r}}})\n"
        "assert made.consumes.sample_rate == 48000\n"
        "print(sorted({'torch', 'transformers', 'huggingface_hub', 'safetensors'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
