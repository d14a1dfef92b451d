"""Pictures of every view, narrow and wide, light and dark: ``ASD_PICTURES=1 pytest …`` puts them into docs/pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from looking import Look, Server

from asd.client import Client
from waiting import until

Open = Callable[..., Look]
KEPT = "ASD_PICTURES" in os.environ
WAYS = [(400, True), (1400, False), (400, False), (1400, True)]
"""Width, and whether it is dark; where no picture is kept, each of both is looked at once."""


@pytest.fixture(scope="module")
def sounds(plant: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Make a recording with a fault, and a healthy one."""
    folder = tmp_path_factory.mktemp("sounds")
    samples, rate = soundfile.read(plant.parent / "sound" / "fan.wav", dtype="float32")
    soundfile.write(folder / "fan, Friday.flac", samples[57 * rate : 65 * rate], rate)
    soundfile.write(folder / "fan, Thursday.flac", samples[20 * rate : 28 * rate], rate)
    return [folder / "fan, Friday.flac", folder / "fan, Thursday.flac"]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), WAYS if KEPT else WAYS[:2])
def test_pictures(look: Open, plant_server: Server, sounds: list[Path], width: int, dark: bool) -> None:
    opened = look("administer", width=width, dark=dark)
    page = opened.go("")
    page.get_by_text("fan").first.wait_for()
    page.wait_for_timeout(1500 if KEPT else 300)  # evidence and levels have come
    opened.picture("machines")
    page = opened.go("machines/fan?span=1800")
    page.locator(".spectrogram p").wait_for(state="hidden")
    page.wait_for_timeout(60_000 if KEPT else 500)  # of live sound: the spectrogram is full
    opened.picture("machine")
    page = opened.go("events")
    page.locator(".event").first.wait_for()
    opened.picture("events", whole=False)
    _event(opened, plant_server)
    page = opened.go("judge?model=fan")
    page.set_input_files("#files", [sounds[1]])
    page.locator("article .verdict").first.wait_for()
    page.set_input_files("#files", [sounds[0]])
    page.get_by_text("2 of 2 files judged").wait_for()
    page.locator("article > details > summary").last.click()
    page.locator("article > details > summary").first.click()
    page.locator("article .place").first.wait_for()
    opened.picture("judge")
    _record(opened)
    opened.go("settings")
    page.wait_for_timeout(300)
    opened.picture("settings")


def _event(opened: Look, server: Server) -> None:
    client = Client(server.url, server.keys["feedback"])
    alarm: dict[str, Any] = list(client.events(machine="fan", kind="alarm"))[-1]
    page = opened.go(f"events/{alarm['id']}")
    page.locator("figure[data-track=healthy] .frequencies span").first.wait_for()
    if page.get_by_text("No notes yet.").is_visible():
        page.get_by_label("Note", exact=True).fill("The bearing whines; a new one is ordered.")
        page.get_by_role("button", name="Add note").click()
        page.locator(".notes li").wait_for()
    page.get_by_role("slider", name="Position in the recording").fill("11")
    page.locator("h1").click()  # the slider is no longer outlined
    opened.picture("event")


def _record(opened: Look) -> None:
    page = opened.go("record")
    page.get_by_label("Machine", exact=True).fill("pump 2")
    page.get_by_role("button", name="Start recording").click()
    until(lambda: re.search(r"[2-9] clips recorded", page.locator("main").inner_text()))
    opened.picture("record")
    page.get_by_role("button", name="Discard").click()
    page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    page.get_by_role("button", name="Start recording").wait_for()
