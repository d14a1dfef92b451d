"""Recording healthy sound on the page, by its microphone or from a machine, and a model that learns from it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from looking import Look, Server

from asd.client import Client
from waiting import until

Open = Callable[..., Look]


@pytest.mark.slow
def test_from_the_microphone_to_a_model_that_judges(look: Open, plant_server: Server) -> None:
    opened = look("administer", width=400)
    page = opened.go("record")
    page.get_by_label("Machine", exact=True).fill("pump from the page")
    page.get_by_role("button", name="Start recording").click()
    meter = page.get_by_role("meter")
    until(lambda: int(meter.get_attribute("aria-valuenow")) > -40)
    assert opened.axe() == []
    until(lambda: re.search(r"1[2-9] clips recorded", page.locator("main").inner_text()))
    page.get_by_role("button", name="Stop and go on").click()
    name = page.get_by_label("Name of the model")
    name.wait_for()
    assert name.input_value() == "pump from the page"
    assert opened.axe() == []
    page.get_by_role("button", name="Fit the model").click()
    page.get_by_text("Model pump from the page is ready").wait_for()
    assert re.search(r"false alarms?", page.locator(".verdict").inner_text())
    page.get_by_role("link", name="Judge a file with it").click()
    page.locator("#model").wait_for()
    assert page.locator("#model").input_value() == "pump from the page"
    assert "pump from the page" in [
        each["name"] for each in Client(plant_server.url, plant_server.keys["look"]).models()
    ]


def test_a_short_recording_is_told_and_thrown_away(look: Open) -> None:
    page = look("administer").go("record")
    page.get_by_label("Machine", exact=True).fill("short")
    page.get_by_role("button", name="Start recording").click()
    until(lambda: re.search(r"[1-9] clips? recorded", page.locator("main").inner_text()))
    page.get_by_role("button", name="Stop and go on").click()
    page.locator(".problems li", has_text="few").wait_for()
    page.get_by_role("button", name="Discard").click()
    page.get_by_role("button", name="Start recording").wait_for()


def test_from_a_machine_and_loaded_again_meanwhile(look: Open) -> None:
    page = look("administer").go("record")
    page.get_by_label("Machine", exact=True).fill("mill today")
    page.get_by_label("A machine that is listened to:").check()
    page.get_by_label("Machine to record").select_option("mill")
    page.get_by_role("button", name="Start recording").click()
    page.get_by_text("Recording mill").wait_for()
    until(lambda: re.search(r"[1-9]\d* clips? recorded", page.locator("main").inner_text()))
    page.reload()
    page.get_by_text("Recording mill").wait_for()
    page.get_by_role("button", name="Discard").click()
    page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    page.get_by_role("button", name="Start recording").wait_for()


@pytest.mark.parametrize("role", ["look", "feedback"])
def test_it_is_offered_to_those_who_may(look: Open, role: str) -> None:
    page = look(role).go("record")
    page.get_by_text("need a key with the role administer").wait_for()
    assert page.get_by_role("button", name="Start recording").count() == 0


def test_without_a_microphone_it_says_why(look: Open) -> None:
    page = look("administer").go("record")
    page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError'); }; }"
    )
    page.get_by_label("Machine", exact=True).fill("pump")
    page.get_by_role("button", name="Start recording").click()
    assert "There is no microphone." in page.get_by_role("alert").filter(has_text="microphone").inner_text()
    assert page.get_by_label("Machine", exact=True).input_value() == "pump"
