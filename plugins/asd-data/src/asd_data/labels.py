"""Label files beside the recordings of DCASE Task 2: published ground truth, and lists of attributes."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from asd.errors import DataError
from asd_data.names import ClipName, Grammar, parse

_LIST = re.compile(r"eval_data_list.*\.csv")
_TRUTH = re.compile(r"ground_truth_(?P<machine>.+)_section_\d\d(?:_(?P<domain>source|target))?_test\.csv")


@dataclass(frozen=True)
class _Row:
    """The label, domain and attributes that a line of a label file gives a clip."""

    where: str
    anomalous: bool | None = None
    domain: Literal["source", "target"] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


class GroundTruth:
    """The published labels of test clips, from whatever label files lie below a folder.

    Two formats are read: ``eval_data_list….csv`` of the official baseline (a line with a machine's name, then lines of
    a clip's name and its name with labels), and ``ground_truth_<machine>_section_<NN>_test.csv`` of the official
    evaluators (0 or 1 a clip, for the label or, in a folder ``ground_truth_domain``, the domain; or names with labels).

    Parameters
    ----------
    folder : Path
        Folder to search.
    grammar : {"section", "id"}
        How clips are named.

    Raises
    ------
    DataError
        If a label file cannot be read.
    """

    def __init__(self, folder: Path, grammar: Grammar) -> None:
        self._grammar = grammar
        self._rows: dict[tuple[str, str], list[_Row]] = {}
        for path in sorted(folder.rglob("*.csv")):
            if _LIST.fullmatch(path.name):
                self._read_list(path)
            elif match := _TRUTH.fullmatch(path.name):
                self._read_truth(path, match["machine"])

    def apply(self, machine: str, path: Path, name: ClipName) -> ClipName:
        """Return `name` with the label and domain that the label files know.

        Raises
        ------
        DataError
            If a label file and the clip's name, or two label files, disagree.
        """
        for row in self._rows.get((machine, path.stem), ()):
            _agree(row, path, "label", _word(name.anomalous), _word(row.anomalous))
            _agree(row, path, "domain", name.domain, row.domain)
            name = replace(
                name,
                anomalous=name.anomalous if row.anomalous is None else row.anomalous,
                domain=name.domain or row.domain,
                attributes=name.attributes or row.attributes,
            )
        return name

    def _read_list(self, path: Path) -> None:
        machine = ""
        for where, cells in _lines(path):
            if len(cells) == 1:
                machine = cells[0]
            else:
                self._add(machine, cells[0], self._named(where, cells[1]))

    def _read_truth(self, path: Path, machine: str) -> None:
        for where, cells in _lines(path):
            if len(cells) < 2:
                raise DataError(f"{where}: has one column, expected a clip's name and its label")
            if cells[1] not in ("0", "1"):
                row = self._named(where, cells[1])
            elif path.parent.name == "ground_truth_domain":
                row = _Row(where, domain="target" if cells[1] == "1" else "source")
            else:
                row = _Row(where, anomalous=cells[1] == "1")
            self._add(machine, cells[0], row)

    def _named(self, where: str, text: str) -> _Row:
        name = parse(text.removesuffix(".wav"), self._grammar)
        if name is None or name.anomalous is None:
            raise DataError(f"{where}: {text!r} is neither 0 nor 1 nor a clip's name with its label")
        return _Row(where, name.anomalous, name.domain, name.attributes)

    def _add(self, machine: str, clip: str, row: _Row) -> None:
        self._rows.setdefault((machine, Path(clip).stem), []).append(row)


def check_attribute_lists(folder: Path, clips: Sequence[tuple[Path, ClipName]], grammar: Grammar) -> None:
    """Compare a machine's clips with its lists ``attributes_<NN>.csv``, whose first column names every clip.

    Raises
    ------
    DataError
        If a list knows a clip of this split and number only with another label or domain.
    """
    listed: dict[str, str] = {}
    for path in sorted(folder.glob("attributes_*.csv")):
        listed.update({Path(cells[0]).stem: where for where, cells in _lines(path)})
    # The names of each clip by what neither label nor domain changes.
    known: dict[tuple[str, str | None, str], dict[tuple[str | None, bool | None], str]] = {}
    for stem in listed:
        if name := parse(stem, grammar):
            known.setdefault((name.section, name.split, name.number), {})[name.domain, name.anomalous] = stem
    for clip, name in clips:
        alike = known.get((name.section, name.split, name.number), {})
        if clip.stem in listed or (name.domain, name.anomalous) in alike:
            continue
        for (domain, anomalous), other in alike.items():
            if domain is not None and anomalous is not None:
                raise DataError(
                    f"{listed[other]}: lists {other!r}, the folder holds {clip.stem!r}: label or domain disagree; "
                    "fetch the machine's archive again"
                )


def _agree(row: _Row, path: Path, what: str, named: str | None, listed: str | None) -> None:
    if named is not None and listed is not None and named != listed:
        raise DataError(
            f"{row.where}: the {what} of {path.name} is {listed!r} here and {named!r} by its name or "
            "another label file; only one can be right: fetch both again from their publisher"
        )


def _word(anomalous: bool | None) -> str | None:
    return None if anomalous is None else "anomaly" if anomalous else "normal"


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the place of each line that is not empty, for errors, and its cells."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for line, cells in enumerate(csv.reader(file), start=1):
                stripped = [cell.strip() for cell in cells if cell.strip()]
                if stripped:
                    yield f"{path}, line {line}", stripped
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a label file ({error})") from error
