"""What the tests of SECURITY.md share: forged model files, the command, some recordings."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from asd.contract.installed import registry
from asd.detection import modelfile

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
CLIPS = GOLDEN / "clips"
ASD = os.environ["ASD_COMMAND"]
QUICK = ("--frontend", "mel-stack", "--extractor", "identity", "--false-alarms-per-hour", "500")

Change = Callable[[dict[str, Any]], object]


def forged(path: Path, change: Change, golden: str = "mel-stack-gmm") -> Path:
    """Write a model file with another manifest, its digest right."""
    manifest, arrays = modelfile.read(GOLDEN / f"{golden}.asd")
    change(manifest)
    modelfile.write(path, manifest, arrays)
    return path


def choosing(kind: str, name: str, **given: Any) -> Change:
    def change(manifest: dict[str, Any]) -> None:
        manifest["config"][kind] = {"name": name, **given}
        if kind == "extractor":
            manifest["config"]["frontend"] = {"name": registry().find("extractor", name).spec.frontend}

    return change


def six_recordings(folder: Path) -> Path:
    """Write six short recordings of noise into a folder."""
    for i in range(6):
        soundfile.write(folder / f"{i}.wav", np.random.default_rng(i).normal(0, 0.1, 2 * 16000), 16000)
    return folder


def run(*arguments: str | Path, code: int | None = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [ASD, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert code in (None, done.returncode), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done
