"""The pictures of mel-image: their colours, their upscaling, and what real machines look like."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest

from asd.plugin import Audio, Float32, mel_spectrogram
from asd_frontends.colours import ColourMap, colour_index, colour_table
from asd_frontends.image import MelImage
from asd_frontends.patch import MelPatch
from asd_frontends.upscale import upscale


@pytest.mark.parity
@pytest.mark.parametrize("name", get_args(ColourMap))
def test_colours_equal_matplotlibs(name: Any) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    values = np.linspace(-0.2, 1.2, 5000, dtype=np.float32)
    theirs = matplotlib.colormaps[name](values)[:, :3]
    np.testing.assert_allclose(colour_table(name)[colour_index(values)], theirs, atol=1e-6)


@pytest.mark.parity
@pytest.mark.parametrize("size", [224, 96, 64, 299, 40])
@pytest.mark.parametrize("shape", [(3, 64, 64, 3), (1, 40, 57, 3), (2, 1, 2, 1)])
def test_upscaling_equals_torchs(size: int, shape: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(images).double().permute(0, 3, 1, 2), size=(size, size), mode="bilinear", align_corners=False
    ).permute(0, 2, 3, 1)
    np.testing.assert_allclose(upscale(images, size), theirs.numpy(), atol=2e-6)


def test_normalised_colours_equal_normalised_pictures(sweep: Float32) -> None:
    audio = Audio(sweep[np.newaxis], 16000)
    plain, normalised = MelImage(normalise="none")(audio).values, MelImage()(audio).values
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
    std = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
    np.testing.assert_allclose(normalised, (plain - mean) / std, atol=1e-5)
    assert plain.min() >= 0.0
    assert plain.max() <= 1.0 + 1e-6


@pytest.mark.parity
def test_pictures_equal_the_straightforward_way(sweep: Float32) -> None:
    """Librosa's mel, matplotlib's colours, torch's upscaling, normalisation at the end."""
    librosa = pytest.importorskip("librosa")
    matplotlib = pytest.importorskip("matplotlib")
    torch = pytest.importorskip("torch")
    mel = librosa.feature.melspectrogram(y=sweep, sr=16000, n_fft=1024, hop_length=256, n_mels=64, center=False)
    level = (librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None) + 60.0) / 80.0
    picture = matplotlib.colormaps["viridis"](level[::-1, 96:160])[..., :3].astype(np.float32)
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None]
    tensor = torch.nn.functional.interpolate(tensor, size=(224, 224), mode="bilinear", align_corners=False)[0].numpy()
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (tensor - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)
    ours = MelImage()(Audio(sweep[np.newaxis], 16000)).values[3]
    # A level on the border between two colours may round to either.
    np.testing.assert_allclose(ours, expected, atol=0.05)
    assert np.mean(np.abs(ours - expected)) < 1e-4


def test_pictures_lie_channels_last(sweep: Float32) -> None:
    torch = pytest.importorskip("torch")
    pictures = torch.from_numpy(MelImage()(Audio(sweep[np.newaxis], 16000)).values)
    assert pictures.is_contiguous(memory_format=torch.channels_last)


def test_low_frequencies_are_at_the_bottom_and_time_runs_to_the_right() -> None:
    time = np.arange(17152) / 16000
    low_then_high = np.where(time < 0.5, np.sin(2 * np.pi * 100 * time), np.sin(2 * np.pi * 7000 * time))
    audio = Audio(low_then_high[np.newaxis].astype(np.float32), 16000)
    picture = MelImage(colour_map="gray", normalise="none")(audio).values[0, 0]
    quarters = {
        "top left": picture[:56, :90].max(),
        "bottom left": picture[-56:, :90].max(),
        "top right": picture[:56, -90:].max(),
        "bottom right": picture[-56:, -90:].max(),
    }
    assert (
        min(quarters["bottom left"], quarters["top right"]) > max(quarters["top left"], quarters["bottom right"]) + 0.3
    )


def test_relative_references_ignore_the_level(sweep: Float32) -> None:
    quiet = sweep * np.float32(0.1)
    for reference in ("clip", "patch"):
        frontend = MelPatch(reference=reference)
        loud_patches, quiet_patches = (frontend(Audio(s[np.newaxis], 16000)).values for s in (sweep, quiet))
        heard = loud_patches > 0.1  # what lies lower meets the floor of the decibels
        np.testing.assert_allclose(loud_patches[heard], quiet_patches[heard], atol=1e-3)
    np.testing.assert_allclose(MelPatch(reference="patch")(Audio(sweep[np.newaxis], 16000)).values.max((1, 2)), 1.0)


def test_clip_reference_takes_the_loudest_place_of_the_recording(sweep: Float32) -> None:
    frontend = MelPatch(reference="clip")
    assert frontend.window_length is None
    patches = frontend(Audio(sweep[np.newaxis], 16000)).values
    mel = mel_spectrogram(sweep, sample_rate=16000, n_fft=1024, hop_length=256, n_mels=64)
    expected = 1.0 + 10.0 * np.log10(mel[:, 64:128] / mel.max()) / 80.0
    np.testing.assert_allclose(patches[2], expected, atol=1e-4)


def test_a_recording_shorter_than_a_patch_is_repeated_for_the_clip_reference(sweep: Float32) -> None:
    frontend = MelPatch(reference="clip")
    short = frontend(Audio(sweep[np.newaxis, :3000], 16000)).values
    np.testing.assert_array_equal(short, frontend(Audio(np.resize(sweep[:3000], (1, 17152)), 16000)).values)


@pytest.mark.parametrize("machine", ["fan", "toycar"])
@pytest.mark.parametrize("parameters", [{}, {"reference": "patch"}, {"reference": "clip"}, {"scaling": "pcen"}])
def test_real_machines_use_the_colours(
    machine: str, parameters: dict[str, Any], machines: dict[str, list[Audio]]
) -> None:
    levels = np.concatenate([MelPatch(**parameters)(audio).values.ravel() for audio in machines[machine]])
    assert np.mean(levels < 0.0) < 0.01
    assert np.mean(levels > 1.0) < 0.005
    low, high = np.percentile(levels, [1, 99])
    assert high - low > 0.25
