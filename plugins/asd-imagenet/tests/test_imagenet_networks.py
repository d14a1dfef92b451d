"""Every network gives what its classifier is fed, as torchvision itself computes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from asd.errors import ConfigError
from asd.plugin import Float32
from asd_imagenet import models
from asd_imagenet.extractor import ImageNetExtractor
from asd_imagenet.plugin import asd_components

Exact = Callable[..., ImageNetExtractor]
Reference = Callable[..., tuple[nn.Module, Path]]

SLOW = pytest.mark.slow
CLASSIFIERS = {
    "alexnet": "classifier.6",
    "resnet18": "fc",
    "shufflenet_v2_x0_5": "fc",
}
MORE_CLASSIFIERS = {
    "convnext_tiny": "classifier.2",
    "densenet121": "classifier",
    "efficientnet_b0": "classifier.1",
    "googlenet": "fc",
    "maxvit_t": "classifier.5",
    "mnasnet0_5": "classifier.1",
    "mobilenet_v3_small": "classifier.3",
    "regnet_y_400mf": "fc",
    "resnet34": "fc",
    "resnet50": "fc",
    "swin_t": "head",
    "vit_b_32": "heads.head",
}
OPTIONS: dict[str, dict[str, Any]] = {"googlenet": {"init_weights": False, "transform_input": True}}


@torch.inference_mode()
def fed_to(network: nn.Module, layer: str, images: Float32) -> Float32:
    """Return what `layer` is fed, by a hook on torchvision's own network."""
    found: list[torch.Tensor] = []
    network.get_submodule(layer).register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    network(torch.from_numpy(images))
    return found[0].flatten(1).numpy()


@pytest.mark.parity
@pytest.mark.parametrize(
    ("model", "classifier"),
    [*CLASSIFIERS.items(), *(pytest.param(*item, marks=SLOW) for item in MORE_CLASSIFIERS.items())],
)
def test_a_network_is_torchvisions(
    model: str, classifier: str, images: Float32, reference: Reference, exact: Exact
) -> None:
    network, path = reference(model, **OPTIONS.get(model, {}))
    expected = fed_to(network, classifier, images[:2])
    extractor = exact(model=model, weights=str(path))
    found = extractor.embed(images[:2])
    assert found.shape == (2, extractor.dimension)
    np.testing.assert_allclose(found, expected, atol=1e-4 * abs(expected).max())


@pytest.mark.slow
@pytest.mark.parity
def test_inception_takes_its_own_size(reference: Reference, exact: Exact) -> None:
    network, path = reference("inception_v3", init_weights=False, transform_input=True)
    images = np.random.default_rng(0).normal(size=(1, 3, 299, 299)).astype(np.float32)
    extractor = exact(model="inception_v3", weights=str(path))
    assert str(extractor.consumes) == "image (3, 299, 299)"
    np.testing.assert_allclose(extractor.embed(images), fed_to(network, "fc", images), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("spec", list(asd_components()), ids=lambda spec: spec.name)
def test_specs_state_what_the_networks_give(spec: Any, images: Float32, exact: Exact) -> None:
    extractor = exact(**spec.preset, weights="random")
    assert spec.shape in (None, extractor.consumes.shape)
    assert spec.dimension in (None, extractor.dimension)
    assert extractor.embed(images[:1]).shape == (1, extractor.dimension)


@pytest.mark.slow
@pytest.mark.parametrize("model", models.known_models())
def test_every_classifier_of_torchvision_can_be_built(model: str) -> None:
    extractor = ImageNetExtractor(model=model, weights="random")
    assert extractor.dimension >= 256
    assert extractor.consumes.kind == "image"


@pytest.mark.parametrize(
    "model", ["resnet18", pytest.param("vit_b_32", marks=SLOW), pytest.param("swin_t", marks=SLOW)]
)
def test_random_weights_follow_the_seed_and_leave_other_random_numbers_alone(
    model: str, images: Float32, exact: Exact, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (exact(model=model, weights="random", seed=seed).embed(images[:1]) for seed in (3, 3, 4))
    assert torch.rand(1) == expected
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)
    assert caplog.messages[0] == f"{model} has random weights (seed 3): good for tests, not for results"


MY_MODULE = """
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 6, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 10))
"""


def test_an_installed_distribution_can_add_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Float32, exact: Exact
) -> None:
    (tmp_path / "my_network.py").write_text(MY_MODULE)
    information = tmp_path / "my_network-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-network\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[asd_imagenet.models]\nmine = my_network:build\n")
    monkeypatch.syspath_prepend(tmp_path)
    extractor = exact(model="mine", weights="random")
    assert extractor.embed(images).shape == (5, 24)
    assert extractor.dimension == 24
    with pytest.raises(ConfigError, match="there are no default weights; give random, a file or a URL"):
        exact(model="mine")
