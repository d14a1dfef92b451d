"""Where results come from: when, with what, on which machine, of which data, by which command."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from asd.errors import PluginError
from asd.plugin import mask_in, registry
from asd_bench.results import Results
from asd_registry import PIPELINE_KINDS


def provenance(results: Results, data: Path, command: Sequence[str] | None = None) -> dict[str, str]:
    """Return what a reader needs to run a benchmark again, by name; the date comes first.

    Parameters
    ----------
    results : Results
        The results.
    data : Path
        Folder of the data.
    command : sequence of str, optional
        The command line [default: that of this process].
    """
    sections = {result.trial.section.name: result.trial.section for result in results.trials}
    digests = "".join(section.digest for _, section in sorted(sections.items()))
    test = [recording for section in sections.values() for recording in section.test]
    anomalous = sum(recording.anomalous is True for recording in test)
    return {
        "date": datetime.datetime.now().astimezone().isoformat(" ", "minutes"),
        "recipe": f"{results.recipe.name}: {results.recipe.summary}",
        "command line": mask_in(shlex.join(command or [Path(sys.argv[0]).name, *sys.argv[1:]])),
        "data": str(data.resolve()),
        "data digest": f"sha256 {hashlib.sha256(digests.encode()).hexdigest()} (contents and labels, first seed)",
        "clips": f"{sum(len(section.train) for section in sections.values())} to train, {len(test)} to test "
        f"({anomalous} anomalous), in {len(sections)} machine sections",
        "seeds": ", ".join(map(str, results.recipe.seeds)),
        "metric": results.recipe.metric,
        "versions": ", ".join(f"{name} {version}" for name, version in _versions(results).items()),
        "hardware": hardware(),
    }


def hardware() -> str:
    """Return processor, cores, memory and operating system."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    kilobytes = [int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    memory = f", {kilobytes[0] / 2**20:.0f} GB of memory" if kilobytes else ""
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores{memory}; {platform.platform(terse=True)}"


def _versions(results: Results) -> dict[str, str]:
    """Return the versions of Python, NumPy, the framework, this distribution and those of the components."""
    found = {"Python": platform.python_version()}
    for summary in results.ranking:
        for kind in PIPELINE_KINDS:
            choice = getattr(summary.candidate.config, kind) if summary.candidate else None
            if choice is not None:
                try:
                    plugin = registry().find(kind, choice.name).plugin
                except PluginError:
                    continue
                found[plugin.distribution] = plugin.version
    for name in ("asd-framework", "asd-bench", "numpy"):
        found[name] = importlib.metadata.version(name)
    return dict(sorted(found.items()))


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
