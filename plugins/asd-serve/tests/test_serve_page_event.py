"""The page of an alarm: what was heard, what people say of it, and what that changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from looking import Look, Server

from asd.client import Client
from waiting import until

Open = Callable[..., Look]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> & \"quotes' </p>"


@pytest.fixture(scope="module")
def alarm(plant_server: Server) -> dict[str, Any]:
    """Return the fan's alarm."""
    client = Client(plant_server.url, plant_server.keys["look"])
    event: dict[str, Any] = list(client.events(machine="fan", kind="alarm"))[-1]
    return event


@pytest.fixture
def place(alarm: dict[str, Any], plant_server: Server) -> str:
    """Return where its page is; nothing has been said of it."""
    client = Client(plant_server.url, plant_server.keys["feedback"])
    found = client.event(alarm["id"])
    if found["judgement"]:
        client.judge(alarm["id"], None)
    return f"events/{alarm['id']}"


def drawn(page: Any) -> None:
    """Wait until both spectrograms are there."""
    page.locator("figure[data-track=event] .frequencies span").first.wait_for()
    page.locator("figure[data-track=healthy] .frequencies span").first.wait_for()


def test_the_sentence_comes_first(look: Open, place: str) -> None:
    page = look("look").go(place)
    assert re.fullmatch(
        r"\d+\sdB louder at 3\.\d[–-]\d\.\d\skHz from \d+\.\d\ss to \d+\.\d\ss than any of 30 healthy clips\.",
        page.locator("h1").inner_text(),
    )
    assert "The evidence that the sound has changed reached" in page.locator("header.event-head").inner_text()


def test_the_sound_is_drawn_with_its_places_and_the_moment_of_the_alarm(look: Open, place: str) -> None:
    page = look("look").go(place)
    drawn(page)
    assert page.locator("figure[data-track=event] .place").count() >= 1
    mark = page.locator(".mark")
    assert mark.inner_text() == "alarm raised"
    # 15 s of the sound before the alarm are kept: the mark stands where they end.
    plot = page.locator("figure[data-track=event] .plot").bounding_box()
    seconds = float(page.locator(".clock").inner_text().split(" / ")[1].removesuffix(" s"))
    assert (mark.bounding_box()["x"] - plot["x"]) / plot["width"] * seconds == pytest.approx(15, abs=2)


def test_alarm_and_healthy_clip_are_heard_in_turn_at_the_same_position(look: Open, place: str) -> None:
    page = look("look").go(place)
    drawn(page)
    slider = page.get_by_role("slider", name="Position in the recording")
    slider.fill("12")
    page.keyboard.press("Space")  # on the slider, too
    until(lambda: float(slider.input_value()) > 12.2)
    page.get_by_role("button", name="Healthy", exact=True).click()
    assert page.locator("figure.chosen").get_attribute("data-track") == "healthy"
    now = float(slider.input_value())
    assert 12.2 < now < 20  # it goes on from where it was
    page.keyboard.press("x")
    assert page.locator("figure.chosen").get_attribute("data-track") == "event"
    page.get_by_role("button", name="Pause").click()
    # Both play heads stand at the same second; the healthy clip, of ten seconds, has begun again.
    lines = [page.locator(f"figure[data-track={name}] .playhead") for name in ("event", "healthy")]
    at = [float(line.evaluate("line => line.style.left").removesuffix("%")) for line in lines]
    whole = float(page.locator(".clock").inner_text().split(" / ")[1].removesuffix(" s"))
    assert at[0] / 100 * whole % 10 == pytest.approx(at[1] / 100 * 10, abs=0.3)


def test_keys_move_it_and_can_be_turned_off(look: Open, place: str) -> None:
    page = look("look").go(place)
    drawn(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator(".clock").inner_text().startswith("2.0 /")
    page.get_by_text("Keys", exact=True).click()
    page.get_by_label("Use these keys").uncheck()
    page.locator("h1").click()
    page.keyboard.press("ArrowLeft")
    assert page.locator(".clock").inner_text().startswith("2.0 /")


def test_a_point_of_the_picture_is_where_it_plays(look: Open, place: str) -> None:
    page = look("look", width=400).go(place)
    drawn(page)
    box = page.locator("figure[data-track=event] .plot").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    at, whole = (float(each) for each in page.locator(".clock").inner_text().removesuffix(" s").split(" / "))
    assert at == pytest.approx(whole / 2, abs=0.3)


def test_the_machine_is_a_click_away_at_that_time(look: Open, place: str, alarm: dict[str, Any]) -> None:
    page = look("look").go(place)
    href = page.get_by_role("link", name="‹ fan").get_attribute("href")
    assert href.startswith("#/machines/fan?from=")
    assert float(re.search(r"from=(\d+)", href)[1]) < alarm["time"]


def test_who_may_only_look_is_offered_nothing_else(look: Open, place: str) -> None:
    page = look("look").go(place)
    page.get_by_text("Your key may look only.").wait_for()
    for name in ("It was a fault", "That was normal…", "Acknowledge", "Add note"):
        assert page.get_by_role("button", name=name).count() == 0
    page.keyboard.press("f")
    page.wait_for_timeout(300)
    assert page.get_by_text("said: it was a fault").count() == 0


def test_a_fault_is_said_seen_by_others_and_taken_back(look: Open, place: str) -> None:
    page, other = look("feedback").go(place), look("look").go(place)
    page.get_by_role("button", name="It was a fault").click()
    page.get_by_text(re.compile(r"Ann said: it was a fault")).first.wait_for()
    other.reload()
    other.get_by_text(re.compile(r"Ann said: it was a fault")).first.wait_for()
    page.locator(".judgement").get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="It was a fault").wait_for()


def test_normal_shows_what_it_changes_and_asks_first(look: Open, place: str) -> None:
    opened = look("feedback", width=400)
    page = opened.go(place)
    ask = page.get_by_role("button", name="That was normal…")
    ask.click()
    question = page.get_by_role("dialog", name="Was that normal?")
    question.locator(".preview p").first.wait_for()
    yes = question.get_by_role("button", name="Yes, that was normal")
    until(yes.is_enabled)
    assert re.search(r"\d+ clips?", question.inner_text())
    assert question.get_by_role("row").count() > 1
    hidden = question.locator(".scroller").evaluate("table => table.scrollWidth - table.clientWidth")
    assert hidden == 0, "what will be stands in the last column"
    assert "+00:00" not in question.inner_text()
    assert opened.axe() == []
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0
    assert page.get_by_text("said: that was normal").count() == 0
    ask.click()
    until(yes.is_enabled)
    yes.click()
    page.get_by_text(re.compile(r"Ann said: that was normal")).first.wait_for()
    page.locator("#notices").get_by_role("button", name="Undo").click()
    ask.wait_for()


def test_it_is_acknowledged(look: Open, place: str) -> None:
    page = look("feedback").go(place)
    page.get_by_role("button", name="Acknowledge").click()
    page.get_by_text("Acknowledged by Ann", exact=True).wait_for()
    page.locator("#notices").get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Acknowledge").wait_for()


def test_notes_are_text_whatever_they_hold(look: Open, place: str) -> None:
    page = look("feedback").go(place)
    page.on("dialog", lambda _: pytest.fail("a note was run as a script"))
    page.keyboard.press("w")
    page.get_by_label("Note", exact=True).fill(HOSTILE)
    page.keyboard.press("Control+Enter")
    note = page.locator(".notes li", has_text="alert(1)")  # beside those of other tests
    note.wait_for()
    assert note.locator(".text").inner_text() == HOSTILE
    assert note.locator("img, script").count() == 0
    assert "Ann" in note.inner_text()
    note.get_by_role("button", name="Take back").click()
    note.wait_for(state="detached")


def test_an_event_that_is_none(look: Open) -> None:
    opened = look("look")
    page = opened.go("events/0000")
    assert "0000" in page.locator("h1").inner_text()
    opened.errors[:] = [each for each in opened.errors if "404" not in each]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [400, 1400])
def test_it_has_no_serious_fault_for_those_who_cannot_see_it(look: Open, place: str, width: int, dark: bool) -> None:
    opened = look("feedback", width=width, dark=dark)
    page = opened.go(place)
    drawn(page)
    assert opened.axe() == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
