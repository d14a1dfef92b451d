"""Mutate recordings by their structure; reading them gives finite samples or one line, never anything else.

    python tests/fuzz/recordings.py --count 10000 [--seed 0]

Each mutation is numbered, and its number and the seed make it again: ``--only 1234`` reads that one, in this process.
Reading happens in a child process with limited memory and time, so that a crash, a hang and a flood are seen and named.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from asd.errors import AsdError
from asd.records import Clip
from asd.sound import frames
from asd.sound.finding import find_clips
from asd.sound.reading import ClipReader

SECONDS_ALLOWED = 30
MEMORY_ALLOWED = 1 << 30
RATE = 8000
frames._ENTRY_BYTES = 1000  # short streams of Vorbis have entries then
FORMATS = (  # (suffix, format, subtype)
    *(("wav", "WAV", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW")),
    *(("wav", "WAV", subtype) for subtype in ("IMA_ADPCM", "MS_ADPCM", "GSM610")),
    *(("aiff", "AIFF", subtype) for subtype in ("PCM_16", "FLOAT", "IMA_ADPCM")),
    *(("caf", "CAF", subtype) for subtype in ("PCM_16", "ALAC_16")),
    ("wav", "WAVEX", "PCM_24"),
    ("rf64", "RF64", "PCM_16"),
    ("w64", "W64", "PCM_16"),
    ("au", "AU", "PCM_16"),
    ("flac", "FLAC", "PCM_16"),
    ("ogg", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
)
IDS = (b"RIFF", b"RF64", b"BW64", b"WAVE", b"fmt ", b"data", b"fact", b"LIST", b"FORM", b"AIFF", b"COMM", b"SSND")
IDS += (b"caff", b"desc", b"pakt", b"kuki", b"OggS", b"fLaC", b"Xing", b"ds64", b".snd", b"ID3\x03")


def corpus() -> dict[str, bytes]:
    """Return a short recording of each format, two channels where the format has them."""
    rng = np.random.default_rng(0)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    samples = np.stack([tone, 0.5 * tone], axis=1) + rng.normal(0, 0.02, (RATE, 2))
    found = {}
    for suffix, format_, subtype in FORMATS:
        file = io.BytesIO()
        mono = subtype == "GSM610"
        soundfile.write(file, samples[:, 0] if mono else samples, RATE, format=format_, subtype=subtype)
        found[f"{format_}-{subtype}.{suffix}"] = file.getvalue()
    return found | _by_hand(found)


def _by_hand(found: dict[str, bytes]) -> dict[str, bytes]:
    flac, mp3 = found["FLAC-PCM_16.flac"], found["MP3-MPEG_LAYER_III.mp3"]
    second = mp3.index(mp3[:2], 4)
    return {
        "FLAC-unknown-length.flac": flac[:21] + bytes([flac[21] & 0xF0, 0, 0, 0, 0]) + flac[26:],
        "MP3-without-Xing.mp3": mp3[second:],
        "MP3-concatenated.mp3": mp3 + mp3,
        "Vorbis-concatenated.ogg": found["OGG-VORBIS.ogg"] * 2,
        "BW64.wav": b"BW64" + found["RF64-PCM_16.rf64"][4:],
        **_by_pyav(),
    }


def _by_pyav() -> dict[str, bytes]:
    try:
        import av
    except ImportError:
        return {}
    samples = np.random.default_rng(0).normal(0, 0.1, (1, 48000)).astype(np.float32)
    found = {}
    for name, format_, codec in (
        ("AAC.m4a", "mp4", "aac"),
        ("Opus.webm", "webm", "libopus"),
        ("FLAC.oga", "ogg", "flac"),
    ):
        file = io.BytesIO()
        with av.open(file, "w", format=format_) as container:
            stream = container.add_stream(codec, rate=48000, layout="mono")
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, 0
            context = stream.codec_context
            resampler = av.AudioResampler(context.format, "mono", 48000, context.frame_size or None)
            for part in (*resampler.resample(frame), *resampler.resample(None), None):
                container.mux(stream.encode(part))
        found[name] = file.getvalue()
    return found


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with one to four changes of the kinds that damage, other programs and attackers make."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        if data:
            data = rng.choice(MUTATIONS)(bytearray(data), rng)
    return _with_checksums(data) if data.startswith(b"OggS") and rng.random() < 0.7 else data


def _with_checksums(data: bytes) -> bytes:
    """Return an Ogg file whose pages have right checksums again: decoders look no further where they are wrong."""
    pages = data.split(b"OggS")[1:]
    mended = []
    for page in pages:
        page = b"OggS" + page[:18] + bytes(4) + page[22:]
        mended.append(page[:22] + struct.pack("<I", _ogg_checksum(page)) + page[26:])
    return b"".join(mended)


def _ogg_checksum(page: bytes) -> int:
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ _OGG_TABLE[value >> 24 ^ byte]
    return value


def _ogg_table() -> list[int]:
    table = []
    for value in range(0, 1 << 32, 1 << 24):
        for _ in range(8):
            value = (value << 1 & 0xFFFFFFFF) ^ (0x04C11DB7 if value >> 31 else 0)
        table.append(value)
    return table


_OGG_TABLE = _ogg_table()


def _flip_bit(data: bytearray, rng: random.Random) -> bytes:
    data[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(data)


def _set_number(data: bytearray, rng: random.Random) -> bytes:
    """Write a number that is special for sizes over a field of 2, 4 or 8 bytes."""
    size = rng.choice((2, 4, 4, 8))
    numbers = (0, 1, 7, len(data), len(data) - 8, len(data) + 1, 1 << 15, 1 << 31, (1 << 31) - 1, (1 << 63) - 1, -1, -2)
    number = rng.choice((*numbers, rng.getrandbits(64))) % (1 << 8 * size)
    at = _place(data, rng)
    data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
    return bytes(data)


def _set_size(data: bytearray, rng: random.Random) -> bytes:
    """Change the size, or another number, that follows a chunk's id."""
    places = [at for name in IDS if (at := data.find(name)) >= 0]
    if not places:
        return _set_number(data, rng)
    at = rng.choice(places) + 4 * rng.randrange(1, 5)
    data[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 2**31, 2**32 - 1, len(data), rng.getrandbits(32))))
    return bytes(data)


def _set_id(data: bytearray, rng: random.Random) -> bytes:
    places = [at for name in IDS if (at := data.find(name)) >= 0]
    at = rng.choice(places) if places else 0
    data[at : at + 4] = rng.choice(IDS)
    return bytes(data)


def _set_float(data: bytearray, rng: random.Random) -> bytes:
    value = rng.choice((float("nan"), float("inf"), 1.5e36, -1e7, 32767.0, 1e-40))
    at = rng.randrange(len(data)) & ~3
    data[at : at + 4] = struct.pack("<f", value)
    return bytes(data)


def _set_position(data: bytearray, rng: random.Random) -> bytes:
    """Change the position of the last page of Ogg, from which the length is taken."""
    if (at := data.rfind(b"OggS")) < 0:
        return _set_number(data, rng)
    data[at + 6 : at + 14] = struct.pack("<q", rng.choice((-5, 0, 80000, 1 << 40, 1 << 62, rng.getrandbits(63))))
    return bytes(data)


def _cut(data: bytearray, rng: random.Random) -> bytes:
    return bytes(data[: rng.randrange(len(data))])


def _append(data: bytearray, rng: random.Random) -> bytes:
    return bytes(data) + rng.choice(
        (bytes(data), bytes(5000), rng.randbytes(3000), rng.choice(IDS) + rng.randbytes(20))
    )


def _insert(data: bytearray, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return bytes(data[:at]) + rng.choice((bytes(100), rng.randbytes(40), rng.choice(IDS))) + bytes(data[at:])


def _remove(data: bytearray, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return bytes(data[:at] + data[at + rng.choice((1, 4, 16, 1000)) :])


def _overwrite(data: bytearray, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    block = rng.choice((bytes(200), b"\xff" * 200, rng.randbytes(200)))
    return bytes(data[:at] + block + data[at + len(block) :])


def _place(data: bytearray, rng: random.Random) -> int:
    """Return a position, most often one in the header."""
    return rng.randrange(min(len(data), rng.choice((64, 100, 200, len(data), len(data)))))


MUTATIONS: tuple[Callable[[bytearray, random.Random], bytes], ...] = (
    *(_flip_bit, _flip_bit, _set_number, _set_number, _set_size, _set_size, _set_id, _set_float),
    *(_set_position, _cut, _append, _insert, _remove, _overwrite),
)


def made(files: dict[str, bytes], seed: int, number: int) -> tuple[str, bytes]:
    """Return the name of the format and the content of a mutation."""
    rng = random.Random(f"{seed}/{number}")
    name = sorted(files)[number % len(files)]
    return name, mutate(files[name], rng)


def read_one(path: Path) -> str:
    """Read a recording whole and in segments; return ``"samples"`` or ``"error"``, raise what is a fault of ours."""
    outcome = "samples"
    try:
        for rate in (None, 16000):
            for block in ClipReader(Clip(path), sample_rate=rate):
                assert block.dtype == np.float32
                assert np.isfinite(block).all(), "samples are not finite"
    except AsdError as error:
        outcome = "error"
        if "\n" in str(error) or str(path) not in str(error):
            raise AssertionError(f"an error of several lines, or without the file: {error!r}") from error
    clips = find_clips([path], segment=0.25)
    assert len(clips) < 100_000, "cut into too many clips"
    for clip in clips[:1] + clips[-1:]:
        try:
            list(ClipReader(clip))
        except AsdError:
            outcome = "error"
    return outcome


def read_in_child(
    files: dict[str, bytes], seed: int, numbers: range, folder: Path
) -> tuple[dict[int, str], int | None]:
    """Return the outcomes by number, and the number at which the child died, if it did."""
    receiver, sender = os.pipe()
    child = os.fork()
    if not child:
        os.close(receiver)
        _be_child(files, seed, numbers, folder, sender)
    os.close(sender)
    outcomes: dict[int, str] = {}
    current = None
    with open(receiver, encoding="utf-8") as lines:  # noqa: PTH123  # a descriptor
        for line in lines:
            number, _, outcome = line.rstrip("\n").partition("\t")
            current = int(number)
            if outcome:
                outcomes[current] = outcome
    _, status = os.waitpid(child, 0)
    if status:
        assert current is not None
        reason = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status >> 8}"
        outcomes[current] = f"FAULT {'hangs' if reason == 'SIGALRM' else f'ends the process: {reason}'}"
        return outcomes, current
    return outcomes, None


def _be_child(files: dict[str, bytes], seed: int, numbers: range, folder: Path, sender: int) -> None:
    # Decoders in C write their remarks to stderr.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY_ALLOWED, resource.RLIM_INFINITY))
    code = 1
    with os.fdopen(sender, "w", encoding="utf-8", buffering=1) as report:
        for number in numbers:
            name, data = made(files, seed, number)
            path = folder / f"{number}-{name}"
            path.write_bytes(data)
            report.write(f"{number}\t\n")
            signal.alarm(SECONDS_ALLOWED)
            try:
                outcome = read_one(path)
            except BaseException as error:
                outcome = f"FAULT {type(error).__name__}: {' '.join(str(error).split())}"
            signal.alarm(0)
            report.write(f"{number}\t{outcome}\n")
            path.unlink()
        code = 0
    os._exit(code)


def run(count: int, seed: int) -> int:
    """Read `count` mutations; print what came out; return how many were at fault."""
    files = corpus()
    outcomes: dict[int, str] = {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        start = 0
        while start < count:
            found, died_at = read_in_child(files, seed, range(start, count), Path(folder))
            outcomes |= found
            start = count if died_at is None else died_at + 1
    names = sorted(files)
    for name in names:
        of_format = Counter(outcomes[i].split()[0] for i in range(count) if names[i % len(names)] == name)
        print(f"{name:28} {of_format['samples']:6} samples {of_format['error']:6} errors {of_format['FAULT']:4} faults")
    faults = {number: outcome for number, outcome in outcomes.items() if outcome.startswith("FAULT")}
    for number, outcome in faults.items():
        print(f"{number} ({names[number % len(names)]}): {outcome}")
    seconds = time.monotonic() - began
    print(f"{count} mutations of {len(names)} formats, seed {seed}: {len(faults)} faults, {seconds:.0f} s")
    return len(faults)


def main() -> None:
    """Run from the command line; the exit code is 1 if there was a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="how many mutations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="read this one mutation, in this process")
    options = parser.parse_args()
    if options.only is None:
        sys.exit(bool(run(options.count, options.seed)))
    with tempfile.TemporaryDirectory() as folder:
        name, data = made(corpus(), options.seed, options.only)
        path = Path(folder, name)
        path.write_bytes(data)
        print(name, len(data), read_one(path))


if __name__ == "__main__":
    main()
