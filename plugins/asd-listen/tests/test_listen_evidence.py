"""Sound that is kept: what lies before and after an alarm, healthy clips, and what goes first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from asd.plugin import Block, Float32
from asd_listen.evidence import Evidence, EvidenceSettings
from asd_listen.history import History
from asd_listen.keeping import Keeper, safe_name
from asd_listen.reader import Reader
from waiting import until

RATE = 1000
PLENTY = EvidenceSettings(healthy_per_day=0, keep_free_mb=0)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History.open(tmp_path) as history:
        yield history


def ramp(begin: float, seconds: float) -> Float32:
    """Return sound whose samples say when they were recorded: one channel, shape (n, 1)."""
    times = begin + np.arange(round(seconds * RATE)) / RATE
    return (times / 1000).astype(np.float32)[:, None]


def listen(evidence: Evidence, noon: float, begin: float, end: float, machine: str = "pump") -> None:
    """Let half-second blocks come."""
    for start in np.arange(begin, end, 0.5):
        evidence.sound(machine, Block(ramp(start, 0.5), RATE, noon + start))


def kept(history: History) -> list[dict[str, Any]]:
    history.commit()
    return list(history.rows("evidence"))


def test_fifteen_seconds_before_and_after_an_alarm(tmp_path: Path, history: History, said: Any) -> None:
    explained: list[str] = []

    def explain(machine: str, recording: Path, picture: Path) -> dict[str, str]:
        explained.append(machine)
        picture.write_bytes(b"a picture")
        return {"text": "louder at 2 kHz"}

    evidence = Evidence(tmp_path / "evidence", PLENTY, history, explain)
    listen(evidence, said.noon, 0, 100)
    evidence.event(said.event(95))  # of the clip that began five seconds ago
    listen(evidence, said.noon, 100, 130)
    evidence.close()
    (row,) = kept(history)
    file = tmp_path / "evidence" / row["file"]
    samples, rate = soundfile.read(file)
    assert rate == RATE
    assert samples[0] == pytest.approx(0.080, abs=1e-6)  # 15 s before the clip
    assert samples[-1] == pytest.approx(0.115, abs=2e-6)  # 15 s after it was told
    assert np.diff(samples) == pytest.approx(1e-6, abs=3e-7)
    assert (row["machine"], row["event"], row["kind"]) == ("pump", f"{95:016x}", "alarm")
    assert (row["began"], row["seconds"]) == (said.noon + 80, 35)
    assert row["data"] == {"text": "louder at 2 kHz"}
    assert explained == ["pump"]
    assert file.with_suffix(".png").read_bytes() == b"a picture"
    assert json.loads(file.with_suffix(".json").read_text())["explanation"] == {"text": "louder at 2 kHz"}
    assert file.name.startswith("20270115T080120Z_alarm_")
    assert row["bytes"] == sum(each.stat().st_size for each in file.parent.iterdir())


def test_what_was_before_is_kept_at_once(tmp_path: Path, history: History, said: Any) -> None:
    """A kill in the seconds after the alarm takes nothing of those before it."""
    evidence = Evidence(tmp_path / "evidence", PLENTY, history)
    listen(evidence, said.noon, 0, 20)
    evidence.event(said.event(19))
    until(lambda: kept(history))
    (row,) = kept(history)
    assert row["seconds"] == 16
    evidence.close()


def test_a_gap_or_another_rate_ends_a_recording(tmp_path: Path, history: History, said: Any) -> None:
    evidence = Evidence(tmp_path / "evidence", PLENTY, history)
    listen(evidence, said.noon, 0, 20)
    evidence.event(said.event(20))
    listen(evidence, said.noon, 20, 23)
    listen(evidence, said.noon, 60, 70)  # 37 s are missing
    evidence.event(said.event(70))
    evidence.sound("pump", Block(ramp(70, 2), 2 * RATE, said.noon + 70))
    evidence.event(said.event(71, kind="alarm"))
    evidence.close()
    assert [row["seconds"] for row in kept(history)] == [18, 10, 1]


def test_nonsense_samples_are_kept_as_far_as_they_are_sound(tmp_path: Path, history: History, said: Any) -> None:
    evidence = Evidence(tmp_path / "evidence", PLENTY, history)
    samples = np.array([[np.nan, 2.0], [np.inf, -3.0], [0.5, 0.25]], np.float32)
    evidence.sound("pump", Block(samples, RATE, said.noon))
    evidence.event(said.event(0))
    evidence.close()
    (row,) = kept(history)
    back, _ = soundfile.read(tmp_path / "evidence" / row["file"])
    assert back == pytest.approx(np.array([[0, 1], [1, -1], [0.5, 0.25]]), abs=1e-6)


def test_a_few_healthy_clips_a_day(tmp_path: Path, history: History, said: Any) -> None:
    settings = EvidenceSettings(healthy_per_day=4, healthy_seconds=5, keep_free_mb=0)
    evidence = Evidence(tmp_path / "evidence", settings, history)
    hour = 3600.0
    for clock in np.arange(0, 24 * hour, hour / 2):
        listen(evidence, said.noon, clock, clock + 6)
        evidence.judged("pump", said.verdict(anomalous=clock == 0), said.status(clock))
    evidence.close()
    rows = kept(history)
    assert [(row["kind"], row["event"], row["seconds"]) for row in rows] == [("healthy", None, 5)] * 4
    again = Evidence(tmp_path / "evidence", settings, history)  # a restart does not begin the day anew
    listen(again, said.noon, 24 * hour, 24 * hour + 6)
    again.judged("pump", said.verdict(), said.status(24 * hour))
    again.close()
    assert len(kept(history)) == 4


@pytest.mark.parametrize("phase", ["learning", "unlike", "alarm", "cleared"])
def test_only_healthy_sound_is_kept_as_healthy(tmp_path: Path, history: History, said: Any, phase: str) -> None:
    evidence = Evidence(tmp_path / "evidence", EvidenceSettings(keep_free_mb=0), history)
    listen(evidence, said.noon, 0, 10)
    evidence.judged("pump", said.verdict(), said.status(0, phase))
    evidence.event(said.event(1, "warning", kind="condition", data={"conditions": ["clipping"]}))
    evidence.judged("pump", said.verdict(), said.status(0))
    evidence.close()
    assert kept(history) == []


def fill(history: History, said: Any, folder: Path, count: int, **limits: float) -> Keeper:
    keeper = Keeper(folder, history, **{"keep_days": 1e6, "keep_gb": 1, "keep_free_mb": 0, **limits})
    rng = np.random.default_rng(1)
    for number in range(count):
        sound = rng.uniform(-1, 1, (10_000, 1)).astype(np.float32)  # 30 kB: noise does not get smaller
        path = keeper.keep(said.event(number), sound, RATE, said.noon + number)
        keeper.describe(path, said.event(number), said.noon + number, 10, {})
    return keeper


def test_the_oldest_goes_by_age_and_by_size(tmp_path: Path, history: History, said: Any) -> None:
    keeper = fill(history, said, tmp_path / "evidence", 6, keep_gb=100e-6, keep_days=1)
    keeper.tidy(said.noon)
    history.commit()
    rows = kept(history)
    assert [row["deleted"] is None for row in rows] == [False, False, False, True, True, True]
    assert rows[0]["reason"] == "more than 0.0001 GB were kept"
    assert len(list((tmp_path / "evidence").rglob("*.flac"))) == 3
    keeper.tidy(said.noon + 4.5 + 86400)
    assert [row["reason"] for row in kept(history)][3:] == ["older than 1 days", "older than 1 days", None]


def test_a_full_disk_lets_the_oldest_evidence_go_first(
    tmp_path: Path, small_disk: Callable[[str], Path], said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    disk = small_disk("size=1500k")
    with History.open(disk) as history:
        keeper = fill(history, said, disk / "evidence", 60)
        history.commit()
        rows = list(history.rows("evidence"))
        gone = [row["deleted"] is not None for row in rows]
        assert gone == sorted(gone, reverse=True)  # the oldest, and no other
        assert 0 < sum(gone) < 60
        assert rows[0]["reason"] == "the disk was full"
        assert (disk / "evidence" / rows[-1]["file"]).is_file()
        assert "the disk is full: the oldest evidence is being deleted; free some space" in caplog.text
        assert (
            keeper.lack == f"{disk / 'evidence'}: the disk is full: the oldest evidence is being deleted; free some "
            "space, or keep less"
        )
        assert history.check() == []
        for number in range(600):  # the history, too, takes the place of evidence
            history.event(said.event(number, text="x" * 200), ())
            if number % 100 == 0:
                assert history.commit(), history.trouble
        assert sum(row["deleted"] is not None for row in history.rows("evidence")) > sum(gone)


def test_a_disk_without_any_evidence_is_told_and_nobody_stops(
    small_disk: Callable[[str], Path], said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    disk = small_disk("size=400k")
    with History.open(disk) as history:
        evidence = Evidence(disk / "evidence", PLENTY, history)
        for begin in range(0, 60, 2):
            noise = np.random.default_rng(begin).uniform(-1, 1, (200_000, 1)).astype(np.float32)
            evidence.sound("pump", Block(noise, 100_000, said.noon + begin))
        evidence.event(said.event(59))
        until(lambda: evidence.trouble)
        evidence.close()
        assert "evidence cannot be kept (No space left on device); free space" in (evidence.trouble or "")
        assert list((disk / "evidence").rglob("*.part")) == list((disk / "evidence").rglob(".*.part")) == []


def test_a_disk_that_fills_up_is_kept_free(tmp_path: Path, small_disk: Callable[[str], Path], said: Any) -> None:
    disk = small_disk("size=2m")
    with History.open(disk) as history:
        keeper = fill(history, said, disk / "evidence", 20, keep_free_mb=1)
        keeper.tidy(said.noon)
        rows = kept(history)
        assert rows[0]["reason"] == "less than 1 MB were free on the disk"
        assert rows[-1]["deleted"] is None


def test_folder_and_history_agree_after_a_kill(tmp_path: Path, history: History, said: Any) -> None:
    folder = tmp_path / "evidence"
    fill(history, said, folder, 3)
    first, second, third = (folder / row["file"] for row in kept(history))
    history.write([("DELETE FROM evidence WHERE file LIKE ?", (f"%{second.name}",))])  # killed before it was written
    first.unlink()
    (third.parent / ".half.flac.part").write_bytes(b"half")
    (third.parent / "mine.json").write_text("[1, 2]")
    Keeper(folder, history, 1, 1, 1)
    rows = {Path(row["file"]).name: row for row in kept(history)}
    assert rows[first.name]["reason"] == "deleted by somebody else"
    assert rows[second.name]["machine"] == "pump"
    assert not list(folder.rglob(".*.part"))
    assert (third.parent / "mine.json").is_file()


def test_a_failing_explanation_costs_no_sound(
    tmp_path: Path, history: History, said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def explain(*_: object) -> dict[str, str]:
        raise RuntimeError("no such band")

    evidence = Evidence(tmp_path / "evidence", PLENTY, history, explain)
    listen(evidence, said.noon, 0, 5)
    evidence.event(said.event(5))
    evidence.close()
    (row,) = kept(history)
    assert row["data"] == {"failed": "RuntimeError: no such band"}
    assert "cannot be explained: RuntimeError: no such band" in caplog.text


def test_a_reminder_is_no_new_evidence(tmp_path: Path, history: History, said: Any) -> None:
    evidence = Evidence(tmp_path / "evidence", PLENTY, history)
    listen(evidence, said.noon, 0, 5)
    evidence.event(said.event(5, data={"reminder": 1}))
    evidence.event(said.event(5, machine="never heard of"))
    evidence.close()
    assert kept(history) == []


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "Pumpe Süd", "a/b", "a b", "#", "+/", "", "\n", "x" * 300, "CON", "\udc80", "<b>"]
)
def test_no_name_leaves_the_folder(tmp_path: Path, history: History, said: Any, name: str) -> None:
    keeper = Keeper(tmp_path / "evidence", history, 1, 1, 0)
    path = keeper.keep(said.event(1, machine=name), ramp(0, 1), RATE, said.noon)
    assert path.is_file()
    assert path.parent.parent == tmp_path / "evidence"
    assert set(safe_name(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_")


def test_names_that_look_alike_stay_apart() -> None:
    names = ["pump", "Pump", "pump ", "pump/", "PUMP", "pump\n"]
    assert len({safe_name(name) for name in names}) == len(names)
    assert safe_name("pump-1") == "pump-1"


def test_memory_is_bounded(tmp_path: Path, history: History, said: Any) -> None:
    evidence = Evidence(tmp_path / "evidence", PLENTY, history)
    listen(evidence, said.noon, 0, 500)
    ring = evidence._rings["pump"]
    _, samples = ring.since(0)
    assert 30 <= len(samples) / RATE <= 31
    evidence.close()


def test_no_sound_is_kept_where_nobody_wants_it(tmp_path: Path, history: History, said: Any) -> None:
    evidence = Evidence(tmp_path / "evidence", EvidenceSettings(before=0, after=0, healthy_per_day=0), history)
    listen(evidence, said.noon, 0, 5)
    evidence.event(said.event(5))
    evidence.judged("pump", said.verdict(), said.status(5))
    evidence.close()
    assert kept(history) == []


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="keep_gb must be a number from 0, got -1"):
        EvidenceSettings(keep_gb=-1)


def test_evidence_is_read_by_others(tmp_path: Path, history: History, said: Any) -> None:
    fill(history, said, tmp_path / "evidence", 2)
    with Reader(tmp_path) as reader:
        assert len(list(reader.rows("evidence", "pump", said.noon + 1))) == 1
