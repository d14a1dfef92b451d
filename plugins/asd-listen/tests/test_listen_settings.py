"""Settings of a listener: what a mistake in the TOML is answered with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from asd.errors import ConfigError
from asd_listen.settings import read_settings, route_of, settings_from

GOOD = """
model = "pump.asd"
[[source]]
kind = "file"
path = "a.wav"
[[source]]
name = "fan"
kind = "folder"
path = "new"
false_alarms = "1/week"
hop = 2.0
[[sink]]
kind = "jsonl"
path = "events.jsonl"
at_least = "warning"
quiet_hours = "22:00-06:00"
[alerts]
cool_down = 60
"""


def test_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "plant.toml").write_text(GOOD)
    settings = read_settings(tmp_path / "plant.toml")
    (tmp_path / "windows.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert read_settings(tmp_path / "windows.toml") == settings
    assert [each.name for each in settings.source] == ["file-1", "fan"]
    assert settings.source[1].parameters == {"path": "new"}
    assert (settings.source[1].false_alarms, settings.source[1].hop, settings.hop) == ("1/week", 2.0, 1.0)
    assert settings.alerts.cool_down == 60
    route = route_of(settings.sink[0])
    assert (route.name, route.at_least, route.quiet_hours) == ("jsonl", "warning", "22:00-06:00")


MISTAKES: dict[str, tuple[str, str, str]] = {
    "a top-level typo": ('model = "pump', 'modle = "pump', "line 2: unknown setting 'modle'; did you mean model?"),
    "a typo in a table": ("cool_down", "cooldown", "line 18: unknown setting 'cooldown'; did you mean cool_down?"),
    "a source's parameter": (
        'path = "new"',
        'pth = "new"',
        r"line 9: source 'folder' has no parameter 'pth'.*did you mean path",
    ),
    "an unknown source": ('kind = "folder"', 'kind = "foldr"', "line 8: .*foldr.*folder"),
    "no kind": ('kind = "folder"\n', "", "line 6: a source without kind; 'asd plugins' lists what there is"),
    "a type": ("cool_down = 60", 'cool_down = "60"', "line 18: alerts.cool_down: expected `float`, got `str`"),
    "a value": ("cool_down = 60", "cool_down = -1", "line 18: alerts: cool_down must be a number of seconds from 0"),
    "a hop": ("hop = 2.0", "hop = -2.0", "line 11: hop: expected seconds above 0, got -2"),
    "a name of spaces": (
        'name = "fan"',
        'name = "  "',
        "line 7: the name '  ' cannot be seen; give the machine a name",
    ),
    "a long name": ('name = "fan"', f'name = "{"x" * 201}"', "line 7: a name of 201 characters, expected at most 200"),
    "two of one name": ('name = "fan"', 'name = "file-1"', "line 7: two machines are called 'file-1'"),
    "no source": (GOOD[GOOD.index("[[source]]") : GOOD.index("[[sink]]")], "", "no source; add a table"),
    "a sink's severity": ('"warning"', '"loud"', "line 15: sink .*at_least must be info, warning or alarm, got 'loud'"),
    "no TOML": ("[alerts]", "[alerts", "no TOML: .*line 17"),
    "a source that is no table": ("[[source]]\nkind", "source = 3\n[x]\nkind", "no TOML|expected tables"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_its_line(name: str, tmp_path: Path) -> None:
    right, wrong, message = MISTAKES[name]
    assert right in GOOD
    (tmp_path / "plant.toml").write_text(GOOD.replace(right, wrong, 1))
    with pytest.raises(ConfigError) as caught:
        read_settings(tmp_path / "plant.toml")
    text = str(caught.value)
    assert re.search(message, text), text
    assert text.startswith(f"{tmp_path / 'plant.toml'}")
    assert "\n" not in text


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"plant.toml: the settings cannot be read \(No such file or directory\)"):
        read_settings(tmp_path / "plant.toml")


def test_the_example_is_right() -> None:
    example = Path(__file__).resolve().parents[3] / "examples" / "listen" / "plant.toml"
    pytest.importorskip("av")
    pytest.importorskip("paho.mqtt")
    settings = settings_from(tomllib.loads(example.read_text()))
    assert [each.kind for each in settings.sink] == ["jsonl", "mqtt"]
