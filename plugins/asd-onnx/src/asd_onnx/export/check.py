"""Whether an exported graph gives what the model gives."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from asd.errors import AsdError
from asd.experiment import Clip, ClipReader, Model, Verdict
from asd.plugin import Float32
from asd_onnx.device import load_onnxruntime
from asd_onnx.export.pipeline import Exported

TOLERANCE = 1e-4
"""Largest difference of scores, relative to the largest of them."""


def largest_difference(model: Model, exported: Exported) -> float:
    """Return the largest relative difference between the scores of the model and of the graph, on generated sound.

    Raises
    ------
    AsdError
        If it is above `TOLERANCE`, or the p-values differ.
    """
    session = load_onnxruntime().InferenceSession(exported.content, providers=["CPUExecutionProvider"])
    with tempfile.TemporaryDirectory() as folder:
        worst = max(_difference(model, exported, session, path) for path in _sounds(model, Path(folder)))
    if worst > TOLERANCE:
        raise AsdError(
            f"the graph does not give what the model gives: scores differ by {worst:.2g}, {TOLERANCE:g} are allowed; "
            "nothing was written"
        )
    return worst


def _sounds(model: Model, folder: Path) -> list[Path]:
    """Write generated recordings: as long as the model's clips, and one that no hop divides."""
    rate = model.pipeline.sample_rate
    rng = np.random.default_rng(0)
    seconds = model.calibration.clip_seconds
    paths = []
    for number, length in enumerate((round(seconds * rate), round(0.731 * seconds * rate) + 1)):
        time = np.arange(length) / rate
        noise = rng.standard_normal(length) * (0.5 + 0.5 * np.sin(2 * np.pi * time))
        tones = sum(np.sin(2 * np.pi * frequency * time) for frequency in (120.0, 997.0, 3100.0))
        path = folder / f"{number}.wav"
        soundfile.write(path, (0.02 * noise + 0.02 * tones).astype(np.float32), rate, subtype="FLOAT")
        paths.append(path)
    return paths


def _difference(model: Model, exported: Exported, session: Any, path: Path) -> float:
    verdict = next(iter(model.score([Clip(path)], cache=False)))
    if not isinstance(verdict, Verdict):
        raise verdict.error
    rates = {each.name: int(each.name.rpartition("_")[2]) for each in session.get_inputs()}
    names = [each.name for each in session.get_outputs()]
    given = {name: _samples(path, rate) for name, rate in rates.items()}
    found = dict(zip(names, session.run(names, given), strict=True))
    if not np.isclose(found["p_value"], verdict.p_value):
        raise AsdError(
            f"the graph gives a p-value of {float(found['p_value']):.4g} where the model gives {verdict.p_value:.4g}; "
            "nothing was written"
        )
    differences = [abs(float(found["score"]) - verdict.score) / max(abs(verdict.score), 1e-12)]
    for expected in (each for each in found.values() if np.shape(each) == verdict.window_scores.shape != ()):
        apart = np.abs(expected - verdict.window_scores).max() / max(np.abs(verdict.window_scores).max(), 1e-12)
        differences.append(float(apart))
    if len(exported.windows) > 1:  # only one branch's window scores are in the verdict
        differences = [differences[0], min(differences[1:], default=0.0)]
    return max(differences)


def _samples(path: Path, rate: int) -> Float32:
    return np.concatenate(list(ClipReader(Clip(path), sample_rate=rate)))
