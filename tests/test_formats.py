"""The same sound in another file format is the same sound: the same samples, the same score, the same p-value."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import asd
from asd.records import Clip
from asd.sound.reading import ClipReader, read

RATE = 16000
PCM = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
LOSSLESS = {  # suffix: (format, subtypes)
    "wav": ("WAV", PCM),
    "wave": ("WAVEX", PCM),
    "rf64": ("RF64", PCM),
    "w64": ("W64", PCM),
    "aiff": ("AIFF", PCM),
    "au": ("AU", PCM),
    "caf": ("CAF", (*PCM, "ALAC_16", "ALAC_20", "ALAC_24", "ALAC_32")),
    "flac": ("FLAC", ("PCM_16", "PCM_24")),
}
CASES = [(suffix, format_, subtype) for suffix, (format_, subtypes) in LOSSLESS.items() for subtype in subtypes]
FUZZ = Path(__file__).resolve().parent / "fuzz" / "recordings.py"


def hum(seed: int, whine: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time = np.arange(2 * RATE) / RATE
    signal = sum(0.05 / k * np.sin(2 * np.pi * 50 * k * time + rng.uniform(0, 6)) for k in range(1, 6))
    return np.asarray(signal + rng.normal(0, 0.01, len(time)) + whine * np.sin(2 * np.pi * 3000 * time))


INTEGERS = np.rint(32768 * hum(100, 0.001)).astype(np.int32)  # 16 bits: what each of the formats can hold
FLOATS = (INTEGERS / 32768).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> asd.Model:
    folder = tmp_path_factory.mktemp("healthy")
    for i in range(20):
        soundfile.write(folder / f"{i:02d}.wav", hum(i), RATE, subtype="FLOAT")
    return asd.fit(folder, frontend="mel-stack", extractor="identity", detector="knn")


@pytest.fixture(scope="module")
def expected(model: asd.Model, tmp_path_factory: pytest.TempPathFactory) -> asd.Verdict:
    return scored(model, written(tmp_path_factory.mktemp("reference") / "a.wav", "WAV", "DOUBLE"))


def written(path: Path, format_: str, subtype: str, **options: str) -> Path:
    samples = FLOATS if subtype in ("FLOAT", "DOUBLE") else INTEGERS << 16
    soundfile.write(path, samples, RATE, format=format_, subtype=subtype, **options)
    return path


def scored(model: asd.Model, path: Path) -> asd.Verdict:
    (verdict,) = model.score([Clip(path)])
    assert isinstance(verdict, asd.Verdict)
    return verdict


def check_same(model: asd.Model, path: Path, expected: asd.Verdict) -> None:
    np.testing.assert_array_equal(read(Clip(path)).samples[0], FLOATS)
    verdict = scored(model, path)
    assert (verdict.score, verdict.p_value, verdict.notes) == (expected.score, expected.p_value, expected.notes)


@pytest.mark.parametrize(("suffix", "format_", "subtype"), CASES)
def test_lossless_formats(
    model: asd.Model, expected: asd.Verdict, tmp_path: Path, suffix: str, format_: str, subtype: str
) -> None:
    check_same(model, written(tmp_path / f"a.{suffix}", format_, subtype), expected)


@pytest.mark.parametrize(("suffix", "format_"), [("wav", "WAV"), ("au", "AU"), ("aiff", "AIFF"), ("caf", "CAF")])
def test_the_other_byte_order(
    model: asd.Model, expected: asd.Verdict, tmp_path: Path, suffix: str, format_: str
) -> None:
    endian = "BIG" if format_ in ("WAV", "CAF") else "LITTLE"
    check_same(model, written(tmp_path / f"a.{suffix}", format_, "PCM_24", endian=endian), expected)


def test_headers_that_were_corrected(model: asd.Model, expected: asd.Verdict, tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", "WAV", "PCM_24")
    data = path.read_bytes()
    at = data.index(b"data") + 4
    for size in (0, 1000, 0xFFFFFFFF):
        path.write_bytes(data[:at] + struct.pack("<I", size) + data[at + 4 :])
        np.testing.assert_array_equal(read(Clip(path)).samples[0], FLOATS)
        assert scored(model, path).score == expected.score


def test_floats_of_the_scale_of_integers(model: asd.Model, expected: asd.Verdict, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 32768 * FLOATS, RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read(Clip(tmp_path / "a.wav")).samples[0], FLOATS)
    assert scored(model, tmp_path / "a.wav").score == expected.score


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_more_than_16_bits_move_the_score_behind_its_fourth_digit(
    model: asd.Model, tmp_path: Path, subtype: str
) -> None:
    scores = []
    for chosen in ("DOUBLE", subtype):
        soundfile.write(tmp_path / f"{chosen}.wav", hum(100, 0.001), RATE, subtype=chosen)
        scores.append(scored(model, tmp_path / f"{chosen}.wav").score)
    assert f"{scores[0]:.4g}" == f"{scores[1]:.4g}"


@pytest.mark.parametrize(
    ("name", "format_", "codec", "sample_format"),
    [
        ("a.m4a", "ipod", "alac", "s16p"),
        ("a.oga", "ogg", "flac", "s16"),
        ("a.mka", "matroska", "pcm_s24le", "s32"),
        ("a.mov", "mov", "pcm_f64be", "dbl"),
        ("a.wv", "wv", "wavpack", "s16p"),
    ],
)
def test_lossless_formats_that_pyav_reads(
    model: asd.Model, expected: asd.Verdict, tmp_path: Path, name: str, format_: str, codec: str, sample_format: str
) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    with av.open(str(tmp_path / name), "w", format=format_) as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        stream.format = sample_format
        frame = av.AudioFrame.from_ndarray(INTEGERS[np.newaxis] << 16, format="s32", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        resampler = av.AudioResampler(sample_format, "mono", RATE, stream.codec_context.frame_size or None)
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            container.mux(stream.encode(part))
    check_same(model, tmp_path / name, expected)


def test_lossy_formats_are_close(model: asd.Model, expected: asd.Verdict, tmp_path: Path) -> None:
    """How close is measured with real recordings in docs/results.md; here, that nothing is shifted or scaled."""
    for suffix, format_, subtype in (
        ("mp3", "MP3", "MPEG_LAYER_III"),
        ("ogg", "OGG", "VORBIS"),
        ("opus", "OGG", "OPUS"),
        ("wav", "WAV", "ULAW"),
        ("wav", "WAV", "IMA_ADPCM"),
        ("wav", "WAV", "GSM610"),
    ):
        reader = ClipReader(Clip(written(tmp_path / f"a.{suffix}", format_, subtype)), sample_rate=RATE)
        samples = np.concatenate(list(reader))[: 2 * RATE]
        power = float(np.mean(samples[1000:] ** 2)) / float(np.mean(hum(100, 0.001)[1000:] ** 2))
        assert power == pytest.approx(1, abs=0.25), subtype
        assert reader.notes == []


def test_mutated_recordings_give_samples_or_one_line() -> None:
    """A short run; CI's long one is ``python tests/fuzz/recordings.py --count 10000``."""
    done = subprocess.run(
        [sys.executable, FUZZ, "--count", "310", "--seed", "7"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 faults" in done.stdout.splitlines()[-1]
