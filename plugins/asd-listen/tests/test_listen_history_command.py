"""``asd history`` as a user types it, also while a listener has the history open."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from asd_listen.alerts import Alerts, AlertSettings
from asd_listen.history import History

ASD = os.environ["ASD_COMMAND"]


def asd(*words: object, columns: int = 80) -> subprocess.CompletedProcess[str]:
    return run([ASD], words, {"COLUMNS": str(columns)})


def asd_in_berlin(*words: object) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own: one that was forked keeps its parent's zone."""
    return run([sys.executable, "-m", "asd"], words, {"COLUMNS": "160", "TZ": "Europe/Berlin"})


def run(program: list[str], words: Sequence[object], more: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [*program, "history", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **more})


@pytest.fixture
def folder(tmp_path: Path, said: Any) -> Path:
    """Return a listener's folder: two machines, an alarm on one, a condition that stands on the other."""
    with History.open(tmp_path) as history:
        alerts = Alerts(AlertSettings(condition=0), history)
        for clip in range(10):
            for machine in ("pump 1", 'fan "A"\n<b>'):
                status = said.status(10 * clip, "alarm" if clip > 6 and machine == "pump 1" else "watching")
                history.verdict(machine, status.time, said.verdict(f"{clip}.wav"), status)
                alerts.judged(machine, said.verdict(), status)
        alerts.condition('fan "A"\n<b>', "silence", "no sound comes from the microphone", said.noon + 50)
    return tmp_path


def test_events_and_what_stands_are_shown(folder: Path) -> None:
    done = asd(folder, "show")
    assert done.returncode == 0, done.stderr
    assert "no sound comes from the microphone" in " ".join(done.stdout.split())
    assert "pump 1" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert re.match(r'Since 2027-01-1\d \d\d:\d\d:50[+-]\d\d:\d\d: fan "A" <b>: no sound comes from', done.stdout)
    assert asd(folder).stdout == done.stdout


def test_json_is_for_programs(folder: Path, said: Any) -> None:
    done = asd(folder, "show", "--table", "verdicts", "--machine", "pump 1", "--json", "--since", said.noon + 40)
    rows = json.loads(done.stdout)
    assert [row["clip"] for row in rows] == ["4.wav", "5.wav", "6.wav", "7.wav", "8.wav", "9.wav"]
    assert rows[-1]["phase"] == "alarm"
    (last,) = json.loads(asd(folder, "show", "--table", "verdicts", "--json", "--last", 1).stdout)
    assert last["clip"] == "9.wav"


@pytest.mark.parametrize("table", ["verdicts", "events", "conditions", "levels", "feedback", "evidence", "deliveries"])
def test_every_table_is_shown_and_exported(folder: Path, tmp_path: Path, table: str) -> None:
    assert asd(folder, "show", "--table", table).returncode == 0
    done = asd(folder, "export", "--table", table, "-o", tmp_path / f"{table}.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path / table}.csv: ")


def test_csv_keeps_every_name(folder: Path, tmp_path: Path) -> None:
    assert asd(folder, "export", "--table", "verdicts", "-o", tmp_path / "out.csv").returncode == 0
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert {row["machine"] for row in rows} == {"pump 1", 'fan "A"\n<b>'}
    assert rows[0]["time_utc"] == "2027-01-15T08:00:00.000+00:00"
    again = asd(folder, "export", "-o", tmp_path / "out.csv")
    assert again.returncode == 2
    assert "out.csv: is there already; name a new file" in again.stderr


def test_parquet(folder: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for table in ("verdicts", "events", "conditions"):
        assert asd(folder, "export", "--table", table, "-o", tmp_path / f"{table}.parquet").returncode == 0
    rows = parquet.read_table(tmp_path / "verdicts.parquet").to_pylist()
    assert len(rows) == 20
    assert (rows[0]["score"], rows[0]["anomalous"], rows[0]["state"]) == (1.0, False, None)
    assert parquet.read_table(tmp_path / "conditions.parquet").to_pylist()[0]["over"] is None


def test_an_alarm_is_acknowledged_while_the_listener_runs(folder: Path, said: Any) -> None:
    events = json.loads(asd(folder, "show", "--machine", "pump 1", "--json").stdout)
    (event,) = [each for each in events if each["kind"] == "alarm"]
    with History.open(folder) as history:
        done = asd(folder, "ack", event["id"][:8], "--by", "Ann")
        assert done.stdout.startswith("Acknowledged: pump 1: the sound has changed")
        assert "No listener is running" not in done.stdout
        alerts = Alerts(AlertSettings(), history)
        (seen,) = alerts.tick(time.time())
        assert seen.kind == "acknowledged"
        history.commit()
    events = json.loads(asd(folder, "show", "--machine", "pump 1", "--json").stdout)
    (event,) = [each for each in events if each["kind"] == "alarm"]
    assert event["acknowledged_by"] == "Ann"
    again = asd(folder, "ack", event["id"])
    assert again.returncode == 2
    assert "was acknowledged before; nothing to do" in again.stderr


def test_feedback_waits_for_the_listener(folder: Path) -> None:
    done = asd(folder, "normal", "pump 1")
    assert done.stdout == (
        "Noted: all clips of the last alarm of pump 1 were normal.\n"
        "No listener is running: it takes effect when 'asd listen' starts.\n"
    )
    assert (
        asd_in_berlin(folder, "normal", "pump 1", "--from", "2027-01-15T09:00", "--to", "2027-01-15T09:01").returncode
        == 0
    )
    assert asd(folder, "normal", "pump 1", "--clip", "7.wav").returncode == 0
    assert asd(folder, "undo", "pump 1").returncode == 0
    with History.open(folder) as history:
        pending = [(row["kind"], row["data"]) for row in history.feedback_pending()]
    assert pending == [
        ("normal", {}),
        ("normal", {"since": 1_800_000_000.0, "until": 1_800_000_060.0}),
        ("normal", {"clip": "7.wav"}),
        ("undo", {}),
    ]


def test_an_alarm_is_noted_and_judged_a_fault(folder: Path) -> None:
    (event,) = [each["id"] for each in json.loads(asd(folder, "show", "--json").stdout) if each["kind"] == "alarm"]
    assert asd(folder, "note", event[:8]).stdout == f"No notes on {event}.\n"
    first = asd(folder, "note", event[:8], "bearing <b>ordered", "--by", "Ann").stdout
    number = int(re.fullmatch(r"Note (\d+) is written\.\n", first)[1])  # type: ignore[index]
    shown = asd(folder, "note", event).stdout
    assert "Ann" in shown
    assert "bearing <b>ordered" in shown
    assert asd(folder, "note", event, "--withdraw", number).stdout == f"Note {number} is taken back.\n"
    assert asd(folder, "note", event).stdout == f"No notes on {event}.\n"
    done = asd(folder, "fault", event[:8], "--by", "Ann")
    assert done.stdout.startswith("Noted: pump 1: the sound has changed")
    assert done.stdout.splitlines()[0].endswith(": it was a fault.")
    assert "was judged 'fault' before; nothing to do" in asd(folder, "fault", event).stderr
    assert ": its judgement is taken back." in asd(folder, "fault", event, "--undo").stdout
    kinds = [row["kind"] for row in json.loads(asd(folder, "show", "--table", "feedback", "--json").stdout)]
    assert kinds == ["note", "withdraw", "fault", "undo"]


def test_a_backup_is_a_history_again(folder: Path, tmp_path: Path) -> None:
    assert asd(folder, "backup", tmp_path / "copy.sqlite").returncode == 0
    assert asd(tmp_path / "copy.sqlite", "check").stdout == "The history is whole.\n"
    assert len(json.loads(asd(tmp_path / "copy.sqlite", "show", "--table", "verdicts", "--json").stdout)) == 20


def test_the_hour_that_summer_time_repeats_is_told_apart(tmp_path: Path, said: Any) -> None:
    """On 25 October 2026 in Berlin, 02:30 comes twice."""
    with History.open(tmp_path) as history:
        for moment in (1_792_888_200.0, 1_792_891_800.0):
            history.verdict("pump", moment, said.verdict(), said.status())
    rows = asd_in_berlin(tmp_path, "show", "--table", "verdicts").stdout
    assert "2026-10-25 02:30:00+02:00" in rows
    assert "2026-10-25 02:30:00+01:00" in rows


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("show", "--since", "yesterday"),
            "--since takes a time such as 2026-11-26T20:15:00, an age such as 30min, 24h",
        ),
        (("show", "--since", "1e300"), "--since takes a time such as"),
        (("show", "--since", "1h", "--until", "2h"), "--since 1h is after --until 2h; exchange them"),
        (("show", "--machine", "pump"), "--machine 'pump': the history knows 'fan"),
        (("show", "--table", "all"), "'all' is not one of 'verdicts'"),
        (("ack", "zz"), "no event with id 'zz'"),
        (("note", "zz", "text"), "no event with id 'zz'"),
        (("note", "zz", "text", "--withdraw", "1"), "TEXT and --withdraw exclude each other; choose one"),
        (("fault", "zz"), "no event with id 'zz'"),
        (("fault", "zz", "--undo"), "no event with id 'zz'"),
        (("normal", "pump"), "knows no machine 'pump'; it knows"),
        (("normal", "pump 1", "--clip", "a", "--to", "1h"), "--clip and --from … --to exclude each other; choose one"),
        (("normal", "pump 1", "--from", "1h", "--to", "2h"), "--from 1h is after --to 2h; exchange them"),
        (("export", "-o", "out.xlsx"), "out.xlsx: the name must end in .csv or .parquet, which chooses the format"),
        (("export", "-o", "/nowhere/out.csv"), "/nowhere/out.csv: cannot be written (No such file or directory)"),
    ],
)
def test_mistakes_are_one_line(folder: Path, words: tuple[str, ...], expected: str) -> None:
    done = asd(folder, *words)
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.startswith("asd: error: ")
    assert done.stderr.count("\n") == 1


def test_a_folder_without_a_history_is_one_line(tmp_path: Path) -> None:
    done = asd(tmp_path, "show")
    assert done.returncode == 2
    assert "no such history; 'asd listen' keeps one, in the folder that its settings name" in done.stderr
    assert list(tmp_path.iterdir()) == []
