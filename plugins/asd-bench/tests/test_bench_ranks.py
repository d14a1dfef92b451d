"""Ranks over machine sections: Demšar's own table, groups, what has no ranks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from asd_bench.ranks import Ranks, nemenyi, ranked, ranks_of

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests"))

from invented import invented, without  # lies beside all distributions

DEMSAR_TABLE_5A = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}


@pytest.mark.parametrize("count", DEMSAR_TABLE_5A)
def test_critical_values_are_those_of_the_paper(count: int) -> None:
    assert nemenyi(count) == pytest.approx(DEMSAR_TABLE_5A[count], abs=0.0015)


def test_ranks_and_friedmans_test_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    scores = np.round(rng.normal([0.0, 0.3, 0.6, 0.9], size=(14, 4)), 1)  # with ties
    found = ranked(list("abcd"), scores)
    expected = stats.rankdata(-scores, axis=1).mean(axis=0)
    assert dict(zip(found.labels, found.mean.tolist(), strict=True)) == pytest.approx(
        dict(zip("abcd", expected, strict=True))
    )
    assert found.p_value == pytest.approx(stats.friedmanchisquare(*scores.T).pvalue, abs=0.02)
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)  # the paper's for four on 14 data sets


def test_groups_are_as_large_as_possible() -> None:
    found = Ranks(tuple("abcde"), np.array([1.0, 1.5, 2.2, 4.0, 4.5]), 10, 0.01, 1.3)
    assert found.groups == [(0, 2), (3, 4)]


def test_equal_pipelines_are_not_told_apart() -> None:
    found = ranked(["a", "b", "c"], np.tile([[0.5, 0.5, 0.5]], (6, 1)))
    assert found.mean.tolist() == [2, 2, 2]
    assert found.p_value == 1


def test_pipelines_that_always_differ_are() -> None:
    found = ranked(["worst", "middle", "best"], np.tile([[0.1, 0.2, 0.3]], (12, 1)))
    assert found.labels == ("best", "middle", "worst")
    assert found.p_value < 0.001
    assert found.groups == []  # 1 apart; the critical difference is 0.96


def test_ranks_need_two_pipelines_and_two_machines(tmp_path: Path) -> None:
    results = invented(tmp_path, pipelines=2, machines=2, clips=8)
    assert ranks_of(results) is not None
    assert ranks_of(without(results, results.ranking[1].label, "failed")) is None
    assert ranks_of(invented(tmp_path, pipelines=2, machines=1, clips=8)) is None
