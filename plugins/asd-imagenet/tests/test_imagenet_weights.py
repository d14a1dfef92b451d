"""The right weights, from the right place, or one clear line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

import asd_torch
from asd.errors import AsdError, ConfigError, WeightError
from asd.plugin import Float32
from asd_imagenet.extractor import ImageNetExtractor
from asd_imagenet.models import known_models, weight_sets
from asd_imagenet.plugin import EMBEDDED, asd_components, official_weight
from asd_registry import ComponentSpec

Exact = Callable[..., ImageNetExtractor]
Reference = Callable[..., tuple[nn.Module, Path]]

EMBEDDED_FILE = Path(str(resources.files("asd_imagenet") / "weights" / EMBEDDED.name))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _photograph(name: str) -> torch.Tensor:
    """Return a photograph that scikit-learn or Matplotlib ships, as the networks take it."""
    image_module = pytest.importorskip("PIL.Image", reason="Pillow reads the photographs")
    if name == "grace_hopper":
        cbook = pytest.importorskip("matplotlib.cbook", reason="Matplotlib ships this photograph")
        with cbook.get_sample_data("grace_hopper.jpg") as file:
            picture = image_module.open(file).convert("RGB")
    else:
        datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn ships this photograph")
        picture = image_module.fromarray(datasets.load_sample_image(f"{name}.jpg"))
    picture = picture.resize((224, 224), image_module.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((pixels - mean[:, None, None]) / deviation[:, None, None])[None]


@torch.inference_mode()
@pytest.mark.parametrize(
    ("photograph", "classes"), [("grace_hopper", ["bow tie", "suit"]), ("china", ["bell cote", "stupa"])]
)
def test_the_embedded_weights_recognise_a_woman_in_uniform_and_a_temple(
    photograph: str, classes: list[str], exact: Exact
) -> None:
    network = models.squeezenet1_0().eval()
    asd_torch.load_into(network, asd_torch.read_tensors(EMBEDDED_FILE), "squeezenet1_0")
    picture = _photograph(photograph)
    names = models.SqueezeNet1_0_Weights.DEFAULT.meta["categories"]
    assert [names[index] for index in network(picture)[0].topk(2).indices] == classes
    quarters = nn.functional.adaptive_avg_pool2d(network.features(picture), 2).flatten(1)
    np.testing.assert_allclose(exact().embed(picture), quarters, atol=1e-3)


def test_the_embedded_file_is_the_one_that_is_declared() -> None:
    assert _sha256(EMBEDDED_FILE) == EMBEDDED.sha256
    assert EMBEDDED_FILE.stat().st_size == EMBEDDED.size
    assert ImageNetExtractor().weight_hashes() == {EMBEDDED.name: EMBEDDED.sha256}
    assert "Redistribution" in EMBEDDED_FILE.with_suffix(".LICENCE.txt").read_text()


@pytest.mark.parametrize("spec", [s for s in asd_components() if s.weights and s.weights[0].url], ids=lambda s: s.name)
def test_declared_files_are_torchvisions_default(spec: ComponentSpec) -> None:
    default = next(iter(weight_sets(spec.name).values()))
    (weight,) = spec.weights
    assert weight == official_weight(default.url, size=weight.size)
    assert default.url.endswith(f"-{spec.weights[0].sha256}.pth")


@pytest.mark.parametrize("model", [name for name in known_models() if weight_sets(name)])
def test_every_weight_set_of_torchvision_states_its_hash(model: str) -> None:
    for weights in weight_sets(model).values():
        assert re.fullmatch("[0-9a-f]{8,64}", official_weight(weights.url).sha256)


@pytest.mark.parametrize(("model", "weights"), [("resnet18", "default"), ("squeezenet1_0", "IMAGENET1K_V1")])
def test_official_weights_that_cannot_be_fetched_name_every_way_out(
    model: str, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Float32
) -> None:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path))
    monkeypatch.setenv("ASD_OFFLINE", "1")
    url = weight_sets(model)["IMAGENET1K_V1"].url
    with pytest.raises(WeightError) as caught:
        ImageNetExtractor(model=model, weights=weights).embed(images)
    text = str(caught.value)
    assert url in text
    assert f"asd weights import {url.rpartition('/')[2]} FILE" in text
    assert str(tmp_path) in text
    assert "squeezenet1_0, which needs no download" in text


def test_a_url_goes_through_the_weight_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Float32, reference: Reference, exact: Exact
) -> None:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path / "cache"))
    _, path = reference("squeezenet1_0")
    digest = _sha256(path)
    extractor = exact(weights=path.as_uri(), weights_sha256=digest)
    np.testing.assert_array_equal(extractor.embed(images[:1]), exact(weights=str(path)).embed(images[:1]))
    assert extractor.weight_hashes() == {path.name: digest}
    assert _sha256(tmp_path / "cache" / "weights" / digest / path.name) == digest


@pytest.mark.slow
def test_official_densenet_files_are_read(tmp_path: Path, images: Float32, reference: Reference, exact: Exact) -> None:
    _, path = reference("densenet121")
    # The official file has the names of torchvision 0.1 (norm.1) and no counters of batches.
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): tensor
        for name, tensor in torch.load(path, weights_only=True).items()
        if not name.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save(old, tmp_path / "old.pth")
    found, expected = (
        exact(model="densenet121", weights=str(p)).embed(images[:1]) for p in (tmp_path / "old.pth", path)
    )
    np.testing.assert_array_equal(found, expected)


def test_weights_fine_tuned_to_other_classes_are_taken(images: Float32, reference: Reference, exact: Exact) -> None:
    network, path = reference("resnet18", num_classes=7)
    network.fc = nn.Identity()
    with torch.inference_mode():
        expected = network(torch.from_numpy(images))
    np.testing.assert_allclose(exact(model="resnet18", weights=str(path)).embed(images), expected, atol=1e-4)


def test_weights_of_another_architecture_are_refused(images: Float32, reference: Reference, exact: Exact) -> None:
    _, path = reference("resnet18")
    with pytest.raises(AsdError) as caught:
        exact(model="resnet34", weights=str(path)).embed(images)
    assert str(caught.value) == (
        f"{path} does not fit resnet34: it lacks 'layer1.2.conv1.weight'; use the weights of this architecture"
    )
    with pytest.raises(AsdError, match=r"resnet18\.pth does not fit squeezenet1_0: it lacks 'features.0.weight'"):
        exact(weights=str(path)).embed(images)


def test_a_file_of_another_hash_is_refused(images: Float32, reference: Reference, exact: Exact) -> None:
    _, path = reference("squeezenet1_0")
    with pytest.raises(WeightError) as caught:
        exact(weights=str(path), weights_sha256="00000000").embed(images)
    assert str(caught.value) == (
        f"{path}: another file than expected: its sha256 is {_sha256(path)}, expected 00000000; correct "
        "weights_sha256 or fetch the file again"
    )


def test_files_that_hold_no_weights_are_refused(tmp_path: Path, images: Float32, exact: Exact) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(WeightError, match=r"weights\.pth: no such weight file"):
        exact(weights=str(path)).embed(images)
    path.write_text("These are no weights.")
    with pytest.raises(AsdError, match=r"weights\.pth: not a weight file, damaged, or with more than tensors inside"):
        exact(weights=str(path)).embed(images)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"model": "resnet19"}, "unknown model 'resnet19'; did you mean resnet18 or "),
        ({"model": "yolo"}, "unknown model 'yolo'; known: alexnet, convnext_base, "),
        ({"model": "fcn_resnet50"}, "unknown model 'fcn_resnet50'; did you mean "),
        (
            {"model": "resnet50", "weights": "IMAGENET1K_V3"},
            "weights is 'IMAGENET1K_V3', expected random, default, IMAGENET1K_V2, IMAGENET1K_V1, a file or a URL; "
            "write ./IMAGENET1K_V3 for a file of that name",
        ),
        (
            {"weights": "https://example.org/a.pth"},
            "https://example.org/a.pth needs weights_sha256, the file's SHA-256, to be trusted",
        ),
        ({"weights_sha256": "XYZ"}, "weights_sha256 is 'XYZ', expected 8 to 64 hexadecimal digits in lower case"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(parameters: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ImageNetExtractor(**parameters)  # type: ignore[arg-type]
    assert str(caught.value).startswith(text)
