"""Benchmark results of invented pipelines on invented machines: for the report's tests, benchmark and pictures."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from asd.experiment import Choice, Config, Machine
from asd.plugin import Recording
from asd_bench.candidates import Candidate
from asd_bench.measures import Bootstrap, combine
from asd_bench.recipe import Recipe, Split
from asd_bench.results import Results, summarise
from asd_bench.sections import MachineSection
from asd_bench.trial import Trial, TrialResult, failed

_FRONTENDS = ("mel-image", "mel-stack", "mel-patch", "waveform", "band-waveform", "envelope-waveform")
_DETECTORS = (
    "knn",
    "gmm",
    "kde",
    "mahalanobis",
    "ocsvm",
    "isolation-forest",
    "pca-residual",
    "deviation",
    "ensemble",
    "x",
)


def invented(
    folder: Path,
    *,
    pipelines: int = 8,
    machines: int = 4,
    clips: int = 40,
    seeds: int = 1,
    name: str = "",
    shift: float = 0.0,
) -> Results:
    """Return results as a run would have them; the scores are drawn, the recordings are generated machines.

    Parameters
    ----------
    folder : Path
        Where the recordings are written.
    pipelines, machines, clips, seeds : int
        How many; test clips are of each machine, half of them anomalous.
    name : str
        What every pipeline's, machine's and file's name holds, too.
    shift : float
        How much better all pipelines are.
    """
    recipe = Recipe(
        "invented", "Invented pipelines on invented machines", (Choice("folder", {}),), Split("official"), ("machine",),
        tuple(range(seeds)), "auc", None, (),
    )  # fmt: skip
    sections = [_section(folder, number, clips, name) for number in range(machines)]
    candidates: list[Candidate | None] = [None, *(_candidate(number, name) for number in range(pipelines))]
    trials = [
        _result(Trial(candidate, section, seed, f"{number}-{section.name}-{seed}"), number, pipelines, shift)
        for number, candidate in enumerate(candidates)
        for section in sections
        for seed in recipe.seeds
    ]
    return summarise(recipe, trials)


def without(results: Results, label: str, reason: str) -> Results:
    """Return results in which a pipeline failed on the first machine section."""
    first = results.trials[0].trial.section.name
    changed = [
        failed(each.trial, reason) if (each.trial.label, each.trial.section.name) == (label, first) else each
        for each in results.trials
    ]
    return summarise(results.recipe, changed)


def _candidate(number: int, name: str) -> Candidate:
    frontend = _FRONTENDS[number // len(_DETECTORS) % len(_FRONTENDS)]
    detector = _DETECTORS[number % len(_DETECTORS)]
    config = Config(frontend=Choice(frontend, {}), extractor=Choice("identity", {}), detector=Choice(detector, {}))
    return Candidate(f"{frontend} (n_mels {16 * (1 + number // 10)}){name} → {detector}", config)


def _section(folder: Path, number: int, clips: int, name: str) -> MachineSection:
    folder.mkdir(parents=True, exist_ok=True)
    sounds = folder / f"machine-{number % 3}.wav"
    if not sounds.exists():
        machine = Machine(sample_rate=16000, seed=number % 3)
        soundfile.write(sounds, machine.record(4.0, seed=number).audio.samples[0], 16000)
    machine_name = f"machine {number:02}{name}"
    recordings = []
    for index in range(clips + 4):
        path = folder / f"{number:02}-{index:03}{name.replace('/', '')}.wav"
        if not path.exists():
            path.symlink_to(sounds.name)
        anomalous = index >= 4 and index % 2 == 1
        recordings.append(Recording(path, machine_name, "", "train" if index < 4 else "test", anomalous))
    return MachineSection(machine_name, machine_name, tuple(recordings[:4]), tuple(recordings[4:]))


def _result(trial: Trial, number: int, count: int, shift: float) -> TrialResult:
    test = trial.section.test
    rng = np.random.default_rng(int(hashlib.sha256(trial.digest.encode()).hexdigest()[:8], 16))
    anomalous = np.array([bool(recording.anomalous) for recording in test])
    quality = 0.3 if trial.candidate is None else 2.0 - 1.5 * number / max(count, 1) + shift
    scores = rng.normal(size=len(test)) + quality * anomalous
    measures = Bootstrap(test, hashlib.sha256(trial.section.name.encode()).hexdigest()).measures("auc", scores)
    record: dict[str, Any] = {
        "weights_licence": "none",
        "measures": [{"name": each.name, "section": each.section, "value": each.value} for each in measures],
        "score": float(combine("auc", [(each.name, each.value) for each in measures])),
        "train_clips": len(trial.section.train),
        "test_clips": len(test),
        "tested": [recording.path.name for recording in test],
        "anomalous": anomalous.tolist(),
        "domains": [""] * len(test),
        "scores": scores.tolist(),
    }
    if trial.candidate is not None:
        seconds = float(10 ** rng.uniform(-3, -0.5))
        record |= {
            "dimension": 320, "fit_seconds": 0.2, "transform_seconds": 0.1, "score_seconds": 0.1,
            "seconds_per_second": seconds, "peak_memory": 300_000_000, "left_out": 0,
        }  # fmt: skip
    return TrialResult(trial, record, np.stack([each.draws for each in measures]))
