"""A plugin for the tests: a front end and an extractor that do to their process what a file says.

The file is named by the environment variable ``ASD_TEST_ACT``; without it they only work. It is installed by a folder
of metadata that the tests write (see `installed`).
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from asd.plugin import Audio, Extractor, Frontend, Representation, Windows
from asd_registry import ComponentSpec, WeightFile, hookimpl

CONTENT = bytes(range(256)) * 100
WEIGHT = WeightFile(
    name="bands.bin", licence="MIT", sha256=hashlib.sha256(CONTENT).hexdigest(), url="https://example.org/bands.bin"
)


def installed(folder: Path, version: str = "1.0") -> Path:
    """Write the metadata that make this module an installed plugin; return the folder for the search path."""
    info = folder / f"acting-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acting\nVersion: {version}\n")
    (info / "entry_points.txt").write_text("[asd.plugins]\nacting = acting\n")
    return folder


class Halves(Frontend):
    """Half seconds; a recording of nothing but full scale is the poisoned one."""

    sample_rate = 8000
    produces = Representation("waveform", (4000,), 8000)
    window_length = 4000
    window_hop = 4000

    def __call__(self, audio: Audio) -> Windows:
        act(poisoned=bool(np.median(audio.samples) > 0.9))
        values = audio.samples[0][: len(audio.samples[0]) // 4000 * 4000].reshape(-1, 4000)
        return Windows(values, np.arange(len(values)) * 0.5, 0.5)


class Spectrum(Extractor):
    """Sixteen bands."""

    consumes = Representation("any", ())
    dimension = 16

    def embed(self, values: Any) -> Any:
        spectrum = np.log(np.abs(np.fft.rfft(values.reshape(len(values), -1)))[:, 1:] + 1e-6)
        return spectrum[:, :1984].reshape(len(values), 16, -1).mean(axis=2).astype(np.float32)


def act(*, poisoned: bool) -> None:
    """Do what is wanted of a process that reads a recording."""
    file = os.environ.get("ASD_TEST_ACT")
    wanted = Path(file).read_text() if file and Path(file).exists() else ""
    if wanted:
        with Path(f"{file}-log").open("a") as log:
            log.write(f"{os.getpid()} {os.environ.get('ASD_TEST_WORKER', '')}\n")
    if wanted == "die of poison" and poisoned:
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == "stop at the tenth" and len(Path(f"{file}-log").read_text().splitlines()) >= 10:
        while not Path(f"{file}-go").exists():
            time.sleep(0.02)
    if wanted == "one is slow":
        time.sleep(0.5 if os.environ.get("ASD_TEST_WORKER") == "second" else 0.01)


@hookimpl
def asd_components() -> Iterator[ComponentSpec]:
    yield ComponentSpec(kind="frontend", name="halves", summary="Halves.", licence="MIT", target="acting:Halves")
    yield ComponentSpec(
        kind="extractor", name="spectrum", summary="Bands.", licence="MIT", target="acting:Spectrum",
        frontend="halves", weights=(WEIGHT,),
    )  # fmt: skip
