"""What ``subcluster-adacos`` learns, from which classes, and what it refuses."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asd.errors import ConfigError, DataError
from asd.experiment import auc
from asd.plugin import Rows
from asd_discriminative.detector import SubClusterAdaCos
from asd_discriminative.loss import SubClusterAdaCos as Loss

QUICK: dict[str, Any] = {"epochs": 5, "hidden": 32, "n_components": 16, "n_subclusters": 2}
CLASSES, DIMENSION = 4, 40


def healthy(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that differ by class in four values, among values that vary much more and tell nothing."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, CLASSES, count)
    features = 3 * rng.standard_normal((count, DIMENSION))
    features[:, :CLASSES] = rng.standard_normal((count, CLASSES)) * 0.3
    features[np.arange(count), group] += 3
    return features.astype(np.float32), group


def faulty(count: int, seed: int) -> np.ndarray:
    """Rows like no class: what tells a class is there with the wrong sign."""
    features, _ = healthy(count, seed)
    features[:, :CLASSES] *= -1
    return features


def fitted(rows: Rows | None, features: np.ndarray, **parameters: Any) -> SubClusterAdaCos:
    return SubClusterAdaCos(**{**QUICK, **parameters}).fit(features, rows)


def rows_of(group: np.ndarray) -> Rows:
    return Rows(clip=np.arange(len(group)), group=group)


def test_classes_teach_what_matters() -> None:
    features, group = healthy(400, seed=0)
    detector = fitted(rows_of(group), features, epochs=60)
    found = auc(detector.score(healthy(200, seed=1)[0]), detector.score(faulty(200, seed=2)))
    nearest = [np.linalg.norm(each[:, None] - features, axis=2).min(axis=1) for each in
               (healthy(200, seed=1)[0], faulty(200, seed=2))]  # fmt: skip
    assert found > 0.9
    assert found > auc(*nearest) + 0.3  # without the classes the other values drown what matters


def test_rows_without_a_group_get_classes_by_k_means(caplog: pytest.LogCaptureFixture) -> None:
    features, group = healthy(120, seed=0)
    group[::2] = -1
    with caplog.at_level(logging.INFO, "asd"):
        detector = fitted(rows_of(group), features, n_pseudo_classes=5)
    assert "60 of 120 rows have no group; k-means made 5 classes of them" in caplog.text
    assert np.isfinite(detector.score(features)).all()


@pytest.mark.parametrize("rows", [None, rows_of(np.full(60, -1)), Rows(clip=np.arange(60))])
def test_without_any_label_all_classes_are_k_means(rows: Rows | None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "asd"):
        fitted(rows, healthy(60, seed=0)[0])
    assert "60 of 60 rows have no group; k-means made 16 classes of them" in caplog.text


def test_few_rows_and_copies_make_fewer_classes(caplog: pytest.LogCaptureFixture) -> None:
    features = np.repeat(healthy(3, seed=0)[0], 4, axis=0)
    with caplog.at_level(logging.INFO, "asd"):
        fitted(None, features)
    assert "k-means made 3 classes" in caplog.text


def test_one_group_is_no_task() -> None:
    with pytest.raises(DataError) as raised:
        fitted(rows_of(np.zeros(20, np.int64)), healthy(20, seed=0)[0])
    assert str(raised.value) == (
        "subcluster-adacos: all training clips are in one group; give groups that differ (--group), or leave --group "
        "out: k-means then makes classes"
    )


def test_the_seed_determines_all_and_torch_keeps_its_own() -> None:
    features, group = healthy(80, seed=0)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (fitted(rows_of(group), features, seed=seed) for seed in (1, 1, 2))
    assert torch.rand(1) == expected
    np.testing.assert_array_equal(first.score(features), again.score(features))
    assert not np.array_equal(first.first_, other.first_)


def test_its_state_scores_the_same_without_torch(tmp_path: Path) -> None:
    features, group = healthy(60, seed=0)
    detector = fitted(rows_of(group), features)
    code = (
        "import sys, numpy as np\n"
        "from asd_discriminative.detector import SubClusterAdaCos\n"
        "arrays = dict(np.load(sys.argv[1]))\n"
        "detector = SubClusterAdaCos()\n"
        "features, expected = arrays.pop('features'), arrays.pop('expected')\n"
        "detector.set_state(arrays)\n"
        "np.testing.assert_array_equal(detector.score(features), expected)\n"
        "assert not {'torch', 'sklearn'} & sys.modules.keys()\n"
    )
    file = tmp_path / "state.npz"
    np.savez(file, features=features, expected=detector.score(features), **detector.get_state())
    subprocess.run([sys.executable, "-c", code, str(file)], check=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_components", 1), ("hidden", 0), ("n_subclusters", 0), ("n_pseudo_classes", 1), ("epochs", 0)],
)
def test_bad_parameters(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a whole number of at least {value + 1}, got {value}; use "):
        SubClusterAdaCos(**{name: value})


def test_the_loss_prefers_the_own_class_and_its_scale_adapts() -> None:
    torch.manual_seed(0)
    loss = Loss(3, 2, 8)
    own = torch.nn.functional.one_hot(torch.tensor([0, 1, 2]), 3).float()
    at_centres = loss.centres[[0, 2, 4]]
    first = loss.scale
    right, wrong = loss(at_centres, own), loss(at_centres[[1, 2, 0]], own)
    assert right < wrong
    assert loss.scale != first
    loss.eval()
    kept = loss.scale
    loss(at_centres, own)
    assert loss.scale == kept
