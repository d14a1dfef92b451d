"""Calls of components: what they return is checked, and what they raise is reported with the place in their code."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from asd.contract.checks import name_of, result_array
from asd.contract.interfaces import Component, Detector, Extractor, Frontend, Reason, fit_rows
from asd.contract.own import is_own
from asd.contract.place import place_of
from asd.errors import AsdError, AudioError, ConfigError, PluginError, WeightError
from asd.records import Audio, Clip, FeatureInfo, Float32, Float64, Rows, Windows
from asd_registry.text import describe

_REASONS = 5
_UNHEARD = "beyond the recording: "
"""Marks a quantity of frequencies that a recording does not hold; no reason names it."""
_TEXT_LIMIT = 120
"""What a verdict takes of an explanation: so many reasons of so many characters."""

_LARGEST_SCORE = 1e290
"""Beyond this, the mean of many scores may be infinite."""


@contextlib.contextmanager
def component_call(component: Component) -> Iterator[None]:
    """Report what a component raises, if it is no `AsdError`, as a PluginError that names it and the place.

    Raises
    ------
    PluginError
        Instead of any exception that the component did not mean for the user.
    """
    try:
        yield
    except AsdError:
        raise
    except (Exception, SystemExit) as error:
        inner = getattr(component, "_component", component)
        package = type(inner).__module__.partition(".")[0]
        mend = "correct it there" if is_own(inner) else "report it to the plugin's author"
        raise PluginError(
            f"{component.origin or name_of(component)}: {describe(error)} ({place_of(error, package)}); {mend}"
        ) from error


@contextlib.contextmanager
def clip_errors(clip: Clip) -> Iterator[None]:
    """Turn an error that belongs to one clip into an AudioError that names the clip.

    Weights or parameters that do not fit are no matter of the clip: such errors pass.
    """
    try:
        yield
    except (AudioError, ConfigError, WeightError):
        raise
    except AsdError as error:
        text = str(error)
        raise AudioError(text if text.startswith(str(clip)) else f"{clip}: {text}") from error


def windows_of(frontend: Frontend, audio: Audio) -> Windows:
    """Return the windows that a front end cuts.

    Raises
    ------
    PluginError
        If they are not finite numbers of the declared shape, as many as length and hop say, with a start each.
    """
    with component_call(frontend):
        windows = frontend(audio)
        length, shape = frontend.window_length, frontend.produces.shape
    owner = frontend.origin or name_of(frontend)
    if not isinstance(windows, Windows):
        raise PluginError(f"{owner}: returned {type(windows).__name__}, expected Windows; report it to its author")
    count = None if length is None else 1 + (audio.samples.shape[-1] - length) // frontend.window_hop
    dtype: Any = np.float64 if getattr(windows.values, "dtype", None) == np.float64 else np.float32
    values = result_array(frontend, "the call", windows.values, (count, *shape), dtype)
    start = result_array(frontend, "the call (start)", windows.start, (len(values),), np.float64)
    duration = windows.duration
    if isinstance(duration, bool) or not isinstance(duration, int | float | np.integer | np.floating):
        duration = math.nan
    if not len(values) or not 0 < duration < math.inf:
        raise PluginError(
            f"{owner}: returned {len(values)} windows of duration {windows.duration!r:.40}, expected one or more "
            "windows and seconds above 0; report it to the plugin's author"
        )
    return Windows(values, start, float(duration))


def embeddings_of(extractor: Extractor, windows: Any) -> Float32:
    """Return the embeddings of windows, float32[n_windows, dimension].

    Raises
    ------
    PluginError
        If they are not finite numbers of that shape.
    """
    with component_call(extractor):
        embeddings = extractor.embed(windows)
        dimension = extractor.dimension
        return result_array(extractor, "embed", embeddings, (len(windows), dimension), np.float32)


def fitted(detector: Detector, features: Float32, rows: Rows | None = None) -> Detector:
    """Return the detector, fitted to features and, if it takes them, to `rows`; errors as for `component_call`."""
    with component_call(detector):
        found = fit_rows(detector, features, rows)
    if not isinstance(found, Detector):
        mend = "end it with 'return self'" if is_own(detector) else "report it to the plugin's author"
        raise PluginError(
            f"{detector.origin or name_of(detector)}: fit returned {type(found).__name__}, expected the fitted "
            f"detector; {mend}"
        )
    return found


def scores_of(detector: Detector, features: Float32) -> Float64:
    """Return the scores of features, float64[n_windows].

    Raises
    ------
    PluginError
        If they are not one finite number for each row.
    """
    with component_call(detector):
        scores = result_array(detector, "score", detector.score(features), (len(features),), np.float64)
    if len(scores) and np.abs(scores).max() > _LARGEST_SCORE:
        raise PluginError(
            f"{detector.origin or name_of(detector)}: score returned {np.abs(scores).max():.3g}, expected numbers up "
            f"to {_LARGEST_SCORE:g}; report it to the plugin's author"
        )
    return scores


def reasons_of(
    detector: Detector, features: Float32, extractor: Callable[[], Extractor], highest: float
) -> tuple[Reason, ...]:
    """Return why one row of features, float32[1, d], is unusual; nothing if the detector cannot say.

    Parameters
    ----------
    detector : Detector
        A fitted detector.
    features : float32 array of shape (1, d)
        The row.
    extractor : callable
        Returns the extractor, which knows what the features measure; called only if the detector explains.
    highest : float
        Highest frequency in Hz that the recording holds: no reason names others.

    Raises
    ------
    PluginError
        If what it returns is no list of texts and numbers for each row.
    """
    if type(detector).explain is Detector.explain:
        return ()
    source = extractor()
    with component_call(source):
        infos = [_heard(info, highest) for info in source.features()]
    with component_call(detector):
        rows = detector.explain(features, infos)
    try:
        (reasons,) = msgspec.convert(rows, list[list[tuple[str, float]]])
    except (msgspec.ValidationError, ValueError):
        raise PluginError(
            f"{detector.origin or name_of(detector)}: explain returned {rows!r:.80}, expected for each of "
            f"{len(features)} rows a list of texts and numbers; report it to the plugin's author"
        ) from None
    heard = [(text, value) for text, value in reasons if _UNHEARD not in text]
    return tuple((" ".join(text.split())[:_TEXT_LIMIT], value) for text, value in heard[:_REASONS])


def _heard(info: FeatureInfo, highest: float) -> FeatureInfo:
    """Return what a value measures in a recording that ends at `highest`; marked, if that is nothing of it."""
    if info.band is None or info.band[1] <= highest:
        return info
    if info.band[0] >= highest:  # it deviates all the same: what is there comes of resampling
        return replace(info, name=f"{_UNHEARD}{info.name}")
    return replace(info, band=(info.band[0], highest))
