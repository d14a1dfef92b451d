"""How long `asd check` takes, whole process: of each detector, and of all components.

To hold on two cores: one detector under 20 s, an autoencoder under 30 s, every first-party component together under
600 s. An autoencoder may take longer because `torch.optim.Adam` imports PyTorch's compiler at its first use, about two
seconds in each of the three processes: that is PyTorch's affair, and a training of its usual length does not notice.

    python tests/benchmarks/bench_check.py [--runs 3] [--no-all] [NAME ...]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from timing import seconds

from asd.contract.installed import registry

ASD = Path(sys.executable).with_name("asd")


def check(*arguments: str) -> list[dict[str, Any]]:
    """Run the command; return its reports, of which none may have failed."""
    done = subprocess.run([ASD, "check", *arguments, "--json"], check=True, capture_output=True, text=True)
    reports: list[dict[str, Any]] = json.loads(done.stdout)
    return reports


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-all", action="store_true")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    names = arguments.names or [found.spec.name for found in registry().of_kind("detector") if not found.problem]
    for name in names:
        times = [seconds(lambda name=name: check(name)) for _ in range(arguments.runs)]
        print(f"{name:20} {statistics.median(times):5.1f} s ({min(times):.1f}–{max(times):.1f}; under 20)", flush=True)
    if not arguments.no_all:
        found: list[dict[str, Any]] = []
        took = seconds(lambda: found.extend(check("--all")))
        skipped = sum(report["counts"].get("skipped", 0) for report in found)
        print(f"all {len(found)} components: {took:.0f} s (under 600), {skipped} checks skipped")


if __name__ == "__main__":
    main()
