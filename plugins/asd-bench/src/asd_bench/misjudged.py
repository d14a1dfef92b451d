"""The test clips that a pipeline judges worst: anomalous ones that score as normal, normal ones that score high."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from asd.plugin import Recording
from asd_bench.results import PipelineSummary, Results
from asd_bench.trial import TrialResult


@dataclass(frozen=True)
class Misjudged:
    """A test clip on the wrong side of the others.

    Parameters
    ----------
    recording : Recording
        The clip.
    section : str
        Its machine section.
    score : float
        Its score.
    share : float
        Of an anomalous clip: the share of normal clips that score as high or higher. Of a normal one: the share of
        anomalous clips that score as low or lower. 0: as it should be.
    """

    recording: Recording
    section: str
    score: float
    share: float


def misjudged(results: Results, summary: PipelineSummary, count: int = 6) -> tuple[list[Misjudged], list[Misjudged]]:
    """Return the anomalous and the normal clips that a pipeline misjudges most (first seed), the worst first."""
    found = [clip for result in _first_seed(results, summary) for clip in _clips(result)]
    found.sort(key=lambda clip: (-clip.share, clip.section, str(clip.recording.path)))
    wrong = [clip for clip in found if clip.share > 0]
    return [c for c in wrong if c.recording.anomalous][:count], [c for c in wrong if not c.recording.anomalous][:count]


def _first_seed(results: Results, summary: PipelineSummary) -> Iterator[TrialResult]:
    seed = results.recipe.seeds[0]
    for result in results.trials:
        if result.trial.label == summary.label and result.trial.seed == seed and not result.reason:
            yield result


def _clips(result: TrialResult) -> Iterator[Misjudged]:
    record = result.record
    scores, anomalous = np.array(record["scores"]), np.array(record["anomalous"], dtype=bool)
    normal, faulty = np.sort(scores[~anomalous]), np.sort(scores[anomalous])
    for recording, score in zip(tested_recordings(result), scores.tolist(), strict=True):
        if recording.anomalous:
            share = 1 - np.searchsorted(normal, score, "left") / len(normal)
        else:
            share = np.searchsorted(faulty, score, "right") / len(faulty)
        yield Misjudged(recording, result.trial.section.name, score, float(share))


def tested_recordings(result: TrialResult) -> list[Recording]:
    """Return the recordings behind a record's scores: those of the test that could be read, in its order."""
    found, remaining = [], iter(result.trial.section.test)
    for name, anomalous in zip(result.record["tested"], result.record["anomalous"], strict=True):
        found.append(next(r for r in remaining if (r.path.name, bool(r.anomalous)) == (name, bool(anomalous))))
    return found
