"""What every detector of the distribution keeps: the contract of asd.plugin.Detector."""

from __future__ import annotations

import logging
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from asd.errors import AsdError, ConfigError, DataError, ModelFileError
from asd.plugin import Detector, create

PARAMETERS: dict[str, dict[str, Any]] = {
    "gmm": {"n_components": 6},
    "bayesian-gmm": {"n_components": 6},
    "ocsvm": {"nu": 0.05},
    "isolation-forest": {"n_estimators": 32},
    "kde": {"bandwidth": 0.5},
    "mahalanobis": {},
    "pca-residual": {"n_components": 0.9},
    "knn": {},
    "deviation": {},
    "ensemble": {"detectors": ("gmm n_components=6", "knn n_neighbors=2 local_density=yes")},
}
NAMES = list(PARAMETERS)


def make(name: str) -> Detector:
    detector: Detector = create("detector", name, PARAMETERS[name])
    return detector


def blobs(count: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Four clusters in 12 correlated dimensions, float32; `shift` moves every window off its cluster."""
    rng = np.random.default_rng(seed)
    fixed = np.random.default_rng(99)
    centres, mixing = 4 * fixed.normal(size=(4, 12)), fixed.normal(size=(12, 12)) / 3
    noise = rng.normal(size=(count, 12)) @ mixing + 0.1 * rng.normal(size=(count, 12))
    away = rng.normal(size=(count, 12))
    away *= shift / np.linalg.norm(away, axis=1, keepdims=True)
    return (centres[rng.integers(4, size=count)] + noise + away).astype(np.float32)


TRAIN = blobs(300, 0)


@cache
def fitted(name: str) -> Detector:
    return make(name).fit(TRAIN)


@pytest.mark.parametrize("name", NAMES)
def test_ranks_anomalies_higher(name: str) -> None:
    detector = fitted(name)
    normal, anomalous = detector.score(blobs(200, 1)), detector.score(blobs(200, 2, shift=8.0))
    labels = np.repeat([0, 1], 200)
    assert roc_auc_score(labels, np.concatenate([normal, anomalous])) >= 0.9


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_finite_float64_one_per_window(name: str) -> None:
    scores = fitted(name).score(blobs(7, 1))
    assert scores.dtype == np.float64
    assert scores.shape == (7,)
    assert np.isfinite(scores).all()
    assert np.ptp(scores) > 0


@pytest.mark.parametrize("name", NAMES)
def test_no_windows_give_no_scores(name: str) -> None:
    assert fitted(name).score(np.empty((0, 12), np.float32)).shape == (0,)


@pytest.mark.parametrize("name", NAMES)
def test_scores_do_not_depend_on_the_batch(name: str) -> None:
    detector, test = fitted(name), blobs(100, 1, shift=1.0)
    whole = detector.score(test)
    order = np.random.default_rng(0).permutation(100)
    np.testing.assert_allclose(detector.score(test[order]), whole[order], rtol=1e-9, atol=1e-9)
    single = np.concatenate([detector.score(row[np.newaxis]) for row in test])
    np.testing.assert_allclose(single, whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_leave_no_seam(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    detector, test = fitted(name), blobs(101, 1)
    whole = detector.score(test)
    monkeypatch.setattr("asd_sklearn.base._BLOCK_VALUES", 5000)
    np.testing.assert_allclose(detector.score(test), whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_read_only_features_are_taken_and_left_alone(name: str) -> None:
    for dtype in (np.float32, np.float64):
        values = TRAIN.astype(dtype)
        values.flags.writeable = False
        before = values.copy()
        make(name).fit(values).score(values)
        np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("name", NAMES)
def test_single_and_double_precision_features_score_alike(name: str) -> None:
    single, double = fitted(name), make(name).fit(TRAIN.astype(np.float64))
    test = blobs(50, 1)
    np.testing.assert_allclose(single.score(test), double.score(test.astype(np.float64)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_scores_again(name: str) -> None:
    test = blobs(50, 1)
    np.testing.assert_array_equal(make(name).fit(TRAIN).score(test), fitted(name).score(test))


@pytest.mark.parametrize("name", NAMES)
def test_state_restores_the_scores_exactly(name: str) -> None:
    detector, test = fitted(name), blobs(50, 1)
    state = {key: np.array(value) for key, value in detector.get_state().items()}
    assert all(array.dtype.kind in "fiu" for array in state.values())
    restored = make(name)
    restored.set_state(state)
    np.testing.assert_array_equal(restored.score(test), detector.score(test))
    assert restored.get_state().keys() == state.keys()


@pytest.mark.parametrize("name", NAMES)
def test_fitting_again_forgets_the_first_fit(name: str) -> None:
    test = blobs(50, 1)
    again = make(name).fit(blobs(200, 5)[:, :8]).fit(TRAIN)
    np.testing.assert_array_equal(again.score(test), fitted(name).score(test))


@pytest.mark.parametrize("name", NAMES)
def test_fitting_leaks_no_warning_and_logs_nothing_on_sound_data(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "asd"):
        make(name).fit(TRAIN)
    assert caplog.messages == []


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_given_back(name: str) -> None:
    detector = make(name)
    given = detector.get_params()
    assert given.items() >= PARAMETERS[name].items()
    assert create("detector", name, given).get_params() == given


def test_former_names_lead_to_parameters_of_scikit_learn() -> None:
    former = {name: dict(getattr(type(make(name)), "renamed", {})) for name in NAMES}
    assert {name: pairs for name, pairs in former.items() if pairs} == {
        "gmm": {"components": "n_components", "tolerance": "tol", "regularisation": "reg_covar"},
        "bayesian-gmm": {
            "components": "n_components",
            "tolerance": "tol",
            "regularisation": "reg_covar",
            "weight_concentration": "weight_concentration_prior",
        },
        "isolation-forest": {"trees": "n_estimators"},
        "pca-residual": {"variance": "n_components"},
        "knn": {"neighbours": "n_neighbors", "density_neighbours": "n_density_neighbors"},
    }
    for name, pairs in former.items():
        present = make(name).get_params()
        assert set(pairs.values()) <= set(present)
        assert set(pairs).isdisjoint(present)


def refused(error: type[AsdError], action: Any) -> str:
    with pytest.raises(error) as caught:
        action()
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_nan_is_refused_with_its_window(name: str) -> None:
    text = (
        f"{name}: 2 of 300 windows hold NaN or infinite features (the first is window 8); "
        "check those recordings, the front end and the extractor"
    )
    for bad in (np.nan, np.inf, -np.inf):
        spoilt = TRAIN.copy()
        spoilt[[7, 100], 3] = bad
        assert refused(DataError, lambda: make(name).fit(spoilt)) == text  # noqa: B023  # called at once
        detector = fitted(name)
        assert refused(DataError, lambda: detector.score(spoilt)) == text  # noqa: B023  # called at once


@pytest.mark.parametrize("name", NAMES)
def test_too_few_windows_are_refused(name: str) -> None:
    none = refused(DataError, lambda: make(name).fit(TRAIN[:0]))
    assert none == f"{name}: no training windows, at least 2 are needed; give more or longer recordings"
    one = refused(DataError, lambda: make(name).fit(TRAIN[:1]))
    assert one == f"{name}: 1 training window, at least 2 are needed; give more or longer recordings"


@pytest.mark.parametrize("name", NAMES)
def test_identical_windows_are_refused(name: str) -> None:
    text = refused(DataError, lambda: make(name).fit(np.repeat(TRAIN[:1], 50, axis=0)))
    assert text == (
        f"{name}: all 50 training windows have the same features, there is nothing to learn; "
        "check that the recordings are not silent or copies of one"
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(12,), (5, 3, 4), (5, 0)])
def test_features_that_are_no_matrix_are_refused(name: str, shape: tuple[int, ...]) -> None:
    text = refused(DataError, lambda: make(name).fit(np.zeros(shape, np.float32)))
    assert text == (
        f"{name}: expected numbers of shape (windows, features), got shape {shape} of float32; "
        "reshape them to one row per window"
    )


@pytest.mark.parametrize("name", NAMES)
def test_another_dimension_is_refused(name: str) -> None:
    detector = fitted(name)
    assert refused(DataError, lambda: detector.score(TRAIN[:, :5])) == (
        f"{name}: got 5 features a window, was fitted with 12; "
        "score with the front end, extractor and parameters of the fit, or fit again"
    )


@pytest.mark.parametrize("name", NAMES)
def test_scoring_before_fitting_is_refused(name: str) -> None:
    text = refused(ConfigError, lambda: make(name).score(TRAIN))
    assert text == f"{name}: not fitted yet; call fit or load a model before scoring"


@pytest.mark.parametrize("name", NAMES)
def test_an_incomplete_state_is_refused(name: str) -> None:
    state = fitted(name).get_state()
    for key in (key for key in state if "." not in key):  # a dot: a member's, which says so itself
        rest = {other: value for other, value in state.items() if other != key}
        text = refused(ModelFileError, lambda: make(name).set_state(rest))  # noqa: B023  # called at once
        assert text == f"{name}: the model lacks {key}; it is damaged or of another version: fit it again"


def test_scoring_imports_neither_scikit_learn_nor_scipy(tmp_path: Path) -> None:
    for name in NAMES:
        np.savez(tmp_path / f"{name}.npz", **fitted(name).get_state())
    script = (
        "import sys, numpy as np\n"
        "from asd.plugin import create\n"
        f"for name, parameters in {PARAMETERS!r}.items():\n"
        "    detector = create('detector', name, parameters)\n"
        "    detector.set_state(dict(np.load(f'{name}.npz')))\n"
        "    print(name, len(detector.score(np.ones((3, 12), np.float32))))\n"
        "print([module for module in ('sklearn', 'scipy') if module in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == [*(f"{name} 3" for name in NAMES), "[]"]
