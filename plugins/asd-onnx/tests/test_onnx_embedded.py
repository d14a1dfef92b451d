"""The embedded networks: every layer against PyTorch, windows that count for themselves, bad input."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from asd.errors import AsdError, ConfigError, DataError
from asd.plugin import Float32, Runtime, create, locate, registry
from asd_onnx import catalogue, networks
from asd_onnx.session import Session

Make = Callable[..., Any]

NETWORKS = {
    "efficientat-mn04": (128, 100),
    "musicnn-mtt": (62, 96),
    "musicnn-msd": (62, 96),
    "squeezenet1_0": (3, 224, 224),
    "yamnet": (96, 64),
    "aisfx": (100, 96),
}
"""Shape of a window of each."""

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("asd_audioset") is None or importlib.util.find_spec("torch") is None,
    reason="the plugins with PyTorch are not installed",
)


def noise(name: str, count: int = 5) -> Float32:
    return np.random.default_rng(0).standard_normal((count, *NETWORKS[name])).astype(np.float32)


def difference(found: Float32, expected: Float32) -> float:
    """Return the largest difference relative to the largest value."""
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert expected.std() > 0
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def both(extractor: Make, name: str, windows: Float32, **parameters: Any) -> float:
    """Return how much both engines differ."""
    own, reference = (extractor(name, engine, **parameters) for engine in ("onnx", "torch"))
    assert own.dimension == reference.dimension
    found = own.embed(windows)
    assert found.shape == (len(windows), own.dimension)
    assert own.weight_hashes() == reference.weight_hashes()
    return difference(found, reference.embed(windows))


@needs_torch
@pytest.mark.parametrize("pool", ["global", "time"])
def test_every_layer_of_efficientat_equals_that_in_torch(pool: str, windows: Make, extractor: Make) -> None:
    sound = windows("efficientat-mel")[:4]
    for layer in range(17):
        assert both(extractor, "efficientat-mn04", sound, layer=layer, pool=pool) <= 1e-4, layer
    assert both(extractor, "efficientat-mn04", sound[..., :33], pool=pool) <= 1e-4


@needs_torch
@pytest.mark.parametrize("model", ["mtt", "msd"])
def test_every_layer_of_musicnn_equals_that_in_torch(model: str, windows: Make, extractor: Make) -> None:
    sound = windows("musicnn-mel")[:4]
    for layer in (*networks._MUSICNN_LAYERS, "cnn3, taggram,cnn3"):
        assert both(extractor, f"musicnn-{model}", sound, layer=layer) <= 1e-4, layer
    assert both(extractor, f"musicnn-{model}", sound[:, :5]) <= 1e-4


@needs_torch
@pytest.mark.parametrize("pool", ["default", "average", "max", "2x2", "flatten"])
def test_every_layer_of_squeezenet_equals_that_in_torch(pool: str, windows: Make, extractor: Make) -> None:
    pictures = windows("mel-image")[:2]
    for layer in (None, *((name,) for name in networks._SQUEEZENET_MAPS), ("features.3", "features.12")):
        assert both(extractor, "squeezenet1_0", pictures, layer=layer, pool=pool) <= 1e-4, layer


@needs_torch
@pytest.mark.parametrize(
    "parameters",
    [{"layer": "features.3.squeeze"}, {"weights": "random"}, {"weights": "IMAGENET1K_V1"}],
    ids=["layer", "random", "another file"],
)
def test_what_only_torch_can_do_is_left_to_it(parameters: dict[str, Any], extractor: Make) -> None:
    component = create("extractor", "squeezenet1_0", parameters)
    assert component.choose_engine(1).engine == "torch"
    said = parameters.get("layer") or parameters.get("weights")
    with pytest.raises(ConfigError) as caught:
        extractor("squeezenet1_0", **parameters).embed(noise("squeezenet1_0", 1))
    assert str(caught.value) == (
        f"squeezenet1_0: {next(iter(parameters))} {said!r} needs PyTorch; leave --engine out, or give torch"
    )


@needs_torch
def test_a_layer_of_torchs_is_computed(extractor: Make) -> None:
    pictures = noise("squeezenet1_0", 2)
    own, theirs = (
        extractor(name, "auto", layer="features.3.squeeze") for name in ("squeezenet1_0", "squeezenet1_0-torch")
    )
    assert own.dimension == theirs.dimension == 64
    np.testing.assert_array_equal(own.embed(pictures), theirs.embed(pictures))
    assert own.computes_with().engine == "torch"


@pytest.mark.parametrize("name", NETWORKS)
def test_a_window_counts_for_itself(name: str, extractor: Make) -> None:
    sound = noise(name)
    whole = extractor(name).embed(sound)
    assert whole.shape == (len(sound), registry().find("extractor", name).spec.dimension)
    assert difference(extractor(name, batch=len(sound)).embed(sound), whole) <= 1e-5
    alone = np.concatenate([extractor(name, batch=1).embed(each[np.newaxis]) for each in sound])
    assert difference(alone, whole) <= 1e-5
    backwards = extractor(name).embed(sound[::-1])[::-1]
    assert difference(backwards, whole) <= 1e-5
    assert extractor(name).embed(sound[:0]).shape == (0, whole.shape[1])


@pytest.mark.parametrize(
    ("name", "shape", "told"),
    [
        (
            "efficientat-mn04",
            (128, 31),
            "EfficientAT takes windows of at least 32 frames (0.32 s), got 31; use longer ones",
        ),
        (
            "efficientat-mn04",
            (64, 100),
            "EfficientAT: expected windows of shape (128, any), got float32 of shape (64, 100); use the front end that "
            "belongs to the extractor",
        ),
        ("musicnn-mtt", (0, 96), "musicnn-mtt takes windows of at least one frame, got none; use longer ones"),
        (
            "squeezenet1_0",
            (3, 223, 224),
            "expected windows of shape (3, 224, 224), got float32 of shape (3, 223, 224)",
        ),
        (
            "yamnet",
            (95, 64),
            "YAMNet: expected windows of shape (96, 64), got float32 of shape (95, 64);",
        ),
        ("aisfx", (7, 96), "aiSFX takes windows of at least 8 frames (0.19 s), got 7; use longer ones"),
    ],
)
def test_a_window_that_does_not_fit_is_one_clear_line(
    name: str, shape: tuple[int, ...], told: str, extractor: Make
) -> None:
    with pytest.raises(AsdError) as caught:
        extractor(name).embed(np.zeros((2, *shape), np.float32))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_window_that_is_not_finite_is_refused(name: str, extractor: Make) -> None:
    sound = noise(name, 2)
    sound[1].flat[7] = np.nan
    with pytest.raises(DataError, match="1 of 2 windows hold NaN or infinite values"):
        extractor(name).embed(sound)


@pytest.mark.parametrize(("name", "frames"), [("efficientat-mn04", 32), ("musicnn-mtt", 1), ("aisfx", 8)])
def test_the_shortest_window_is_computed(name: str, frames: int, extractor: Make) -> None:
    shape = (128, frames) if name.startswith("eff") else (frames, 96)
    found = extractor(name).embed(np.ones((2, *shape), np.float32))
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("name", "parameters", "told"),
    [
        ("efficientat-mn04", {"layer": 17}, "EfficientAT mn04_as has no layer 17; it has 0, 1, 2,"),
        ("efficientat-mn04", {"pool": "median"}, "pool"),
        ("musicnn-msd", {"layer": "cnn4"}, "MusiCNN has no layer 'cnn4'; it has mean-pool, max-pool, penultimate,"),
        ("squeezenet1_0", {"layer": ""}, "layer is empty"),
        ("yamnet", {"layer": 0}, "YAMNet has no layer 0; it has 1, 2,"),
        ("aisfx", {"layer": 5}, "aiSFX has no layer 5; it has 1, 2, 3, 4 (--extractor.layer)"),
    ],
)
def test_a_wrong_parameter_is_answered_with_those_there_are(name: str, parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        create("extractor", name, parameters)
    assert told in str(caught.value)


@pytest.mark.parametrize("name", ["yamnet", "aisfx"])
def test_a_network_without_torch_says_so(name: str, extractor: Make) -> None:
    with pytest.raises(ConfigError) as caught:
        extractor(name, "torch").embed(noise(name, 1))
    assert str(caught.value).endswith("computes with onnx only; leave --engine out")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_says_what_it_is(name: str) -> None:
    spec = registry().find("extractor", name).spec
    (weight,) = spec.weights
    session = Session(locate(weight), Runtime(device="cpu"), name=name)
    assert session.metadata["name"] == name
    assert session.metadata["licence"] == weight.licence
    assert weight.licence in spec.licence
    assert (session.metadata["source_file"], session.metadata["source_sha256"]) in (
        network.origin for network in (*catalogue.MUSICNN.values(), catalogue.EFFICIENTAT, catalogue.SQUEEZENET,
                                       catalogue.YAMNET, catalogue.AISFX)
    )  # fmt: skip
    consumes = create("extractor", name).consumes
    assert session.metadata["asd.kind"] == consumes.kind
    assert session.metadata.get("asd.sample_rate") == (str(consumes.sample_rate) if consumes.sample_rate else None)


@pytest.mark.parametrize("layer", range(1, 15))
def test_every_layer_of_yamnet_has_its_dimension(layer: int, extractor: Make) -> None:
    component = extractor("yamnet", layer=layer)
    assert component.embed(noise("yamnet", 2)).shape == (2, component.dimension)


@pytest.mark.parametrize("layer", range(1, 5))
def test_every_layer_of_aisfx_has_its_dimension(layer: int, extractor: Make) -> None:
    component = extractor("aisfx", layer=layer)
    assert component.embed(noise("aisfx", 2)).shape == (2, component.dimension)


@pytest.mark.parametrize("name", ["efficientat-mn04", "musicnn-mtt", "musicnn-msd", "squeezenet1_0"])
def test_models_that_name_the_former_plugin_find_it(name: str) -> None:
    former = {"eff": "asd-audioset", "mus": "asd-essentia", "squ": "asd-imagenet"}[name[:3]]
    with pytest.warns(FutureWarning, match=f"{former}:{name}.*is now called 'asd-onnx:{name}'"):
        assert registry().find("extractor", f"{former}:{name}").qualified_name == f"asd-onnx:{name}"
