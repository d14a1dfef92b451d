"""The checked bases and the checks of parameters: what a component's author gets for deriving from them."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

import numpy as np
import pytest

from asd.errors import AsdError, ConfigError, DataError, ModelFileError, PluginError
from asd.plugin import (
    CheckedDetector,
    CheckedExtractor,
    Features,
    Float32,
    Float64,
    Frontend,
    Representation,
    Rows,
    fit_rows,
    number,
    one_of,
    whole_number,
)
from asd.testing import parametrize_with_checks

FEATURES = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Metric = Literal["euclidean", "cosine", "manhattan"]


class Distance(CheckedDetector):
    centre_: Float64

    def _learn(self, features: Features) -> None:
        self.centre_ = features.mean(axis=0, dtype=np.float64)

    def _score(self, features: Features) -> Float64:
        return np.asarray(abs(features - self.centre_).sum(axis=1))


class Means(CheckedExtractor):
    consumes = Representation("patch", (4, None))
    dimension = 4

    def _embed(self, windows: Float32) -> Float32:
        return windows.mean(axis=2)


class Ranges(Means):
    """All sizes, none known before."""

    consumes = Representation("any", ())
    dimension = None  # type: ignore[assignment]  # it follows the input

    def _embed(self, windows: Float32) -> Float32:
        return np.ptp(windows, axis=2)


def refused(error: type[AsdError], text: str) -> Any:
    return pytest.raises(error, match=f"^{re.escape(text)}$")


@parametrize_with_checks([Distance(), Means()])
def test_a_few_lines_keep_the_contract(check: Any) -> None:
    check()


def test_scores_are_float64_whatever_the_subclass_computes_in() -> None:
    class Single(Distance):
        def _score(self, features: Features) -> Any:
            return super()._score(features).astype(np.float32).tolist()

    scores = Single().fit(FEATURES).score(FEATURES)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, Distance().fit(FEATURES).score(FEATURES), rtol=1e-6)


def test_no_windows_are_no_scores_and_never_reach_the_subclass() -> None:
    class Proud(Distance):
        def _score(self, features: Features) -> Float64:
            assert len(features)
            return super()._score(features)

    scores = Proud().fit(FEATURES).score(FEATURES[:0])
    assert (scores.shape, scores.dtype) == ((0,), np.float64)


def test_messages_use_the_components_own_name_if_it_has_one() -> None:
    class Named(Distance):
        name = "distance-of-old"

    with refused(ConfigError, "distance-of-old: not fitted yet; call fit or load a model before scoring"):
        Named().score(FEATURES)
    with refused(ConfigError, "Distance: not fitted yet; call fit or load a model before scoring"):
        Distance().score(FEATURES)


@pytest.mark.parametrize(
    ("features", "text"),
    [
        (np.zeros(3), "expected numbers of shape (windows, features), got shape (3,) of float64; reshape them to one"),
        (np.zeros((5, 0)), "expected numbers of shape (windows, features), got shape (5, 0) of float64; reshape them"),
        (np.full((5, 3), "a"), "expected numbers of shape (windows, features), got shape (5, 3) of <U1; reshape them"),
        (np.zeros((5, 3), complex), "expected numbers of shape (windows, features), got shape (5, 3) of complex128"),
        (FEATURES[:0], "no training windows, at least 2 are needed; give more or longer recordings"),
        (FEATURES[:1], "1 training window, at least 2 are needed; give more or longer recordings"),
        (
            FEATURES[[0, 0, 0]],
            "all 3 training windows have the same features, there is nothing to learn; check that the recordings are "
            "not silent or copies of one",
        ),
        (
            np.where(np.arange(40)[:, None] % 20 == 7, np.inf, FEATURES),
            "2 of 40 windows hold NaN or infinite features (the first is window 8); check those recordings, the front "
            "end and the extractor",
        ),
        (np.where(FEATURES > 2, np.nan, FEATURES), "windows hold NaN or infinite features (the first is window"),
        (FEATURES.astype(np.float64) * 1e45, "40 of 40 windows hold NaN or infinite features (the first is window 1)"),
    ],
)
def test_features_that_nothing_can_be_learned_from(features: Any, text: str) -> None:
    with pytest.raises(DataError, match=rf"^Distance: .*{re.escape(text)}"):
        Distance().fit(features)


def test_features_of_another_width() -> None:
    detector = Distance().fit(FEATURES)
    with refused(
        DataError,
        "Distance: got 2 features a window, was fitted with 3; score with the front end, extractor and parameters of "
        "the fit, or fit again",
    ):
        detector.score(FEATURES[:, :2])


def test_a_fit_that_fails_leaves_the_detector_unfitted() -> None:
    class Picky(Distance):
        def _learn(self, features: Features) -> None:
            super()._learn(features)
            if len(features) < 10:
                raise DataError("too few")

    detector = Picky().fit(FEATURES)
    with pytest.raises(DataError, match="too few"):
        detector.fit(FEATURES[:5])
    with pytest.raises(ConfigError, match="not fitted yet"):
        detector.score(FEATURES)


@pytest.mark.parametrize("missing", ["centre_", "dimension_"])
def test_a_state_that_lacks_what_was_learned(missing: str) -> None:
    state = Distance().fit(FEATURES).get_state()
    del state[missing]
    with refused(
        ModelFileError,
        f"Distance: the model lacks {missing}; it is damaged or of another version: fit it again",
    ):
        Distance().set_state(state)


@pytest.mark.parametrize(
    ("scores", "text"),
    [
        (np.zeros(39), "_score returned float64 of shape (39,), expected numbers of shape (40,)"),
        (np.zeros((40, 1)), "_score returned float64 of shape (40, 1), expected numbers of shape (40,)"),
        (np.zeros(40, bool), "_score returned bool of shape (40,), expected numbers of shape (40,)"),
        (None, "_score returned object of shape (), expected numbers of shape (40,)"),
        (
            np.where(np.arange(40) % 20 == 2, np.nan, 1.0),
            "_score returned NaN or infinity for 2 of 40 windows (the first is window 3), which hold finite values",
        ),
    ],
)
def test_scores_that_are_none(scores: Any, text: str) -> None:
    class Wrong(Distance):
        def _score(self, features: Features) -> Any:
            return scores

    with refused(PluginError, f"Wrong: {text}; report it to the plugin's author"):
        Wrong().fit(FEATURES).score(FEATURES)


def test_embeddings_are_float32_whatever_the_subclass_computes_in() -> None:
    class Double(Means):
        def _embed(self, windows: Float32) -> Any:
            assert windows.dtype == np.float32
            return windows.mean(axis=2, dtype=np.float64)

    patches = np.random.default_rng(0).normal(size=(5, 4, 6))
    embeddings = Double().embed(patches)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, patches.mean(axis=2), rtol=1e-5)
    assert Double().embed(patches[:0]).shape == (0, 4)
    assert Ranges().embed(patches[:0]).shape == (0, 4)


def test_windows_may_come_from_another_library() -> None:
    class Foreign:
        def __init__(self, array: Float32) -> None:
            self.array = array

        def __dlpack__(self, **given: Any) -> Any:
            return self.array.__dlpack__(**given)

        def __dlpack_device__(self) -> Any:
            return self.array.__dlpack_device__()

    patches = np.ones((5, 4, 6), np.float32)
    np.testing.assert_array_equal(Means().embed(Foreign(patches)), np.ones((5, 4)))


@pytest.mark.parametrize(
    ("windows", "text"),
    [
        (
            np.zeros((5, 3, 6)),
            "expected windows of shape (4, any), got float64 of shape (3, 6); use the front end that belongs to the "
            "extractor",
        ),
        (
            np.zeros((5, 4)),
            "expected windows of shape (4, any), got float64 of shape (4,); use the front end that belongs to the "
            "extractor",
        ),
        (
            np.where(np.arange(5)[:, None, None] == 3, np.nan, np.zeros((5, 4, 6))),
            "1 of 5 windows hold NaN or infinite values (the first is window 4); check those recordings and the front "
            "end",
        ),
    ],
)
def test_windows_that_do_not_fit(windows: Any, text: str) -> None:
    with refused(DataError, f"Means: {text}"):
        Means().embed(windows)


@pytest.mark.parametrize(
    ("embeddings", "text"),
    [
        (np.zeros((5, 3)), "_embed returned float64 of shape (5, 3), expected numbers of shape (5, 4)"),
        (np.zeros((4, 4)), "_embed returned float64 of shape (4, 4), expected numbers of shape (5, 4)"),
        (
            np.full((5, 4), 1e300),
            "_embed returned NaN or infinity for 5 of 5 windows (the first is window 1), which hold finite values",
        ),
    ],
)
def test_embeddings_that_are_none(embeddings: Any, text: str) -> None:
    class Wrong(Means):
        def _embed(self, windows: Float32) -> Any:
            return embeddings

    with refused(PluginError, f"Wrong: {text}; report it to the plugin's author"):
        Wrong().embed(np.zeros((5, 4, 6)))


def test_embeddings_of_a_dimension_that_is_not_known_before() -> None:
    class Wrong(Ranges):
        def _embed(self, windows: Float32) -> Any:
            return windows

    with refused(
        PluginError,
        "Wrong: _embed returned float32 of shape (5, 4, 6), expected numbers of shape (5, any); report it to the "
        "plugin's author",
    ):
        Wrong().embed(np.zeros((5, 4, 6)))


@pytest.mark.parametrize("value", [1, np.int64(7)])
def test_whole_numbers(value: Any) -> None:
    kept = whole_number(Distance(), "k", value, 1)
    assert (kept, type(kept)) == (value, int)


@pytest.mark.parametrize("value", [0, -3, 2.0, 2.5, True, "3", None, float("nan")])
def test_what_is_no_whole_number_of_that_size(value: Any) -> None:
    text = f"Distance: k must be a whole number of at least 1, got {value!r}; use --detector.k 1 or more"
    with refused(ConfigError, text):
        whole_number(Distance(), "k", value, 1)


@pytest.mark.parametrize(
    ("limits", "good", "bad", "expected"),
    [
        ({"above": 0}, [0.1, 7, np.float32(2)], [0, -1.0, True, "1", None], "above 0"),
        ({"at_least": 0}, [0, 0.5], [-0.1], "of at least 0"),
        ({"above": 0, "below": 1}, [0.5], [0, 1], "above 0 and below 1"),
        ({"above": 0, "at_most": 1}, [0.5, 1], [0, 1.5], "above 0 and at most 1"),
        ({"at_least": -1, "at_most": 1}, [-1, 1], [2], "of at least -1 and at most 1"),
        ({}, [-1e300], ["1"], "that is finite"),
    ],
)
def test_numbers(limits: dict[str, float], good: list[Any], bad: list[Any], expected: str) -> None:
    for value in good:
        assert number(Distance(), "x", value, **limits) == value
    for value in [*bad, float("nan"), float("inf")]:
        with refused(ConfigError, f"Distance: x must be a number {expected}, got {value!r}; change --detector.x"):
            number(Distance(), "x", value, **limits)


def test_choices() -> None:
    assert one_of(Distance(), "metric", "cosine", get_args(Metric)) == "cosine"
    text = "Distance: metric must be euclidean, cosine or manhattan, got 'taxi'; change --detector.metric"
    with refused(ConfigError, text):
        one_of(Distance(), "metric", "taxi", get_args(Metric))
    with refused(ConfigError, "Distance: size must be 512, got 6; change --detector.size"):
        one_of(Distance(), "size", 6, (512,))


def test_the_option_in_a_message_is_that_of_the_kind() -> None:
    class Waves(Frontend):  # only its kind matters
        produces = None  # type: ignore[assignment]
        window_length = window_hop = 0
        __call__ = None  # type: ignore[assignment]

    with refused(ConfigError, "Means: k must be a whole number of at least 1, got 0; use --extractor.k 1 or more"):
        whole_number(Means(), "k", 0, 1)
    with refused(ConfigError, "Waves: k must be a whole number of at least 1, got 0; use --frontend.k 1 or more"):
        whole_number(Waves(), "k", 0, 1)


class Banks(Distance):
    """Remembers the rows that it was given."""

    takes_rows = True

    def _learn(self, features: Features, rows: Rows | None = None) -> None:
        super()._learn(features)
        self.clips_ = 0 if rows is None else len(np.unique(rows.clip))


def test_rows_reach_the_detectors_that_ask_for_them_and_no_others() -> None:
    rows = Rows(np.arange(40) // 4)
    assert fit_rows(Banks(), FEATURES, rows).clips_ == 10  # type: ignore[attr-defined]
    assert fit_rows(Banks(), FEATURES, None).clips_ == 0  # type: ignore[attr-defined]
    plain = fit_rows(Distance(), FEATURES, rows)
    np.testing.assert_array_equal(plain.score(FEATURES), Distance().fit(FEATURES).score(FEATURES))


def test_rows_that_do_not_belong_to_the_features_are_refused() -> None:
    with refused(
        DataError,
        "Banks: rows.clip is int64 of shape (39,), expected one whole number for each of the 40 rows of features",
    ):
        fit_rows(Banks(), FEATURES, Rows(np.arange(39)))
    with refused(
        DataError,
        "Banks: rows.group is float64 of shape (40,), expected one whole number for each of the 40 rows of features",
    ):
        fit_rows(Banks(), FEATURES, Rows(np.arange(40), np.zeros(40)))  # type: ignore[arg-type]  # the mistake


def test_a_detector_explains_nothing_unless_it_says_so() -> None:
    assert Distance().fit(FEATURES).explain(FEATURES[:2]) == [[], []]


@parametrize_with_checks([Banks()])
def test_conformance_of_a_detector_that_takes_rows(check: Any) -> None:
    check()
