"""MusiCNN in torch: Essentia's numbers on every layer, whatever the windows, the batch and the precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asd.errors import AsdError, ConfigError
from asd.plugin import Audio, Extractor, Runtime, create, registry
from asd_essentia.layers import PARTS
from asd_essentia.plugin import TENSORS

SIZES = {
    "mean-pool": 753,
    "max-pool": 753,
    "penultimate": 200,
    "taggram": 50,
    "timbral": 408,
    "temporal": 153,
    "cnn1": 64,
    "cnn2": 64,
    "cnn3": 64,
}


def musicnn(
    model: str = "mtt", layer: str = "mean-pool", precision: Any = "fp32", batch: int | None = None
) -> Extractor:
    extractor: Extractor = create("extractor", f"musicnn-{model}-torch", {"layer": layer})
    extractor.runtime = Runtime(device="cpu", precision=precision, batch_size=batch)
    return extractor


def windows(sound: np.ndarray, seconds: float = 1.0) -> np.ndarray:
    frontend = create("frontend", "musicnn-mel", {"window": seconds, "hop": seconds / 2})
    return frontend(Audio(sound[np.newaxis], 16000)).values


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


@pytest.mark.parity
@pytest.mark.parametrize("seconds", [1, 3])
@pytest.mark.parametrize("model", ["mtt", "msd"])
def test_every_layer_is_essentias(golden: Any, golden_sound: np.ndarray, model: str, seconds: int) -> None:
    values = windows(golden_sound, seconds)
    every = musicnn(model, ",".join(SIZES)).embed(values)
    assert every.dtype == np.float32
    results = np.split(every, np.cumsum([*SIZES.values()])[:-1], axis=1)
    for (layer, size), result in zip(SIZES.items(), results, strict=True):
        part = PARTS.get(layer)
        expected = golden[f"{model}_{seconds}_{layer if part is None else 'mean-pool'}"]
        expected = expected if part is None else expected[:, part]
        assert result.shape == expected.shape == (len(values), size)
        assert np.abs(result - expected).max() < 1e-3, layer


@pytest.mark.parity
@pytest.mark.parametrize("model", ["mtt", "msd"])
def test_bfloat16_stays_close(golden: Any, golden_sound: np.ndarray, model: str) -> None:
    layers = ("mean-pool", "max-pool", "penultimate", "taggram")
    together = musicnn(model, ",".join(layers), "bf16").embed(windows(golden_sound))
    results = np.split(together, np.cumsum([SIZES[layer] for layer in layers])[:-1], axis=1)
    for layer, result in zip(layers, results, strict=True):
        assert cosine(result, golden[f"{model}_1_{layer}"]) > 0.999, layer


def test_windows_that_share_memory_are_only_faster(golden_sound: np.ndarray) -> None:
    shared = windows(golden_sound)
    assert shared.strides[0] < shared[0].nbytes
    extractor = musicnn()
    np.testing.assert_allclose(extractor.embed(shared), extractor.embed(shared.copy()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hop", [1, 5, 31, 55, 56, 61, 62, 70])
def test_any_overlap_gives_the_same(golden_sound: np.ndarray, hop: int) -> None:
    frontend = create("frontend", "musicnn-mel", {"window": 3.4, "hop": 1})
    whole = frontend(Audio(golden_sound[np.newaxis], 16000)).values[0]
    view = np.lib.stride_tricks.sliding_window_view(whole, 62, axis=0)[::hop].transpose(0, 2, 1)[:4]
    extractor = musicnn()
    alone = np.concatenate([extractor.embed(window[np.newaxis].copy()) for window in view])
    np.testing.assert_allclose(extractor.embed(view), alone, rtol=1e-4, atol=1e-5)


def test_results_do_not_depend_on_the_batch(golden_sound: np.ndarray) -> None:
    values = windows(golden_sound)
    whole = musicnn().embed(values)
    for batch in (1, 2, 4):
        np.testing.assert_allclose(musicnn(batch=batch).embed(values), whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(musicnn().embed(values[::-1])[::-1], whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 6, 7, 33, 300])
def test_any_number_of_frames_will_do(frames: int) -> None:
    values = np.random.default_rng(frames).random((3, frames, 96), np.float32)
    result = musicnn(layer="mean-pool,max-pool").embed(values)
    assert result.shape == (3, 1506)
    assert np.isfinite(result).all()
    if frames == 1:
        np.testing.assert_array_equal(result[:, :753], result[:, 753:])


def test_several_layers_are_concatenated(golden_sound: np.ndarray) -> None:
    values = windows(golden_sound)
    both = musicnn(layer="taggram, cnn2")
    assert both.dimension == 114
    expected = np.concatenate([musicnn(layer="taggram").embed(values), musicnn(layer="cnn2").embed(values)], axis=1)
    np.testing.assert_allclose(both.embed(values), expected, rtol=1e-4, atol=1e-6)


def test_the_tags_hear_what_is_there(golden_sound: np.ndarray) -> None:
    tags = musicnn(layer="taggram").embed(windows(golden_sound, 3))
    assert tags.min() >= 0
    assert tags.max() <= 1


def test_the_model_file_can_pin_the_weights() -> None:
    assert musicnn("msd").weight_hashes() == {TENSORS["msd"].name: TENSORS["msd"].sha256}


def test_it_is_ready_with_weights_inside() -> None:
    for model in TENSORS:
        registered = registry().find("extractor", f"musicnn-{model}-torch")
        assert registered.problem is None
        assert registered.spec.frontend == "musicnn-mel"
        assert [weight.url for weight in registered.spec.weights] == [None]


def test_an_unknown_layer_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError) as raised:
        musicnn(layer="mean-pool,cnn4")
    assert str(raised.value) == f"MusiCNN has no layer 'cnn4'; it has {', '.join(LAYER_ORDER)}"


LAYER_ORDER = ("mean-pool", "max-pool", "penultimate", "taggram", "cnn1", "cnn2", "cnn3", "timbral", "temporal")


def test_an_unknown_model_is_answered_with_those_there_are() -> None:
    from asd_essentia.musicnn import Musicnn

    with pytest.raises(ConfigError, match=r"^there is no MusiCNN 'mtg'; there are mtt and msd$"):
        Musicnn(model="mtg")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(2, 62, 64), (2, 0, 96), (2, 96)])
def test_windows_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(AsdError) as raised:
        musicnn().embed(np.zeros(shape, np.float32))
    assert str(raised.value) == f"musicnn-mtt takes windows of shape musicnn-mel (any, 96), got {shape[1:]}"


def test_windows_shared_among_cores_give_the_same(golden_sound: np.ndarray) -> None:
    import torch

    values = windows(np.concatenate([golden_sound] * 4))
    before = torch.get_num_threads()
    results = []
    try:
        for cores in (1, 2, 3):
            torch.set_num_threads(cores)
            results.append(musicnn().embed(values))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-4, atol=1e-5)
