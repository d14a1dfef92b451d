"""The history of a listener: written whole or not at all, read meanwhile, brought up to date, refused where it must."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd.plugin import Event
from asd_listen import schema
from asd_listen.history import History, HistorySettings
from asd_listen.reader import TABLES, Reader
from asd_listen.remarks import back_up, is_listening, remark
from asd_listen.schema import MIGRATIONS, HistoryError, migrate


def test_what_is_written_is_read_back_while_the_listener_runs(tmp_path: Path, said: Any) -> None:
    verdict = said.verdict("day/a.wav", score=2.5, p_value=0.01, anomalous=True, state="fast", state_p_value=0.02)
    with History.open(tmp_path) as history:
        history.machine("pump", model="abc", monitor=tmp_path / "pump.monitor")
        history.verdict("pump", said.noon, verdict, said.status(phase="alarm", evidence=5.5))
        history.levels("pump", said.noon, 60, {1000: (-40.123456, -30), 2000: (float("nan"), 0)}, level=-35.5)
        history.condition("pump", "silence", said.noon, None, "no sound")
        history.condition(None, "clock", said.noon, None, "set back")
        history.event(said.event(1), ())
        with Reader(tmp_path) as reader:
            assert list(reader.rows("verdicts")) == []  # nothing before the commit
            assert history.commit()
            (row,) = reader.rows("verdicts")
            assert (row["machine"], row["time"], row["clip"], row["anomalous"]) == ("pump", said.noon, "a.wav", True)
            assert (row["score"], row["state"], row["phase"], row["evidence"]) == (2.5, "fast", "alarm", 5.5)
            (levels,) = reader.rows("levels")
            assert (levels["bands"], levels["level"]) == ({"1000": [-40.1, -30]}, -35.5)
            assert [(c["machine"], c["name"], c["over"]) for c in reader.rows("conditions")] == [
                ("pump", "silence", None),
                ("", "clock", None),
            ]
            assert [event["text"] for event in reader.rows("events", "pump")] == ["event 1"]
            assert list(reader.rows("events", "fan")) == []
            (machine,) = reader.rows("machines", "pump")
            assert machine["monitor"] == str(tmp_path / "pump.monitor")
            assert reader.check() == []


def test_a_condition_has_one_row_from_its_beginning_to_its_end(tmp_path: Path, said: Any) -> None:
    with History.open(tmp_path) as history:
        for text in ("no sound", "still no sound"):
            history.condition("pump", "silence", said.noon, None, text)
        history.condition("pump", "silence", said.noon, said.noon + 60, "no sound for a minute")
        history.condition("pump", "gap", said.noon + 5, said.noon + 6, "a second is missing")
        history.commit()
        rows = [(row["name"], row["began"], row["over"], row["text"]) for row in history.rows("conditions")]
    assert rows == [
        ("silence", said.noon, said.noon + 60, "no sound for a minute"),
        ("gap", said.noon + 5, said.noon + 6, "a second is missing"),
    ]


def test_the_last_rows_are_the_latest_of_all_machines(tmp_path: Path, said: Any) -> None:
    with History.open(tmp_path) as history:
        for clip in range(10):
            history.verdict(f"pump {clip % 2}", said.noon + clip, said.verdict(f"{clip}.wav"), said.status(clip))
            history.event(said.event(clip), ())
        history.commit()
        assert [row["clip"] for row in history.rows("verdicts", last=3)] == ["7.wav", "8.wav", "9.wav"]
        assert [row["clip"] for row in history.rows("verdicts", "pump 0", last=2)] == ["6.wav", "8.wav"]
        assert [row["clip"] for row in history.rows("verdicts", until=said.noon + 2, last=9)] == ["0.wav", "1.wav"]
        assert [row["text"] for row in history.rows("events", last=2)] == ["event 8", "event 9"]


def test_a_monitor_finds_what_it_has_not_seen(tmp_path: Path, said: Any) -> None:
    with History.open(tmp_path) as history:
        for clip in range(5):
            history.verdict("pump", said.noon + clip, said.verdict(f"{clip}.wav"), said.status(clip))
        history.commit()
        later = history.verdicts_after("pump", said.noon + 2)
        assert [row["clip"] for row in later] == ["3.wav", "4.wav"]
        assert len(history.verdicts_after("pump", None)) == 5
        assert len(history.unseen("pump", None)) == 5  # of a monitor that was killed before it was saved once
        history.monitor_begun("pump")  # somebody has deleted the monitor: what it had seen is not the new one's
        assert history.unseen("pump", None) == []
        history.verdict("pump", said.noon + 7, said.verdict("7.wav"), said.status(7))
        history.commit()
        assert [row["clip"] for row in history.unseen("pump", None)] == ["7.wav"]


def test_one_listener_to_a_history(tmp_path: Path) -> None:
    with History.open(tmp_path), pytest.raises(HistoryError, match="another listener is using this history; stop it"):
        History.open(tmp_path / "history.sqlite")
    assert not is_listening(tmp_path)
    with History.open(tmp_path):
        assert is_listening(tmp_path)


def test_a_locked_history_holds_nobody_up_and_loses_nothing(tmp_path: Path, said: Any) -> None:
    with History.open(tmp_path) as history:
        history.machine("pump")
        history.commit()
        other = sqlite3.connect(tmp_path / "history.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        history.verdict("pump", said.noon, said.verdict(), said.status())
        assert history.ask("PRAGMA busy_timeout") < [(2000,)]  # by default it waits for 5 s
        assert not history.commit()
        assert history.trouble is not None
        assert "another program is writing to the history" in history.trouble
        other.execute("ROLLBACK")
        other.close()
        history.verdict("pump", said.noon + 1, said.verdict(), said.status(1))
        assert history.commit()
        assert history.trouble is None
        assert [row["time"] for row in history.rows("verdicts")] == [said.noon, said.noon + 1]


def test_a_full_disk_lets_room_be_made_and_else_waits(
    tmp_path: Path, small_disk: Callable[[str], Path], said: Any
) -> None:
    disk = small_disk("size=700k")
    with History.open(disk) as history:
        history.event(said.event(0), ())
        history.commit()
        filler = disk / "evidence"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        for number in range(1, 400):
            history.event(said.event(number, text="x" * 500), ())
        assert not history.commit()
        assert history.trouble is not None
        assert "no space left for the history" in history.trouble
        assert history.unwritten("x") == []

        def make_room(_: int) -> bool:
            found = filler.exists()
            filler.unlink(missing_ok=True)
            return found

        history.make_room = make_room
        assert history.commit()
        assert sum(1 for _ in history.rows("events")) == 400
        assert history.check() == []


def test_what_waits_in_memory_is_bounded(tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asd_listen.history._MOST_NOTED", 10)
    with History.open(tmp_path) as history:
        other = sqlite3.connect(tmp_path / "history.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for number in range(30):
            history.event(said.event(number), ())
        history.commit()
        other.execute("ROLLBACK")
        other.close()
        assert history.lost == 20
        assert history.commit()
        assert [row["text"] for row in history.rows("events")] == [f"event {n}" for n in range(20, 30)]


def test_a_disk_that_cannot_be_written_is_one_line(small_disk: Callable[[str], Path], said: Any) -> None:
    disk = small_disk("size=5m")
    with History.open(disk) as history:
        history.event(said.event(1), ())
    small_disk("ro")
    with pytest.raises(HistoryError, match=r"cannot be written here|cannot be used") as raised:
        History.open(disk)
    assert "\n" not in str(raised.value)
    with Reader(disk) as reader:  # to read, it is as good as ever
        assert [row["text"] for row in reader.rows("events")] == ["event 1"]


def test_other_files_are_refused_and_left_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    path.write_bytes(b"this is a text, and no history" * 100)
    for opens in (History.open, Reader):
        with pytest.raises(HistoryError, match=r"damaged, or no history .* put back a copy"):
            opens(path)  # type: ignore[operator]
    assert path.read_bytes() == b"this is a text, and no history" * 100
    path.unlink()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (a)")
    other.commit()
    other.close()
    with pytest.raises(HistoryError, match="an SQLite file, but no history of asd; name another file"):
        History.open(path)
    with pytest.raises(HistoryError, match="no such history; 'asd listen' keeps one"):
        Reader(tmp_path / "nothing")
    with pytest.raises(HistoryError, match="no such folder to keep the history in; make it first"):
        History.open(tmp_path / "nothing" / "history.sqlite")


def test_a_damaged_history_is_told(tmp_path: Path, said: Any) -> None:
    with History.open(tmp_path) as history:
        for number in range(2000):
            history.event(said.event(number), ())
    path = tmp_path / "history.sqlite"
    content = bytearray(path.read_bytes())
    content[20_000:60_000] = b"\xff" * 40_000
    path.write_bytes(content)
    with pytest.raises(HistoryError, match="damaged, or no history"):
        History.open(path)
    assert bytes(content) == path.read_bytes()


def test_a_newer_history_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    History.open(tmp_path).close()
    path = tmp_path / "history.sqlite"
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    newer.close()
    for opens in (History.open, Reader):
        with pytest.raises(
            HistoryError,
            match=f"of version {len(MIGRATIONS) + 1}, this asd knows versions up to {len(MIGRATIONS)}: pip install",
        ):
            opens(path)  # type: ignore[operator]


def test_an_older_history_is_brought_up_to_date(tmp_path: Path, said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with History.open(tmp_path) as history:
        history.event(said.event(1), ())
    newer = "ALTER TABLE events ADD COLUMN place TEXT;\nUPDATE events SET place = 'hall'"
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, newer))
    was, now = len(MIGRATIONS), len(MIGRATIONS) + 1
    with pytest.raises(HistoryError, match=f"of version {was}, this asd reads version {now}; 'asd listen' brings it"):
        Reader(tmp_path)
    with History.open(tmp_path) as history:
        assert history.ask("SELECT text, place FROM events") == [("event 1", "hall")]
        assert history.ask("PRAGMA user_version") == [(now,)]


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    History.open(tmp_path).close()
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, "ALTER TABLE events ADD COLUMN place TEXT;\nNO SQL"))
    connection = sqlite3.connect(tmp_path / "history.sqlite", isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert "place" not in [row[1] for row in connection.execute("PRAGMA table_info(events)")]
    connection.close()


def test_an_event_is_known_once(tmp_path: Path, said: Any) -> None:
    with History.open(tmp_path) as history:
        history.sinks_for = lambda _: ["heap"]
        for _ in range(2):
            history.event(said.event(1))
            history.commit()
        assert len(list(history.rows("events"))) == len(list(history.rows("deliveries"))) == 1
        assert history.find_event("0000")["text"] == "event 1"
        with pytest.raises(
            HistoryError, match=r"no event with id 'f'; 'asd history .* show --table events' lists them"
        ):
            history.find_event("f")


TEXT = st.text(st.characters(codec=None), max_size=40)  # lone surrogates, too: names of files may have them


@given(machine=TEXT, words=TEXT)
@settings(max_examples=60, deadline=None)
def test_any_name_is_kept(tmp_path_factory: pytest.TempPathFactory, machine: str, words: str) -> None:
    folder = tmp_path_factory.mktemp("history")
    with History.open(folder) as history:
        history.event(Event("id", 1.8e9, machine, "alarm", "alarm", words, {words: machine, "n": float("nan")}), ())
        history.condition(machine, words, 1.8e9, None, words)
        history.levels(machine, 1.8e9, 1, {}, None)
        assert history.commit(), history.trouble
        (event,) = history.rows("events")
        (known,) = history.machines()
    expected = machine.encode(errors="backslashreplace").decode()
    assert event["machine"] == known == expected
    assert event["data"]["n"] is None


def test_remarks_reach_the_listener_from_another_process(tmp_path: Path, said: Any) -> None:
    with History.open(tmp_path) as history:
        history.machine("pump")
        history.commit()
        code = (
            f"from asd_listen.remarks import remark; remark({str(tmp_path)!r}, 'pump', 'normal', {{'clip': 'a.wav'}})"
        )
        subprocess.run([sys.executable, "-c", code], check=True)
        (pending,) = history.feedback_pending()
        assert (pending["machine"], pending["kind"], pending["data"]) == ("pump", "normal", {"clip": "a.wav"})
        history.feedback_done(pending["id"], "1 clip taken for healthy: a.wav")
        history.commit()
        assert history.feedback_pending() == []
        (row,) = history.rows("feedback")
        assert row["answer"] == "1 clip taken for healthy: a.wav"
    with pytest.raises(HistoryError, match="knows no machine 'fan'; it knows pump"):
        remark(tmp_path, "fan", "undo", {})


def test_old_rows_go_but_events_stay(tmp_path: Path, said: Any) -> None:
    with History.open(tmp_path) as history:
        for day in range(10):
            moment = said.noon + day * 86400
            history.verdict("pump", moment, said.verdict(), said.status())
            history.levels("pump", moment, 60, {}, -40)
            history.event(said.event(day), ())
        history.forget(said.noon + 7 * 86400)
        history.commit()
        counts = {table: sum(1 for _ in history.rows(table)) for table in ("verdicts", "levels", "events")}
        assert counts == {"verdicts": 3, "levels": 3, "events": 10}
        assert sum(point.clips for point in history.series("pump", said.noon, said.noon + 1e7)) == 3
    with pytest.raises(ValueError, match="keep_days must be above 0"):
        HistorySettings(keep_days=-1)


def test_a_backup_is_whole_while_the_listener_writes(tmp_path: Path, said: Any) -> None:
    with History.open(tmp_path) as history:
        for number in range(500):
            history.event(said.event(number), ())
        history.commit()
        history.event(said.event(500), ())
        back_up(tmp_path, tmp_path / "copy.sqlite")
        history.commit()
        with Reader(tmp_path / "copy.sqlite") as copy:
            assert sum(1 for _ in copy.rows("events")) == 500
            assert copy.check() == []
        with pytest.raises(HistoryError, match="is there already; name a new file"):
            back_up(tmp_path, tmp_path / "copy.sqlite")
        with pytest.raises(HistoryError, match=r"the history cannot be used|cannot be written"):
            back_up(tmp_path, tmp_path / "nowhere" / "copy.sqlite")


@pytest.mark.slow
def test_a_year_is_read_as_fast_as_a_day(tmp_path: Path) -> None:
    """A year of 10 s clips of one machine: three million rows."""
    History.open(tmp_path).close()
    connection = sqlite3.connect(tmp_path / "history.sqlite", isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO machines (id, name) VALUES (1, 'pump')")
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 3153599) INSERT INTO verdicts SELECT "
        "1, 1800000000 + i * 10, '', i % 97, 0.5, i % 50 = 0, NULL, NULL, 0.5, 0.1, 5, 'watching' FROM n"
    )
    connection.execute(
        "INSERT INTO slots SELECT machine, cast(time / 300 AS INTEGER) AS slot, count(*), sum(anomalous), sum(score), "
        "max(score), min(p_value), max(evidence), 0 FROM verdicts GROUP BY slot"
    )
    connection.execute(MIGRATIONS[1].split(";\n")[1])
    connection.execute("COMMIT")
    connection.close()
    begin = 1_800_000_000.0
    with Reader(tmp_path) as reader:
        for seconds, expected in ((86400.0, 8640), (31_536_000.0, 3_153_600)):
            began = time.thread_time()  # of the processor: the clock says what else is running
            points = reader.series("pump", begin, begin + seconds)
            assert time.thread_time() - began < 1
            assert sum(point.clips for point in points) == expected
            assert 300 < len(points) <= 1001
        began = time.thread_time()
        assert [row["time"] for row in reader.rows("verdicts", last=2)] == [begin + 31_535_980, begin + 31_535_990]
        assert len(list(reader.rows("verdicts", "pump", begin + 3e7, begin + 3e7 + 3600))) == 360
        assert time.thread_time() - began < 0.2


def test_sums_and_single_clips_agree(tmp_path: Path, said: Any) -> None:
    with History.open(tmp_path) as history:
        for clip in range(720):
            verdict = said.verdict(score=float(clip % 7), p_value=0.1 if clip == 100 else 0.5, anomalous=clip == 100)
            status = said.status(10 * clip, "alarm" if 200 <= clip < 300 else "watching", evidence=clip / 100)
            history.verdict("pump", said.noon + 10 * clip, verdict, status)
        history.commit()
        fine = history.series("pump", said.noon, said.noon + 7200, points=100)
        coarse = history.series("pump", said.noon, said.noon + 7200, points=2)
        for points in (fine, coarse):
            assert sum(point.clips for point in points) == 720
            assert sum(point.anomalous for point in points) == 1
            assert sum(point.alarms for point in points) == 100
            assert min(point.p_value_min for point in points) == 0.1
            assert max(point.evidence or 0 for point in points) == 7.19
        assert len(coarse) == 2
        assert len(fine) == 100


@pytest.mark.parametrize("points", [2, 3, 7, 24, 100, 1000])
@pytest.mark.parametrize(
    ("since", "until"), [(0, 50_000), (1234.5, 44_321.0), (7200, 10_801), (3597.9, 3605.1), (3599.9, 3600.1)]
)
def test_each_point_is_the_sum_of_exactly_its_clips(
    year: Path, said: Any, since: float, until: float, points: int
) -> None:
    """From whichever sums it was read, at both edges too."""
    begin, end = said.noon + since, said.noon + until
    with Reader(year) as reader:
        rows = list(reader.rows("verdicts", "pump", begin, end))
        found = reader.series("pump", begin, end, points)
        assert len(found) <= points
        assert [point.time for point in found] == sorted({point.time for point in found})
        edges = [*(point.time for point in found), end][1:]
        for point, until_then in zip(found, edges, strict=True):
            own = [row for row in rows if point.time <= row["time"] < until_then]
            assert point.clips == len(own)
            assert point.anomalous == sum(row["anomalous"] for row in own)
            assert point.alarms == sum(row["phase"] == "alarm" for row in own)
            assert point.score == pytest.approx(sum(row["score"] for row in own) / len(own))
            assert (point.score_max, point.p_value_min) == (
                max(row["score"] for row in own),
                min(row["p_value"] for row in own),
            )
            assert point.evidence == max(row["evidence"] for row in own)
        assert sum(point.clips for point in found) == len(rows)


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory, said: Any) -> Path:
    """Return a history of fourteen hours of clips of seven seconds, and another machine beside it."""
    folder = tmp_path_factory.mktemp("year")
    with History.open(folder) as history:
        for clip in range(7200):
            verdict = said.verdict(score=clip % 97 / 9, p_value=1 / (1 + clip % 89), anomalous=clip % 50 == 0)
            phase = "alarm" if clip % 1000 > 900 else "watching"
            status = said.status(7 * clip, phase, evidence=clip % 83 / 8)
            history.verdict("pump", said.noon + 7 * clip, verdict, status)
            if clip % 10 == 0:
                history.verdict("fan", said.noon + 7 * clip, said.verdict(score=1e3), status)
            if clip % 1000 == 0:
                history.commit()
    return folder


def test_an_older_history_gets_the_sums_of_hours(year: Path, tmp_path: Path) -> None:
    back_up(year, tmp_path / "history.sqlite")
    older = sqlite3.connect(tmp_path / "history.sqlite", isolation_level=None)
    hours = older.execute("SELECT * FROM hours").fetchall()
    older.executescript(
        "DROP TABLE hours; DROP INDEX feedback_by_event; ALTER TABLE machines DROP COLUMN model_name; "
        "PRAGMA user_version = 1"
    )
    older.close()
    with History.open(tmp_path) as history:
        assert [tuple(map(pytest.approx, row)) for row in history.ask("SELECT * FROM hours")] == hours
        assert len(hours) == 28


def test_events_come_in_the_order_of_time_not_of_writing(tmp_path: Path, said: Any) -> None:
    with History.open(tmp_path) as history:
        for number in (5, 1, 3):
            history.event(said.event(number), ())
        history.commit()
        assert [row["text"] for row in history.rows("events")] == ["event 1", "event 3", "event 5"]
        assert [row["text"] for row in history.rows("events", last=2)] == ["event 3", "event 5"]


def test_tables_are_those_that_are_offered(tmp_path: Path) -> None:
    History.open(tmp_path).close()
    with Reader(tmp_path) as reader:
        assert all(reader.columns(table) for table in TABLES)
        with pytest.raises(HistoryError, match="no table 'sqlite_master' in a history; there are verdicts, events"):
            list(reader.rows("sqlite_master"))
        assert json.dumps(reader.columns("events"))


def test_the_writer_keeps_few_pages_in_memory(tmp_path: Path) -> None:
    with History.open(tmp_path / "h.sqlite") as history:
        assert history.ask("PRAGMA cache_size") == [(-256,)]
