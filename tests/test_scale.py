"""The arithmetic of docs/explanation/scale.md: each ``a × b = c`` on the page is true to the digits that it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "explanation" / "scale.md"
EQUATION = re.compile(r"(?<![\w.,])((?:[\d.,()]+ [×/+] )+[\d.,()]+) = ([\d,]+(?:\.\d+)?)")


def equations() -> list[tuple[str, str]]:
    return EQUATION.findall(re.sub(r"<!--.*?-->", "", PAGE.read_text(encoding="utf-8")))


def value_of(text: str) -> float:
    plain = text.replace(",", "").replace("×", "*")
    assert re.fullmatch(r"[\d.()*/+ ]+", plain), text
    return float(eval(plain))  # noqa: S307  # digits and operators of our own page


@pytest.mark.parametrize(("left", "right"), equations())
def test_an_equation_holds(left: str, right: str) -> None:
    step = 10.0 ** -len(right.partition(".")[2])
    assert value_of(left) == pytest.approx(value_of(right), abs=0.5 * step * (1 + 1e-9)), f"{left} = {value_of(left)}"


def test_every_equation_of_the_page_is_among_them() -> None:
    text = re.sub(r"`[^`]*`", "", PAGE.read_text(encoding="utf-8"))
    assert len(equations()) == len(re.findall(r"[\d)] = \d", re.sub(r"<!--.*?-->", "", text)))
    assert len(equations()) > 40
