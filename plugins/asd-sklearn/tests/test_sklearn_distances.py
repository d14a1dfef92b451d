"""What is particular to the detectors that measure distances: knn, kde, ocsvm, mahalanobis, pca-residual, trees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asd.errors import AsdError, ConfigError, DataError
from asd.plugin import create

RNG = np.random.default_rng(0)
TRAIN, TEST = RNG.normal(size=(60, 5)), RNG.normal(size=(20, 5))


def scores(name: str, train: np.ndarray, test: np.ndarray, **parameters: Any) -> np.ndarray:
    result: np.ndarray = create("detector", name, parameters).fit(train).score(test)
    return result


def refused(error: type[AsdError], name: str, train: np.ndarray = TRAIN, **parameters: Any) -> str:
    with pytest.raises(error) as caught:
        create("detector", name, parameters).fit(train)
    return str(caught.value)


def test_a_training_window_is_at_distance_zero_far_from_the_origin() -> None:
    assert (scores("knn", TRAIN + 1e6, TRAIN + 1e6) == 0).all()


@pytest.mark.parametrize("name", ["knn", "kde", "ocsvm", "mahalanobis", "pca-residual"])
def test_a_large_common_offset_costs_no_precision(name: str) -> None:
    parameters = {"n_components": 0.5} if name == "pca-residual" else {}
    plain = scores(name, TRAIN, TEST, **parameters)
    np.testing.assert_allclose(scores(name, TRAIN + 1e8, TEST + 1e8, **parameters), plain, rtol=1e-5, atol=1e-7)


def test_an_underdetermined_covariance_is_refused() -> None:
    assert refused(DataError, "mahalanobis", TRAIN[:4], shrinkage=0.0) == (
        "mahalanobis: 4 windows do not determine the covariance of 5 features; "
        "record more or use --detector.shrinkage ledoit-wolf"
    )
    constant = np.insert(TRAIN, 2, 1.0, axis=1)
    assert "do not determine the covariance of 6 features" in refused(DataError, "mahalanobis", constant, shrinkage=0.0)
    assert np.isfinite(scores("mahalanobis", constant, np.insert(TEST, 2, 2.0, axis=1))).all()


def test_pca_residual_leaves_a_direction_out_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert scores("pca-residual", TRAIN, TEST).min() > 0
    assert caplog.messages == [
        "pca-residual: 0.98 of the variance takes all 5 features; the last principal component is left out all the same"
    ]


def test_pca_residual_of_one_feature_is_refused() -> None:
    assert refused(ConfigError, "pca-residual", TRAIN[:, :1]) == (
        "pca-residual: 1 feature leaves no residual, at least 2 are needed; use --detector gmm"
    )


def test_pca_residual_sees_what_leaves_the_plane() -> None:
    plane = RNG.normal(size=(100, 2)) @ RNG.normal(size=(2, 8))
    off = plane[:10] + 0.5 * RNG.normal(size=(10, 8))
    detector = create("detector", "pca-residual").fit(plane + 0.01 * RNG.normal(size=plane.shape))
    assert detector.score(off).min() > 10 * detector.score(3 * plane).max()


@pytest.mark.parametrize("name", ["kde", "knn", "ocsvm", "mahalanobis", "pca-residual", "isolation-forest"])
@pytest.mark.parametrize("level", [1e4, 1e15, 1e38])
def test_far_windows_have_finite_scores(name: str, level: float) -> None:
    parameters = {"n_components": 0.5} if name == "pca-residual" else {}
    near, far = scores(name, TRAIN, np.concatenate([TEST, np.full((1, 5), level)]), **parameters)[[0, -1]]
    assert np.isfinite(far)
    assert far > near


@pytest.mark.parametrize(
    ("name", "parameter", "value", "expected"),
    [
        ("ocsvm", "nu", 0.0, "ocsvm: nu must be a number above 0 and at most 1, got 0.0; change --detector.nu"),
        ("ocsvm", "nu", 1.5, "ocsvm: nu must be a number above 0 and at most 1, got 1.5; change --detector.nu"),
        ("ocsvm", "gamma", -1.0, "ocsvm: gamma must be a number above 0, got -1.0; change --detector.gamma"),
        ("kde", "bandwidth", 0.0, "kde: bandwidth must be a number above 0, got 0.0; change --detector.bandwidth"),
        (
            "isolation-forest",
            "n_estimators",
            0,
            "isolation-forest: n_estimators must be a whole number of at least 1, got 0; "
            "use --detector.n_estimators 1 or more",
        ),
        (
            "isolation-forest",
            "max_samples",
            1,
            "isolation-forest: max_samples must be a whole number of at least 2, got 1; "
            "use --detector.max_samples 2 or more",
        ),
        (
            "knn",
            "n_neighbors",
            0,
            "knn: n_neighbors must be a whole number of at least 1, got 0; use --detector.n_neighbors 1 or more",
        ),
        (
            "mahalanobis",
            "shrinkage",
            1.1,
            "mahalanobis: shrinkage must be a number of at least 0 and at most 1, got 1.1; change --detector.shrinkage",
        ),
        (
            "pca-residual",
            "n_components",
            1.0,
            "pca-residual: n_components must be a number above 0 and below 1, got 1.0; change --detector.n_components",
        ),
    ],
)
def test_unfit_parameters_are_refused(name: str, parameter: str, value: float, expected: str) -> None:
    assert refused(ConfigError, name, **{parameter: value}) == expected


def test_an_unknown_metric_is_refused() -> None:
    from asd_sklearn.neighbours import NearestNeighbours

    with pytest.raises(ConfigError) as caught:
        NearestNeighbours(metric="manhattan")  # type: ignore[arg-type]  # that is the mistake
    assert str(caught.value) == ("knn: metric must be euclidean or cosine, got 'manhattan'; change --detector.metric")
