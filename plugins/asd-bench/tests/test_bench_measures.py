"""Scores against the official evaluators' definitions, scikit-learn's, and values worked out by hand; the bootstrap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asd.errors import DataError
from asd.experiment import auc, bootstrap_interval, partial_auc, percentile_interval
from asd.plugin import Recording
from asd_bench.measures import Bootstrap, Metric, combine
from asd_bench.official import official_scores


def clips(per_stratum: int = 7, sections: tuple[str, ...] = ("00", "01")) -> list[Recording]:
    return [
        Recording(Path(f"{section}_{domain}_{label}_{i}.wav"), "fan", section, "test", label, domain)  # type: ignore[arg-type]
        for section in sections
        for domain in ("source", "target")
        for label in (False, True)
        for i in range(per_stratum)
    ]


def drawn(recordings: list[Recording], draws: int = 200) -> Bootstrap:
    return Bootstrap(recordings, "0123456789abcdef0123", draws)


@pytest.mark.parametrize("metric", ["dcase2020", "dcase2021", "dcase2022"])
@pytest.mark.parametrize("rounded", [False, True], ids=["", "ties"])
def test_scores_are_the_official_evaluators(metric: Metric, rounded: bool) -> None:
    recordings = clips()
    scores = np.random.default_rng(1).normal(size=len(recordings)) + [r.anomalous for r in recordings]
    scores = scores.round() if rounded else scores
    expected = official_scores(recordings, scores, metric)  # type: ignore[arg-type]  # a metric of DCASE
    parts = drawn(recordings).measures(metric, scores)
    assert combine(metric, [(p.name, p.value) for p in parts]) == pytest.approx(expected.score, abs=1e-12)
    for part in parts:
        measures = next(own for own in expected.parts if own.section == part.section).measures
        assert part.value == pytest.approx(measures[part.name], abs=1e-12)


@pytest.mark.parametrize("rounded", [False, True], ids=["", "ties"])
def test_each_draw_is_what_the_core_measures_on_the_drawn_clips(rounded: bool) -> None:
    recordings = clips(20, ("00",))
    scores = np.random.default_rng(2).normal(size=80) + [float(bool(r.anomalous)) for r in recordings]
    scores = scores.round() if rounded else scores
    bootstrap = drawn(recordings, 20)
    parts = {part.name: part for part in bootstrap.measures("auc", scores)}
    for i, weights in enumerate(bootstrap.counts[1:]):
        repeated = np.repeat(np.arange(80), weights.astype(int))
        normal, faulty = (
            scores[repeated[~bootstrap.anomalous[repeated]]],
            scores[repeated[bootstrap.anomalous[repeated]]],
        )
        assert parts["auc"].draws[i] == pytest.approx(auc(normal, faulty), abs=1e-12)
        assert parts["pauc"].draws[i] == pytest.approx(partial_auc(normal, faulty), abs=1e-12)


def test_worked_out_by_hand() -> None:
    recordings = [Recording(Path(str(i)), "fan", "00", "test", i >= 4, "source") for i in range(8)]
    parts = drawn(recordings).measures("auc", np.array([1.0, 2, 3, 4, 2.5, 3.5, 5, 6]))
    # Pairs in the right order: 2.5 above 2 of 4, 3.5 above 3, 5 and 6 above 4.
    assert parts[0].value == 13 / 16
    assert combine("dcase2022", [("auc_source", 0.5), ("auc_target", 1.0), ("pauc", 1.0)]) == pytest.approx(0.75)
    assert combine("dcase2022", [("auc_source", 0.0), ("auc_target", 1.0), ("pauc", 1.0)]) < 1e-12


def test_the_interval_agrees_with_the_cores_bootstrap() -> None:
    recordings = [Recording(Path(str(i)), "fan", "", "test", i >= 50) for i in range(100)]
    scores = np.random.default_rng(3).normal(size=100) + np.arange(100) // 50
    part = drawn(recordings, 2000).measures("auc", scores)[0]
    assert percentile_interval(part.draws) == pytest.approx(bootstrap_interval(scores[:50], scores[50:]), abs=0.015)


def test_the_same_clips_are_drawn_for_every_pipeline() -> None:
    recordings = clips()
    assert np.array_equal(drawn(recordings).counts, drawn(recordings).counts)
    strata = {(r.section, r.domain, r.anomalous) for r in recordings}
    for section, domain, anomalous in strata:
        own = [(r.section, r.domain, r.anomalous) == (section, domain, anomalous) for r in recordings]
        assert (drawn(recordings).counts[:, own].sum(axis=1) == 7).all()


@pytest.mark.parametrize(
    ("recordings", "message"),
    [
        ([r for r in clips() if not r.anomalous], "auc is undefined: the test has no anomalous clip of section 00"),
        ([r for r in clips() if r.anomalous], "auc is undefined: the test has no normal clip of section 00"),
        (
            [r for r in clips() if r.domain == "source"],
            "auc_target is undefined: the test has no normal clip of section 00",
        ),
        ([*clips(), Recording(Path("x"), "fan", "00", "test")], "the labels of 1 test clips are not known"),
    ],
)
def test_what_is_undefined_is_said(recordings: list[Recording], message: str) -> None:
    with pytest.raises(DataError, match=message):
        drawn(recordings).measures("dcase2022", np.arange(len(recordings), dtype=float))


def test_scores_that_are_no_numbers_have_no_auc() -> None:
    with pytest.raises(DataError, match="scores that are no numbers"):
        drawn(clips()).measures("auc", np.full(len(clips()), np.nan))
