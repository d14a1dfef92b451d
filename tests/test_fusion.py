"""Fusion of branches: the promise of the alarm holds for the fused score, and a silent branch costs nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asd.detection.calibration import Calibration
from asd.detection.config import Config, ResolvedConfig
from asd.detection.features import ClipFeatures
from asd.detection.fusion import BranchScores, deviations, fuse
from asd.detection.pooling import pool_embeddings, pool_scores
from asd.detection.training import fused_calibration, learn_branches
from asd.plugin import Runtime
from asd.records import Clip, Float64

LEVELS = (0.05, 0.1, 0.2)


def config(detectors: tuple[str, str], fusion: str, *, folds: int = 5) -> ResolvedConfig:
    """Return a pipeline of a branch that scores windows, and a gated one that scores one vector a clip."""
    shared = {"frontend": "mel-stack", "extractor": "identity"}
    return Config.from_mapping(
        {
            "fusion": fusion,
            "folds": folds,
            "branch": [
                {**shared, "name": "frames", "detector": detectors[0], "pca": 0.9},
                {**shared, "name": "bands", "detector": detectors[1], "embedding_pooling": "mean", "gate": 1.0},
            ],
        }
    ).resolved()


def drawn(count: int, rng: np.random.Generator, *, dimension: int = 8) -> list[list[ClipFeatures]]:
    """Return what two branches make of clips of a machine in two states, some clips being far from all others."""
    state = 3.0 * rng.integers(2, size=count)
    offset = rng.standard_t(3, size=(count, dimension)) + state[:, None]  # heavy tails: scores are skewed
    first = offset[:, None] + rng.normal(size=(count, 4, dimension))
    second = np.exp(np.minimum(offset, 20) / 2 + 0.5 * rng.normal(size=offset.shape))[:, None]

    def features(values: Any, i: int) -> ClipFeatures:
        return ClipFeatures(
            Clip(Path(f"/{i}.wav")), values.astype(np.float32), np.arange(len(values) * 1.0), 10.0, 16000, False
        )

    return [[features(first[i], i), features(second[i], i)] for i in range(count)]


FUSIONS = ("gated", "mean", "max")


def false_alarms(
    config: ResolvedConfig, train: list[list[ClipFeatures]], test: list[list[ClipFeatures]]
) -> dict[str, list[float]]:
    """Return the fraction of healthy clips that alarm at each level, by detectors that are trained here, by fusion.

    Detectors know nothing of the fusion: they are trained once for all of them.
    """
    branches, calibration = learn_branches(config, train, Runtime())
    scores = np.empty((len(test), len(branches[0].members), len(branches)))
    for b, branch in enumerate(branches):
        rows = [pool_embeddings(clip[b].values, branch.config) for clip in test]
        ends = np.cumsum([len(each) for each in rows])[:-1]
        for k, member in enumerate(branch.members):
            windows = np.split(member.score(np.concatenate(rows)), ends)
            scores[:, k, b] = [pool_scores(own, branch.config) for own in windows]
    found = {}
    for fusion in FUSIONS:
        fused = fused_again(calibration, config, fusion)
        p_values = np.array([fused.p_value(each) for each in scores])
        found[fusion] = [float(np.mean(p_values <= level + 1e-12)) for level in LEVELS]
    return found


def fused_again(calibration: Calibration, config: ResolvedConfig, fusion: Any) -> Calibration:
    """Return the calibration that another fusion of the same held-out scores makes."""
    assert calibration.branches is not None
    return fused_calibration(calibration, calibration.branches.scores, replace(config, fusion=fusion))


_resampled: dict[int, tuple[np.random.Generator, list[dict[str, list[float]]]]] = {}


def resampled(count: int, resamples: int, fusion: str) -> Float64:
    """Return the false alarms of so many resamples; what other tests computed of them is not computed again."""
    rng, rows = _resampled.setdefault(count, (np.random.default_rng(count), []))
    pipeline = config(("mahalanobis", "knn"), FUSIONS[0])
    while len(rows) < resamples:
        rows.append(false_alarms(pipeline, drawn(count, rng), drawn(20, rng)))
    return np.array([row[fusion] for row in rows[:resamples]])


@pytest.mark.parametrize("fusion", FUSIONS[1:])
def test_another_fusion_of_the_same_scores_is_what_is_learned_with_it(fusion: str) -> None:
    """Which is why the resamples are learned from once for all fusions."""
    clips = drawn(20, np.random.default_rng(20))
    gated, other = (config(("mahalanobis", "knn"), each) for each in ("gated", fusion))
    _, learned = learn_branches(other, clips, Runtime())
    made = fused_again(learn_branches(gated, clips, Runtime())[1], gated, fusion)
    assert learned.branches is not None
    assert made.branches is not None
    assert made.branches.fusion == learned.branches.fusion == fusion
    assert made.branches.gates == learned.branches.gates
    np.testing.assert_array_equal(made.branches.scores, learned.branches.scores)
    np.testing.assert_array_equal(made.scores, learned.scores)
    new = np.random.default_rng(0).normal(size=(learned.branches.scores.shape[0], 5, 2))
    assert [made.p_value(each) for each in new] == [learned.p_value(each) for each in new]


def check_promise(count: int, resamples: int, fusion: str) -> None:
    """Check that healthy clips alarm at most as often as promised, within chance, and not far less often."""
    found = resampled(count, resamples, fusion)
    deviation = found.std(axis=0, ddof=1) / np.sqrt(resamples)
    for level, mean, error in zip(LEVELS, found.mean(axis=0), deviation, strict=True):
        promised = int(level * (count + 1) + 1e-9) / (count + 1)
        print(f"{fusion}, {count} clips: {mean:.4f} ± {1.96 * error:.4f} alarm, {promised:.4f} promised")
        assert mean - 1.96 * error <= promised
        assert mean + 1.96 * error >= promised / 2


@pytest.mark.parametrize("fusion", ["gated", "max"])
@pytest.mark.parametrize(("count", "resamples"), [(20, 80), (60, 40), (200, 10)])
def test_healthy_clips_alarm_as_often_as_promised(count: int, resamples: int, fusion: str) -> None:
    """Detectors are trained and folds dealt in every resample."""
    check_promise(count, resamples, fusion)


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["gated", "mean", "max"])
@pytest.mark.parametrize(("count", "resamples"), [(20, 250), (60, 150), (200, 60)])
def test_healthy_clips_alarm_as_often_as_promised_in_many_resamples(count: int, resamples: int, fusion: str) -> None:
    check_promise(count, resamples, fusion)


def test_a_clip_that_normalised_itself_would_break_the_promise() -> None:
    """Which is why compared clips are normalised by the others: scores with heavy tails, as few clips as allowed."""
    rng = np.random.default_rng(0)
    count, resamples = 8, 4000
    alarms = np.zeros(2)
    for scores in rng.standard_t(2, size=(resamples, count + 1, 3)):
        branches = BranchScores(scores[:-1], "max", (None,) * 3)
        new = np.broadcast_to(scores[-1], (count, 3))
        used = np.ones(3, bool)
        alike = fuse(deviations(scores, scores[:-1]), "max", (None,) * 3, used)
        own, other = branches.compared(new)
        alarms += [not (own >= other).any(), not (alike[:-1] >= alike[-1]).any()]
    promised = 1 / (count + 1)
    by_the_others, by_all = alarms / resamples
    error = 2 * np.sqrt(promised * (1 - promised) / resamples)
    assert by_the_others <= promised + error
    assert by_all > promised + 3 * error


def brute(scores: Float64, i: int) -> tuple[Float64, Float64]:
    others = np.delete(scores, i, axis=0)
    return others.mean(axis=0), others.std(axis=0, ddof=1)


def test_each_pair_is_normalised_by_the_other_clips() -> None:
    rng = np.random.default_rng(1)
    scores, new = rng.normal(5, 3, size=(30, 2)), rng.normal(6, 3, size=(30, 2))
    own, other = BranchScores(scores, "gated", (None, 1.0)).compared(new)
    for i in range(30):
        mean, deviation = brute(scores, i)
        for row, found in ((scores[i], own[i]), (new[i], other[i])):
            z = (row - mean) / deviation
            assert found == pytest.approx(z[0] + max(z[1] - 1, 0))


def test_fusions() -> None:
    z = np.array([[1.0, 3.0, -2.0], [0.5, 1.0, 5.0]])
    gates, every = (None, None, 2.0), np.ones(3, bool)
    np.testing.assert_allclose(fuse(z, "gated", gates, every), [2.0, 0.75 + 3.0])
    np.testing.assert_allclose(fuse(z, "mean", gates, every), z.mean(axis=1))
    np.testing.assert_allclose(fuse(z, "max", gates, every), [3.0, 5.0])
    np.testing.assert_allclose(fuse(z, "gated", gates, np.array([True, False, True])), [1.0, 0.5 + 3.0])
    np.testing.assert_allclose(fuse(z, "gated", gates, np.array([False, False, True])), [0.0, 3.0])


def test_a_gated_branch_that_knows_nothing_costs_nothing() -> None:
    """A good branch and one of noise: the gate keeps what the mean loses."""
    rng = np.random.default_rng(2)
    healthy, faulty = rng.normal(size=(400, 2)), rng.normal([1.5, 0], size=(400, 2))

    def auc(fusion: Any, gates: tuple[float | None, ...]) -> float:
        branches = BranchScores(healthy[:200], fusion, gates)
        normal, anomalous = branches.fused(healthy[200:]), branches.fused(faulty)
        return float((anomalous[:, None] > normal).mean())

    alone = float((faulty[:, 0][:, None] > healthy[200:, 0]).mean())
    assert auc("gated", (None, 3.0)) > alone - 0.005
    assert auc("mean", (None, 3.0)) < alone - 0.03


def test_a_branch_that_scores_all_clips_alike_says_nothing_until_it_differs() -> None:
    rng = np.random.default_rng(3)
    scores = np.stack([rng.normal(size=20), np.full(20, 7.0)], axis=1)
    branches = BranchScores(scores, "gated", (None, 3.0))
    calibration = Calibration(branches.held_out, np.zeros(20, np.int64), 10.0, branches=branches)
    assert np.isfinite(branches.held_out).all()
    assert calibration.p_value(np.array([[-1.0, 7.0]])) > 0.5
    assert calibration.p_value(np.array([[-1.0, 7.1]])) == pytest.approx(1 / 21)


def test_without_a_branch_the_others_decide_by_their_own_calibration() -> None:
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(50, 2))
    branches = BranchScores(scores, "gated", (None, None))
    calibration = Calibration(branches.held_out, np.arange(50) % 5, 10.0, branches=branches)
    new = np.stack([rng.normal(1, 0.1, 5), np.full(5, np.nan)], axis=1)
    assert calibration.p_value(new) == calibration.of_branch(0).p_value(new[:, 0])
