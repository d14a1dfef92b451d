"""Scores and result files as the official DCASE Task 2 evaluators have them.

Sources: y-kawagu/dcase2020_task2_evaluator, y-kawagu/dcase2021_task2_evaluator, nttcslab/dcase2023_task2_evaluator and
nttcslab/dcase2024_task2_evaluator, whose published tables the tests reproduce.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from asd.errors import DataError
from asd.experiment import auc, partial_auc
from asd.plugin import Float64, Recording
from asd_bench.writing import writing

Protocol = Literal["dcase2020", "dcase2021", "dcase2022"]
"""``"dcase2022"`` holds from 2022 on."""

MAX_FPR = 0.1
"""The false positive rate up to which the evaluators take the partial AUC."""

SCORED: Mapping[str, tuple[str, ...]] = {
    "dcase2020": ("auc",),
    "dcase2021": ("auc_source", "auc_target", "pauc_source", "pauc_target"),
    "dcase2022": ("auc_source", "auc_target", "pauc"),
}
"""The measures that enter a protocol's score."""


@dataclass(frozen=True)
class PartScore:
    """Quality on a machine's section; NaN where a measure is undefined, or the protocol has none.

    Parameters
    ----------
    machine, section : str
        Which.
    measures : mapping of str to float
        ``auc`` and ``pauc`` on all clips. From 2022 on also ``auc_source`` and ``auc_target``: the domain's normal
        clips against the anomalous clips of both domains. In 2021 ``auc_…`` and ``pauc_…`` of each domain by itself.
    notes : tuple of str
        What is undefined and why.
    """

    machine: str
    section: str
    measures: Mapping[str, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class OfficialScores:
    """The scores of all machines and sections.

    Parameters
    ----------
    protocol : {"dcase2020", "dcase2021", "dcase2022"}
        Whose definitions.
    parts : tuple of PartScore
        By machine and section.
    unlabelled : int
        Clips left out because their label is not published.
    """

    protocol: Protocol
    parts: tuple[PartScore, ...]
    unlabelled: int = 0

    @property
    def score(self) -> float:
        """The harmonic mean of the scored measures over all machines and sections; NaN if one is undefined.

        Of 2020, which ranked by the places in each machine's table and has no such number: the mean over machines of
        their mean AUC.
        """
        if self.protocol == "dcase2020":
            return float(np.mean(list(self.by_machine("auc").values()))) if self.parts else math.nan
        return float(harmonic_mean(part.measures[name] for part in self.parts for name in SCORED[self.protocol]))

    def by_machine(self, measure: str) -> dict[str, float]:
        """Return each machine's arithmetic mean of `measure` over its sections."""
        return {
            machine: float(np.mean([part.measures[measure] for part in parts]))
            for machine, parts in groupby(self.parts, key=lambda part: part.machine)
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What is undefined and why, over all parts."""
        return tuple(note for part in self.parts for note in part.notes)


def harmonic_mean(values: Iterable[npt.ArrayLike]) -> Float64:
    """Return the harmonic mean of numbers, or of arrays of one shape element by element.

    A value below the machine epsilon counts as that, as the evaluators have it, so that the mean of a 0 is defined. NaN
    where a value is NaN, or if there is none.
    """
    array = np.array(list(values), dtype=np.float64)
    if not len(array):
        return np.asarray(math.nan)
    return np.asarray(len(array) / (1 / np.maximum(array, sys.float_info.epsilon)).sum(axis=0))


def official_scores(
    recordings: Sequence[Recording], scores: npt.ArrayLike, protocol: Protocol = "dcase2022"
) -> OfficialScores:
    """Measure clip scores as an official evaluator does.

    Parameters
    ----------
    recordings : sequence of Recording
        Test clips.
    scores : array of shape (n,)
        Their anomaly scores, higher is more anomalous.
    protocol : {"dcase2020", "dcase2021", "dcase2022"}
        Whose definitions; ``"dcase2022"`` holds from 2022 on.

    Raises
    ------
    DataError
        If the numbers of clips and scores differ, or a score is not finite.
    """
    values = _checked(recordings, scores)
    labelled = [i for i, recording in enumerate(recordings) if recording.anomalous is not None]
    labelled.sort(key=lambda i: (recordings[i].machine, recordings[i].section))
    parts = [
        _part([recordings[i] for i in indices], values[indices], protocol)
        for _, group in groupby(labelled, key=lambda i: (recordings[i].machine, recordings[i].section))
        if (indices := list(group))
    ]
    return OfficialScores(protocol, tuple(parts), unlabelled=len(recordings) - len(labelled))


def clips_of_measures(
    protocol: str, anomalous: npt.NDArray[np.bool_], domain: npt.NDArray[np.str_]
) -> Iterator[tuple[str, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Yield the name of each measure of a protocol, with the normal and the anomalous clips that it compares.

    Parameters
    ----------
    protocol : str
        One of `SCORED`; any other name has ``auc`` and ``pauc`` alone.
    anomalous : bool array of shape (n,)
        The clips' labels.
    domain : str array of shape (n,)
        The clips' domains, ``"source"`` or ``"target"``; empty if unknown.
    """
    for name in ("auc", "pauc"):
        yield name, ~anomalous, anomalous
    for name in ("source", "target"):
        own = domain == name
        if protocol == "dcase2021":
            yield f"auc_{name}", ~anomalous & own, anomalous & own
            yield f"pauc_{name}", ~anomalous & own, anomalous & own
        elif protocol == "dcase2022":
            yield f"auc_{name}", ~anomalous & own, anomalous


def _part(recordings: Sequence[Recording], values: Float64, protocol: Protocol) -> PartScore:
    first = recordings[0]
    where = ", ".join(filter(None, (first.machine, first.section and f"section {first.section}"))) or "the recordings"
    anomalous = np.array([bool(recording.anomalous) for recording in recordings])
    domains = np.array([recording.domain or "" for recording in recordings])
    measures, notes = {}, []
    for name, normal, faulty in clips_of_measures(protocol, anomalous, domains):
        if normal.any() and faulty.any():
            own = values[normal], values[faulty]
            measures[name] = partial_auc(*own, max_fpr=MAX_FPR) if name.startswith("pauc") else auc(*own)
        else:
            domain = name.partition("_")[2]
            label = "anomalous" if normal.any() else "normal"
            notes.append(f"{where}: no {label} test clips{domain and f' of the {domain} domain'}: AUC undefined")
            measures[name] = math.nan
    return PartScore(first.machine, first.section, measures, tuple(dict.fromkeys(notes)))


def write_results(
    folder: Path,
    recordings: Sequence[Recording],
    scores: npt.ArrayLike,
    decisions: npt.ArrayLike | None = None,
    protocol: Protocol = "dcase2022",
) -> list[Path]:
    """Write anomaly scores and decisions in the official format, and return the files.

    A file for each machine and section (2021: and domain), without a header, a line ``name,value`` for each clip,
    ordered by name: ``anomaly_score_<machine>_section_<NN>_test.csv`` and, if there are decisions (0 normal, 1
    anomalous), ``decision_result_<machine>_section_<NN>_test.csv``. 2020 had ``anomaly_score_<machine>_id_<NN>.csv``
    and no decisions. Names end in ``.wav``, as the official ones do, whatever format the clips are kept in.

    Parameters
    ----------
    folder : Path
        Folder to write to, created if absent.
    recordings : sequence of Recording
        Test clips.
    scores : array of shape (n,)
        Their anomaly scores.
    decisions : array of shape (n,), optional
        Whether each clip is judged anomalous.
    protocol : {"dcase2020", "dcase2021", "dcase2022"}
        Whose file names.

    Raises
    ------
    DataError
        If the numbers differ, a score is not finite, two clips of a file have one name, a domain is needed and not
        known, or the folder can't be written.
    """
    columns = {"anomaly_score": [repr(float(value)) for value in _checked(recordings, scores)]}
    if decisions is not None and protocol != "dcase2020":
        columns["decision_result"] = [str(int(value)) for value in _checked(recordings, decisions)]
    written = []
    for kind, column in columns.items():
        files: dict[str, dict[str, str]] = {}
        for recording, text in zip(recordings, column, strict=True):
            rows = files.setdefault(f"{kind}_{_file_name(recording, protocol)}.csv", {})
            name = f"{recording.path.stem}.wav"
            if name in rows:
                raise DataError(f"{recording.path}: another clip of this file is called {name}, too: names must differ")
            rows[name] = text
        written += [_write(folder / name, sorted(rows.items())) for name, rows in sorted(files.items())]
    return written


def _file_name(recording: Recording, protocol: Protocol) -> str:
    machine, section = recording.machine or "machine", recording.section.removeprefix("id_") or "00"
    if protocol == "dcase2020":
        return f"{machine}_id_{section}"
    if protocol == "dcase2022":
        return f"{machine}_section_{section}_test"
    if recording.domain is None:
        raise DataError(f"{recording.path}: the files of 2021 are kept by domain, and this clip's is not known")
    return f"{machine}_section_{section}_{recording.domain}_test"


def _write(path: Path, rows: Iterable[tuple[str, str]]) -> Path:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    return path


def _checked(recordings: Sequence[Recording], values: npt.ArrayLike) -> Float64:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (len(recordings),):
        raise DataError(f"expected a number for each of {len(recordings)} clips, got an array of shape {array.shape}")
    if not np.isfinite(array).all():
        wrong = recordings[int(np.flatnonzero(~np.isfinite(array))[0])]
        raise DataError(f"{wrong.path}: its score is {array[~np.isfinite(array)][0]}, expected a finite number")
    return array
