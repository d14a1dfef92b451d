"""Spectrograms and sounds: frequencies and levels where they belong, sizes, odd clips."""

from __future__ import annotations

import io
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from matplotlib.figure import Figure
from PIL import Image

from asd_pages import pictures
from asd_pages.pictures import Box, analyse
from asd_pages.sound import encode

RATE = 16000


def tone(frequency: float, seconds: float = 2.0, rate: int = RATE, level: float = 1.0) -> npt.NDArray[np.float32]:
    return (level * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("scale", get_args(pictures.Scale))
@pytest.mark.parametrize("frequency", [100, 1000, 5000])
def test_a_tone_lies_in_the_row_of_its_frequency(scale: pictures.Scale, frequency: int) -> None:
    found = analyse(tone(frequency), RATE, rows=96, scale=scale)
    loudest = int(found.levels.mean(axis=1).argmax())
    assert abs(float(found.row(frequency)) - loudest - 0.5) <= 3
    assert (found.levels.shape[0], len(found.edges)) == (96, 97)
    assert found.edges[-1] == pytest.approx(RATE / 2)


def test_levels_are_those_of_full_scale() -> None:
    loud = analyse(tone(1000), RATE, scale="linear", rows=513).levels.max()
    quiet = analyse(tone(1000, level=0.01), RATE, scale="linear", rows=513).levels.max()
    assert loud == pytest.approx(0, abs=1.5)  # its power spreads over neighbouring rows
    assert loud - quiet == pytest.approx(40, abs=0.1)


def test_long_clips_get_no_more_columns_and_lose_no_time() -> None:
    sound = np.concatenate([tone(500, 30), tone(3000, 30)])
    found = analyse(sound, RATE, columns=100)
    assert found.levels.shape[1] == 100
    assert found.seconds == 60
    upper = found.row(3000)
    assert (found.levels[int(upper)].argmax()) >= 50


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(RATE, np.float32),
        np.ones(3, np.float32),
        np.full(RATE, np.nan, np.float32),
        np.stack([tone(400), tone(800)]),
        tone(20, rate=200),
    ],
    ids=["silence", "three samples", "nan", "stereo", "200 Hz"],
)
@pytest.mark.parametrize("scale", get_args(pictures.Scale))
def test_any_clip_becomes_a_picture(samples: npt.NDArray[np.float32], scale: pictures.Scale) -> None:
    rate = 200 if samples.shape[-1] == 400 else RATE
    for data in (pictures.spectrogram(samples, rate, scale=scale), pictures.thumbnail(samples, rate, scale=scale)):
        with Image.open(io.BytesIO(data)) as image:
            assert image.width > 100


@pytest.mark.parametrize("make", [analyse, pictures.spectrogram, pictures.thumbnail, encode])
def test_no_samples_are_refused(make: Any) -> None:
    with pytest.raises(ValueError, match="needs samples, got none"):
        make(np.zeros(0, np.float32), RATE)


@pytest.mark.parametrize("file_format", get_args(pictures.Format))
def test_a_box_is_outlined_where_it_is(file_format: pictures.Format) -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, 4 * RATE).astype(np.float32)
    box = Box(1.0, 3.0, 1000, 4000)
    plain, outlined = (
        np.asarray(Image.open(io.BytesIO(pictures.thumbnail(noise, RATE, boxes=boxes, file_format=file_format))), int)
        for boxes in ([], [box])
    )
    changed = np.argwhere(np.abs(outlined - plain).sum(axis=-1) > 150)
    (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
    assert (left, right) == (pytest.approx(40, abs=3), pytest.approx(120, abs=3))
    found = analyse(noise, RATE, rows=56)
    assert (top, bottom) == (
        pytest.approx(56 - found.row(4000), abs=3),
        pytest.approx(56 - found.row(1000), abs=3),
    )


def test_axes_show_hertz_and_seconds() -> None:
    figure = Figure()
    axes = figure.subplots()
    pictures.draw(axes, analyse(tone(1000), RATE), boxes=[Box(label="louder")])
    figure.canvas.draw()
    assert [text.get_text() for text in axes.get_yticklabels()] == ["50", "100", "200", "500", "1k", "2k", "5k"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("seconds", "Hz")
    assert " louder" in [text.get_text() for text in axes.texts]


def test_pictures_stay_small() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 10 * RATE).astype(np.float32)
    assert len(pictures.thumbnail(noise, RATE)) < 8_000
    assert len(pictures.spectrogram(noise, RATE)) < 120_000


@pytest.mark.parametrize("rate", [16000, 44100, 96000])
@pytest.mark.parametrize("file_format", ["mp3", "flac"])
def test_a_sound_is_kept_as_it_is(rate: int, file_format: Any) -> None:
    original = tone(1000, rate=rate, level=0.5)
    found = encode(original, rate, file_format=file_format, limit=10**6)
    samples, kept_rate = soundfile.read(io.BytesIO(found.data))
    assert (kept_rate, found.whole, found.seconds) == (rate, True, 2.0)
    assert found.media_type == ("audio/mpeg" if file_format == "mp3" and rate != 96000 else "audio/flac")
    spectrum = np.abs(np.fft.rfft(samples[: 2 * rate]))
    assert spectrum.argmax() * rate / len(samples[: 2 * rate]) == pytest.approx(1000, abs=2)
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("file_format", ["mp3", "flac"])
def test_a_long_sound_loses_its_end(file_format: Any) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 20 * RATE)
    by_seconds = encode(noise, RATE, file_format=file_format, seconds=3, limit=10**7)
    assert (by_seconds.seconds, by_seconds.whole) == (3.0, False)
    by_size = encode(noise, RATE, file_format=file_format, seconds=60, limit=40_000)
    assert len(by_size.data) <= 40_000
    assert 0.5 < by_size.seconds < 20
    assert not by_size.whole
