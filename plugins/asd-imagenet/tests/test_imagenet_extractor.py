"""An extractor keeps the interface's promises, in every number format and on every device."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from asd.errors import AsdError, ConfigError
from asd.plugin import Float32, Runtime, create, registry
from asd_imagenet.extractor import ImageNetExtractor

Exact = Callable[..., ImageNetExtractor]


def _cosines(a: Float32, b: Float32) -> Float32:
    lengths: Float32 = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: Float32 = np.sum(a * b, axis=1) / lengths
    return cosines


def _sounds(count: int) -> Float32:
    """Return smooth pictures, as spectrograms are: noise of few positions, stretched to 224."""
    noise = torch.randn(count, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(noise, 224, mode="bilinear").numpy()


def test_rows_do_not_depend_on_the_batch_or_the_layout(exact: Exact) -> None:
    images, extractor = _sounds(5), exact()
    whole = extractor.embed(images)
    assert whole.dtype == np.float32
    assert whole.shape == (5, extractor.dimension)
    channels_last = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(extractor.embed(channels_last), whole, atol=1e-3)
    np.testing.assert_allclose(extractor.embed(images[::-1])[::-1], whole, atol=1e-3)
    extractor.runtime = Runtime("cpu", "fp32", batch_size=2)
    np.testing.assert_allclose(extractor.embed(images), whole, atol=1e-3)
    np.testing.assert_allclose(extractor.embed(torch.from_numpy(images[3:4])), whole[3:4], atol=1e-3)
    assert extractor.embed(images[:0]).shape == (0, extractor.dimension)


@pytest.mark.parametrize(
    "parameters", [{}, {"model": "resnet18", "weights": "random"}], ids=["squeezenet1_0", "resnet18"]
)
def test_bfloat16_points_the_same_way(parameters: dict[str, str], exact: Exact) -> None:
    images, coarse = _sounds(6), ImageNetExtractor(**parameters)  # type: ignore[arg-type]
    coarse.runtime = Runtime("cpu", "bf16")
    assert _cosines(coarse.embed(images), exact(**parameters).embed(images)).min() > 0.999


def test_pictures_of_another_size_are_refused(exact: Exact) -> None:
    with pytest.raises(AsdError) as caught:
        exact().embed(np.zeros((2, 3, 64, 64), np.float32))
    assert str(caught.value) == "squeezenet1_0 takes pictures of shape (3, 224, 224), got (3, 64, 64)"


def test_components_are_created_by_name_with_text_for_parameters() -> None:
    extractor = create("extractor", "resnet18", {"layer": "layer3, layer4", "weights": "random"})
    assert extractor.dimension == 256 + 512
    assert extractor.get_params()["layer"] == ("layer3", "layer4")
    assert create("extractor", "torchvision", {"model": "mnasnet0_5", "weights": "random"}).dimension == 1280
    with pytest.raises(ConfigError, match="extractor 'resnet18' fixes model = 'resnet18'"):
        create("extractor", "resnet18", {"model": "alexnet"})


def test_dimension_and_size_need_neither_weights_nor_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asd_imagenet.models.build", None)
    for component in registry().of_kind("extractor"):
        if component.plugin.distribution == "asd-imagenet" and component.spec.preset:
            extractor = create("extractor", component.spec.name)
            assert (extractor.dimension, extractor.consumes.shape) == (component.spec.dimension, component.spec.shape)


def test_listing_imports_nothing_heavy() -> None:
    check = (
        "import sys, asd_imagenet.plugin as p; list(p.asd_components()); print({'torch', 'numpy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
def test_an_absent_gpu_is_named() -> None:
    extractor = ImageNetExtractor()
    extractor.runtime = Runtime("cuda")
    with pytest.raises(ConfigError, match="device 'cuda' is not available; this machine has cpu"):
        extractor.embed(_sounds(1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")
def test_the_gpu_gives_the_same_embeddings(exact: Exact) -> None:
    images, on_gpu = _sounds(6), ImageNetExtractor()
    on_gpu.runtime = Runtime("cuda")
    assert _cosines(on_gpu.embed(images), exact().embed(images)).min() > 0.999
    on_gpu_tensor = torch.from_numpy(images).to("cuda")
    assert _cosines(on_gpu.embed(on_gpu_tensor), exact().embed(images)).min() > 0.999
