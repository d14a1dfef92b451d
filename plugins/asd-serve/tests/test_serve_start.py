"""From the two commands of the documentation to a live curve in a browser: as somebody does who has never seen asd."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import looking
import pytest
import teaching_plant

from waiting import PATIENCE, until

MANUAL = looking.ROOT / "docs" / "how-to" / "serve.md"
SOON = 60.0


def typed(line: str) -> list[str]:
    """Return the words of a command of the documentation, by the programs of the tests."""
    programs = {"python": [sys.executable], "asd": [os.environ["ASD_COMMAND"]]}
    program, *words = shlex.split(line)
    return programs[program] + words


@pytest.mark.slow
def test_two_commands_lead_to_a_live_curve(
    chromium: Any, plant_folder: Path, tmp_path: Path, record_property: Any
) -> None:
    """`ASD_MEASURE=1` types the first command too, and holds both to the goal, on a computer without other load."""
    first, second = re.findall(r"^\$ ((?:python \S*demo_plant|asd serve --listen demo/).*)$", MANUAL.read_text(), re.M)
    (tmp_path / "examples").symlink_to(looking.ROOT / "examples")
    began = time.monotonic()
    if "ASD_MEASURE" in os.environ:
        subprocess.run(typed(first), check=True, cwd=tmp_path)
    else:
        teaching_plant.copied(plant_folder, tmp_path / "demo")  # what the command makes, in ten seconds
    made = time.monotonic() - began
    server = looking.Server.begin([*typed(second), "--port", "0"], {}, tmp_path)
    try:
        until(lambda: "#key=" in "".join(server.said), lambda: "".join(server.said))
        link = re.search(r"http\S+#key=\S+", "".join(server.said))
        assert link is not None
        page = chromium.new_context().new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(link[0])
        page.get_by_role("link", name="fan", exact=True).click()
        looking.wait(page, lambda: "evidence" in page.locator(".reading").inner_text())
        looking.wait(page, lambda: looking.colours(page, ".curve canvas") > 4)
        newest = page.locator("tbody td").first
        before = newest.inner_text()
        looking.wait(page, lambda: newest.inner_text() != before)
        seconds = time.monotonic() - began
        page.context.close()
    finally:
        server.end()
    record_property("seconds", round(seconds, 1))
    print(f"from the first command to a curve that moves: {seconds:.1f} s, of which {made:.1f} s for the first command")
    assert seconds < looking.at_most(SOON, slow=100)
