"""Checks of the results of front ends, extractors and detectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from asd.errors import AsdError
from asd.experiment import auc as auc_of
from asd.plugin import Audio, Windows
from asd_testing import sounds
from asd_testing.compare import require, require_close, require_finite
from asd_testing.errors import CheckFailedError, SkippedError
from asd_testing.kit import USERS, check
from asd_testing.processes import start_clean_process
from asd_testing.under_test import ComponentUnderTest
from asd_testing.use import Array

AUC_FLOOR = 0.8
"""Least AUC of a detector on generated machine sound, where the anomalies are as loud as the machine."""

_LONG_SECONDS = 30


@check(*USERS)
def results_are_well_formed(tested: ComponentUnderTest) -> None:
    """Results have the declared shape and type, one row for each window, and are finite."""
    process = start_clean_process(tested)  # runs on another core meanwhile
    results = tested.results
    process.send_state()
    if tested.kind == "frontend":
        _require_windows(tested)
    elif tested.kind == "extractor":
        dimension = tested.ready.dimension
        width = results.shape[1:] if dimension is None else (dimension,)
        _require_form(results, (len(tested.values), *width), np.float32, "embeddings")
    else:
        _require_form(results, (len(tested.values),), np.float64, "scores")
    require_finite(results, "on machine sound")
    require(bool(np.ptp(results) > 0), "every result is the same number, whatever it is fed with")


def _require_form(results: Array, shape: tuple[int, ...], dtype: Any, what: str) -> None:
    require(results.shape == shape, f"{what} have shape {results.shape}, expected {shape}")
    require(results.dtype == dtype, f"{what} have type {results.dtype}, expected {np.dtype(dtype)}")


def _require_windows(tested: ComponentUnderTest) -> None:
    frontend = tested.ready
    windows = frontend(Audio(tested.values, frontend.sample_rate))
    require(isinstance(windows, Windows), f"gives {type(windows).__name__}, expected asd.Windows")
    duration = windows.duration
    is_length = isinstance(duration, int | float | np.number) and bool(0 < duration < np.inf)
    require(is_length, f"windows have duration {duration!r}, expected seconds above 0")
    count, declared = len(windows.values), frontend.produces.shape
    shape = tuple(windows.values.shape[1:])
    fits = len(shape) == len(declared) and all(d in (None, s) for d, s in zip(declared, shape, strict=True))
    require(fits, f"windows have shape {shape}, declared is {declared}")
    require(tested.results.dtype.kind == "f", f"windows have type {tested.results.dtype}, expected float32")
    require(windows.start.shape == (count,), f"{len(windows.start)} starts for {count} windows")
    require(windows.start.dtype == np.float64, f"starts have type {windows.start.dtype}, expected float64")
    require_finite(windows.start, "in the starts")
    if frontend.window_length is None:
        return
    expected = 1 + (tested.values.shape[1] - frontend.window_length) // frontend.window_hop
    require(count == expected, f"{count} windows, expected {expected} by window_length and window_hop")
    starts = np.arange(count) * frontend.window_hop / frontend.sample_rate
    require(np.allclose(windows.start, starts), f"windows start at {windows.start[:3]} … s, expected {starts[:3]} …")


@check(*USERS)
def inputs_stay_unmodified(tested: ComponentUnderTest) -> None:
    """Inputs are left as they were, and may be read-only."""
    values = tested.values.copy()
    tested.compute(values)
    require(np.array_equal(values, tested.values), "what it was fed with is changed: work on a copy")
    values.flags.writeable = False
    require_close(tested.compute(values), tested.results, "read-only input")
    _ = tested.repeated


@check(*USERS)
def single_and_double_precision(tested: ComponentUnderTest) -> None:
    """Inputs in float32 and in float64 are taken, with the same results but for rounding."""
    require_close(tested.compute(tested.values.astype(np.float64)), tested.results, "input in float64", 1e-3)


@check(*USERS)
def seed_determines_results(tested: ComponentUnderTest) -> None:
    """Two components made and fitted alike give the same results, and leave global random numbers alone."""
    require_close(tested.repeated, tested.results, "made and fitted a second time", 1e-6)
    require(not tested.draws_globally, "draws from global random numbers: use np.random.default_rng(self.seed)")


@check("extractor", "detector")
def batches_do_not_matter(tested: ComponentUnderTest) -> None:
    """A window's result is the same alone, in a batch, and in another order."""
    values, results = tested.values, tested.results
    order = np.random.default_rng(0).permutation(len(values))
    require_close(tested.compute(values[order]), results[order], "in another order")
    middle = len(values) // 3
    parts = np.concatenate([tested.compute(values[:middle]), tested.compute(values[middle:])])
    require_close(parts, results, "in two batches")
    require_close(tested.compute(values[:1]), results[:1], "a window alone")
    empty = tested.compute(values[:0])
    require(len(empty) == 0, f"no windows give {len(empty)} results")


@check("frontend")
def windows_depend_on_their_samples(tested: ComponentUnderTest) -> None:
    """A window depends on its own samples alone, so that a long recording can be cut into blocks."""
    frontend = tested.ready
    if frontend.window_length is None:
        raise SkippedError("looks at the whole recording (window_length is None)")
    for index in (1, len(tested.results) - 1):
        first = index * frontend.window_hop
        alone = tested.compute(tested.values[:, first : first + frontend.window_length])
        require_close(alone, tested.results[index : index + 1], f"window {index} cut out of the recording")


@check("frontend")
def short_and_long_sound(tested: ComponentUnderTest) -> None:
    """Sound of exactly one window gives one window, half a minute all of its windows."""
    frontend = tested.ready
    length, hop = frontend.window_length, frontend.window_hop
    rate = frontend.sample_rate
    count = tested.compute(sounds.samples(rate, length or rate)).shape[0]
    require(count == 1 or length is None, f"sound of one window ({length} samples) gives {count} windows")
    long = tested.compute(sounds.samples(rate, _LONG_SECONDS * rate))
    if length is not None:
        expected = 1 + (_LONG_SECONDS * rate - length) // hop
        require(len(long) == expected, f"{_LONG_SECONDS} s of sound give {len(long)} windows, expected {expected}")
    require_finite(long, f"on {_LONG_SECONDS} s of sound")


@check("frontend")
def hard_sound(tested: ComponentUnderTest) -> None:
    """Silence, a constant offset, full-scale clipping and a single click give finite windows."""
    shape = tested.values.shape
    click = np.zeros(shape, np.float32)
    click[:, shape[1] // 2] = 1.0
    hard = {
        "silence": np.zeros(shape, np.float32),
        "a constant offset": np.full(shape, 0.5, np.float32),
        "clipped sound": np.where(tested.values >= 0, np.float32(1), np.float32(-1)),
        "a single click": click,
    }
    for what, values in hard.items():
        require_finite(tested.compute(values), f"on {what}")


@check("extractor", "detector")
def hard_windows(tested: ComponentUnderTest) -> None:
    """Windows of zeros, of one constant, and far outside what is usual give finite results."""
    values = tested.values[:2]
    reach = float(np.abs(values).max())
    hard = {
        "zeros": np.zeros_like(values),
        "a constant": np.full_like(values, values.mean()),
        "a hundred times the usual": np.where(values >= 0, 100 * reach, -100 * reach).astype(values.dtype),
    }
    for what, windows in hard.items():
        require_finite(tested.compute(windows), f"on windows of {what}")


@check("extractor", "detector")
def nan_is_not_hidden(tested: ComponentUnderTest) -> None:
    """A window with a NaN is refused with an asd error or gives a NaN; it never looks like an ordinary window."""
    spoilt = tested.values[:3].copy()
    spoilt[(1, *(size // 2 for size in spoilt.shape[1:]))] = np.nan
    try:
        results = tested.compute(spoilt).reshape(3, -1)
    except AsdError:
        return
    bad = np.asarray(~np.isfinite(results).all(axis=1))
    require(bool(bad[1]), "a window with a NaN gives finite results: raise asd.errors.DataError, or let the NaN show")
    require(not bad[0] and not bad[2], "a NaN in one window spoils the results of others")


@check("frontend", "extractor")
def sounds_are_told_apart(tested: ComponentUnderTest) -> None:
    """Different windows give different results."""
    rows = tested.results.reshape(len(tested.results), -1)
    require(len(np.unique(rows, axis=0)) > 1, f"{len(rows)} windows of different sound give the same result")


@check("detector")
def anomalies_score_higher(tested: ComponentUnderTest) -> None:
    """Higher is more anomalous: on generated machine sound, the AUC is at least 0.8."""
    features = tested.features
    scores = [tested.compute(part) for part in (features.normal, features.anomalous)]
    auc = auc_of(*scores)
    hint = ": higher must mean more anomalous, turn the sign" if auc < 0.5 else ""
    require(auc >= AUC_FLOOR, f"the AUC on generated machine sound is {auc:.2f}, expected at least {AUC_FLOOR}{hint}")


@check("detector")
def unfitted_use_is_refused(tested: ComponentUnderTest) -> None:
    """Scoring before fitting raises."""
    unfitted = tested.make()
    try:
        unfitted.score(tested.values)
    except Exception:
        return
    raise CheckFailedError("scores before it was fitted: raise asd.errors.ConfigError")
