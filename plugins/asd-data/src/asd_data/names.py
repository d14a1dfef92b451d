"""The file names of DCASE Task 2, which carry labels, domains and attributes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Grammar = Literal["section", "id"]

EXAMPLES: dict[Grammar, str] = {
    "section": "section_00_source_train_normal_0000_<attributes>.wav",
    "id": "normal_id_00_00000000.wav",
}

_PATTERNS: dict[Grammar, tuple[re.Pattern[str], ...]] = {
    "section": (
        re.compile(
            r"section_(?P<section>\d\d)_(?P<domain>source|target)_(?P<split>train|test)_(?P<label>normal|anomaly)"
            r"_(?P<number>\d+)(?:_(?P<attributes>.*))?"
        ),
        # test clips of an evaluation set
        re.compile(r"section_(?P<section>\d\d)(?:_(?P<domain>source|target))?(?:_(?P<split>test))?_(?P<number>\d+)"),
    ),
    "id": (re.compile(r"(?:(?P<label>normal|anomaly)_)?id_(?P<section>\d\d)_(?P<number>\d+)"),),
}


@dataclass(frozen=True)
class ClipName:
    """The facts in a file's name; None: it holds none.

    Parameters
    ----------
    section : str
        Two digits: section or machine id.
    number : str
        The clip's number, as written.
    domain, split : str or None
        ``"source"`` or ``"target"``; ``"train"`` or ``"test"``.
    anomalous : bool or None
        The label.
    attributes : mapping of str to str
        Names and values if they come in pairs, else the whole under ``"attributes"``.
    """

    section: str
    number: str
    domain: Literal["source", "target"] | None = None
    split: Literal["train", "test"] | None = None
    anomalous: bool | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


def parse(stem: str, grammar: Grammar, attributes: str = "pairs") -> ClipName | None:
    """Return the facts in `stem`, a file name without suffix; None if it is not of this grammar.

    Parameters
    ----------
    stem : str
        ``"section_00_source_test_anomaly_0002_car_B1_spd_31V"`` or ``"normal_id_00_00000000"``.
    grammar : {"section", "id"}
        Names since 2021, or of 2020.
    attributes : {"pairs", "text", "none"}
        How attributes are written.
    """
    match = next((m for pattern in _PATTERNS[grammar] if (m := pattern.fullmatch(stem))), None)
    if match is None:
        return None
    facts: dict[str, Any] = match.groupdict()
    return ClipName(
        section=facts["section"],
        number=facts["number"],
        domain=facts.get("domain"),
        split=facts.get("split"),
        anomalous=None if facts.get("label") is None else facts["label"] == "anomaly",
        attributes=_attributes(facts.get("attributes"), attributes),
    )


def _attributes(text: str | None, written: str) -> dict[str, str]:
    if not text or text.lower() == "noattribute":
        return {}
    words = text.split("_")
    if written == "pairs" and len(words) % 2 == 0:
        return dict(zip(words[::2], words[1::2], strict=True))
    return {"attributes": text}
