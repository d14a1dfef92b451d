"""Ranks over machine sections: Demšar's own table and example, groups, what has no ranks."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from asd_bench.ranks import nemenyi, ranked, ranks_of

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tests"))

from invented import invented, without  # noqa: E402  # lies beside all distributions

DEMSAR_TABLE_5A = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}


@pytest.mark.parametrize("count", DEMSAR_TABLE_5A)
def test_critical_values_are_those_of_the_paper(count: int) -> None:
    assert nemenyi(count) == pytest.approx(DEMSAR_TABLE_5A[count], abs=0.0015)


def test_the_papers_example() -> None:
    """Table 6 of the paper: four variants of C4.5 on 14 data sets."""
    c45 = [.763, .599, .954, .628, .882, .936, .661, .583, .775, 1.0, .940, .619, .972, .957]  # fmt: skip
    c45_m = [.768, .591, .971, .661, .888, .931, .668, .583, .838, 1.0, .962, .666, .981, .978]  # fmt: skip
    c45_cf = [.771, .590, .968, .654, .886, .916, .609, .563, .866, 1.0, .965, .614, .975, .946]  # fmt: skip
    both = [.798, .569, .967, .657, .898, .931, .685, .625, .875, 1.0, .962, .669, .975, .970]  # fmt: skip
    found = ranked(["C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf"], np.array([c45, c45_m, c45_cf, both]).T)
    means = dict(zip(found.labels, found.mean.tolist(), strict=True))
    assert means == pytest.approx({"C4.5": 3.143, "C4.5+m": 2.000, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964}, abs=0.001)
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert found.p_value < 0.05
    # C4.5 differs from neither by 1.25: 3.143 - 1.964 = 1.18, so all are one group
    assert found.groups == [(0, 3)]


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
