"""The members of a branch: a detector for each fold, learned here or, where that takes long, by other processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asd.contract.create import create, load_class
from asd.contract.installed import registry
from asd.contract.interfaces import Detector, Runtime
from asd.contract.parameters import parameters_of
from asd.detection.config import ResolvedConfig
from asd.detection.packing import detector_state, restored_state, section
from asd.detection.piece import Shared
from asd.detection.pipeline import seeded
from asd.detection.results import component_call, fitted, scores_of
from asd.detection.transform import FeatureTransform
from asd.detection.work import current_engine, each
from asd.errors import DataError
from asd.records import Float32, Float64, Int64, Rows

_WORTH_SENDING = 2.0
"""Seconds that a member must take to learn, so that sending the features to other processes is worth it."""


@dataclass(frozen=True)
class Member:
    """A detector with the transform of its features, both learned without the clips that calibrate it."""

    transform: FeatureTransform
    detector: Detector

    def score(self, values: Float32) -> Float64:
        """Return a score for each row, float64[n], of features, float32[n, dimension]."""
        return scores_of(self.detector, self.transformed(values))

    def transformed(self, values: Float32) -> Float32:
        """Return the features as the detector takes them; errors as for `score`."""
        expected = len(self.transform.mean)
        if values.shape[1] != expected:
            raise DataError(
                f"the embeddings have {values.shape[1]} values, the model learned from {expected}; use the front end "
                "and the extractor of the fit, or fit again"
            )
        return self.transform.transform(values)


@dataclass(frozen=True)
class Lessons:
    """What the members of all branches learn from.

    Parameters
    ----------
    configs : list of ResolvedConfig
        Of each branch.
    rows : list of list of float32 array
        Of each branch, what its detector gets of each clip.
    fold : int64 array of shape (n_clips,)
        The fold that holds each clip out.
    groups : int64 array of shape (n_clips,), or None
        As for `learn_branches`.
    runtime : Runtime
        How to compute.
    """

    configs: list[ResolvedConfig]
    rows: list[list[Float32]]
    fold: Int64
    groups: Int64 | None
    runtime: Runtime


def members_of(lessons: Lessons, jobs: Sequence[tuple[int, int]]) -> Iterator[Member]:
    """Yield the member of each branch and fold; where that takes long and there is an engine, its workers learn."""
    engine = current_engine()
    for number, job in enumerate(jobs, start=1):
        began = time.perf_counter()
        member = learned_member(lessons, job)
        seconds = time.perf_counter() - began
        yield member
        if engine is not None and seconds > _WORTH_SENDING and number < len(jobs):
            rest = jobs[number:]
            for (b, _), arrays in zip(rest, each(learned_arrays, _sent(lessons), rest), strict=True):
                yield restored_member(lessons.configs[b], lessons.runtime, arrays)
            return


def _sent(lessons: Lessons) -> Shared[Lessons]:
    """Return what members learn from as state of pieces."""
    components = [("detector", config.detector.name) for config in lessons.configs]
    return Shared(Lessons, *vars(lessons).values(), here=lessons, components=components)


def learned_member(lessons: Lessons, job: tuple[int, int]) -> Member:
    """Return what a branch learns without the clips of a fold; `job` has the numbers of both."""
    b, k = job
    learned = np.flatnonzero(lessons.fold != k).tolist()
    values = [lessons.rows[b][i] for i in learned]
    counts = [len(each) for each in values]
    groups = None if lessons.groups is None else np.repeat(lessons.groups[learned], counts)
    rows = Rows(np.repeat(learned, counts), groups)
    return _trained(lessons.configs[b], np.concatenate(values), rows, lessons.runtime)


def learned_arrays(state: Shared[Lessons], job: tuple[int, int]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of `learned_member`, as a model file keeps them."""
    return member_arrays(learned_member(state.value, job))


def member_arrays(member: Member) -> dict[str, npt.NDArray[Any]]:
    """Return what a member learned, by the names that it has in a model file."""
    with component_call(member.detector):
        state = detector_state(member.detector)
    return {f"transform.{name}": value for name, value in member.transform.get_state().items()} | {
        f"detector.{name}": value for name, value in state.items()
    }


def restored_member(config: ResolvedConfig, runtime: Runtime, arrays: dict[str, npt.NDArray[Any]]) -> Member:
    """Return the member from its arrays."""
    transform = new_transform(config)
    transform.set_state(section(arrays, "transform"))
    detector = new_detector(config, runtime)
    detector.set_state(restored_state(detector, section(arrays, "detector")))
    return Member(transform, detector)


def _trained(config: ResolvedConfig, values: Float32, rows: Rows, runtime: Runtime) -> Member:
    detector = new_detector(config, runtime)
    transform = new_transform(config).fit(values)
    return Member(transform, rounded(fitted(detector, transform.transform(values), rows)))


def rounded(detector: Detector) -> Detector:
    """Return the detector with the arrays that allow it rounded to half precision, as a model file holds them."""
    with component_call(detector):
        if detector.half_precision:
            detector.set_state(restored_state(detector, detector_state(detector)))
    return detector


def new_transform(config: ResolvedConfig) -> FeatureTransform:
    """Return the configured transform, unfitted; one that changes nothing for a detector that needs units."""
    detector = load_class(registry().find("detector", config.detector.name))
    if issubclass(detector, Detector) and detector.takes_units:
        return FeatureTransform(standardise=False)
    return FeatureTransform(standardise=config.standardise, deviation_floor=config.deviation_floor, pca=config.pca)


def new_detector(config: ResolvedConfig, runtime: Runtime) -> Detector:
    """Create the configured detector, unfitted; errors as for `asd.contract.create.create`."""
    parameters = seeded("detector", config.detector, config.seed)
    if config.group is not None and "groups" in parameters_of(
        load_class(registry().find("detector", config.detector.name))
    ):
        parameters = {"groups": "labels", **parameters}  # who names the groups wants them to count
    detector = create("detector", config.detector.name, parameters)
    detector.runtime = runtime
    return detector
