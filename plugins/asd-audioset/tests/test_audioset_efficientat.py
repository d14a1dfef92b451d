"""EfficientAT's layers, pooling, precision and its publisher's file format, with the embedded weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import asd_torch
from asd.experiment import Config, Pipeline
from asd.plugin import Runtime, create, registry
from asd_audioset import mobilenet
from asd_audioset.published import EFFICIENTAT_MODELS


@pytest.fixture(scope="module")
def windows() -> Any:
    return np.random.default_rng(3).normal(0.0, 0.5, (5, 128, 100)).astype(np.float32)


def extractor(precision: Any = "auto", **parameters: Any) -> Any:
    component = create("extractor", "efficientat-mn04-torch", parameters)
    component.runtime = Runtime(device="cpu", precision=precision)
    return component


def publishers_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name and shape tensors as EfficientAT's own release does."""
    renamed = {}
    for name, tensor in tensors.items():
        for part in (".fc1.", ".fc2."):
            name = name.replace(part, f".conc_se_layers.0{part}")
        name = name.replace("classifier.3.", "classifier.5.").replace("classifier.0.", "classifier.2.")
        renamed[name] = tensor[:, :, 0, 0] if "conc_se" in name and tensor.dim() == 4 else tensor
    return renamed


@pytest.mark.slow
def test_each_layer_and_pool_gives_the_dimension_that_it_declares(windows: Any) -> None:
    for layer in range(17):
        for pool in ("global", "time"):
            component = extractor(layer=layer, pool=pool)
            assert component.embed(windows[:1]).shape == (1, component.dimension)


def test_the_default_is_the_last_stage_averaged(windows: Any) -> None:
    network = mobilenet.EfficientATNetwork(0.4).eval()
    weights = next(iter(extractor().weight_hashes()))
    path = Path(mobilenet.__file__).parent / "weights" / weights
    asd_torch.load_into(network, asd_torch.read_tensors(path), "mn04")
    with torch.inference_mode():
        features = network.features(torch.from_numpy(windows).unsqueeze(1))
        probabilities = torch.sigmoid(network(torch.from_numpy(windows).unsqueeze(1)))
    found = extractor()
    np.testing.assert_allclose(found.embed(windows), features.mean((2, 3)), atol=1e-4)
    np.testing.assert_allclose(found.class_probabilities(windows), probabilities, atol=1e-5)
    in_time = extractor(pool="time").embed(windows)
    np.testing.assert_allclose(in_time, features.mean(3).flatten(1), atol=1e-4)


def test_embeddings_do_not_depend_on_the_other_windows(windows: Any) -> None:
    whole = extractor().embed(windows)
    assert np.abs(extractor().embed(windows[3:4]) - whole[3:4]).max() < 1e-4
    assert np.abs(extractor().embed(windows[::-1])[::-1] - whole).max() < 1e-4


def test_auto_is_float32_and_bfloat16_only_if_asked_for(windows: Any) -> None:
    exact = extractor("fp32").embed(windows)
    np.testing.assert_array_equal(extractor("auto").embed(windows), exact)
    coarse = extractor("bf16").embed(windows)
    assert 1e-4 < np.abs(coarse - exact).max() < 0.1 * np.abs(exact).max()


def test_threads_of_the_caller_keep_their_number(windows: Any) -> None:
    before = torch.get_num_threads()
    extractor().embed(windows)
    assert torch.get_num_threads() == before


def test_a_file_as_its_publisher_names_the_tensors_gives_the_same(windows: Any, tmp_path: Path) -> None:
    path = Path(mobilenet.__file__).parent / "weights" / "efficientat-mn04_as.safetensors"
    torch.save(publishers_names(asd_torch.read_tensors(path)), tmp_path / "mn04_as_mAP_432.pt")
    theirs = create("extractor", "efficientat", {"model": "mn04_as", "weights": str(tmp_path / "mn04_as_mAP_432.pt")})
    theirs.runtime = Runtime(device="cpu")
    np.testing.assert_array_equal(theirs.embed(windows), extractor().embed(windows))


@pytest.mark.parametrize("model", ["mn01_as", "mn10_as"])
def test_other_widths_load_from_a_file(model: str, windows: Any, tmp_path: Path) -> None:
    """With random weights: only mn04's are at hand."""
    width = EFFICIENTAT_MODELS[model].width
    generator = torch.Generator().manual_seed(0)
    shapes = {
        name: tensor.shape for name, tensor in mobilenet.EfficientATNetwork(width).state_dict().items() if tensor.dim()
    }
    tensors = {name: torch.rand(shape, generator=generator) / shape[1:].numel() for name, shape in shapes.items()}
    torch.save(publishers_names(tensors), tmp_path / "weights.pt")
    component = create("extractor", "efficientat", {"model": model, "weights": str(tmp_path / "weights.pt")})
    component.runtime = Runtime(device="cpu")
    found = component.embed(windows[:2])
    assert found.shape == (2, component.dimension)
    assert np.isfinite(found).all()


def test_mn10_has_as_many_tensors_as_its_published_file() -> None:
    """The release's mn10_as_mAP_471.pt has 312 tensors with 4,901,277 values in all."""
    tensors = mobilenet.EfficientATNetwork(1.0).state_dict()
    assert (len(tensors), sum(t.numel() for t in tensors.values())) == (312, 4_901_277)


def test_specs_say_what_the_components_do() -> None:
    for name in ("efficientat-mn04-torch", "efficientat", "yamnet-keras", "vggish-audioset"):
        spec = registry().find("extractor", name).spec
        component = create("extractor", name)
        assert component.dimension == spec.dimension
        assert component.consumes.shape == spec.shape
        frontend = create("frontend", str(spec.frontend))
        assert component.consumes.accepts(frontend.produces)
        declared = registry().find("frontend", str(spec.frontend)).spec
        assert (frontend.sample_rate, frontend.produces.shape) == (declared.sample_rate, declared.shape)


def test_a_front_end_of_another_network_is_refused() -> None:
    config = Config.from_mapping({"frontend": "vggish-mel", "extractor": "yamnet-keras"})
    with pytest.raises(Exception, match=r"yamnet-keras takes yamnet-mel \(96, 64\).*gives vggish-mel \(96, 64\)"):
        Pipeline(config)
