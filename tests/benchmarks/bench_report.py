"""The benchmark's report at 60 pipelines on 15 machines: size, seconds to write, the browser's own time to open it.

    python tests/benchmarks/bench_report.py [PIPELINES MACHINES]

The scores are drawn, not computed; the report does not know. Limits: 8 MB, 2 s in Chromium, no console error.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from browser import EXECUTABLE, Browser
from invented import invented

from asd_bench.provenance import provenance
from asd_bench.report import write_report

LARGEST, SLOWEST, OPENINGS = 8_000_000, 2000.0, 5


def main() -> int:
    """Print the figures; return 1 if one is above its limit."""
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
                browser.evaluate("document.querySelectorAll('.chart').forEach((it) => it.scrollIntoView())")
                began = time.perf_counter()
                browser.evaluate("document.querySelector('.chart:last-of-type').scrollIntoView()")
                for number in range(charts):
                    browser.evaluate(f"document.querySelectorAll('.chart')[{number}].scrollIntoView()")
                    browser.wait_for(f"document.querySelectorAll('.chart')[{number}].matches('.live')")
                drawn = time.perf_counter() - began
                print(
                    f"{width} px: opened in {statistics.median(loads):.0f} ms (median of {OPENINGS}, most {max(loads):.0f}); "
                    f"all {charts} charts drawn {drawn:.1f} s later; console errors: {len(browser.errors)}"
                )
                bad |= max(loads) > SLOWEST or bool(browser.errors)
        return int(bad)


if __name__ == "__main__":
    sys.exit(main())
