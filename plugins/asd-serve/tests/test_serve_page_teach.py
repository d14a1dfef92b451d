"""Teaching a model on a machine's page: what would change is shown, then done, and taken back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from looking import Look, Server
from teaching_plant import alarm_of

from asd.client import Client

Open = Callable[..., Look]
CARD = "details.card:has-text('Teach the model')"


def test_without_a_judgement_there_is_nothing_to_teach(look: Open) -> None:
    page = look("administer").go("machines/mill")
    card = page.locator(CARD)
    card.locator("summary").first.click()
    card.get_by_text("No alarm of this machine was judged normal").wait_for()
    assert card.get_by_role("button").count() == 0


def test_a_model_is_taught_and_that_is_taken_back(look: Open, plant: Path, plant_server: Server) -> None:
    alarm = alarm_of(plant.parent)
    client = Client(plant_server.url, plant_server.keys["feedback"])
    client.judge(alarm, "normal")
    former = plant.read_text()
    try:
        page = look("look").go("machines/fan")
        page.locator(f"{CARD} summary").first.click()
        page.locator(CARD).get_by_text("needs a key with the role administer").wait_for()

        opened = look("administer", width=400)
        page = opened.go("machines/fan")
        card = page.locator(CARD)
        card.locator("summary").first.click()
        card.get_by_role("row").nth(1).wait_for()
        assert "clips of 1 alarm that were normal" in card.inner_text()
        assert opened.axe() == []
        card.get_by_role("button", name="Teach the model").click()
        question = page.get_by_role("dialog", name="Teach the model?")
        question.get_by_role("row").nth(1).wait_for()
        page.keyboard.press("Escape")
        assert plant.read_text() == former  # it asked first
        card.get_by_role("button", name="Teach the model").click()
        question.get_by_role("button", name="Teach the model").click()
        back = card.get_by_role("button", name="Take back the last teaching")
        back.wait_for()
        assert plant.read_text() != former
        back.click()
        back.wait_for(state="hidden")
        assert plant.read_text() == former
    finally:
        client.judge(alarm, None)
