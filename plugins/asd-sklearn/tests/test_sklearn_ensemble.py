"""The ensemble: standardised on scores of held-out training windows, members named with their parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asd.errors import AsdError, ConfigError, DataError, ModelFileError, PluginError
from asd.plugin import Rows, Runtime, create
from asd_sklearn.ensemble import Ensemble, _folds

RNG = np.random.default_rng(0)
TRAIN, TEST = RNG.normal(size=(200, 6)), RNG.normal(size=(50, 6)) * np.linspace(1, 3, 50)[:, np.newaxis]
MEMBERS = ("mahalanobis", "knn metric=cosine n_neighbors=3")


def refused(error: type[AsdError], action: Any) -> str:
    with pytest.raises(error) as caught:
        action()
    return str(caught.value)


@pytest.mark.parametrize("combine", ["mean", "minimum"])
def test_combines_scores_standardised_on_held_out_training_windows(combine: Any) -> None:
    members = [
        create("detector", "mahalanobis"),
        create("detector", "knn", {"metric": "cosine", "n_neighbors": 3}),
    ]
    fold = np.arange(200) * 12 // 200 % 3
    standardised = []
    for member in members:
        held_out = np.concatenate([member.fit(TRAIN[fold != i]).score(TRAIN[fold == i]) for i in range(3)])
        standardised.append((member.fit(TRAIN).score(TEST) - held_out.mean()) / held_out.std())
    expected = np.mean(standardised, axis=0) if combine == "mean" else np.min(standardised, axis=0)
    ours = Ensemble(detectors=MEMBERS, combine=combine, folds=3).fit(TRAIN).score(TEST)
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)


def test_what_is_scored_does_not_move_the_scale() -> None:
    detector = Ensemble(detectors=MEMBERS).fit(TRAIN)
    before = detector.score(TEST[:5])
    detector.score(100 * TEST)
    np.testing.assert_array_equal(detector.score(TEST[:5]), before)


def test_new_normal_windows_score_near_zero_even_with_a_member_that_knows_its_training_windows() -> None:
    detector = Ensemble(detectors=("knn local_density=off",)).fit(TRAIN)
    scores = detector.score(RNG.normal(size=(500, 6)))
    assert abs(scores.mean()) < 0.2
    assert 0.7 < scores.std() < 1.3


def test_the_minimum_needs_every_members_consent() -> None:
    mean = Ensemble(detectors=MEMBERS, combine="mean").fit(TRAIN).score(TEST)
    minimum = Ensemble(detectors=MEMBERS, combine="minimum").fit(TRAIN).score(TEST)
    assert (minimum <= mean).all()


def test_folds_are_stretches_that_cover_every_window() -> None:
    fold = _folds(200, 5)
    assert sorted(set(fold)) == [0, 1, 2, 3, 4]
    assert (np.bincount(fold) == 40).all()
    assert (np.diff(fold) != 0).sum() == 19  # four stretches a fold
    for count in range(4, 60):
        sizes = np.bincount(_folds(count, min(5, count // 2)))
        assert sizes.min() >= 1
        assert len(sizes) == min(5, count // 2)


def test_parameters_from_the_command_line() -> None:
    given = {"detectors": "gmm n_components=4 seed=3, knn n_neighbors=2", "combine": "minimum"}
    detector = create("detector", "ensemble", given)
    assert detector.get_params() == {
        "detectors": ("gmm n_components=4 seed=3", "knn n_neighbors=2"),
        "combine": "minimum",
        "folds": 5,
        "seed": 0,
    }
    assert np.isfinite(detector.fit(TRAIN).score(TEST)).all()


def test_members_take_the_ensembles_seed_unless_they_have_their_own() -> None:
    def scores(member: str, seed: int) -> np.ndarray:
        return Ensemble(detectors=(member,), seed=seed).fit(TRAIN).score(TEST)

    assert (
        np.abs(scores("isolation-forest n_estimators=5", 0) - scores("isolation-forest n_estimators=5", 1)).max() > 1e-3
    )
    np.testing.assert_array_equal(
        scores("isolation-forest n_estimators=5 seed=7", 0), scores("isolation-forest n_estimators=5 seed=7", 1)
    )


def test_an_ensemble_may_hold_ensembles() -> None:
    detector = Ensemble(detectors=("ensemble detectors=knn combine=minimum", "mahalanobis")).fit(TRAIN)
    restored = Ensemble(detectors=detector.detectors)
    restored.set_state(detector.get_state())
    np.testing.assert_array_equal(restored.score(TEST), detector.score(TEST))


def test_members_compute_as_the_ensemble_is_told() -> None:
    detector = Ensemble(detectors=MEMBERS)
    detector.runtime = Runtime(device="cpu", batch_size=3)
    detector.fit(TRAIN)
    assert all(member.runtime is detector.runtime for member in detector._members)


def test_a_members_error_names_it_and_a_remedy_that_works_here() -> None:
    text = refused(DataError, lambda: Ensemble(detectors=("knn", "gmm")).fit(TRAIN[:50]))
    assert text == (
        "ensemble: member 'gmm': gmm: 40 windows for 80 components; "
        "record more or use 'gmm n_components=20' as the member"
    )


def test_a_members_parameter_out_of_range_is_the_members_not_the_ensembles() -> None:
    assert refused(ConfigError, lambda: Ensemble(detectors=("ocsvm nu=2",))) == (
        "ensemble: member 'ocsvm nu=2': ocsvm: nu must be a number above 0 and at most 1, got 2.0; "
        "change the member's nu"
    )


def test_a_member_whose_scores_are_all_the_same_is_refused() -> None:
    text = refused(DataError, lambda: Ensemble(detectors=("isolation-forest",)).fit(TRAIN[:4]))
    assert text == (
        "ensemble: member 'isolation-forest' gives every window the same score, which cannot be standardised; "
        "leave it out of --detector.detectors"
    )


def test_three_windows_are_too_few() -> None:
    assert refused(DataError, lambda: Ensemble(detectors=MEMBERS).fit(TRAIN[:3])) == (
        "ensemble: 3 training windows, at least 4 are needed to standardise scores; give more or longer recordings"
    )


@pytest.mark.parametrize("detectors", [(), ("",), ("gmm", " ")])
def test_a_missing_name_is_refused(detectors: tuple[str, ...]) -> None:
    assert refused(ConfigError, lambda: Ensemble(detectors=detectors)) == (
        "ensemble: a detector's name is missing; write --detector.detectors gmm,knn"
    )


def test_unknown_members_and_parameters_are_refused_at_once() -> None:
    assert refused(PluginError, lambda: Ensemble(detectors=("gmn",))).startswith(
        "ensemble: member 'gmn': unknown detector 'gmn'; did you mean gmm"
    )
    assert refused(ConfigError, lambda: Ensemble(detectors=("gmm n_component=3",))) == (
        "ensemble: member 'gmm n_component=3': detector 'gmm' has no parameter 'n_component'; "
        "did you mean n_components?"
    )
    assert refused(ConfigError, lambda: Ensemble(detectors=("gmm 3",))) == (
        "ensemble: member 'gmm 3': got '3' after the name; write parameters as 'gmm n_components=20'"
    )


def test_an_unknown_combination_is_refused() -> None:
    text = refused(ConfigError, lambda: Ensemble(combine="median"))  # type: ignore[arg-type]  # that is the mistake
    assert text == "ensemble: combine must be mean or minimum, got 'median'; change --detector.combine"


def test_a_state_of_other_members_is_refused() -> None:
    state = Ensemble(detectors=MEMBERS).fit(TRAIN).get_state()
    text = refused(ModelFileError, lambda: Ensemble(detectors=("knn",)).set_state(state))
    assert text == "ensemble: the model has 2 members, the ensemble 1: fit it again"
    text = refused(ModelFileError, lambda: Ensemble(detectors=("knn", "mahalanobis")).set_state(state))
    assert text == (
        "ensemble: member 'knn': knn: the model lacks windows_, radii_, banks_, location_, scale_; "
        "it is damaged or of another version: fit it again"
    )


def test_members_that_take_rows_get_those_of_their_folds() -> None:
    clip = np.repeat(np.arange(15), 4)
    values = RNG.normal(size=(15, 6))[clip] + 0.01 * RNG.normal(size=(60, 6))
    rows = Rows(clip, clip % 3)
    with_rows = Ensemble(detectors=("knn groups=labels",)).fit(values, rows)
    assert with_rows.get_state()["0.location_"].shape == (3,)
    plain, by_clip = (Ensemble(detectors=("knn",)).fit(values, given).get_state() for given in (None, rows))
    assert np.median(plain["0.radii_"]) < np.median(by_clip["0.radii_"])
