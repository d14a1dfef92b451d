"""Label files beside the recordings of DCASE Task 2: published ground truth, and lists of attributes."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from asd.errors import DataError
from asd_data.names import ClipName, Grammar, parse

_LIST = re.compile(r"eval_data_list.*\.csv")
_TRUTH = re.compile(r"ground_truth_(?P<machine>.+)_section_\d\d(?:_(?P<domain>source|target))?_test\.csv")


@dataclass(frozen=True)
class _Row:
    """What a line of a label file says of a clip."""

    file: Path
    line: int
    anomalous: bool | None = None
    domain: Literal["source", "target"] | None = None
    named: ClipName | None = None


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
            said = row.named or ClipName(name.section, name.number, row.domain, anomalous=row.anomalous)
            _agree(row, path, "label", _word(name.anomalous), _word(said.anomalous))
            _agree(row, path, "domain", name.domain, said.domain)
            name = replace(
                name,
                anomalous=name.anomalous if said.anomalous is None else said.anomalous,
                domain=name.domain or said.domain,
                attributes=name.attributes or said.attributes,
            )
        return name

    def _read_list(self, path: Path) -> None:
        machine = ""
        for line, cells in _lines(path):
            if len(cells) == 1:
                machine = cells[0]
            else:
                self._add(machine, cells[0], _Row(path, line, named=self._named(path, line, cells[1])))

    def _read_truth(self, path: Path, machine: str) -> None:
        for line, cells in _lines(path):
            if len(cells) < 2:
                raise DataError(f"{path}, line {line}: has one column, expected a clip's name and its label")
            if cells[1] not in ("0", "1"):
                self._add(machine, cells[0], _Row(path, line, named=self._named(path, line, cells[1])))
            elif path.parent.name == "ground_truth_domain":
                self._add(machine, cells[0], _Row(path, line, domain="target" if cells[1] == "1" else "source"))
            else:
                self._add(machine, cells[0], _Row(path, line, anomalous=cells[1] == "1"))

    def _named(self, path: Path, line: int, text: str) -> ClipName:
        name = parse(text.removesuffix(".wav"), self._grammar)
        if name is None or name.anomalous is None:
            raise DataError(f"{path}, line {line}: {text!r} is neither 0 nor 1 nor a clip's name with its label")
        return name

    def _add(self, machine: str, clip: str, row: _Row) -> None:
        self._rows.setdefault((machine, Path(clip).stem), []).append(row)


def check_attribute_lists(home: Path, clips: Sequence[tuple[Path, ClipName]], grammar: Grammar) -> None:
    """Compare a machine's clips with its lists ``attributes_<NN>.csv``, whose first column names every clip.

    Raises
    ------
    DataError
        If a list knows a clip of this split and number only with another label or domain.
    """
    listed: dict[str, tuple[Path, int]] = {}
    for path in sorted(home.glob("attributes_*.csv")):
        listed.update({Path(cells[0]).stem: (path, line) for line, cells in _lines(path)})
    known = {_key(name): stem for stem in listed if (name := parse(stem, grammar))}
    for clip, name in clips:
        if clip.stem in listed or _key(name) in known:
            continue
        other = next((known[key] for key in _relatives(name) if key in known), None)
        if other is not None:
            path, line = listed[other]
            raise DataError(
                f"{path}, line {line}: lists {other!r}, the folder holds {clip.stem!r}: label or domain disagree; "
                "fetch the machine's archive again"
            )


def _key(name: ClipName) -> tuple[object, ...]:
    return (name.section, name.domain, name.split, name.anomalous, name.number)


def _relatives(name: ClipName) -> Iterator[tuple[object, ...]]:
    for domain in ("source", "target"):
        for anomalous in (False, True):
            yield (name.section, domain, name.split, anomalous, name.number)


def _agree(row: _Row, path: Path, what: str, named: str | None, listed: str | None) -> None:
    if named is not None and listed is not None and named != listed:
        raise DataError(
            f"{row.file}, line {row.line}: the {what} of {path.name} is {listed!r} here and {named!r} by its name or "
            "another label file; only one can be right: fetch both again from their publisher"
        )


def _word(anomalous: bool | None) -> str | None:
    return None if anomalous is None else "anomaly" if anomalous else "normal"


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for line, cells in enumerate(csv.reader(file), start=1):
                stripped = [cell.strip() for cell in cells if cell.strip()]
                if stripped:
                    yield line, stripped
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a label file ({error})") from error
