"""Settings of alarms and sinks as forms: saved, refused beside the field, and only for those who may."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from looking import Look

Open = Callable[..., Look]
MASK = "\u2022" * 6


def test_a_setting_is_saved_in_the_file(look: Open, plant: Path) -> None:
    page = look("administer").go("settings")
    page.get_by_label("Cool down").fill("301")
    page.get_by_text("Not saved yet").wait_for()
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator("#notices .toast").first.wait_for()
    assert "cool_down = 301" in plant.read_text()
    page.reload()
    page.get_by_label("Cool down").wait_for()
    assert page.get_by_label("Cool down").input_value() == "301"


def test_a_mistake_is_told_beside_its_field_and_nothing_is_saved(look: Open, plant: Path) -> None:
    opened = look("administer", width=400)
    page = opened.go("settings")
    before = plant.read_text()
    page.get_by_label("Remind").fill("-3")
    page.get_by_role("button", name="Save", exact=True).click()
    field = page.locator(".field", has=page.get_by_label("Remind"))
    field.get_by_role("alert").filter(has_text="-3").wait_for()
    assert page.get_by_label("Remind").get_attribute("aria-invalid") == "true"
    assert plant.read_text() == before
    assert opened.axe() == []
    opened.errors[:] = [each for each in opened.errors if "422" not in each]
    page.get_by_role("button", name="Discard changes").click()


def test_a_sink_is_added_and_removed(look: Open, plant: Path) -> None:
    page = look("administer").go("settings")
    assert page.get_by_label("Way of telling").input_value() == "email"
    page.get_by_label("Way of telling").select_option("jsonl")
    page.get_by_role("button", name="Add", exact=True).click()
    sink = page.locator(".sink")
    sink.get_by_label("Name", exact=True).fill("log")
    sink.get_by_label("File", exact=True).fill(str(plant.parent / "events.jsonl"))
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator("#notices .toast").first.wait_for()
    assert 'kind = "jsonl"' in plant.read_text()
    page.locator(".sink summary").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator(".save").wait_for(state="hidden")
    assert 'kind = "jsonl"' not in plant.read_text()


def test_a_secret_is_shown_to_nobody_and_stays_when_something_else_is_saved(look: Open, plant: Path) -> None:
    before = plant.read_text()
    plant.write_text(
        f'{before}\n[[sink]]\nname = "hook"\nkind = "webhook"\nurl = "http://127.0.0.1:9/T0/s3cr3t?key=k3y"\n'
    )
    try:
        opened = look("administer")
        sent: list[str] = []
        opened.page.on("response", lambda answer: "/api/settings" in answer.url and sent.append(answer.text()))
        page = opened.go("settings")
        page.locator(".sink summary").click()
        shown = page.locator(".sink").get_by_label("Address", exact=True)
        assert shown.input_value() == f"http://127.0.0.1:9/{MASK}?{MASK}"
        page.get_by_label("Cool down").fill("302")
        page.get_by_role("button", name="Save", exact=True).click()
        page.locator("#notices .toast").first.wait_for()
        saved = plant.read_text()
        assert "cool_down = 302" in saved
        assert 'url = "http://127.0.0.1:9/T0/s3cr3t?key=k3y"' in saved
        assert sent
        assert not [each for each in (*sent, page.content()) if "s3cr3t" in each or "k3y" in each]
        page.locator(".save").wait_for(state="hidden")
        page.locator(".sink summary").click()
        page.get_by_role("button", name="Remove", exact=True).click()
        page.get_by_role("button", name="Save", exact=True).click()
        page.locator(".save").wait_for(state="hidden")
        assert "s3cr3t" not in plant.read_text()
    finally:
        plant.write_text(before)


@pytest.mark.parametrize("role", ["look", "feedback"])
def test_others_are_offered_no_change(look: Open, role: str) -> None:
    page = look(role).go("settings")
    assert page.get_by_role("button", name="Save", exact=True).count() == 0
    assert page.locator("input:enabled:not([type=search])").count() == 0
    assert "asd serve key create" in page.locator("main").inner_text()
