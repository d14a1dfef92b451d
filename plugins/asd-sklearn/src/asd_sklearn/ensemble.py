"""Several detectors as one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt

from asd.errors import AsdError, ConfigError, DataError, ModelFileError
from asd.plugin import Detector, Features, Float64, Rows, State, create, fit_rows, one_of, parameters_of, whole_number
from asd_sklearn.base import FeatureDetector

T = TypeVar("T")
Combination = Literal["mean", "minimum"]

_STRETCHES = 4
"""Stretches of windows that make up one fold."""


class Ensemble(FeatureDetector):
    """The mean or the minimum of several detectors' standardised scores.

    Each member's scores are shifted and scaled to mean 0 and deviation 1 on training windows, never on the windows
    that are scored later. A detector's scores of the windows that it was fitted on are no guide (the nearest
    neighbour of such a window is the window itself), so the members are fitted on all folds but one and score that
    one, in turn; mean and deviation come from these scores, and the final members are fitted on all windows. A fold
    is made of stretches of successive windows, because overlapping windows of one recording resemble each other.

    Parameters
    ----------
    detectors : tuple of str
        Members: names of installed detectors, each with parameters after a space if wanted, such as
        ``"gmm n_components=20,knn n_neighbors=3 metric=cosine"``.
    combine : {"mean", "minimum"}
        ``"minimum"`` calls anomalous what every member calls anomalous.
    folds : int
        Folds of the training windows; each member is fitted as many times and once more.
    seed : int
        Seed of the members that have one and that none was given for.

    Notes
    -----
    Source: Kuncheva 2014, Combining Pattern Classifiers, 2nd edition, chapter 5 (mean and minimum of scores).
    """

    name = "ensemble"
    takes_rows = True
    location_: Any
    scale_: Any

    def __init__(
        self,
        *,
        detectors: tuple[str, ...] = ("gmm", "knn"),
        combine: Combination = "mean",
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.detectors = tuple(detectors)
        self.combine = one_of(self, "combine", combine, get_args(Combination))
        self.folds = whole_number(self, "folds", folds, 2)
        self.seed = whole_number(self, "seed", seed, 0)
        if not all(text.strip() for text in self.detectors or [""]):
            raise ConfigError(f"{self.name}: a detector's name is missing; write --detector.detectors gmm,knn")
        self._members = [self._of_member(text, lambda: self._member(text)) for text in self.detectors]  # noqa: B023

    def _member(self, text: str) -> Detector:
        name, *pairs = text.split()
        parameters: dict[str, Any] = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not (key and equals):
                raise ConfigError(f"got {pair!r} after the name; write parameters as 'gmm n_components=20'")
            parameters[key] = value
        member: Detector = create("detector", name, parameters)
        if "seed" in parameters_of(type(member)) and "seed" not in parameters:
            member = type(member)(**{**member.get_params(), "seed": self.seed})
        return member

    def _unfitted(self) -> list[Detector]:
        """Return new members with the parameters of the present ones."""
        members = [type(member)(**member.get_params()) for member in self._members]
        for member in members:
            member.runtime = self.runtime
        return members

    def _of_member(self, text: str, action: Callable[[], T]) -> T:
        """Return the result of `action`; an error gets the member's name, and a remedy that fits here."""
        try:
            return action()
        except AsdError as error:
            name = text.split()[0]
            remedy = re.sub(r"use --detector\.(\w+) (\S+)", rf"use '{name} \1=\2' as the member", str(error))
            remedy = re.sub(r"--detector\.(\w+)", r"the member's \1", remedy)
            raise type(error)(f"{self.name}: member {text!r}: {remedy}") from error

    def check_saveable(self) -> None:
        """Raise if a member's state cannot be saved."""
        for text, member in zip(self.detectors, self._members, strict=True):
            self._of_member(text, member.check_saveable)

    def _learn(self, features: Features, rows: Rows | None = None) -> None:
        folds = min(self.folds, len(features) // 2)
        if folds < 2:
            raise DataError(
                f"{self.name}: {len(features)} training windows, at least 4 are needed to standardise scores; "
                f"give more or longer recordings"
            )
        scores = self._held_out_scores(features, rows, folds)
        self.location_, self.scale_ = scores.mean(axis=1), scores.std(axis=1)
        for text, scale in zip(self.detectors, self.scale_, strict=True):
            if not scale > 0:
                raise DataError(
                    f"{self.name}: member {text!r} gives every window the same score, which cannot be standardised; "
                    f"leave it out of --detector.detectors"
                )
        self._members = self._fitted(features, rows)

    def _held_out_scores(self, features: Features, rows: Rows | None, folds: int) -> Float64:
        """Return the scores, float64[members, n], that members fitted without a window's fold give the window."""
        scores = np.empty((len(self.detectors), len(features)))
        fold = _folds(len(features), folds)
        for i in range(folds):
            for member, row in zip(self._fitted(features[fold != i], _part(rows, fold != i)), scores, strict=True):
                row[fold == i] = member.score(features[fold == i])
        return scores

    def _fitted(self, features: Features, rows: Rows | None) -> list[Detector]:
        members = self._unfitted()
        for text, member in zip(self.detectors, members, strict=True):
            self._of_member(text, lambda: fit_rows(member, features, rows))  # noqa: B023  # called at once
        return members

    def _score_block(self, features: Features) -> Float64:
        scores = np.array([member.score(features) for member in self._members]).T
        standardised = (scores - self.location_) / self.scale_
        return np.asarray(standardised.mean(axis=1) if self.combine == "mean" else standardised.min(axis=1))

    def get_state(self) -> State:
        """Return what was learned: the scales, and each member's arrays behind the member's number and a dot."""
        state = super().get_state()
        for number, member in enumerate(self._members):
            state |= {f"{number}.{name}": array for name, array in member.get_state().items()}
        return state

    def set_state(self, state: State) -> None:
        """Restore what `get_state` returned."""
        super().set_state({name: array for name, array in state.items() if "." not in name})
        if self.location_.shape != (len(self.detectors),):
            raise ModelFileError(
                f"{self.name}: the model has {self.location_.size} members, the ensemble {len(self.detectors)}: "
                f"fit it again"
            )
        self._members = self._unfitted()
        for number, (text, member) in enumerate(zip(self.detectors, self._members, strict=True)):
            own = {key.partition(".")[2]: array for key, array in state.items() if key.startswith(f"{number}.")}
            self._of_member(text, lambda: member.set_state(own))  # noqa: B023  # called at once

    def _values_per_row(self) -> int:
        return int(self.dimension_) + 2 * len(self.detectors)


def _folds(count: int, folds: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return the fold of each of `count` windows; each fold is made of `_STRETCHES` stretches, or fewer if short."""
    stretches = min(_STRETCHES * folds, count)
    return np.arange(count) * stretches // count % folds


def _part(rows: Rows | None, kept: npt.NDArray[np.bool_]) -> Rows | None:
    return rows and Rows(rows.clip[kept], None if rows.group is None else rows.group[kept])
