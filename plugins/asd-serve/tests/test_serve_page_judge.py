"""Dropping files on the page, and recording by its microphone, to have sound judged."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from looking import Look, Server

from waiting import until

RATE = 16_000
Open = Callable[..., Look]
HOSTILE = "<img src=x onerror=alert(1)> & \"quotes'.wav"


@pytest.fixture(scope="module")
def sounds(plant: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a healthy recording, one with the fault, one that is no audio, and one with a hostile name."""
    folder = tmp_path_factory.mktemp("sounds")
    samples, rate = soundfile.read(plant.parent / "sound" / "fan.wav", dtype="float32")
    soundfile.write(folder / "healthy.wav", samples[20 * rate : 21 * rate], rate)
    soundfile.write(folder / "whine.flac", samples[70 * rate : 80 * rate], rate)
    soundfile.write(folder / HOSTILE, samples[21 * rate : 22 * rate], rate)
    (folder / "letter.wav").write_bytes(b"Dear Ann, this is no sound at all. " * 40)
    return folder


def test_a_file_is_judged_in_words_and_drawn(look: Open, sounds: Path) -> None:
    page = look("look").go("judge")
    page.set_input_files("#files", sounds / "healthy.wav")
    result = page.locator("article").first
    result.get_by_text("Sounds healthy").wait_for()
    assert re.search(r"About \d+% of healthy clips are at least as unusual \(p = 0\.\d+\)\.", result.inner_text())
    result.locator(".frequencies span").first.wait_for()  # the spectrogram is there
    assert result.locator("canvas").evaluate("canvas => canvas.width") > 10
    assert result.locator(".clock").inner_text() == "0.0 / 1.0 s"


def test_files_are_dropped(look: Open, sounds: Path) -> None:
    page = look("look").go("judge?model=fan")
    page.evaluate(
        """([names, contents]) => {
            const held = new DataTransfer();
            names.forEach((name, at) => held.items.add(new File([Uint8Array.from(contents[at])], name)));
            const zone = document.querySelector('.drop');
            const tell = (type) => zone.dispatchEvent(
                new DragEvent(type, { dataTransfer: held, bubbles: true, cancelable: true }));
            tell('dragenter');
            tell('dragover');
            if (!zone.classList.contains('over')) throw new Error('the place does not light up');
            if (tell('drop')) throw new Error('the browser would open the file itself');
            if (zone.classList.contains('over')) throw new Error('it still is lit');
        }""",
        [["healthy.wav", HOSTILE], [list((sounds / name).read_bytes()) for name in ("healthy.wav", HOSTILE)]],
    )
    page.get_by_text("2 of 2 files judged").wait_for()
    assert set(page.locator("article .file").all_inner_texts()) == {"healthy.wav", HOSTILE}


def test_a_faulty_file_says_where_and_when(look: Open, sounds: Path) -> None:
    page = look("look").go("judge")
    page.set_input_files("#files", sounds / "whine.flac")
    result = page.locator("article").first
    result.get_by_text("Unusual").first.wait_for()
    assert "10 of 10 clips unusual" in result.inner_text()
    assert re.search(r"louder at 3\.\d[–-]\d\.\d\s*kHz", result.locator(".places").inner_text())
    result.get_by_text("All 10 clips").click()
    assert result.locator("tbody tr").count() == 10


def test_several_files_one_of_which_is_none(look: Open, sounds: Path) -> None:
    opened = look("look", width=400)
    page = opened.go("judge")
    page.set_input_files("#files", [sounds / "healthy.wav", sounds / "whine.flac", sounds / "letter.wav"])
    page.get_by_text("3 of 3 files judged: 1 unusual, 1 not readable.").wait_for()
    failed = page.locator("article", has_text="letter.wav")
    assert "Cannot be judged" in failed.inner_text()
    assert "letter.wav" in failed.get_by_role("alert").inner_text()
    opened.errors[:] = [each for each in opened.errors if "422" not in each and "415" not in each]  # what it was about
    page.get_by_role("button", name="Take letter.wav off this page").click()
    page.get_by_text("2 of 2 files judged: 1 unusual.").wait_for()


def test_a_name_that_holds_markup_stays_text(look: Open, sounds: Path) -> None:
    page = look("look").go("judge")
    page.on("dialog", lambda _: pytest.fail("the name of a file was run as a script"))
    page.set_input_files("#files", sounds / HOSTILE)
    page.get_by_text("Sounds healthy").first.wait_for()
    assert page.locator("article .file").inner_text() == HOSTILE
    assert page.locator("article img").count() == 0


def test_the_microphone_is_recorded_and_judged(look: Open) -> None:
    page = look("look").go("judge")
    page.select_option("#model", "pump 1")
    page.get_by_role("button", name="Record with this microphone").click()
    meter = page.get_by_role("meter")
    meter.wait_for()
    until(lambda: int(meter.get_attribute("aria-valuenow")) > -40)
    result = page.locator("article").first
    result.get_by_text(re.compile("Sounds healthy|Unusual")).first.wait_for()
    assert re.match(r"Microphone \d\d:\d\d:\d\d\.wav", result.locator(".file").inner_text())


def test_what_is_played_moves(look: Open, sounds: Path) -> None:
    page = look("look").go("judge")
    page.set_input_files("#files", sounds / "whine.flac")
    play = page.get_by_role("button", name="Play", exact=True)
    play.wait_for()
    play.click()  # which waits until it is enabled
    until(lambda: float(page.locator(".clock").inner_text().split()[0]) > 0.5)
    page.get_by_role("button", name="Pause").click()
    before = page.locator(".clock").inner_text()
    page.wait_for_timeout(300)
    assert page.locator(".clock").inner_text() == before
    only = page.get_by_role("button", name=re.compile("Only this band"))
    only.first.click()
    assert only.first.get_attribute("aria-pressed") == "true"


def test_the_spectrogram_is_that_of_the_reports(look: Open, sounds: Path) -> None:
    from asd_pages.pictures import analyse

    page = look("look").go("judge")
    samples, rate = soundfile.read(sounds / "whine.flac", dtype="float32")
    found = page.evaluate(
        """async ([samples, rate]) => {
            const base = document.querySelector('script[type=module]').src;
            const { analyse } = await import(new URL('sound/spectrum.js', base));
            const found = analyse(Float32Array.from(samples), rate, 100, 24);
            return [found.columns, Array.from(found.levels)];
        }""",
        [samples[: 4 * rate].tolist(), rate],
    )
    ours = np.array(found[1]).reshape(found[0], 24).mean(axis=0)
    theirs = analyse(samples[: 4 * rate], rate, rows=24, columns=100).levels.mean(axis=1)
    loud = theirs > -70
    assert loud.sum() > 10
    np.testing.assert_allclose(ours[loud], theirs[loud], atol=2.0)  # dB; of noise, in a band of a single bin


def test_a_machine_s_model_is_chosen_by_its_address(look: Open, plant_server: Server) -> None:
    page = look("look").go("judge?model=mill")
    assert page.locator("#model").input_value() == "mill"
    assert "30 healthy clips" in page.locator("main").inner_text()
