"""The mixtures: scikit-learn's likelihood, and one remedy for each kind of degenerate data."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from asd.errors import ConfigError, DataError
from asd_sklearn.mixture import BayesianGaussianMixture, GaussianMixture

CLASSES = {"gmm": GaussianMixture, "bayesian-gmm": BayesianGaussianMixture}
NAMES = list(CLASSES)


def data(count: int = 400, dimension: int = 8, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(0, 5, (5, dimension))
    return centres[rng.integers(5, size=count)] + rng.normal(size=(count, dimension))


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_the_first_papers(name: str) -> None:
    assert CLASSES[name]().n_components == 80
    assert CLASSES[name]().max_iter == 150


def test_far_windows_have_finite_scores_in_order_of_distance() -> None:
    detector = GaussianMixture(n_components=5).fit(data())
    far = np.ones((4, 8)) * np.array([[1e2], [1e4], [1e6], [1e30]])
    scores = detector.score(far)
    assert np.isfinite(scores).all()
    assert (np.diff(scores) > 0).all()


def test_a_large_common_offset_costs_no_precision() -> None:
    plain = GaussianMixture(n_components=5).fit(data()).score(data(seed=2))
    moved = GaussianMixture(n_components=5).fit(data() + 1e6).score(data(seed=2) + 1e6)
    np.testing.assert_allclose(moved, plain, rtol=1e-6)


def test_single_precision_far_from_zero_is_as_good_as_double() -> None:
    train, test = ((data(seed=seed) + 300).astype(np.float32) for seed in (0, 2))
    single = GaussianMixture(n_components=5).fit(train).score(test)
    double = GaussianMixture(n_components=5).fit(train.astype(np.float64)).score(test.astype(np.float64))
    np.testing.assert_allclose(single, double, rtol=1e-6)


def test_variances_that_single_precision_would_lose_are_kept() -> None:
    # Rectified features: a component whose windows share one value, away from zero, has no variance of its own.
    train = data().astype(np.float32)
    train[train < 0] = -2 / 3
    detector = GaussianMixture(n_components=5).fit(train)
    assert detector.precisions_.max() <= 2 / detector.reg_covar


def test_another_seed_is_another_initialisation() -> None:
    noise = np.random.default_rng(0).normal(size=(300, 4))
    first = GaussianMixture(n_components=10, seed=0).fit(noise).score(noise)
    second = GaussianMixture(n_components=10, seed=1).fit(noise).score(noise)
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_fewer_windows_than_components(name: str) -> None:
    with pytest.raises(DataError) as caught:
        CLASSES[name]().fit(data(18))
    assert str(caught.value) == (f"{name}: 18 windows for 80 components; record more or use --detector.n_components 9")
    CLASSES[name](n_components=9).fit(data(18))


@pytest.mark.parametrize("name", NAMES)
def test_fewer_distinct_windows_than_components(name: str) -> None:
    repeated = np.concatenate([data(12)] * 9)
    repeated[::12, 0] = 0.0
    repeated[12, 0] = -0.0
    with pytest.raises(DataError) as caught:
        CLASSES[name](n_components=20).fit(repeated)
    assert str(caught.value) == (
        f"{name}: only 12 of 108 windows are distinct, for 20 components; "
        "check for silent or repeated recordings or use --detector.n_components 6"
    )
    CLASSES[name](n_components=6).fit(repeated)


@pytest.mark.parametrize("name", NAMES)
def test_constant_features_are_left_out_with_a_line_in_the_log(name: str, caplog: pytest.LogCaptureFixture) -> None:
    train, test = data(), data(seed=2)
    padded = np.insert(train, [0, 5], [0.0, 7.5], axis=1)
    detector = CLASSES[name](n_components=5).fit(padded)
    assert caplog.messages == [
        f"{name}: 2 of 10 features are the same in all training windows and are left out of the score"
    ]
    plain = CLASSES[name](n_components=5).fit(train).score(test)
    np.testing.assert_allclose(detector.score(np.insert(test, [0, 5], 3.0, axis=1)), plain, rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_a_mixture_that_did_not_converge_is_told_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "asd"):
        CLASSES[name](n_components=8, max_iter=1, tol=1e-9).fit(data())
    assert caplog.messages == [
        f"{name}: the mixture was still improving after 1 iterations and is used as it is; "
        "--detector.max_iter 2 gives it more"
    ]


def test_a_collapsed_component_is_named() -> None:
    train = np.repeat(1000 * np.random.default_rng(0).normal(size=(6, 8)), 10, axis=0)
    with pytest.raises(DataError) as caught:
        GaussianMixture(n_components=6, reg_covar=0.0).fit(train)
    assert str(caught.value) == (
        "gmm: a component has collapsed onto a few windows; "
        "use --detector.reg_covar 1e-3 or fewer --detector.n_components"
    )


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        (
            "n_components",
            0,
            "n_components must be a whole number of at least 1, got 0; use --detector.n_components 1 or more",
        ),
        ("n_components", 2.5, "a whole number of at least 1, got 2.5"),
        ("max_iter", -3, "max_iter must be a whole number of at least 1, got -3; use --detector.max_iter 1 or more"),
        ("tol", -1.0, "tol must be a number of at least 0, got -1.0; change --detector.tol"),
        ("reg_covar", float("nan"), "reg_covar must be a number of at least 0, got nan"),
        ("seed", -1, "seed must be a whole number of at least 0, got -1"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_unfit_parameters_are_refused(name: str, parameter: str, value: float, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CLASSES[name](**{parameter: value})
    assert str(caught.value).startswith(f"{name}: ")
    assert expected in str(caught.value)


def test_bayesian_weight_concentration_must_be_positive() -> None:
    with pytest.raises(ConfigError) as caught:
        BayesianGaussianMixture(weight_concentration_prior=0.0)
    assert str(caught.value) == (
        "bayesian-gmm: weight_concentration_prior must be a number above 0, got 0.0; "
        "change --detector.weight_concentration_prior"
    )


def test_bayesian_mixture_switches_off_components_that_five_clusters_do_not_need() -> None:
    detector = BayesianGaussianMixture(n_components=20).fit(data())
    assert (detector.offsets_ > detector.offsets_.max() - 5).sum() == 5
