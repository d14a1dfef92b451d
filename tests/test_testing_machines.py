"""Generated machine sound holds what its ground truth says."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd.errors import ConfigError
from asd.records import Float32
from asd.sound.machines import ANOMALY_KINDS, AnomalyKind, Machine, write_recordings

RATE = 16000


def spectrum(samples: Float32) -> np.ndarray:
    """Return the power of each bin of 1 Hz, averaged over the seconds of a recording."""
    seconds = samples.reshape(-1, RATE) * np.hanning(RATE)
    return (np.abs(np.fft.rfft(seconds)) ** 2).mean(axis=0)


@pytest.mark.parametrize("anomaly", [None, *ANOMALY_KINDS])
def test_the_same_arguments_give_the_same_sound(anomaly: AnomalyKind | None) -> None:
    one, again = (Machine(seed=3).record(2.0, seed=5, anomaly=anomaly) for _ in range(2))
    np.testing.assert_array_equal(one.audio.samples, again.audio.samples)
    assert one.anomalies == again.anomalies
    assert one.audio.samples.shape == (1, 2 * RATE)
    assert one.audio.samples.dtype == np.float32
    assert 0.01 < np.abs(one.audio.samples).max() <= 0.7
    other = Machine(seed=3).record(2.0, seed=6, anomaly=anomaly)
    assert not np.array_equal(one.audio.samples, other.audio.samples)


@pytest.mark.parametrize("anomaly", ANOMALY_KINDS)
def test_the_anomaly_sounds_when_the_truth_says_and_only_then(anomaly: AnomalyKind) -> None:
    machine = Machine(seed=1)
    faulty = machine.record(6.0, seed=2, anomaly=anomaly, start=2.0, duration=3.0, snr=20)
    (truth,) = faulty.anomalies
    assert (truth.kind, truth.start, truth.duration) == (anomaly, 2.0, 3.0)
    quiet = machine.record(6.0, seed=2, anomaly=anomaly, start=2.0, duration=3.0, snr=20, level=-200)
    if anomaly == "drop-outs":
        quiet = machine.record(6.0, seed=2, anomaly="whine", start=2.0, duration=3.0, snr=20, level=-200)
    scale = np.linalg.norm(faulty.audio.samples[0, :RATE]) / np.linalg.norm(quiet.audio.samples[0, :RATE])
    change = np.abs(faulty.audio.samples[0] - scale * quiet.audio.samples[0]).reshape(6, RATE).max(axis=1)
    assert (change[[0, 1, 5]] < 1e-4).all()
    assert (change[2:5] > 0.01).all()


def test_a_whine_is_where_the_truth_says() -> None:
    sound = Machine().record(4.0, anomaly="whine", frequency=4321.0, level=10)
    assert abs(int(np.argmax(spectrum(sound.audio.samples[0])[2000:])) + 2000 - 4321) <= 6


def test_knocks_come_as_often_as_the_truth_says() -> None:
    sound = Machine().record(8.0, anomaly="bearing-knocks", frequency=10.0, level=10, snr=40)
    high = np.fft.rfft(sound.audio.samples[0])
    high[: 8 * 2000] = 0  # below 2 kHz
    envelope = np.abs(np.fft.irfft(high)).reshape(-1, 160).max(axis=1)  # 100 values a second
    frequency = np.argmax(np.abs(np.fft.rfft(envelope - envelope.mean()))[8 * 5 : 8 * 15]) / 8 + 5
    assert frequency == pytest.approx(10.0, abs=0.25)


@pytest.mark.parametrize("snr", [-6.0, 0.0, 10.0])
def test_the_noise_is_as_strong_as_asked_for(snr: float) -> None:
    clean = Machine(seed=4).record(10.0, seed=1, snr=200).audio.samples[0].astype(np.float64)
    noisy = Machine(seed=4).record(10.0, seed=1, snr=snr).audio.samples[0].astype(np.float64)
    machine = clean * (noisy @ clean) / (clean @ clean)
    noise = noisy - machine
    assert 10 * np.log10((machine @ machine) / (noise @ noise)) == pytest.approx(snr, abs=0.5)


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_any_sample_rate_will_do(rate: int) -> None:
    for anomaly in ANOMALY_KINDS:
        sound = Machine(sample_rate=rate).record(1.5, anomaly=anomaly)
        assert sound.audio.samples.shape == (1, round(1.5 * rate))
        assert np.isfinite(sound.audio.samples).all()
        assert sound.anomalies[0].frequency < rate / 2


def test_what_cannot_be_recorded_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown anomaly 'rattle'; known: harmonics, bearing-knocks"):
        Machine().record(1.0, anomaly="rattle")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="from second 2 for 3 s lies outside a recording of 4 s"):
        Machine().record(4.0, anomaly="whine", start=2.0, duration=3.0)


def test_recordings_are_written_with_their_truth(tmp_path: Path) -> None:
    write_recordings(tmp_path, healthy=3, faulty=7, seconds=0.5)
    assert len(list(tmp_path.glob("train/*.wav"))) == 3
    assert len(list(tmp_path.glob("test/normal/*.wav"))) == 7
    with (tmp_path / "truth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("test/anomalous/*.wav")
    }
    assert {row["kind"] for row in rows} == set(ANOMALY_KINDS)
    assert soundfile.info(tmp_path / rows[0]["path"]).duration == pytest.approx(0.5)
