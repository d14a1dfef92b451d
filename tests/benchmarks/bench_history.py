"""What a listener's history costs: a commit for each clip, a year on disk, and the time of questions to it.

python tests/benchmarks/bench_history.py
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from asd import Clip
from asd_listen.alerts import Alerts, AlertSettings
from asd_listen.history import History
from asd_listen.reader import Reader

NOON = 1_800_000_000.0
YEAR = 365 * 86400
CLIPS = YEAR // 10


def commits(folder: Path, count: int = 2000) -> tuple[float, float]:
    """Return the median and the 99 % quantile of the milliseconds that a clip takes, with its alerts."""
    verdict: Any = SimpleNamespace(
        clip=Clip(Path("a.wav")), score=1.0, p_value=0.5, anomalous=False, state=None, state_p_value=None
    )
    taken = []
    with History.open(folder) as history:
        alerts = Alerts(AlertSettings(), history)
        for number in range(count):
            moment = NOON + 10 * number
            status = SimpleNamespace(
                time=moment, p_value=0.5, evidence=0.1, threshold=5.0, phase="watching", since=NOON
            )
            began = time.perf_counter()
            history.verdict("pump", moment, verdict, status)
            alerts.judged("pump", verdict, status)
            history.commit()
            taken.append(1e3 * (time.perf_counter() - began))
    return statistics.median(taken), statistics.quantiles(taken, n=100)[-1]


def fill(folder: Path) -> float:
    """Write a year of clips of one machine, and levels of each minute; return the megabytes."""
    History.open(folder).close()
    connection = sqlite3.connect(folder / "history.sqlite", isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO machines (id, name) VALUES (1, 'pump')")
    numbers = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {}) "
    connection.execute(
        numbers.format(CLIPS) + f"INSERT INTO verdicts SELECT 1, {NOON} + i * 10, '', (i % 997) / 99.7, "
        "(i % 991) / 991.0, i % 50 = 0, NULL, NULL, (i % 983) / 983.0, (i % 977) / 977.0, 5.1, 'watching' FROM n"
    )
    bands = ", ".join(f'"{25 * 1.26**band:.4g}": [-4{band % 10}.1, -3{band % 10}.4]' for band in range(30))
    connection.execute(
        numbers.format(YEAR // 60) + f"INSERT INTO levels SELECT 1, {NOON} + i * 60, 60, -30.5, '{{{bands}}}' FROM n"
    )
    connection.execute(
        "INSERT INTO slots SELECT machine, cast(time / 300 AS INTEGER) AS slot, count(*), sum(anomalous), sum(score), "
        "max(score), min(p_value), max(evidence), 0 FROM verdicts GROUP BY slot"
    )
    connection.execute(
        "INSERT INTO hours SELECT machine, slot / 12, sum(clips), sum(anomalous), sum(score_sum), max(score_max), "
        "min(p_value_min), max(evidence_max), sum(alarms) FROM slots GROUP BY machine, slot / 12"
    )
    connection.execute("COMMIT")
    connection.close()
    return (folder / "history.sqlite").stat().st_size / 1e6


def best(question: Callable[[], object], times: int = 5) -> float:
    """Return the milliseconds of the fastest of some tries."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        question()
        taken.append(1e3 * (time.perf_counter() - began))
    return min(taken)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        (folder := Path(name) / "commits").mkdir()
        median, slow = commits(folder)
        print(f"a clip written: {median:.2f} ms, 99 % within {slow:.1f} ms")
        (folder := Path(name) / "year").mkdir()
        print(f"a year of one machine, {CLIPS:,} clips: {fill(folder):.0f} MB")
        with Reader(folder) as reader:
            for words, seconds in (("an hour", 3600), ("a day", 86400), ("a month", 30 * 86400), ("a year", YEAR)):
                taken = best(lambda s=seconds: reader.series("pump", NOON + YEAR - s, NOON + YEAR))  # type: ignore[misc]
                print(f"{words} as at most 1,000 points: {taken:.1f} ms")
            print(f"the last 20 events: {best(lambda: list(reader.rows('events', last=20))):.1f} ms")
            print(f"the last 20 verdicts: {best(lambda: list(reader.rows('verdicts', last=20))):.1f} ms")


if __name__ == "__main__":
    main()
