"""How many machines one computer can listen to: processor time, delay, memory.

``python tests/benchmarks/bench_listen.py --quality fast --machines 64 --seconds 30`` plays generated sound of 48 kHz in
real time, with a clip a second of each machine. It prints the processor time that a second of all machines takes (that
of the thread that judges must stay below one second), whether sound waits at the end, and the time from the arrival
of a clip's last sound to its verdict. ``--days 3 --hop 10`` plays one machine of 8 kHz, the first minute in real time,
so that all that a listener does each second has happened, then as fast as it is judged, by its level alone or another
``--quality``: by the level two minutes of a quiet processor for each day; it prints the memory each few hours, and its
ratio to that after the first minute. Processor time depends little on what else the computer does; the delay does.
"""

from __future__ import annotations

import argparse
import datetime
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import asd
from asd_listen.listener import Listener
from asd_listen.settings import settings_from

CLIP = 10.0
FIRST = 62.0
"""Seconds that are played in real time before days are."""


def write_recordings(folder: Path, rate: int, count: int = 24) -> None:
    """Write clips of a machine: hum in noise."""
    rng = np.random.default_rng(0)
    moment = np.arange(round(CLIP * rate)) / rate
    for i in range(count):
        hum = sum(0.1 / order * np.sin(2 * np.pi * 97 * order * moment + i) for order in (1, 2, 3, 5))
        sound = hum + rng.normal(0, 0.02 * (1 + 0.02 * rng.normal()), len(moment))
        soundfile.write(folder / f"{i:02d}.wav", sound.astype(np.float32), rate)


def memory() -> float:
    """Return the resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Measured(Listener):
    """A listener that measures the processor time of the thread that judges, and keeps the delay of each clip."""

    cpu = 0.0
    keeps_delays = True
    delays: list[tuple[float, float]]

    def _took(self, now: float, arrived: float) -> None:
        super()._took(now, arrived)
        if self.keeps_delays:
            self.delays.append((now, now - arrived))

    def _pass(self) -> None:
        began = time.thread_time()
        super()._pass()
        self.cpu += time.thread_time() - began


def listener_to(model: Path, folder: Path, sources: list[dict[str, Any]], hop: float) -> Measured:
    """Return a listener to such sources."""
    settings = settings_from({"model": str(model), "folder": str(folder), "hop": hop, "source": sources})
    listener = Measured(settings, lambda path: asd.Model.load(path, cache=False), lambda text, severity: None)
    listener.delays = []
    return listener


def in_real_time(model: Path, sounds: Path, machines: int, seconds: float, hop: float) -> None:
    """Listen to many machines, and print what it takes."""
    source = {"kind": "file", "path": str(sounds), "repeat": 0}
    folder = sounds.parent / "listen"
    with listener_to(model, folder, [{**source, "name": f"m{i}"} for i in range(machines)], hop) as listener:
        thread = threading.Thread(target=listener.run)
        thread.start()
        time.sleep(CLIP + 5)
        whole, judging, clips, began = time.process_time(), listener.cpu, listener.clips, time.monotonic()
        time.sleep(seconds)
        span = time.monotonic() - began
        whole, judging = (time.process_time() - whole) / span, (listener.cpu - judging) / span
        clips = listener.clips - clips
        waiting = max(machine.feed.held for machine in listener.machines)
        first = np.array([each for moment, each in listener.delays if moment < began])
        delays = np.array([each for moment, each in listener.delays if moment >= began])
        share = machines / max(clips * hop / span, 1e-9)
        print(
            f"{machines} machines: {clips / span:.1f} clips a second; processor time for a second of all: "
            f"{whole * share:.2f} s, judging {judging * share:.2f} s; {waiting:.1f} s of sound wait; from arrival to "
            f"verdict {np.quantile(delays, 0.5):.2f} s (median), {np.quantile(delays, 0.99):.2f} s (99 %), "
            f"of the first {CLIP + 5:.0f} s at most {first.max():.2f} s; {memory():.0f} MB",
            flush=True,
        )
        listener.stop()
        thread.join()


def for_days(model: Path, sounds: Path, days: float, hop: float) -> None:
    """Listen to one machine for simulated days, and print the memory each three hours."""
    count = round(days * 86400 / (24 * CLIP))
    began = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
    source = {"kind": "file", "path": str(sounds), "repeat": count, "start": began.isoformat(), "name": "m"}
    with listener_to(model, sounds.parent / "listen", [source], hop) as listener:
        listener.keeps_delays = False
        thread = threading.Thread(target=listener.run)
        thread.start()
        time.sleep(FIRST)
        feed: Any = listener.machines[0].feed
        feed.source.speed, feed.paced = 0.0, False
        first, after, hour = 0.0, [], 0
        while thread.is_alive():
            time.sleep(0.05)
            heard = listener.clips * hop
            if not first and heard >= 60:
                first = memory()
            if heard >= 3600 * (hour + 3 * bool(after) or 1):
                hour = int(heard // 3600)
                after.append(memory())
                print(f"{heard / 3600:.1f} h: {after[-1]:.1f} MB", flush=True)
        thread.join()
        shown = ", ".join(f"{each:.1f}" for each in after[:: max(1, len(after) // 12)])
        print(
            f"{listener.clips} clips, {listener.clips * hop / 86400:.2f} days: {first:.1f} MB after a minute, then "
            f"{shown} MB; against that after a minute at most {100 * (max(after) / first - 1):+.1f} %, after the first "
            f"hour {100 * (max(after) / after[0] - 1):+.1f} %"
        )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quality",
        help="fast (for seconds), level (for days: the level alone), default, best, or bands: without a network",
    )
    parser.add_argument("--machines", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--days", type=float, default=0)
    parser.add_argument("--hop", type=float, default=1.0)
    parser.add_argument("--rate", type=int, default=48000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sounds = Path(name) / "sounds"
        sounds.mkdir()
        write_recordings(sounds, 8000 if options.days else options.rate)
        quality = options.quality or ("level" if options.days else "fast")
        without: dict[str, dict[str, Any]] = {
            "bands": {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"},
            "level": {
                "frontend": {"name": "band-waveform", "sample_rate": 8000},
                "extractor": {"name": "sound-level", "sample_rate": 8000},
                "detector": "deviation",
            },
        }
        chosen = without.get(quality, {"quality": quality})
        model = Path(name) / "machine.asd"
        asd.fit(sounds, cache=False, **chosen).save(model)
        if options.days:
            for_days(model, sounds, options.days, options.hop)
        else:
            in_real_time(model, sounds, options.machines, options.seconds, options.hop)


if __name__ == "__main__":
    main()
