"""The official DCASE result files of a benchmark's best pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from asd.errors import ConfigError, DataError
from asd.experiment import Failure, learn, pool_scores
from asd.plugin import Recording
from asd_bench.computing import Computing
from asd_bench.grid import Pipelined
from asd_bench.official import write_results
from asd_bench.results import Results
from asd_bench.runner import Run

LEVEL = 0.1
"""A clip is judged anomalous if at most this share of held-out normal clips scores as high: the official baselines put
their threshold at the 90 % point of normal scores, too."""


def write_submission(run: Run, results: Results, folder: Path) -> list[Path]:
    """Write anomaly scores and decisions of the best pipeline (or of the only one) in the official format.

    As ``asd fit`` does it, the score is the mean over members that were each trained without a fifth of the clips, and
    the decision is calibrated on the clips that each member did not see. So the test's labels are not needed.

    Raises
    ------
    ConfigError
        If the recipe's metric is not of DCASE, or it is open which pipeline is meant.
    DataError
        If a test clip cannot be read: the official format wants a score for each.
    """
    protocol = run.recipe.metric
    if protocol == "auc":
        raise ConfigError("--submission needs a recipe with an official metric: dcase2020, dcase2021 or dcase2022")
    pipeline = _chosen(run, results)
    recordings: list[Recording] = []
    scores: list[float] = []
    decisions: list[bool] = []
    for unit in {task.unit.name: task.unit for task in reversed(run.tasks)}.values():
        config = replace(pipeline.config.resolved(), seed=run.recipe.seeds[0])
        embedded = Computing(run).embeddings(pipeline, unit.name)
        train = [f[0] for r in unit.train if not isinstance(f := embedded[r.path], Failure) and not f[0].silent]
        members, calibration = learn(config, train, run.runtime)
        for recording in unit.test:
            heard = embedded[recording.path]
            if isinstance(heard, Failure):
                raise DataError(f"a submission needs a score for each test clip: {heard.error}")
            pooled = np.array([pool_scores(member.score(heard[0].values), config) for member in members])
            recordings.append(recording)
            scores.append(float(pooled.mean()))
            decisions.append(calibration.p_value(pooled) <= LEVEL)
    return write_results(folder, recordings, scores, decisions, protocol)


def _chosen(run: Run, results: Results) -> Pipelined:
    if results.best and results.best.pipeline:
        return results.best.pipeline
    if len(run.pipelines) == 1:
        return run.pipelines[0]
    raise ConfigError(
        "no pipeline has results on all machines, so none is the best: for clips without labels, name one pipeline in "
        "the recipe"
    )
