"""The official DCASE result files of a benchmark's best pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from asd.errors import ConfigError, DataError
from asd.experiment import clip_score, learn
from asd.plugin import Recording
from asd_bench.candidates import Candidate
from asd_bench.compute import training_features
from asd_bench.official import write_results
from asd_bench.results import Results
from asd_bench.runner import Run

LEVEL = 0.1
"""A clip is judged anomalous if at most this share of held-out normal clips scores as high: the official baselines put
their threshold at the 90 % point of normal scores, too."""


def write_submission(run: Run, results: Results, folder: Path) -> list[Path]:
    """Write anomaly scores and decisions of the best pipeline (or of the only one) in the official format.

    As with ``asd fit``, the score is the mean over members that were each trained without a fifth of the clips, and the
    decision is calibrated on the clips that each member was not trained on. So the test's labels are not needed.

    Raises
    ------
    ConfigError
        If the recipe's metric is not one of DCASE, or no pipeline is the best and there are several.
    DataError
        If a test clip cannot be read: the official format needs a score for each.
    """
    protocol = run.recipe.metric
    if protocol == "auc":
        raise ConfigError("--submission needs a recipe with an official metric: dcase2020, dcase2021 or dcase2022")
    candidate = _chosen(run, results)
    config = replace(candidate.config.resolved(), seed=run.recipe.seeds[0])
    recordings: list[Recording] = []
    scores: list[float] = []
    decisions: list[bool] = []
    for section in run.sections:
        embeddings = run.runner.embeddings(candidate, section)
        members, calibration = learn(config, training_features(embeddings, section), run.runner.runtime)
        for recording in section.test:
            found = embeddings[recording.path]
            if found is None:
                raise DataError(f"{recording.path} cannot be read: a submission needs a score for each test clip")
            pooled = np.array([clip_score(member, found[0], config) for member in members])
            recordings.append(recording)
            scores.append(float(pooled.mean()))
            decisions.append(calibration.p_value(pooled) <= LEVEL)
    return write_results(folder, recordings, scores, decisions, protocol)


def _chosen(run: Run, results: Results) -> Candidate:
    if results.best and results.best.candidate:
        return results.best.candidate
    if len(run.candidates) == 1:
        return run.candidates[0]
    raise ConfigError(
        "no pipeline has results on all machines, so none is the best: for clips without labels, name one pipeline in "
        "the recipe"
    )
