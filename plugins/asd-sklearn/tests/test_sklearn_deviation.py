"""What is particular to the detector deviation: its formula, its states, its reasons."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asd.plugin import FeatureInfo, Rows, create

RNG = np.random.default_rng(0)
TRAIN, TEST = RNG.normal(size=(40, 12)), RNG.normal(size=(20, 12))
BANDS = [(100.0 * i, 100.0 * (i + 1)) for i in range(1, 13)]
LEVELS = [FeatureInfo("level (50 %)", "dB", band) for band in BANDS]


def deviation(train: np.ndarray, rows: Rows | None = None, **parameters: Any) -> Any:
    detector: Any = create("detector", "deviation", parameters)
    return detector.fit(train, rows)


def test_the_score_is_the_documented_formula() -> None:
    def off(x: np.ndarray, references: np.ndarray, count: int) -> np.ndarray:
        nearest = np.argsort(np.linalg.norm(references - x, axis=1))[:count]
        return np.asarray(x - np.median(references[nearest], axis=0))

    left_out = [np.abs(off(x, np.delete(TRAIN, i, 0), 5)) for i, x in enumerate(TRAIN)]
    scale = np.quantile(left_out, 0.9, axis=0) / 1.645
    about = np.pad(scale, 4, mode="reflect")
    scale = np.maximum(scale, [np.median(about[i : i + 9]) for i in range(12)])
    expected = [np.abs(off(x, TRAIN, 5) / scale).max() for x in TEST]
    np.testing.assert_allclose(deviation(TRAIN).score(TEST), expected, rtol=1e-9)


def test_a_small_deviation_counts_by_the_floor() -> None:
    detector = deviation(0.001 * TRAIN, floor=0.5)
    assert detector.score(np.eye(12)[:1] * 2.0) == pytest.approx(4.0, abs=0.1)


def test_every_state_is_compared_with_itself() -> None:
    state = np.repeat([0.0, 30.0], 20)[:, np.newaxis]
    detector = deviation(TRAIN + state)
    normal = np.concatenate([detector.score(TEST), detector.score(TEST + 30)])
    between = np.where(np.arange(12) < 6, 0.0, 30.0)[np.newaxis]  # each value is usual, together they are not
    assert detector.score(between)[0] > 3 * normal.max()
    assert deviation(TRAIN + state, n_neighbors=1000).score(TEST).shape == (20,)


def test_windows_are_compared_with_other_clips() -> None:
    clip = np.repeat(np.arange(20), 5)
    windows = RNG.normal(size=(20, 12))[clip] + 0.01 * RNG.normal(size=(100, 12))
    by_clip, alone = deviation(windows, Rows(clip)), deviation(windows)
    assert by_clip.references_.shape == (20, 12)
    assert np.median(by_clip.score(TEST)) < 4
    assert np.median(alone.score(TEST)) > 4  # near-copies: nothing seems to vary
    one = deviation(windows[:5], Rows(np.zeros(5, np.int64)))
    np.testing.assert_array_equal(one.score(TEST), deviation(windows[:5]).score(TEST))


def test_what_never_varies_in_training_is_left_out() -> None:
    train, test = np.insert(TRAIN, 3, -100.0, axis=1), np.insert(TEST, 3, -40.0, axis=1)
    usual = np.insert(TEST, 3, -100.0, axis=1)
    detector = deviation(train)
    np.testing.assert_array_equal(detector.score(test), detector.score(usual))


def test_both_directions_count() -> None:
    detector = deviation(TRAIN)
    up, down = detector.score(np.eye(12)[:1] * 20), detector.score(-np.eye(12)[:1] * 20)
    assert min(up[0], down[0]) > 5 * np.median(detector.score(TEST))


def test_the_reasons_say_where_and_by_how_much() -> None:
    detector = deviation(0.01 * TRAIN)
    row = np.zeros(12)
    row[[3, 4]], row[8] = [14.0, 12.0], -5.0
    reasons, none = detector.explain(np.array([row, np.zeros(12)]).astype(np.float32), LEVELS)
    assert [text for text, _ in reasons] == ["14 dB louder at 400–600 Hz", "5 dB quieter at 900 Hz–1 kHz"]
    assert reasons[0][1] == pytest.approx(detector.score(row[np.newaxis])[0], rel=1e-6)
    assert none == []


def test_quantiles_of_one_band_are_one_reason_and_other_quantities_are_named() -> None:
    band = (2100.0, 2600.0)
    infos = [FeatureInfo(f"level ({q} %)", "dB", band) for q in (10, 50, 90)]
    infos += [FeatureInfo("fast fluctuation", "dB", band), FeatureInfo("tone prominence", "dB")]
    infos += [FeatureInfo("kurtosis")]
    detector = deviation(0.001 * TRAIN[:, :6])
    row = np.array([[2.0, 4.0, 9.6, 1.5, -3.0, 0.7]], np.float32)
    assert [text for text, _ in detector.explain(row, infos)[0]] == [
        "9.6 dB louder at 2.1–2.6 kHz",
        "3 dB less tone prominence",
        "1.5 dB more fast fluctuation at 2.1–2.6 kHz",
        "0.7 more kurtosis",
    ]


def test_a_change_of_all_bands_together_is_overall() -> None:
    infos = [FeatureInfo("level (10 %)", "dB"), FeatureInfo("level (50 %)", "dB")]
    detector = deviation(0.001 * TRAIN[:, :2])
    assert [text for text, _ in detector.explain(np.array([[-3.0, -4.0]], np.float32), infos)[0]] == [
        "4 dB quieter overall"
    ]


def test_what_a_band_shows_more_is_no_reason_of_its_own_for_all_bands() -> None:
    infos = [FeatureInfo("level (50 %)", "dB", (40.0, 100.0)), FeatureInfo("level (50 %)", "dB")]
    band = 0.3 * TRAIN[:, 0]
    detector = deviation(np.stack([band, 0.001 * TRAIN[:, 1]], axis=1), floor=0.01)
    high = np.sort(band)[-3] + 14  # the most similar clips are the five highest
    row = np.array([[high, 4.0]], np.float32)
    reasons = detector.explain(row, infos)[0]
    assert [text for text, _ in reasons] == ["14 dB louder at 40–100 Hz"]
    assert reasons[0][1] == pytest.approx(detector.score(row)[0], rel=1e-6)
    against = detector.explain(np.array([[high, -4.0]], np.float32), infos)[0]
    assert sorted(text for text, _ in against) == ["14 dB louder at 40–100 Hz", "4 dB quieter overall"]


def test_features_that_nobody_named_are_counted() -> None:
    assert deviation(0.01 * TRAIN).explain(np.eye(12)[2:3] * 8)[0][0][0] == "8 more value 3"


def test_real_levels_lead_to_a_reason_in_the_right_band() -> None:
    extractor = create("extractor", "band-levels")
    rng = np.random.default_rng(3)
    time = np.arange(32000) / 32000
    healthy = (0.1 * rng.normal(size=(12, 32000))).astype(np.float32)
    faulty = (healthy[:1] + 0.2 * np.sin(2 * np.pi * 3000 * time)).astype(np.float32)
    detector = deviation(extractor.embed(healthy))
    reasons = detector.explain(extractor.embed(faulty), extractor.features())[0]
    louder = [text for text, _ in reasons if "louder" in text]
    assert any("kHz" in text and "louder at 2.9" in text for text in louder), reasons
