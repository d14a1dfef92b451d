"""Restored scores equal scikit-learn's own to 1e-6."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf, ShrunkCovariance
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.neighbors import KernelDensity, NearestNeighbors
from sklearn.svm import OneClassSVM

from asd.plugin import create

pytestmark = pytest.mark.parity


def data(seed: int, count: int = 500, dimension: int = 30) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(0, 2, (4, dimension))
    return centres[rng.integers(4, size=count)] + rng.normal(size=(count, dimension))


TRAIN, TEST = data(0), np.concatenate([data(2), 3 * data(3, 50), data(0)[:50]])


def restored_scores(name: str, train: np.ndarray, test: np.ndarray, **parameters: Any) -> np.ndarray:
    state = create("detector", name, parameters).fit(train).get_state()
    detector = create("detector", name, parameters)
    detector.set_state({key: array.copy() for key, array in state.items()})
    scores: np.ndarray = detector.score(test)
    return scores


def assert_equal(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_gmm_with_the_papers_parameters() -> None:
    model = GaussianMixture(80, covariance_type="diag", max_iter=150, random_state=0).fit(TRAIN)
    assert_equal(restored_scores("gmm", TRAIN, TEST), -model.score_samples(TEST))


def test_gmm_of_features_far_from_zero() -> None:
    train, test = TRAIN + 1000, TEST + 1000
    model = GaussianMixture(8, covariance_type="diag", max_iter=150, random_state=0).fit(train)
    assert_equal(restored_scores("gmm", train, test, n_components=8), -model.score_samples(test))


def test_gmm_of_standardised_single_precision_features_is_scikit_learns_own_fit() -> None:
    train = ((TRAIN - TRAIN.mean(axis=0)) / TRAIN.std(axis=0)).astype(np.float32)
    model = GaussianMixture(8, covariance_type="diag", max_iter=150, random_state=0).fit(train)
    ours = restored_scores("gmm", train, train, n_components=8)
    assert ours.mean() == pytest.approx(-model.score(train.astype(np.float64)), abs=1e-4)


@pytest.mark.parametrize("concentration", [None, 0.01])
def test_bayesian_gmm(concentration: float | None) -> None:
    model = BayesianGaussianMixture(
        n_components=20,
        covariance_type="diag",
        max_iter=500,
        random_state=0,
        weight_concentration_prior=concentration,
    ).fit(TRAIN)
    parameters = {"n_components": 20, "max_iter": 500, "weight_concentration_prior": concentration}
    assert_equal(restored_scores("bayesian-gmm", TRAIN, TEST, **parameters), -model.score_samples(TEST))


@pytest.mark.parametrize("gamma", ["scale", 0.02])
def test_ocsvm(gamma: Any) -> None:
    model = OneClassSVM(nu=0.1, gamma=gamma).fit(TRAIN)
    assert_equal(restored_scores("ocsvm", TRAIN, TEST, nu=0.1, gamma=gamma), -model.decision_function(TEST))


def test_ocsvm_with_a_nu_below_one_window_is_the_same_boundary() -> None:
    model = OneClassSVM(nu=1e-4, tol=1e-10).fit(TRAIN)
    theirs = -model.decision_function(TEST)
    ours = restored_scores("ocsvm", TRAIN, TEST)
    factor = len(TRAIN) * 1e-4
    np.testing.assert_allclose(ours * factor, theirs, atol=2e-3 * factor)  # libsvm's own tolerance is 1e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_isolation_forest(dtype: type) -> None:
    train, test = TRAIN.astype(dtype), TEST.astype(dtype)
    model = IsolationForest(n_estimators=128, random_state=0).fit(train)
    assert_equal(restored_scores("isolation-forest", train, test), -model.score_samples(test))


def test_isolation_forest_on_its_own_thresholds() -> None:
    """Windows that lie on a cut, or a hair beside it, go the way that they go in scikit-learn."""
    model = IsolationForest(n_estimators=128, random_state=0).fit(TRAIN)
    test = TRAIN[np.arange(3 * 128) % len(TRAIN)].copy()
    for row, estimator in zip(test.reshape(128, 3, -1), model.estimators_, strict=True):
        root, threshold = estimator.tree_.feature[0], estimator.tree_.threshold[0]
        row[:, root] = np.nextafter(threshold, -np.inf), threshold, np.nextafter(np.float32(threshold), np.float32(99))
    assert_equal(restored_scores("isolation-forest", TRAIN, test), -model.score_samples(test))


def test_isolation_forest_of_few_windows() -> None:
    model = IsolationForest(n_estimators=10, random_state=3).fit(TRAIN[:5])
    assert_equal(
        restored_scores("isolation-forest", TRAIN[:5], TEST, n_estimators=10, seed=3), -model.score_samples(TEST)
    )


@pytest.mark.parametrize("bandwidth", [0.1, 2.0, "scott", "silverman"])
def test_kde(bandwidth: Any) -> None:
    # One leaf for all windows: the bounds of scikit-learn's tree round away sums that are small beside the highest
    # density, and scores far from the training windows come out too low.
    model = KernelDensity(bandwidth=bandwidth, leaf_size=len(TRAIN)).fit(TRAIN)
    assert_equal(restored_scores("kde", TRAIN, TEST, bandwidth=bandwidth), -model.score_samples(TEST))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("neighbours", [1, 7])
def test_knn(metric: str, neighbours: int) -> None:
    model = NearestNeighbors(n_neighbors=neighbours, metric=metric, algorithm="brute").fit(TRAIN)
    theirs = model.kneighbors(TEST)[0].mean(axis=1)
    assert_equal(
        restored_scores("knn", TRAIN, TEST, metric=metric, n_neighbors=neighbours, local_density="off"), theirs
    )


def test_knn_of_a_window_without_direction() -> None:
    model = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(TRAIN)
    silent = np.zeros((1, TRAIN.shape[1]))
    assert_equal(
        restored_scores("knn", TRAIN, silent, metric="cosine", local_density="off"), model.kneighbors(silent)[0][:, 0]
    )


def test_mahalanobis_with_estimated_shrinkage() -> None:
    few = TRAIN[:20]
    model = LedoitWolf().fit(few)
    assert_equal(restored_scores("mahalanobis", few, TEST), model.mahalanobis(TEST))


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, 1.0])
def test_mahalanobis_with_given_shrinkage(shrinkage: float) -> None:
    model = ShrunkCovariance(shrinkage=shrinkage).fit(TRAIN)
    assert_equal(restored_scores("mahalanobis", TRAIN, TEST, shrinkage=shrinkage), model.mahalanobis(TEST))


@pytest.mark.parametrize("variance", [0.5, 0.98])
@pytest.mark.parametrize("windows", [20, 500])
def test_pca_residual(variance: float, windows: int) -> None:
    train = TRAIN[:windows]
    model = PCA(variance, svd_solver="full").fit(train)
    errors = TEST - model.inverse_transform(model.transform(TEST))
    assert_equal(restored_scores("pca-residual", train, TEST, n_components=variance), (errors**2).sum(axis=1))
