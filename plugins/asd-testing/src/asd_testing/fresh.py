"""What runs in another process (see `asd_testing.process`).

A request is a folder with ``request.json`` and ``inputs.npz``; the answer is ``answer.json`` and ``outputs.npz`` in it.
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
from asd_testing.subject import imported
from asd_testing.use import RUNTIME, Array, compute, prepared, release
from asd_testing.watch import Watch

_CALLS, _MOST_CALLS = 6, 36
_BATCH = 65536
"""Bytes that are fed at a time: much more than noise, and soon computed."""
_NOISE = 512
"""Bytes a call that Python's own caches may keep."""


def main() -> None:
    """Answer one request (``FOLDER TEMPORARY_FOLDER``), or one a line until standard input ends (no arguments)."""
    if len(sys.argv) > 1:
        folder, temporary = Path(sys.argv[1]), Path(sys.argv[2])
        watch = Watch(tuple(place.resolve() for place in (folder, temporary, cache_folder())))
        watch.install()
        _Trial(folder, watch).run()
        return
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a component prints must not mix with the answers
    for line in sys.stdin:
        _Trial(Path(line.strip()), None).run()
        print("done", file=answers, flush=True)


class _Trial:
    """One request: steps that each end in facts or in an error, which is told and ends the steps that need it."""

    def __init__(self, folder: Path, watch: Watch | None) -> None:
        self.folder = folder
        self.watch = watch
        self.request: dict[str, Any] = json.loads((folder / "request.json").read_text())
        with np.load(folder / "inputs.npz") as inputs:
            self.inputs: dict[str, Array] = dict(inputs)
        self.outputs: dict[str, Array] = {}
        self.facts: dict[str, Any] = {"errors": {}}

    def run(self) -> None:
        """Make all steps that were asked for, and write the answer."""
        for step in self.request["steps"]:
            self._progress(step)
            try:
                getattr(self, f"_{step}")()
            except Exception as error:
                kind = "weights" if isinstance(error, WeightError) else type(error).__name__
                self.facts["errors"][step] = [kind, " ".join(str(error).split())]
        if self.watch is not None:
            self.facts |= {"network": self.watch.network, "writes": self.watch.writes}
        np.savez(self.folder / "outputs.npz", **self.outputs)  # type: ignore[arg-type]  # numpy takes the last one for an option
        (self.folder / "answer.json").write_text(json.dumps(self.facts))

    def _progress(self, what: str) -> None:
        (self.folder / "progress").write_text(what)

    def _others(self) -> None:
        """Import what all other components are made of."""
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
        """Construct it twice: what the first import touches is not the constructor's doing."""
        assert self.watch is not None
        make: Callable[[], Any] = self._make()
        make()
        self.watch.touches.clear()
        self.watch.thorough = True
        try:
            make()
        finally:
            self.watch.thorough = False
        self.facts["touches"] = list(self.watch.touches)

    def _restore(self) -> None:
        """Score with a detector that knows only what a model file holds, once it is there: standard input ends then."""
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
        """Measure by how much what stays allocated grows from call to call, until it does not or it is too late."""
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
        release(self.component)


def _resident(component: Any) -> int:
    """Return the bytes of memory that this process and a component's worker hold; 0 where the system does not tell."""
    worker = getattr(getattr(component, "_worker", None), "process_id", None)
    total = 0
    for process in ("self", worker):
        file = Path(f"/proc/{process}/statm")
        if process is not None and file.exists():
            total += int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total
