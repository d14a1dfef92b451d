"""History from minutes to a year: what the plot draws, how it is moved and zoomed; a real server, a real browser."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import looking
import pytest

SPANS = {"Hour": 3600, "Day": 86400, "Week": 7 * 86400, "Month": 30 * 86400, "Year": 365 * 86400}


@pytest.fixture(scope="module")
def plant_server(staged: looking.Server) -> looking.Server:
    """Return the server whose page is looked at."""
    return staged


def test_history_from_minutes_to_a_year(look: Callable[..., looking.Look]) -> None:
    found = look()
    page = found.page
    found.go("machines/pump%201")
    for name, length in SPANS.items():
        with page.expect_response(lambda answer, length=length: _asks_for(answer.url, length)) as answer:
            page.get_by_role("button", name=name, exact=True).click()
        points = answer.value.json()["points"]
        last = looking.query(answer.value.url)
        assert len(points) <= int(last["points"][0]) + 2
        looking.wait(page, lambda length=length: f"span={length}" in page.url)
        assert page.get_by_role("button", name=name, exact=True).get_attribute("aria-pressed") == "true"
        assert looking.colours(page, ".curve canvas") > 4
    assert len(points) > 200, "a year of hours was invented"


def test_scores_and_levels_are_drawn_over_time_too(look: Callable[..., looking.Look]) -> None:
    opened = look(width=400)
    page = opened.go("machines/fan?span=3600")
    for name, text in (("Score", "score"), ("Sound level", "dB of full scale"), ("Evidence", "evidence")):
        page.get_by_role("button", name=name, exact=True).click()
        looking.wait(page, lambda text=text: text in page.locator(".reading").inner_text())
        assert page.get_by_role("button", name=name, exact=True).get_attribute("aria-pressed") == "true"
        assert page.locator(".curve").get_attribute("aria-label").startswith(f"{name} over time")
        assert looking.colours(page, ".curve canvas") > 4
    assert opened.axe() == []


def test_the_plot_is_moved_and_zoomed_by_hand(look: Callable[..., looking.Look]) -> None:
    page = look().go("machines/pump%201?span=86400")
    plot = page.locator(".curve .u-over")
    box = looking.in_sight(page, plot)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 200, y, steps=4)
    page.mouse.up()
    looking.wait(page, lambda: "since=" in page.url)
    assert looking.span(page.url) == pytest.approx(86400, abs=2)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -140)
    page.keyboard.up("Control")
    looking.wait(page, lambda: looking.span(page.url) < 50000)
    page.get_by_role("button", name="Zoom out").click()
    page.get_by_role("button", name="Now").click()
    looking.wait(page, lambda: "span=" in page.url)
    assert page.get_by_role("button", name="Now").is_disabled()


def test_two_fingers_zoom(look: Callable[..., looking.Look]) -> None:
    page = look(width=400).go("machines/pump%201?span=86400")
    plot = page.locator(".curve .u-over")
    box = looking.in_sight(page, plot)
    middle, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)

    def fingers(kind: str, apart: float) -> None:
        places = enumerate(() if kind == "touchEnd" else (middle - apart, middle + apart))
        points = [{"x": x, "y": y, "id": number} for number, x in places]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", 40)
    for apart in (50, 65, 80):
        fingers("touchMove", apart)
    fingers("touchEnd", 0)
    looking.wait(page, lambda: looking.span(page.url) < 60000)
    assert page.evaluate("visualViewport.scale") == 1


def test_an_event_in_the_plot_opens(look: Callable[..., looking.Look]) -> None:
    page = look().go("machines/fan?span=3600")
    looking.wait(page, lambda: page.locator(".events .event.alarm").count() > 0)
    name = page.locator(".events .event.alarm").first.get_attribute("href").split("/")[-1]
    page.wait_for_timeout(300)
    box = looking.in_sight(page, page.locator(".curve .u-over"))
    moment = page.evaluate("async name => (await (await fetch(`api/events/${name}`)).json()).time", name)
    at = 1 - (time.time() - moment) / 3600
    page.mouse.click(box["x"] + at * box["width"], box["y"] + 20)
    page.wait_for_url(re.compile("#/events/"))


def _asks_for(url: str, length: float) -> bool:
    """Return whether a series is asked for of so many seconds; half as many are fetched beside them."""
    if "/series" not in url:
        return False
    query = looking.query(url)
    return abs((float(query["until"][0]) - float(query["since"][0])) / 1.5 / length - 1) < 0.01
