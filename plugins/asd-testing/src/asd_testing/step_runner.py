"""What runs in another process for a check (see `asd_testing.processes`): steps such as construct, use, restore.

A request is a folder with ``request.json`` and ``inputs.npz``; the answer, ``answer.json`` and ``outputs.npz``, is
written to the same folder.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from asd.errors import WeightError
from asd.experiment import convert_all, read_model_file
from asd.plugin import cache_folder
from asd_testing.audit import AuditLog
from asd_testing.under_test import imported
from asd_testing.use import RUNTIME, Array, compute, prepared

_CALLS, _MOST_CALLS = 6, 36
_BATCH = 65536
"""Bytes of input in each call: much more than the noise below, and quickly computed."""
_NOISE = 512
"""Bytes by which Python's own caches may grow with each call."""


def main() -> None:
    """Answer one request and end, or answer many.

    With the arguments ``FOLDER TEMPORARY_FOLDER``: the request in that folder, under an `AuditLog`. Without arguments:
    each line of standard input is the folder of a request.
    """
    if len(sys.argv) > 1:
        folder, temporary = Path(sys.argv[1]), Path(sys.argv[2])
        log = AuditLog(tuple(place.resolve() for place in (folder, temporary, cache_folder())))
        log.install()
        _StepRunner(folder, log).run()
        return
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a component prints must not mix with the answers
    for line in sys.stdin:
        _StepRunner(Path(line.strip()), None).run()
        print("done", file=answers, flush=True)


class _StepRunner:
    """Runs the steps of one request; the answer holds what each step found, or the error that it raised."""

    def __init__(self, folder: Path, log: AuditLog | None) -> None:
        self.folder = folder
        self.log = log
        self.request: dict[str, Any] = json.loads((folder / "request.json").read_text())
        with np.load(folder / "inputs.npz") as inputs:
            self.inputs: dict[str, Array] = dict(inputs)
        self.outputs: dict[str, Array] = {}
        self.facts: dict[str, Any] = {"errors": {}}

    def run(self) -> None:
        """Run all steps of the request, and write the answer."""
        for step in self.request["steps"]:
            self._progress(step)
            try:
                getattr(self, f"_{step}")()
            except Exception as error:
                kind = "weights" if isinstance(error, WeightError) else type(error).__name__
                self.facts["errors"][step] = [kind, " ".join(str(error).split())]
        if self.log is not None:
            self.facts |= {"network": self.log.network, "writes": self.log.writes}
        np.savez(self.folder / "outputs.npz", **self.outputs)  # type: ignore[arg-type]  # numpy takes the last one for an option
        (self.folder / "answer.json").write_text(json.dumps(self.facts))

    def _progress(self, what: str) -> None:
        (self.folder / "progress").write_text(what)

    def _others(self) -> None:
        """Import the modules of all other components."""
        for target in self.request["others"]:
            self._progress(f"importing {target}")
            try:
                importlib.import_module(target)
            except Exception as error:
                print(f"{target}: {error}", file=sys.stderr)

    def _make(self) -> Any:
        which = self.request["component"]
        module = importlib.import_module(which["module"]) if which["source"] is None else self._module(which)
        cls: Any = module
        for name in which["class"].split("."):
            cls = getattr(cls, name)
        parameters = convert_all(cls, which["class"], which["parameters"])
        return lambda: cls(**parameters)

    def _module(self, which: dict[str, Any]) -> Any:
        loaded = sys.modules.get(which["module"])
        if loaded is not None and getattr(loaded, "__file__", None) == which["source"]:
            return loaded
        return imported(which["module"], Path(which["source"]))

    def _construct(self) -> None:
        """Construct the component twice and record the second time: the first time also imports modules."""
        assert self.log is not None
        make: Callable[[], Any] = self._make()
        make()
        self.log.record_all = True
        try:
            make()
        finally:
            self.log.record_all = False
        self.facts["events"] = self.log.events

    def _restore(self) -> None:
        """Score with a detector that is restored from the model file; standard input ends once the file is there."""
        sys.stdin.read()
        _, arrays = read_model_file(self.folder / "model.asd")
        detector = self._make()()
        detector.runtime = RUNTIME
        detector.set_state(arrays)
        self.outputs["restored"] = compute(detector, self.inputs["values"])

    def _use(self) -> None:
        component = prepared(self._make()(), self.request["component"]["name"], self.inputs.get("training"))
        self.outputs["results"] = compute(component, self.inputs["values"])
        self.component = component

    def _memory(self) -> None:
        """Measure by how much memory grows per call, until it no longer grows or the most calls are made."""
        given = self.inputs["values"]
        values = given[: max(1, _BATCH * len(given) // given.nbytes)]
        limits = (_NOISE + values.nbytes / 100, values.nbytes / 2)
        held: list[tuple[int, int]] = []
        growing = [0.0, 0.0]
        tracemalloc.start()
        while len(held) <= _CALLS or (any(growing) and len(held) < _MOST_CALLS):
            compute(self.component, values)
            gc.collect()
            held.append((tracemalloc.get_traced_memory()[0], _resident(self.component)))
            # A leak is regular, noise is not; the first calls fill caches.
            steps = np.median(np.diff(held[-_CALLS:], axis=0), axis=0) if len(held) > 1 else limits
            growing = [float(step) if step > limit else 0.0 for step, limit in zip(steps, limits, strict=True)]
        tracemalloc.stop()
        self.facts |= {"traced": growing[0], "resident": growing[1], "batch": values.nbytes}

    def _end(self) -> None:
        self.component.close()


def _resident(component: Any) -> int:
    """Return the bytes of memory of this process and of a component's worker process; 0 without ``/proc``."""
    worker = getattr(component, "process_id", None)
    total = 0
    for process in ("self", worker):
        file = Path(f"/proc/{process}/statm")
        if process is not None and file.exists():
            total += int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total
