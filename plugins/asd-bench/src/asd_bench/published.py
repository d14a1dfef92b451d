"""Results that papers and official baselines publish, to be shown beside one's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from asd_bench.measures import MEASURES


@dataclass(frozen=True)
class PublishedResult:
    """A published number, or several measures of one system on one machine and section.

    Parameters
    ----------
    machine, section : str
        As the dataset names them; section ``"mean"``: the mean over the machine's sections.
    system : str
        The publication's own words.
    extractors : tuple of str
        Our names of the extractors: of several, the better one counts. Empty if the system has none, or we lack it.
    detector : str or None
        Our name of the detector; None if we lack it.
    measures : mapping of str to float
        ``auc``, or ``auc_source``, ``auc_target`` and ``pauc``; 1 is perfect.
    deviation : float or None
        Standard deviation of ``auc`` over seeds.
    attributes : mapping of str to str
        Which of the dataset's conditions: ``{"snr": "-6dB"}``.
    """

    machine: str
    section: str
    system: str
    extractors: tuple[str, ...]
    detector: str | None
    measures: Mapping[str, float]
    deviation: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedTable:
    """A table of published results.

    Parameters
    ----------
    name : str
        ``"muller2020-image"``, ``"muller2020-features"`` or ``"dcase2023-evaluation"``.
    source, url : str
        Where it is from.
    dataset : str
        Our name of the dataset.
    metric : str
        What the numbers are.
    results : tuple of PublishedResult
        All of them.
    """

    name: str
    source: str
    url: str
    dataset: str
    metric: str
    results: tuple[PublishedResult, ...]


@cache
def published_tables() -> dict[str, PublishedTable]:
    """Return all tables by name."""
    found = sorted(files("asd_bench").joinpath("published_tables").iterdir(), key=lambda file: file.name)
    tables = [
        _table(file.name.removesuffix(".json"), json.loads(file.read_text(encoding="utf-8")))
        for file in found
        if file.name.endswith(".json")
    ]
    return {table.name: table for table in tables}


def _table(name: str, given: dict[str, Any]) -> PublishedTable:
    results = tuple(_result(row, given) for row in given["rows"])
    return PublishedTable(name, given["source"], given["url"], given["dataset"], given["metric"], results)


def _result(row: dict[str, Any], given: dict[str, Any]) -> PublishedResult:
    scale = 100 if given["unit"] == "percent" else 1
    snr = row.get("snr", given.get("snr"))
    words = dict.fromkeys(word for word in (row.get("extractor"), row["detector"]) if word)
    return PublishedResult(
        machine=row["machine"],
        section=row["section"],
        system=" + ".join(words),
        extractors=tuple(given["extractors"].get(row.get("extractor"), ())),
        detector=given["detectors"].get(row["detector"]),
        measures={name: row[name] / scale for name in MEASURES if name in row},
        deviation=row["std"] / scale if "std" in row else None,
        attributes={"snr": snr} if snr else {},
    )
