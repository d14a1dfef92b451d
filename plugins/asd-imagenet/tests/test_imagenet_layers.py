"""The parameters `layer` and `pool` choose what is taken from a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from asd.errors import ConfigError
from asd.plugin import Float32
from asd_imagenet.extractor import ImageNetExtractor

Exact = Callable[..., ImageNetExtractor]
Reference = Callable[..., tuple[nn.Module, Path]]


@torch.inference_mode()
def outputs(network: nn.Module, images: Float32, *layers: str) -> list[torch.Tensor]:
    """Return what modules give, copied before the next one changes it in place."""
    found: dict[str, torch.Tensor] = {}
    for layer in layers:
        network.get_submodule(layer).register_forward_hook(
            lambda _, __, output, layer=layer: found.__setitem__(layer, output.clone())
        )
    network(torch.from_numpy(images))
    return [found[layer] for layer in layers]


def test_layers_are_concatenated_as_they_were_before_the_next_changed_them(
    images: Float32, reference: Reference, exact: Exact
) -> None:
    network, path = reference("resnet18")
    # bn1 is overwritten by an in-place ReLU, layer1.0.bn2 by an in-place sum.
    layers = ("bn1", "layer1.0.bn2", "layer3")
    expected = torch.cat([map_.mean((2, 3)) for map_ in outputs(network, images, *layers)], dim=1)
    extractor = exact(model="resnet18", layer=layers, weights=str(path))
    np.testing.assert_allclose(extractor.embed(images), expected, atol=1e-4)
    assert extractor.dimension == 64 + 64 + 256


@pytest.mark.parametrize(
    ("pool", "dimension"),
    [("default", 2048), ("average", 512), ("max", 512), ("2x2", 2048), ("flatten", 512 * 13 * 13)],
)
def test_pool_turns_a_map_into_a_vector(
    pool: str, dimension: int, images: Float32, reference: Reference, exact: Exact
) -> None:
    network, path = reference("squeezenet1_0")
    (map_,) = outputs(network, images[:1], "features")
    by_hand = {
        "average": map_.mean((2, 3)),
        "max": map_.amax((2, 3)),
        # 13 x 13 positions: each quarter is 7 x 7, the middle row and column belong to both sides.
        "2x2": torch.stack([map_[:, :, i : i + 7, j : j + 7].mean((2, 3)) for i in (0, 6) for j in (0, 6)], 2).flatten(
            1
        ),
        "flatten": map_.flatten(1),
    }
    extractor = exact(weights=str(path), pool=pool)
    np.testing.assert_allclose(extractor.embed(images[:1]), by_hand["2x2" if pool == "default" else pool], atol=1e-4)
    assert extractor.dimension == dimension


@pytest.mark.slow
def test_tokens_of_a_transformer_are_pooled_over_tokens(images: Float32, exact: Exact) -> None:
    extractor = exact(model="vit_b_32", weights="random", layer=("encoder.ln",))
    assert extractor.embed(images[:1]).shape == (1, 768)
    flat = exact(model="vit_b_32", weights="random", layer=("encoder.ln",), pool="flatten")
    tokens = flat.embed(images[:1]).reshape(768, 50)
    np.testing.assert_allclose(extractor.embed(images[:1])[0], tokens.mean(1), atol=1e-4)
    with pytest.raises(ConfigError, match="pool 2x2 needs a feature map, but this layer gives tokens"):
        exact(model="vit_b_32", weights="random", layer=("encoder.ln",), pool="2x2").embed(images[:1])


def test_maps_of_swin_are_pooled_over_positions(exact: Exact) -> None:
    assert exact(model="swin_t", weights="random", layer=("features.7",)).dimension == 768
    assert exact(model="swin_t", weights="random", layer=("features.7",), pool="2x2").dimension == 3072


def test_only_what_is_needed_is_computed(exact: Exact) -> None:
    for parameters in ({}, {"layer": ("features.3",)}):
        extractor = exact(weights="random", **parameters)
        names = {name for name, module in extractor._network.named_modules() if isinstance(module, nn.Conv2d)}
        assert "classifier.1" not in names
        assert ("features.12.squeeze" in names) == (not parameters)


def test_a_layer_that_does_not_exist_is_answered_with_those_that_do(exact: Exact) -> None:
    with pytest.raises(ConfigError) as caught:
        exact(model="resnet18", weights="random", layer=("layer4", "layer5.0")).dimension  # noqa: B018  # it raises
    assert str(caught.value) == (
        "resnet18 has no layer 'layer5.0'; did you mean layer4.0 or layer3.0 or layer2.0? "
        "It has conv1, bn1, relu, maxpool, layer1.0, layer1.1, layer2.0, layer2.1, layer3.0, layer3.1, layer4.0, "
        "layer4.1 … fc (85 with all parts)"
    )


def test_a_pool_without_a_map_is_refused(exact: Exact) -> None:
    with pytest.raises(ConfigError) as caught:
        exact(model="resnet18", weights="random", pool="max").dimension  # noqa: B018  # it raises
    assert str(caught.value) == (
        "pool 'max' has nothing to pool: resnet18 gives vectors here; "
        "leave pool out, or name a layer that gives a feature map"
    )


@pytest.mark.parametrize("layer", [(), ("",)])
def test_an_empty_layer_is_refused(layer: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="layer is empty; name at least one"):
        ImageNetExtractor(layer=layer)


def test_an_unknown_pool_is_refused() -> None:
    text = r"pool must be default, average, max, 2x2 or flatten, got 'min'; change --extractor\.pool$"
    with pytest.raises(ConfigError, match=text):
        ImageNetExtractor(pool="min")  # type: ignore[arg-type]
