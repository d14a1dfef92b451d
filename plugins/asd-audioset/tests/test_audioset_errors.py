"""What users are told when weights or parameters do not fit: one line that says how to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from asd.errors import AsdError, ConfigError, WeightError
from asd.plugin import Runtime, create
from asd_audioset import mobilenet

EMBEDDED = Path(mobilenet.__file__).parent / "weights" / "efficientat-mn04_as.safetensors"


def embed(name: str, **parameters: Any) -> None:
    component = create("extractor", name, parameters)
    component.runtime = Runtime(device="cpu")
    component.embed(np.zeros((1, *(size or 100 for size in component.consumes.shape)), np.float32))


def refusal(name: str, kind: type[AsdError] = AsdError, **parameters: Any) -> str:
    with pytest.raises(kind) as caught:
        embed(name, **parameters)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cut_off(path: Path, source: Path) -> Path:
    path.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    return path


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    path = tmp_path / "page.html"
    path.write_text("<html>Sign in</html>")
    return path


def test_weights_of_another_width() -> None:
    told = refusal("efficientat", model="mn10_as", weights=str(EMBEDDED))
    assert "does not fit EfficientAT mn10_as: 'features.0.0.weight' has shape (8, 1, 3, 3), expected (16, 1," in told


def test_weights_that_are_cut_off_or_no_weights(tmp_path: Path, text_file: Path) -> None:
    cut = cut_off(tmp_path / "cut.safetensors", EMBEDDED)
    assert "cut-off safetensors file" in refusal("efficientat-mn04-torch", weights=str(cut))
    for name in ("efficientat-mn04-torch", "vggish-audioset"):
        assert "not a weight file" in refusal(name, weights=str(text_file))


def test_weights_of_another_network() -> None:
    told = refusal("vggish-audioset", weights=str(EMBEDDED))
    assert "does not fit VGGish: it lacks 'features.0.weight'" in told


def test_yamnet_weights_that_are_not_hdf5_or_cut_off(tmp_path: Path, text_file: Path, yamnet_file: Path) -> None:
    for path in (text_file, cut_off(tmp_path / "cut.h5", yamnet_file)):
        told = refusal("yamnet-keras", WeightError, weights=str(path))
        assert told.startswith(f"{path}: not an HDF5 file, or cut off (")
        assert told.endswith("fetch https://storage.googleapis.com/audioset/yamnet.h5 again")


def test_yamnet_weights_of_another_keras_network(tmp_path: Path, yamnet_file: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["dense/dense/kernel:0"] = np.zeros((3, 3), np.float32)
    told = refusal("yamnet-keras", WeightError, weights=str(tmp_path / "other.h5"))
    assert "does not fit YAMNet: it lacks 'layer1/conv/layer1/conv/kernel:0'" in told
    wide = tmp_path / "wide.h5"
    wide.write_bytes(yamnet_file.read_bytes())
    with h5py.File(wide, "a") as file:
        del file["layer1/conv/layer1/conv/kernel:0"]
        file["layer1/conv/layer1/conv/kernel:0"] = np.zeros((3, 3, 1, 48), np.float32)
    told = refusal("yamnet-keras", weights=str(wide))
    assert "does not fit YAMNet: 'layer1/conv.convolution.weight' has shape" in told


def test_a_missing_file_and_a_wrong_hash() -> None:
    assert "nowhere.pt: no such weight file" in refusal("efficientat-mn04-torch", WeightError, weights="nowhere.pt")
    told = refusal("efficientat-mn04-torch", WeightError, weights=str(EMBEDDED), weights_sha256="0" * 64)
    assert "another file than expected: its sha256 is c86e362e" in told
    assert "another file" in refusal("efficientat-mn04-torch", WeightError, weights_sha256="0" * 64)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("yamnet-keras", "yamnet.h5"),
        ("vggish-audioset", "vggish-10086976.pth"),
        ("efficientat", "mn10_as_mAP_471.pt"),
    ],
)
def test_without_network_the_error_says_how_to_bring_the_file(
    name: str, file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ASD_OFFLINE", "1")
    monkeypatch.setenv("ASD_CACHE", str(tmp_path))
    told = refusal(name, WeightError)
    assert f"asd weights import {file} FILE" in told
    assert "or use efficientat-mn04, which needs no download" in told


def test_a_model_whose_hash_nobody_states() -> None:
    told = refusal("efficientat", ConfigError, model="mn40_as")
    assert "mn40_as is not downloaded, as no SHA-256 of it is known; fetch https://github.com/fschmid56/" in told
    assert "(--extractor.weights)" in told


def test_a_model_whose_hash_the_user_states_comes_through_the_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ASD_OFFLINE", "1")
    monkeypatch.setenv("ASD_CACHE", str(tmp_path))
    told = refusal("efficientat", WeightError, model="mn40_as", weights_sha256="ab" * 32)
    assert f"asd weights import mn40_as_mAP_484.pt FILE --sha256 {'ab' * 32}" in told


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"layer": 17}, "EfficientAT mn10_as has no layer 17; it has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,"),
        ({"model": "mn11_as"}, "unknown EfficientAT model 'mn11_as'; did you mean mn10_as or mn01_as"),
        ({"weights": "https://example.org/w.pt"}, "needs weights_sha256, the file's SHA-256, to be trusted"),
        ({"weights_sha256": "XYZ"}, "weights_sha256 is 'XYZ', expected 8 to 64 hexadecimal digits in lower case"),
        ({"pool": "max"}, "parameter 'pool' takes global or time, got 'max'"),
    ],
)
def test_impossible_parameters(parameters: dict[str, Any], text: str) -> None:
    assert text in refusal("efficientat", ConfigError, **parameters)


def test_windows_that_the_network_cannot_take() -> None:
    extractor = create("extractor", "efficientat-mn04-torch")
    with pytest.raises(AsdError, match=r"at least 32 frames \(0\.32 s\), got 20; use longer ones"):
        extractor.embed(np.zeros((1, 128, 20), np.float32))
    with pytest.raises(AsdError, match=r"takes efficientat-mel \(128, any\) windows, got shape \(64, 100\)"):
        extractor.embed(np.zeros((1, 64, 100), np.float32))
