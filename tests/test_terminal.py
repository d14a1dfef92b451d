"""What stands in a terminal: tables at 40, 80 and 120 columns and in a pipe, help, and who sees a progress bar."""

from __future__ import annotations

import itertools
import os
import pty
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from asd.cli.table import Cell, laid_out, wrapped
from waiting import PATIENCE

ASD = os.environ["ASD_COMMAND"]
WIDTHS = (40, 80, 120)
QUICK = ("--frontend", "mel-stack", "--extractor", "identity", "--pca", "0.9", "--detector", "mahalanobis")
NAMES = (
    "a machine with a very long name that goes on_and_on_00000000000000000000000000000000000001.wav",
    "a machine with a very long name that goes on_and_on_00000000000000000000000000000000000002.wav",
    "送風機の録音-0001-とても長い名前のファイルです-とても長い名前のファイルです.wav",
    "Lüfter №3 [bold]x[-bold] 🔔.wav",
    "x" * 150 + ".wav",
)

text = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cf", "Cs", "Mn", "Me", "Zl", "Zp")), max_size=90)


def letters(said: str) -> str:
    return re.sub(r"\s", "", said)


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 6).flatmap(lambda n: st.lists(st.lists(text, min_size=n, max_size=n), max_size=5)), st.data())
def test_no_letter_is_left_out_and_no_line_too_long(rows: list[list[str]], data: st.DataObject) -> None:
    width = data.draw(st.integers(20, 140))
    titles = [f"t{number}" for number in range(len(rows[0]) if rows else 2)]
    lines = [line.plain for line in laid_out(titles, [[Cell(cell) for cell in row] for row in rows], width)]
    assert all(cell_len(line) <= width for line in lines)
    shown = letters("".join(lines[1:]))
    for row in rows:
        for cell in row:
            for letter in set(letters(cell)):
                assert shown.count(letter) >= sum(letters(each).count(letter) for each in row)


@settings(deadline=None, max_examples=150)
@given(text, st.integers(2, 60))
def test_a_name_that_wraps_is_whole(name: str, width: int) -> None:
    lines = wrapped(name, width)
    assert letters("".join(lines)) == letters(name)
    assert all(cell_len(line) <= width for line in lines)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    return [line.plain for line in laid_out(titles, [[Cell(cell) for cell in row] for row in rows], width)]


def test_what_does_not_fit_goes_below_with_its_title() -> None:
    rows = [("ANOMALOUS", "0.010", "fan/2026-11-27_00-48-23_microphone_3.flac", "louder by 14 dB")]
    assert table(("verdict", "p-value", "clip", "notes"), rows, 40) == [
        "verdict    p-value  clip",
        "─────────  ───────  ────────────────────",
        "ANOMALOUS  0.010    fan/2026-11-27_00-",
        "                    48-23_microphone_3.",
        "                    flac",
        "  notes: louder by 14 dB",
    ]
    assert len(table(("verdict", "p-value", "clip", "notes"), rows, 80)) == 3


def test_columns_that_must_wrap_share_the_line() -> None:
    lines = table(("name", "what", "licence"), [("dcase2020", "x " * 40, "y " * 38)], 80)
    assert [len(rule) for rule in lines[1].split()] == [9, 34, 33]


def test_a_cell_with_lines_keeps_them() -> None:
    assert table(("a", "b"), [("1\n2", "3")], 80)[2:] == ["1  3", "2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with recordings of hard names, a model, and a monitor that has watched them."""
    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(0)
    (folder / "healthy").mkdir()
    (folder / "today").mkdir()
    for number in range(12):
        soundfile.write(folder / "healthy" / f"{number}.wav", rng.normal(0, 0.1, 16000), 16000)
    for name in NAMES:
        soundfile.write(folder / "today" / name, rng.normal(0, 0.3, 16000), 16000)
    (folder / "today" / ("broken" * 12 + ".wav")).write_bytes(b"no sound")
    said = run(folder, "fit", "healthy", "-o", "m.asd", *QUICK, "--false-alarms", "720/hour", width=80)
    assert "Learned from 12 clips" in said
    shutil.copytree(folder / "today", folder / "faulty")
    (folder / "faulty" / ("broken" * 12 + ".wav")).unlink()
    for path in (folder / "faulty").iterdir():
        soundfile.write(path, rng.normal(0, 0.3, 16000), 16000)  # other sound than today's
    return folder


def run(folder: Path, *arguments: str | Path, width: int | None, codes: tuple[int, ...] = (0, 1)) -> str:
    environment = {**os.environ, "ASD_CACHE": str(folder / "cache"), "ASD_CACHE_SIZE": "1GB"}
    environment.pop("COLUMNS", None)
    if width is not None:
        environment["COLUMNS"] = str(width)
    command, nothing = [ASD, *arguments], subprocess.DEVNULL
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=environment, stdin=nothing
    )
    assert done.returncode in codes, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def tables_of(said: str) -> list[list[str]]:
    """Return the lines of each table: from its titles, which a rule is below, to the next blank line.

    The titles of a narrow table may be one blank title.
    """
    lines = said.splitlines()
    rules = [number for number, line in enumerate(lines) if line and set(line) <= {"─", " "}]
    assert rules, said
    return [[*itertools.takewhile(bool, lines[rule - bool(lines[rule - 1]) :])] for rule in rules]


COMMANDS: dict[str, tuple[str, ...]] = {
    "score": ("score", "m.asd", "today"),
    "evaluate": ("evaluate", "m.asd", "--normal", "healthy", "--anomalous", "faulty"),
    "streams": ("evaluate", "m.asd", "--normal", "healthy", "--anomalous", "faulty", "--stream", "--streams", "5"),
    "diff": ("diff", "m.asd", "m.asd", "healthy"),
    "plugins -v": ("plugins", "-v"),
    "plugins show": ("plugins", "show", "gmm"),
    "weights": ("weights", "list"),
    "cache": ("cache", "show"),
    "data": ("data", "list"),
    "bench": ("bench", "--list"),
    "check": ("check", "asd-data:folder"),
}


@pytest.mark.parametrize("width", [*WIDTHS, None], ids=lambda width: "piped" if width is None else str(width))
@pytest.mark.parametrize("command", COMMANDS)
def test_tables_fit_the_line(place: Path, command: str, width: int | None) -> None:
    for lines in tables_of(run(place, *COMMANDS[command], width=width)):
        assert max(map(cell_len, lines)) <= (width or 80), "\n".join(lines)


def column(lines: Sequence[str], title: str) -> str:
    """Return the letters of a table's column, which only narrow letters may stand before."""
    begin = lines[0].index(title)
    width = len(lines[1][begin:].partition(" ")[0])
    found = ""
    for line in lines[2:]:
        if line.startswith(" ") and line[:begin].strip():
            continue  # what did not fit beside the others
        part = ""
        for letter in line[begin:]:
            if cell_len(part + letter) > width:
                break
            part += letter
        found += letters(part)
    return found


@pytest.mark.parametrize("width", WIDTHS)
def test_every_clip_is_named_in_whole_beside_its_verdict(place: Path, width: int) -> None:
    (lines,) = tables_of(run(place, "score", "m.asd", "today", width=width))
    assert lines[0].split()[:3] == ["verdict", "p-value", "clip"]
    shown = column(lines, "clip")
    for name in NAMES:
        assert letters(name) in shown
    verdicts = re.findall("ANOMALOUS|normal|leftout", column(lines, "verdict"))
    assert len(verdicts) == 1 + len(NAMES)
    assert verdicts.count("leftout") == 1


@pytest.mark.parametrize("width", WIDTHS)
def test_a_monitor_s_tables_fit_too(place: Path, tmp_path: Path, width: int) -> None:
    (lines,) = tables_of(run(place, "score", "m.asd", "today", "--monitor", tmp_path / "a.state", width=width))
    assert max(map(cell_len, lines)) <= width
    assert all(letters(name) in column(lines, "clip") for name in NAMES)
    run(place, "monitor", tmp_path / "a.state", "normal", "--from", "1971-01-01", width=width)
    for history in tables_of(run(place, "monitor", tmp_path / "a.state", "show", width=width)):
        assert max(map(cell_len, history)) <= width


@pytest.mark.parametrize("arguments", [(), ("data",), ("weights",), ("cache",)])
def test_whoever_asks_for_nothing_gets_help(place: Path, arguments: tuple[str, ...]) -> None:
    said = run(place, *arguments, width=80, codes=(0,))
    assert said.startswith("Usage: ")
    assert "Commands:" in said


def test_python_m_asd_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "asd", "--version"], capture_output=True, text=True, check=True)
    import asd

    assert done.stdout.split()[-1] == asd.__version__


def test_commands_stand_in_the_order_of_need_and_strangers_after(place: Path) -> None:
    said = run(place, "--help", width=80)
    listed = re.findall(r"^  ([a-z-]+)  ", said.split("Commands:")[1], re.MULTILINE)
    order = ["fit", "score", "monitor", "evaluate", "bench", "plugins", "weights", "check", "new-plugin"]
    assert [name for name in listed if name in order] == order
    file = place / "levels.py"
    file.write_text(
        "from asd_registry import CommandSpec, hookimpl\n@hookimpl\ndef asd_commands():\n"
        "    yield CommandSpec(name='aaa', summary='A stranger.', target='levels:aaa')\n"
    )
    said = run(place, "--plugin-file", file, "--help", width=80)
    assert said.index("From plugins:") > said.index("new-plugin")
    assert said.index("A stranger.") > said.index("From plugins:")


@pytest.mark.parametrize("arguments", [("fit", "--help"), ("plugins", "show", "knn"), ("plugins", "show", "mel-image")])
def test_help_says_none_as_users_type_it(place: Path, arguments: tuple[str, ...]) -> None:
    said = run(place, *arguments, width=80)
    assert not re.search(r"\b(None|True|False)\b(?! alarms)|`", said)
    assert arguments[0] != "fit" or "none: keep the features" in " ".join(said.split())


LOOP = """
import sys, time, asd
from asd.progress import track
if "quiet" in sys.argv:
    asd.quiet()
for number in track(range(4), "counting"):
    time.sleep(0.6)
    print("line", number)
"""


def in_terminal(arguments: Sequence[str], *, stdout: Path | None) -> str:
    """Run a script with a terminal for stderr, and stdout unless it is a file, and return what the terminal got."""
    ours, theirs = pty.openpty()
    with (stdout or Path(os.devnull)).open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", LOOP, *arguments], stdin=theirs, stdout=file if stdout else theirs, stderr=theirs,
            env={**os.environ, "COLUMNS": "80", "TERM": "xterm"},
        )  # fmt: skip
        os.close(theirs)
        said = b""
        while select.select([ours], [], [], PATIENCE)[0]:
            try:
                said += os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
    assert process.wait() == 0
    os.close(ours)
    return said.decode()


def test_a_script_shows_a_bar_and_keeps_stdout_clean(tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(4)]
    said = in_terminal([], stdout=tmp_path / "out")
    assert "counting" in said
    assert "/4" in said
    assert (tmp_path / "out").read_text().splitlines() == lines
    said = in_terminal([], stdout=None)
    assert all(line in said for line in lines)  # above the bar
    assert "counting" in said


def test_quiet_and_pipes_show_none(tmp_path: Path) -> None:
    assert in_terminal(["quiet"], stdout=tmp_path / "out") == ""
    done = subprocess.run([sys.executable, "-c", LOOP], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_notebook_shows_a_bar_below_its_cell() -> None:
    pytest.importorskip("ipykernel", reason="a notebook's process needs ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="runs a notebook")
    nbformat = pytest.importorskip("nbformat", reason="runs a notebook")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(LOOP)])
    nbclient.NotebookClient(book).execute()
    outputs = book.cells[0].outputs
    assert {each.name for each in outputs if each.output_type == "stream"} == {"stdout"}  # no warning
    (bar,) = (each.data["text/plain"] for each in outputs if each.output_type == "display_data")
    assert bar == ""  # the line goes when the loop ends


def test_the_line_of_a_notebook_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    from asd import progress

    shown: list[str] = []

    class Handle:
        def update(self, data: dict[str, str], **_: object) -> None:
            shown.append(data["text/plain"])

    def display(data: dict[str, str], **_: object) -> Handle:
        shown.append(data["text/plain"])
        return Handle()

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=SimpleNamespace(display=display)))
    monkeypatch.setattr(progress, "_REDRAWN", -1.0)
    bar = progress._NotebookBar("scoring", 3, 1)
    bar.advance()
    bar.advance()
    bar.stop()
    assert shown == ["scoring: 1 of 3, 0 s", "scoring: 2 of 3, 0 s", "scoring: 3 of 3, 0 s", ""]


def test_a_bar_inside_a_bar_goes_on() -> None:
    from asd.progress import Bar

    assert list(Bar()(range(3), "outer", 3)) == [0, 1, 2]


def test_times_and_decimals_are_not_broken() -> None:
    assert wrapped("2026-11-27 02:05:50+00:00", 20) == ["2026-11-27", "02:05:50+00:00"]
    assert wrapped("the evidence is 6.6: alarm", 18) == ["the evidence is", "6.6: alarm"]
