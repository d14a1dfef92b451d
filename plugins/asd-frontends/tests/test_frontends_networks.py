"""The front ends of pretrained networks: equal to what the networks were trained on, and free of seams."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from asd.errors import ConfigError, RenamedWarning
from asd.experiment import Config, Pipeline
from asd.plugin import Audio, Clip, Float32, Frontend, create, mel_filter_bank, registry
from asd_frontends.musicnn_bank import mel_bank

GOLDEN = Path(__file__).resolve().parent / "golden" / "mels.npz"
CASES: dict[str, dict[str, Any]] = {
    "efficientat-mel guitar_32000": {},
    "efficientat-mel generated_32000": {"window": 0.5, "hop": 0.6},
    "yamnet-mel fan_16000": {},
    "yamnet-mel generated_16000": {"hop": 0.3},
    "vggish-mel fan_16000": {"hop": 0.96},
    "vggish-mel generated_16000": {"hop": 0.96},
    "musicnn-mel fan_16000": {"window": 0.5},
    "musicnn-mel generated_16000": {},
}
FRONTENDS: list[tuple[str, dict[str, Any]]] = [
    ("efficientat-mel", {}),
    ("efficientat-mel", {"window": 0.32, "hop": 0.01}),
    ("efficientat-mel", {"window": 0.5, "hop": 1.25}),
    ("yamnet-mel", {}),
    ("vggish-mel", {"hop": 0.96}),
    ("musicnn-mel", {}),
    ("musicnn-mel", {"window": 0.3, "hop": 1.0}),
    ("aisfx-mel", {}),
    ("aisfx-mel", {"frames": 8, "frame_hop": 12, "normalise": "none"}),
]
each_frontend = pytest.mark.parametrize(("name", "parameters"), FRONTENDS)


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    with np.load(GOLDEN) as arrays:
        return {**arrays}


def noise(seconds: float, rate: int) -> Float32:
    return (0.1 * np.random.default_rng(1).standard_normal(round(seconds * rate))).astype(np.float32)


def run(frontend: Frontend, samples: Float32) -> Any:
    return frontend(Audio(samples[np.newaxis], frontend.sample_rate))


@pytest.mark.parity
@pytest.mark.parametrize("case", CASES)
def test_values_are_those_of_the_former_implementation(golden: dict[str, Any], case: str) -> None:
    name, _, sound = case.partition(" ")
    samples = golden[sound].astype(np.float32) / np.float32(32768)
    values = run(create("frontend", name, CASES[case]), samples).values
    assert values.shape == golden[case].shape
    difference = np.abs(values - golden[case])
    # Beside a loud tone a band may hold less than the rounding of single precision, by either implementation.
    assert difference.max() <= 1e-4
    assert np.quantile(difference, 0.97) <= 1e-5
    assert difference.mean() <= 1e-6


@cache
def exact_filters() -> npt.NDArray[np.float64]:
    """The published bank, one filter weight at a time."""
    mel = 1127 * np.log(1 + np.arange(512) * 31.25 / 700)  # the bin at half the sample rate stays at zero
    step = 1127 * np.log(1 + 15000 / 700) / 129
    bank = np.zeros((128, 513))
    for band in range(128):
        for index in range(512):
            rising, falling = (mel[index] - band * step) / step, ((band + 2) * step - mel[index]) / step
            bank[band, index] = max(0.0, min(rising, falling))
    return bank


def exact_efficientat(samples: Float32) -> Any:
    """The published front end step by step, in double precision."""
    emphasised = samples[1:].astype(np.float64) - 0.97 * samples[:-1]
    window = np.zeros(1024)
    window[112:912] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 799)
    padded = np.pad(emphasised, 512, mode="reflect")
    power = np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, 1024)[::320] * window)) ** 2
    return ((np.log(exact_filters() @ power.T + 1e-5) + 4.5) / 5).astype(np.float32)


@pytest.mark.parity
@pytest.mark.parametrize(("window", "hop"), [(1.0, 0.5), (0.32, 0.13), (2.5, 3.0)])
def test_efficientat_mel_equals_the_published_front_end(window: float, hop: float) -> None:
    samples = noise(7.3, 32000)
    windows = run(create("frontend", "efficientat-mel", {"window": window, "hop": hop}), samples)
    assert len(windows.values) == 1 + int((7.3 - window) / hop)
    for start, values in zip(windows.start, windows.values, strict=True):
        first = round(start * 32000)
        expected = exact_efficientat(samples[first : first + round(window * 32000)])
        np.testing.assert_allclose(values, expected, atol=3e-5)
        assert np.abs(values - expected).mean() <= 1e-6


@pytest.mark.parity
def test_efficientat_mel_of_silence_is_the_floor() -> None:
    windows = run(create("frontend", "efficientat-mel"), np.zeros(32000, np.float32))
    np.testing.assert_allclose(windows.values, (np.log(1e-5) + 4.5) / 5, rtol=1e-6)


@each_frontend
def test_a_window_depends_on_its_own_samples_alone(name: str, parameters: dict[str, Any]) -> None:
    frontend = create("frontend", name, parameters)
    samples = noise(5.1, frontend.sample_rate)
    whole = run(frontend, samples)
    assert frontend.window_length is not None
    count = 1 + (len(samples) - frontend.window_length) // frontend.window_hop
    assert whole.values.shape == (count, *frontend.produces.shape)
    assert whole.values.dtype == np.float32
    np.testing.assert_allclose(whole.start, np.arange(count) * frontend.window_hop / frontend.sample_rate)
    assert whole.duration == pytest.approx(frontend.window_length / frontend.sample_rate)
    for index in range(0, count, 7):
        first = index * frontend.window_hop
        one = run(frontend, samples[first : first + frontend.window_length])
        np.testing.assert_allclose(one.values, whole.values[index : index + 1], atol=1e-5)


@each_frontend
def test_threads_may_share_a_front_end(name: str, parameters: dict[str, Any]) -> None:
    frontend = create("frontend", name, parameters)
    sounds = [noise(4.0, frontend.sample_rate) * np.float32(gain) for gain in (1.0, 0.5, 0.25, 0.1)] * 3
    alone = [run(frontend, sound).values.copy() for sound in sounds]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda sound: run(frontend, sound).values.copy(), sounds))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@each_frontend
def test_silence_and_tiny_samples_give_finite_values(name: str, parameters: dict[str, Any]) -> None:
    frontend = create("frontend", name, parameters)
    for samples in (np.zeros(5 * frontend.sample_rate, np.float32), noise(5.0, frontend.sample_rate) * 1e-37):
        assert np.isfinite(run(frontend, samples.astype(np.float32)).values).all()


@pytest.mark.parametrize("name", ["efficientat-mel", "yamnet-mel", "musicnn-mel", "aisfx-mel"])
def test_memory_follows_the_bands_not_the_spectra(name: str) -> None:
    frontend = create("frontend", name)
    samples = noise(60.0, frontend.sample_rate)
    run(frontend, samples[: 4 * frontend.sample_rate])  # what is kept between calls
    tracemalloc.start()
    values = run(frontend, samples).values
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < samples.nbytes + 2 * values.nbytes + 2e6


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("efficientat-mel", {"window": 0.2}, "window is 0.2 s, expected at least 0.32 s, one step of EfficientAT's"),
        ("efficientat-mel", {"window": 1.005}, "window is 1.005 s, expected a multiple of 0.01 s, the distance of"),
        ("efficientat-mel", {"hop": 0.0}, "hop is 0 s, expected a multiple of 0.01 s"),
        ("efficientat-mel", {"hop": float("nan")}, "hop is nan s, expected a multiple of 0.01 s"),
        ("yamnet-mel", {"hop": -0.48}, "yamnet-mel: hop is -0.48 s, expected a multiple of 0.01 s"),
        ("vggish-mel", {"hop": 0.333}, "vggish-mel: hop is 0.333 s, expected a multiple of 0.01 s"),
        ("aisfx-mel", {"frames": 0}, "aisfx-mel: frames must be a whole number of at least 1, got 0; use --frontend"),
    ],
)
def test_impossible_windows_are_refused(name: str, parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        create("frontend", name, parameters)
    assert "\n" not in str(caught.value)
    assert "--frontend." in str(caught.value)


@pytest.mark.parametrize("parameter", ["window", "hop"])
@pytest.mark.parametrize(("value", "shown"), [(0.01, "0.01"), (-1, "-1"), (float("nan"), "nan"), (float("inf"), "inf")])
def test_a_window_of_musicnn_must_hold_a_frame(parameter: str, value: float, shown: str) -> None:
    with pytest.raises(ConfigError) as raised:
        create("frontend", "musicnn-mel", {parameter: value})
    assert str(raised.value) == f"musicnn-mel: {parameter} is {shown} s, expected at least 0.016 s (one frame)"


@pytest.mark.parametrize(
    ("window", "hop", "frames", "hop_samples"),
    [(1.0, 0.5, 62, 31 * 256), (3.0, 1.5, 187, 93 * 256), (0.016, 0.016, 1, 256), (1.0, 2.0, 62, 125 * 256)],
)
def test_seconds_become_frames_as_essentia_counts(window: float, hop: float, frames: int, hop_samples: int) -> None:
    frontend = create("frontend", "musicnn-mel", {"window": window, "hop": hop})
    assert frontend.window_length == (frames - 1) * 256 + 512
    assert frontend.window_hop == hop_samples
    assert frontend.produces.shape == (frames, 96)


def test_the_filters_of_musicnn_are_the_projects_but_for_rounding() -> None:
    exact = mel_filter_bank(sample_rate=16000, n_fft=512, n_mels=96)
    difference = np.abs(mel_bank() - exact).max()
    assert 0 < difference < 1e-4 * exact.max()


@pytest.fixture(scope="module")
def aisfx(shared: Path) -> dict[str, Any]:
    with np.load(shared / "reference" / "aisfx_golden.npz") as arrays:
        return {**arrays}


@pytest.mark.parity
def test_aisfx_blocks_are_those_of_the_package(aisfx: dict[str, Any]) -> None:
    frontend = create("frontend", "aisfx-mel", {"normalise": "recording"})
    assert (frontend.window_length, frontend.pad_start) == (None, 0)
    windows = run(frontend, aisfx["audio"])
    np.testing.assert_allclose(windows.values, aisfx["blocks"], atol=1e-6)
    np.testing.assert_allclose(windows.start, (np.arange(3) * 51200 - 1024) / 44100)


@pytest.mark.parity
@pytest.mark.parametrize("normalise", ["window", "none"])
def test_aisfx_in_blocks_differs_by_the_peak_alone(aisfx: dict[str, Any], normalise: str, tmp_path: Path) -> None:
    loud = aisfx["audio"] / np.abs(aisfx["audio"]).max()
    soundfile.write(tmp_path / "fan.wav", loud, 44100, "FLOAT")
    chain = {"frontend": {"name": "aisfx-mel", "normalise": normalise}, "extractor": "identity", "tail": "drop"}
    features = Pipeline(Config.from_mapping(chain)).embed(Clip(tmp_path / "fan.wav"))
    blocks = features.values.reshape(-1, 100, 96)
    np.testing.assert_allclose(features.start, (np.arange(3) * 51200 - 1024) / 44100)
    if normalise == "none":
        np.testing.assert_allclose(blocks, aisfx["blocks"], atol=1e-6)
        return
    assert (blocks >= aisfx["blocks"] - 1e-6).all()  # no block's peak is above that of the recording
    assert np.abs(blocks - aisfx["blocks"]).max() < 0.2
    quiet = run(create("frontend", "aisfx-mel"), loud * np.float32(0.01)).values
    np.testing.assert_allclose(quiet, run(create("frontend", "aisfx-mel"), loud).values, atol=1e-5)


def test_an_unknown_peak_is_refused() -> None:
    text = "^frontend 'aisfx-mel': parameter 'normalise' takes window or recording or none, got 'peak'$"
    with pytest.raises(ConfigError, match=text):
        create("frontend", "aisfx-mel", {"normalise": "peak"})


def test_a_recording_shorter_than_a_block_is_repeated() -> None:
    frontend = create("frontend", "aisfx-mel", {"normalise": "recording"})
    assert run(frontend, noise(0.5, 44100)).values.shape == (1, 100, 96)


@pytest.mark.parametrize(
    "former",
    [
        "asd-audioset:efficientat-mel",
        "asd-audioset:yamnet-mel",
        "asd-audioset:vggish-mel",
        "asd-essentia:musicnn-mel",
    ],
)
def test_former_distributions_lead_here(former: str) -> None:
    name = former.partition(":")[2]
    with pytest.warns(RenamedWarning, match=f"^frontend '{former}' is now called 'asd-frontends:{name}'$"):
        assert registry().find("frontend", former) == registry().find("frontend", name)
