"""Reports as one page: size, seconds to write, the browser's own time to open it.

    python tests/benchmarks/bench_report.py [PIPELINES MACHINES]
    python tests/benchmarks/bench_report.py clips [CLIPS]

The first is the benchmark's, of 60 pipelines on 15 machines; the scores are drawn, not computed, and the report does
not know. Limits: 8 MB, 2 s in Chromium, no console error. The second is ``asd report`` of 1,000 clips of 2 s, judged by
a pipeline without a network. Limits: 20 MB, 3 s.
"""

from __future__ import annotations

import datetime
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import asd
from asd_bench.provenance import provenance
from asd_bench.report import write_report
from browser import EXECUTABLE, Browser
from invented import invented

LARGEST, SLOWEST, OPENINGS = 8_000_000, 2000.0, 5
LARGEST_OF_CLIPS, SLOWEST_OF_CLIPS = 20_000_000, 3000.0
RATE, SECONDS = 8000, 2.0


def write_clips(folder: Path, count: int, *, whines: bool) -> None:
    """Write clips of a motor, of which every fiftieth whines if `whines`, named after times."""
    folder.mkdir(parents=True)
    rng, moment = np.random.default_rng(int(whines)), np.arange(round(SECONDS * RATE)) / RATE
    begin = datetime.datetime(2026, 3, 1, 6)
    for number in range(count):
        hum = sum(0.05 / k * np.sin(2 * np.pi * 50 * k * moment + rng.uniform(0, 6)) for k in range(1, 6))
        whine = 0.02 * np.sin(2 * np.pi * 2400 * moment) * (whines and number % 50 == 49)
        name = f"motor-{begin + datetime.timedelta(seconds=4 * number):%Y%m%d_%H%M%S}.wav"
        soundfile.write(folder / name, hum + whine + rng.normal(0, 0.01, len(moment)), RATE)


def of_clips(count: int) -> int:
    """Print the figures of a report of clips; return 1 if one is above its limit."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clips(folder / "healthy", 24, whines=False)
        write_clips(folder / "day", count, whines=True)
        cheap = {"extractor": "band-levels", "detector": "deviation", "embedding_pooling": "mean"}
        asd.fit(folder / "healthy", cache=False, **cheap).save(folder / "motor.asd")
        page, began = folder / "day.html", time.perf_counter()
        command = [sys.executable, "-c", "from asd.cli.main import main; main()", "report", folder / "motor.asd"]
        subprocess.run([*command, folder / "day", "-o", page], check=True, stderr=subprocess.DEVNULL)
        print(f"{count} clips: written in {time.perf_counter() - began:.1f} s, {page.stat().st_size / 1e6:.2f} MB")
        bad = page.stat().st_size > LARGEST_OF_CLIPS
        for width in (1400, 400) if EXECUTABLE else ():
            with Browser() as browser:
                loads = [browser.open(page, width=width)["loadEventEnd"] for _ in range(OPENINGS)]
                print(
                    f"{width} px: opened in {statistics.median(loads):.0f} ms ({min(loads):.0f} to {max(loads):.0f} "
                    f"of {OPENINGS}); console errors: {len(browser.errors)}"
                )
                bad |= max(loads) > SLOWEST_OF_CLIPS or bool(browser.errors)
        return int(bad)


def main() -> int:
    """Print the figures; return 1 if one is above its limit."""
    if sys.argv[1:2] == ["clips"]:
        return of_clips(int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
    pipelines, machines = (int(each) for each in sys.argv[1:3]) if len(sys.argv) > 2 else (60, 15)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = invented(folder / "sounds", pipelines=pipelines, machines=machines, clips=200)
        began = time.perf_counter()
        path = write_report(results, folder / "report.html", provenance(results, folder, ["asd", "bench", "invented"]))
        print(f"{pipelines} pipelines × {machines} machines of 200 test clips")
        print(f"written in {time.perf_counter() - began:.1f} s, {path.stat().st_size / 1e6:.2f} MB")
        bad = path.stat().st_size > LARGEST
        if EXECUTABLE is None:
            print("no Chromium here: not opened")
            return int(bad)
        for width in (1400, 400):
            with Browser() as browser:
                timings = [browser.open(path, width=width) for _ in range(OPENINGS)]
                loads = [timing["loadEventEnd"] for timing in timings]
                charts = browser.evaluate("document.querySelectorAll('.chart').length")
                began = time.perf_counter()
                for number in range(charts):
                    browser.evaluate(f"document.querySelectorAll('.chart')[{number}].scrollIntoView()")
                    browser.wait_for(f"document.querySelectorAll('.chart')[{number}].matches('.live')")
                drawn = time.perf_counter() - began
                print(
                    f"{width} px: opened in {statistics.median(loads):.0f} ms (most {max(loads):.0f} of {OPENINGS}), "
                    f"all {charts} charts drawn {drawn:.1f} s later; console errors: {len(browser.errors)}"
                )
                bad |= max(loads) > SLOWEST or bool(browser.errors)
        return int(bad)


if __name__ == "__main__":
    sys.exit(main())
