"""What one clip, one stream, one day of history and one alarm cost: the measured inputs of docs/explanation/scale.md.

python tests/benchmarks/bench_scale.py [--only clips streams cache history evidence models network] [--data FOLDER]

Seconds are of the processor, on one thread (`OMP_NUM_THREADS=1`), so that other load on the computer counts little.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import asd
from asd.experiment import EmbeddingCache, share_networks
from asd_listen.listener import Listener
from asd_listen.settings import settings_from

ROOT = Path(__file__).resolve().parents[2]
FAN = ROOT.parent / "shared" / "data" / "fan_id_00"
CLIP = 10.0
PIPELINES: dict[str, dict[str, Any]] = {
    "default": {"quality": "default"},
    "fast": {"quality": "fast"},
    "cheapest": {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"},
}


def write_recordings(folder: Path, rate: int, count: int) -> Path:
    """Write clips of a generated machine, hum in noise, as 16-bit WAV."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    moment = np.arange(round(CLIP * rate)) / rate
    for i in range(count):
        hum = sum(0.1 / order * np.sin(2 * np.pi * 97 * order * moment + i) for order in (1, 2, 3, 5))
        soundfile.write(folder / f"{i:03d}.wav", hum + rng.normal(0, 0.02, len(moment)), rate)
    return folder


@contextmanager
def models(folder: Path) -> Iterator[dict[str, Path]]:
    """Yield a model file of each pipeline, of 24 clips of 48 kHz."""
    found = {}
    sounds = write_recordings(folder / "healthy", 48000, 24)
    for name, chosen in PIPELINES.items():
        found[name] = folder / f"{name}.asd"
        asd.fit(sounds, cache=False, **chosen).save(found[name])
    yield found


def memory() -> float:
    """Return the resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def clips(folder: Path, count: int = 60) -> None:
    """From files to verdicts, without the cache."""
    with models(folder) as found:
        for rate in (48000, 16000):
            sounds = write_recordings(folder / str(rate), rate, count)
            for name, file in found.items():
                with asd.Model.load(file, cache=False) as model:
                    list(model.score(sounds))  # warm
                    taken = []
                    for _ in range(3):
                        began = time.process_time()
                        list(model.score(sounds))
                        taken.append((time.process_time() - began) / count)
                print(
                    f"clip of 10 s at {rate} Hz, {name}: {1e3 * np.median(taken):.1f} ms ({rounded(taken)})", flush=True
                )


def rounded(taken: Sequence[float]) -> str:
    return ", ".join(f"{1e3 * each:.1f}" for each in taken)


def streams(folder: Path, seconds: int = 60) -> None:
    """A whole listener at speed 0: processor time and memory for each stream, a clip a second and one every ten."""
    with models(folder) as found:
        sounds = write_recordings(folder / "48000", 48000, seconds // 10)
        for name, file in found.items():
            for hop in (1.0, 10.0):
                used: dict[int, tuple[float, float]] = {}
                for machines in (4, 16):
                    used[machines] = in_child(listen, file, sounds, folder / "listen", machines, hop)
                    for each in (folder / "listen").rglob("*.sqlite*"):
                        each.unlink()
                (few, small), (many, large) = used[4], used[16]
                print(
                    f"{name}, a clip every {hop:g} s: {1e3 * many / 16 / seconds:.1f} ms for each second of a stream "
                    f"(4 streams: {1e3 * few / 4 / seconds:.1f}); {small:.0f} MB with 4, {large:.0f} MB with 16: "
                    f"{(large - small) / 12:.1f} MB each",
                    flush=True,
                )


def listen(model: Path, sounds: Path, folder: Path, machines: int, hop: float) -> tuple[float, float]:
    """Listen to all sound at once; return the processor time and the peak of memory."""
    source = {"kind": "file", "path": str(sounds), "speed": 0}
    rows = [{**source, "name": f"m{i}"} for i in range(machines)]
    settings = settings_from({"model": str(model), "folder": str(folder), "hop": hop, "source": rows})
    began = time.process_time()
    with Listener(settings, lambda path: asd.Model.load(path, cache=False), lambda text, severity: None) as listener:
        listener.run()
    return time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def in_child(function: Any, *arguments: Any) -> Any:
    """Run a function in a process of its own, whose peak of memory is its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, json.dumps(function(*arguments)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    os.waitpid(child, 0)
    return json.loads(text)


def cache(folder: Path, count: int = 60) -> None:
    """Bytes that the cache takes for a clip of 10 s, of which one learns or which one judges."""
    sounds = write_recordings(folder / "sounds", 48000, count)
    for name, chosen in PIPELINES.items():
        learned, judged = (EmbeddingCache(folder / f"{name}-{use}.sqlite") for use in ("learned", "judged"))
        model = asd.fit(sounds, cache=learned, **chosen)
        model.save(folder / f"{name}.asd")
        list(asd.Model.load(folder / f"{name}.asd", cache=judged).score(sounds))
        for kept in (learned, judged):
            kept.close()
        size = (folder / f"{name}.asd").stat().st_size / 1e3
        sizes = [each.path.stat().st_size / count / 1e3 for each in (learned, judged)]
        print(
            f"cache, {name}: {sizes[0]:.1f} kB a clip learned, {sizes[1]:.1f} kB a clip judged; model of {count} clips "
            f"{size:.0f} kB"
        )


def history(folder: Path) -> None:
    """Bytes that a listener's history grows by in a day, from two and eight hours of one machine."""
    sizes = []
    sounds = write_recordings(folder / "16000", 16000, 36)
    model = folder / "machine.asd"
    asd.fit(sounds, cache=False, **PIPELINES["cheapest"]).save(model)
    for hours in (2, 8):
        kept = folder / f"kept-{hours}"
        source = {"kind": "file", "path": str(sounds), "speed": 0, "repeat": hours * 10, "name": "m"}
        rows = {"model": str(model), "folder": str(kept), "hop": CLIP, "source": [source]}
        with Listener(settings_from(rows), lambda path: asd.Model.load(path, cache=False), lambda *_: None) as each:
            each.run()
        sizes.append((kept / "history.sqlite").stat().st_size)
        monitor = max(file.stat().st_size for file in kept.rglob("*.monitor"))
    day = (sizes[1] - sizes[0]) * 24 / 6
    print(
        f"history: {day / 1e6:.2f} MB a day of a machine, {sizes[0] / 1e6:.2f} MB after two hours; monitor {monitor} B"
    )


def evidence(folder: Path, data: Path) -> None:
    """Bytes of what ``asd listen`` keeps of an alarm and of a healthy clip: real sound of a fan, 16 kHz, as FLAC."""
    healthy, faulty = (sorted((data / kind).glob("*.flac")) for kind in ("normal", "abnormal"))
    model, sounds = folder / "fan.asd", folder / "sounds"
    asd.fit([str(path) for path in healthy], cache=False, quality="fast").save(model)
    sounds.mkdir()
    for i, path in enumerate([*healthy * 5, *faulty * 8]):
        (sounds / f"{i:04d}.flac").write_bytes(path.read_bytes())
    words = [sys.executable, "-m", "asd", "listen", str(model), "--name", "fan", "--folder", str(folder / "kept")]
    subprocess.run([*words, "--source", "file", "--source.path", str(sounds), "--source.speed", "0"], check=True)
    for path in sorted((folder / "kept").rglob("evidence/**/*.*")):
        seconds = f", {soundfile.info(path).duration:.1f} s" if path.suffix == ".flac" else ""
        print(f"evidence: {path.name}: {path.stat().st_size} bytes{seconds}")


def several(folder: Path, count: int = 40) -> None:
    """Memory of a further model whose networks are shared, and of its monitor."""
    with models(folder) as found:
        for name, file in found.items():
            grown = in_child(grown_by, file, count)
            print(f"a further model in memory, {name}: {grown:.2f} MB ({file.stat().st_size / 1e3:.0f} kB as a file)")


def grown_by(file: Path, count: int) -> float:
    held = [asd.Model.load(file, cache=False) for _ in range(4)]
    share_networks(held)
    before = memory()
    for _ in range(count):
        held.append(asd.Model.load(file, cache=False))
        share_networks(held)
    return (memory() - before) / count


def network(folder: Path, data: Path) -> None:
    """Bits a second of real sound as FLAC, Vorbis and Opus, beside those of PCM."""
    own = sorted((data / "normal").glob("*.*"))[:12]
    for kind, paths in {"fan": own, "ToyCar": sorted((data.parent / "toycar").rglob("*.*"))[:12]}.items():
        paths = [path for path in paths if path.suffix in (".flac", ".wav")]
        sounds = [soundfile.read(path, always_2d=True) for path in paths]
        seconds = sum(len(sound) / rate for sound, rate in sounds)
        line = f"{kind}, {sounds[0][1]} Hz, {len(sounds)} clips: PCM {16 * sounds[0][1] / 1e3:.0f} kbit/s"
        for container, subtype in (("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")):
            size = 0
            for sound, rate in sounds:
                file = folder / "x"
                soundfile.write(file, sound[:, :1], rate, format=container, subtype=subtype)
                size += file.stat().st_size
            line += f", {subtype if container == 'OGG' else container} {8 * size / seconds / 1e3:.0f} kbit/s"
        print(line)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts: dict[str, Any] = {
        "clips": clips, "streams": streams, "cache": cache, "history": history, "models": several,
    }  # fmt: skip
    of_data: dict[str, Any] = {"evidence": evidence, "network": network}
    parser.add_argument("--only", nargs="+", choices=[*parts, *of_data], default=[*parts, *of_data])
    parser.add_argument("--data", type=Path, default=FAN, help="folder with normal and abnormal")
    options = parser.parse_args()
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            if name in parts:
                parts[name](Path(folder))
            elif options.data.is_dir():
                of_data[name](Path(folder), options.data)


if __name__ == "__main__":
    main()
