"""How far do lossy file formats move scores? Measured on a machine's own healthy recordings.

A model is fitted on three quarters of MACHINE/normal, losslessly. The other quarter, and MACHINE/abnormal or anomalous
if there is one, are scored losslessly and in each format. The shift of a score is counted in standard deviations of the
healthy scores; alarms are at a p-value of 0.1.

    python tests/benchmarks/formats.py MACHINE [--frontend … --extractor … --detector …]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import av
import numpy as np
import soundfile

import asd
from asd.experiment import auc
from asd.records import Audio, Clip
from asd.sound.reading import read

LEVEL = 0.1
FORMATS = {  # name: (suffix, FFmpeg's format, codec, bits per second) or (suffix, libsndfile's subtype)
    "FLAC, 16 bits": ("flac", "PCM_16"),
    "WAV, 8 bits": ("wav", "PCM_U8"),
    "WAV, µ-law": ("wav", "ULAW"),
    "WAV, IMA ADPCM": ("wav", "IMA_ADPCM"),
    "WAV, MS ADPCM": ("wav", "MS_ADPCM"),
    "WAV, GSM 6.10": ("wav", "GSM610"),
    "MP3, 128 kbit/s": ("mp3", "mp3", "libmp3lame", 128_000),
    "MP3, 64 kbit/s": ("mp3", "mp3", "libmp3lame", 64_000),
    "MP3, 32 kbit/s": ("mp3", "mp3", "libmp3lame", 32_000),
    "Ogg Vorbis, medium quality": ("ogg", "VORBIS"),
    "Opus, 64 kbit/s": ("opus", "ogg", "libopus", 64_000),
    "Opus, 24 kbit/s": ("opus", "ogg", "libopus", 24_000),
    "AAC, 128 kbit/s": ("m4a", "ipod", "aac", 128_000),
    "AAC, 64 kbit/s": ("m4a", "ipod", "aac", 64_000),
}


def write(audio: Audio, path: Path, how: tuple[str, ...] | tuple[str, str, str, int]) -> None:
    """Write a recording in a format."""
    if len(how) == 2:
        with soundfile.SoundFile(path, "w", audio.sample_rate, 1, subtype=how[1]) as file:
            for start in range(0, audio.samples.shape[1], audio.sample_rate):  # it cannot write much Vorbis at once
                file.write(audio.samples[0, start : start + audio.sample_rate])
        return
    _, format_, codec, bit_rate = how
    with av.open(str(path), "w", format=format_) as container:
        stream = container.add_stream(codec, rate=audio.sample_rate, layout="mono")
        stream.bit_rate = int(bit_rate)
        frame = av.AudioFrame.from_ndarray(audio.samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = audio.sample_rate, 0
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, "mono", audio.sample_rate, context.frame_size or None)
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            container.mux(stream.encode(part))


def verdicts(model: asd.Model, clips: list[Audio], how: tuple[str, ...]) -> list[asd.Verdict]:
    """Return what a model says of recordings in a format."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{i}.{how[0]}") for i in range(len(clips))]
        for audio, path in zip(clips, paths, strict=True):
            write(audio, path, how)
        found = list(model.score([Clip(path) for path in paths]))
    wrong = [verdict for verdict in found if not isinstance(verdict, asd.Verdict)]
    assert not wrong, wrong
    return [verdict for verdict in found if isinstance(verdict, asd.Verdict)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("machine", type=Path)
    for kind in ("frontend", "extractor", "detector"):
        parser.add_argument(f"--{kind}")
    arguments = parser.parse_args()
    chosen = {kind: value for kind, value in vars(arguments).items() if kind != "machine" and value}
    normal = sorted((arguments.machine / "normal").iterdir())
    held_out = normal[::4]
    model = asd.fit([path for path in normal if path not in held_out], **chosen)
    healthy = [read(Clip(path)) for path in held_out]
    faulty = [read(Clip(path)) for path in sorted(arguments.machine.glob("a*no*mal*/*"))]
    reference: np.ndarray | None = None
    print(f"{len(normal) - len(held_out)} clips learned, {len(healthy)} healthy and {len(faulty)} faulty ones scored\n")
    print("| format | median shift | largest shift | false alarms | AUC |\n|---|---|---|---|---|")
    for name, how in FORMATS.items():
        found = verdicts(model, healthy, how)
        scores = np.array([verdict.score for verdict in found])
        reference = scores if reference is None else reference
        shift = (scores - reference) / reference.std()
        alarms = sum(verdict.p_value <= LEVEL for verdict in found)
        area = "–"
        if faulty:
            others = [verdict.score for verdict in verdicts(model, faulty, how)]
            area = f"{auc(scores, others):.3f}"
        largest = shift[np.abs(shift).argmax()]
        print(f"| {name} | {np.median(shift):+.2f} | {largest:+.2f} | {alarms} of {len(found)} | {area} |", flush=True)


if __name__ == "__main__":
    main()
