"""``asd score --monitor`` and ``asd monitor``, driven as a user would."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import io
import json
import os
import re
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd import fit
from asd.cli.fit import _dependence, describe_dependence
from asd.errors import DataError
from asd.records import Clip
from asd.sound.times import in_time_order, time_from, time_in_name
from driven import asd, error

QUICK = ("--frontend", "mel-stack", "--extractor", "identity", "--pca", "0.9", "--detector", "mahalanobis")
BEGIN = datetime.datetime(2026, 3, 1, 8, 0, 0)  # local, as file names are


def hum(path: Path, *, seed: int, whine: float = 0.0) -> Path:
    """Write a second of a motor's hum in noise, with a whine if it is faulty."""
    rng, time = np.random.default_rng(seed), np.arange(8000) / 8000
    signal = sum(0.05 / k * np.sin(2 * np.pi * 50 * k * time + rng.uniform(0, 6)) for k in range(1, 6))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal + rng.normal(0, 0.01, 8000) + whine * np.sin(2 * np.pi * 3000 * time), 8000)
    return path


def stamped(number: int) -> str:
    return f"press-{BEGIN + datetime.timedelta(seconds=number):%Y%m%d_%H%M%S}.wav"


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model, 90 healthy clips named by time, and 25 faulty ones after them."""
    folder = tmp_path_factory.mktemp("sounds")
    for i in range(20):
        hum(folder / "train" / f"{i:02d}.wav", seed=i)
    for i in range(90):
        hum(folder / "morning" / stamped(i), seed=100 + i)
    for i in range(90, 115):
        hum(folder / "noon" / stamped(i), seed=100 + i, whine=0.1)
    done = asd("fit", folder / "train", "-o", folder / "m.asd", *QUICK)
    assert "--monitor STATE raises at most 1 false alarm a month once it has watched" in done.stdout
    return folder


@pytest.fixture
def state(sounds: Path, tmp_path: Path) -> Path:
    """Return a monitor whose alarm stands."""
    state = tmp_path / "press.monitor"
    asd("score", sounds / "m.asd", sounds / "morning", "--monitor", state)
    asd("score", sounds / "m.asd", sounds / "noon", "--monitor", state, code=1)
    return state


def test_evidence_adds_up_over_runs_and_the_exit_code_is_the_alarms(sounds: Path, tmp_path: Path) -> None:
    state = tmp_path / "press.monitor"
    arguments = ("score", sounds / "m.asd", "--monitor", state, "--false-alarms", "1/week")
    first = asd(*arguments, sounds / "morning", "--json")
    assert "asd: clips in the order of the time stamps in the files' names" in first.stderr
    clips = json.loads(first.stdout)["clips"]
    assert [clip["time"] for clip in clips] == [BEGIN.timestamp() + i for i in range(90)]
    assert any(clip["anomalous"] for clip in clips)  # single clips are unusual; the monitor is calm
    assert not any(clip["alarm"] for clip in clips)
    monitor = json.loads(first.stdout)["monitor"]
    assert (monitor["phase"], monitor["false_alarms"], monitor["watched"]) == ("watching", "1/week", 90)
    second = asd(*arguments, sounds / "morning", sounds / "noon", code=1)
    assert "asd: 90 of 115 clips are not newer than the last clip watched: left out" in second.stderr
    assert "ALARM since 2026-03-01 08:01:" in second.stdout
    assert f"If that was normal: asd monitor {state} normal" in second.stdout
    assert "At most 1 false alarm a week of healthy sound that is watched, on average." in second.stdout
    third = asd(*arguments, sounds / "noon", code=1)  # nothing new, but the alarm stands
    assert "0 clips: 0 anomalous, 0 normal." in third.stdout


def test_csv_has_the_monitors_columns(sounds: Path, tmp_path: Path) -> None:
    done = asd("score", sounds / "m.asd", sounds / "morning", "--monitor", tmp_path / "s", "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 90
    assert (rows[0]["phase"], rows[-1]["phase"], rows[-1]["alarm"]) == ("learning", "watching", "False")
    assert float(rows[-1]["evidence"]) >= 0


def test_feedback_and_undo(state: Path, sounds: Path) -> None:
    shown = asd("monitor", state, "show").stdout
    assert "ALARM since" in shown
    assert "unlike before since about 2026-03-01 08:01:3" in " ".join(shown.split())
    told = asd("monitor", state, "normal").stdout
    assert "clips taken for healthy: the last alarm." in told
    assert "Watching since" in told
    asd("score", sounds / "m.asd", sounds / "noon", "--monitor", state)
    assert "Taken back: " in asd("monitor", state, "undo").stdout
    assert json.loads(asd("monitor", state, "show", "--json").stdout)["alarm"] is True
    shown = asd("monitor", state, "show").stdout
    assert re.search(r"^Taken for healthy: \d+ of \d+ clips watched: all outside alarms, whatever", shown, re.MULTILINE)
    assert json.loads(asd("monitor", state, "reset", "--forget", "--json").stdout)["healthy_watched"] == 0
    asd("monitor", state, "undo")
    kinds = [line["kind"] for line in json.loads(asd("monitor", state, "show", "--json").stdout)["history"]]
    assert kinds == ["started", "alarm", "normal", "undo", "reset", "undo"]


def test_one_clip_or_a_span_can_be_normal(state: Path) -> None:
    assert "1 clip taken for healthy: press-20260301_080154.wav." in asd(
        "monitor", state, "normal", "--clip", "press-20260301_080154.wav"
    ).stdout  # fmt: skip
    spanned = asd("monitor", state, "normal", "--from", "2026-03-01T08:01:50", "--to", "2026-03-01T08:01:52").stdout
    assert "3 clips taken for healthy: those between 2026-03-01 08:01:50 and 2026-03-01 08:01:52." in spanned


def test_what_the_monitor_cannot_do_is_one_line(state: Path, sounds: Path, tmp_path: Path) -> None:
    assert error("monitor", tmp_path / "none", "show").startswith(
        f"{tmp_path / 'none'}: no such monitor; start one with"
    )
    assert error("monitor", tmp_path / "none", "reset").startswith(
        f"{tmp_path / 'none'}: no such monitor; start one with"
    )
    assert list(tmp_path.glob(".none*")) == []
    assert error("monitor", sounds / "m.asd", "show").endswith("name a file that '--monitor' has written")
    assert error("monitor", state, "undo") == "nothing to undo: no feedback was given, or all of it was undone"
    assert error("monitor", state, "normal", "--clip", "x", "--last-alarm").endswith("exclude each other; choose one")
    assert error("monitor", state, "normal", "--from", "noon").startswith(
        "--from takes a time such as 2026-11-26T20:15"
    )
    assert error("monitor", state, "normal", "--from", "2026-03-02", "--to", "2026-03-01").endswith("exchange them")
    assert error("monitor", state, "normal", "--clip", "other.wav").startswith(
        "no clip called 'other.wav' is remembered"
    )
    for rate in ("0", "-3", "nan", "inf", "1/fortnight", "0/day"):
        text = error("score", sounds / "m.asd", sounds / "noon", "--monitor", state, f"--false-alarms={rate}")
        assert text.startswith("a rate of false alarms is a number above 0 per hour, day, week, month or year, such as")
    asd("fit", sounds / "morning", "-o", tmp_path / "other.asd", *QUICK)
    assert error("score", tmp_path / "other.asd", sounds / "noon", "--monitor", state).startswith(
        f"{state}: belongs to another model; give the model that it was started with"
    )


def test_a_rate_that_clips_cannot_support_points_to_the_monitor(sounds: Path) -> None:
    text = error("score", sounds / "m.asd", sounds / "noon", "--false-alarms", "1/month")
    assert text.endswith("or let a monitor add up the evidence of many clips (asd score --monitor STATE)")
    one = sounds / "morning" / stamped(3)
    asd("score", sounds / "m.asd", one, "--false-alarms", "3400/hour", code=1)  # 19 of 20 clips
    both = ("--false-alarms", "400/hour", "--false-alarms-per-hour", "400")
    assert error("score", sounds / "m.asd", sounds / "noon", *both).endswith("exclude each other; choose one")


def test_clips_of_the_future_are_left_out(sounds: Path, tmp_path: Path) -> None:
    day = tmp_path / "day"
    hum(day / "press-20990101_000000.wav", seed=1)
    hum(day / stamped(0), seed=2)
    done = asd("score", sounds / "m.asd", day, "--monitor", tmp_path / "s", "--json")
    assert "in the future (now: " in done.stderr
    assert [Path(clip["clip"]).name for clip in json.loads(done.stdout)["clips"]] == [stamped(0)]


def test_streams_give_delays_and_false_alarms_beside_the_promise(sounds: Path, tmp_path: Path) -> None:
    picture = tmp_path / "evidence.svg"
    arguments = ("evaluate", sounds / "m.asd", "--normal", sounds / "morning", "--anomalous", sounds / "noon")
    rate = ("--stream", "--streams", "5", "--false-alarms", "2/hour")
    found = json.loads(asd(*arguments, *rate, "--picture", picture, "--json").stdout)["streams"]
    assert (found["rate"], found["streams"], len(found["delays"])) == ("2/hour", 5, 5)
    assert found["missed"] == 0
    assert found["delay_median"] <= 10
    assert found["false_alarm_interval"][0] <= 2
    assert xml.etree.ElementTree.parse(picture).getroot().tag.endswith("svg")  # our own
    assert error(*arguments, "--picture", picture) == "--picture draws the evidence of streams: give --stream, too"
    assert error(*arguments, *rate, "--picture", tmp_path / "no" / "e.svg").startswith(
        f"{tmp_path / 'no' / 'e.svg'}: the picture cannot be written here (No such file or directory); choose"
    )


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("press-20260301_080000.wav", BEGIN),
        ("2026-03-01T08-00-00.wav", BEGIN),
        ("mic1 2026-03-01 08:00:00.250.flac", BEGIN.replace(microsecond=250_000)),
        ("20260301T080000Z.wav", BEGIN.replace(tzinfo=datetime.UTC)),
        ("a_20261399_080000_20260301_080000.wav", BEGIN),
    ],
)
def test_time_stamps_in_names(name: str, time: datetime.datetime) -> None:
    assert time_in_name(name) == time.timestamp()


@pytest.mark.parametrize("name", ["section_00_source_train_normal_0001.wav", "20260301.wav", "120260301_0800001.wav"])
def test_names_without_a_time(name: str) -> None:
    assert time_in_name(name) is None


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1762041600", 1762041600.0),
        (" 1762041602.5 ", 1762041602.5),
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T01:01:00+01:00", 60.0),
        ("20261126", datetime.datetime(2026, 11, 26).timestamp()),
        ("20261126T201500", datetime.datetime(2026, 11, 26, 20, 15).timestamp()),
        ("2026-11-26 20:15", datetime.datetime(2026, 11, 26, 20, 15).timestamp()),
    ],
)
def test_a_manifest_may_write_a_time_as_a_date_or_in_seconds(text: str, time: float) -> None:
    assert time_from(text) == time


@pytest.mark.parametrize(
    "text", ["1762041600000", "26.11.2026 20:15", "noon", "nan", "1e99", "2026-11-26T25:00", "1_0"]
)
def test_what_is_no_time_is_refused_and_never_guessed(text: str) -> None:
    """The first are milliseconds since 1970: `datetime.fromisoformat` takes them for the 16th of April 1762."""
    with pytest.raises((ValueError, OverflowError)):  # whatever text: the caller says what is expected
        time_from(text)


def test_clips_are_ordered_by_manifest_name_or_modification(tmp_path: Path) -> None:
    files = [hum(tmp_path / name, seed=i) for i, name in enumerate((stamped(5), stamped(3), "plain.wav"))]
    for i, file in enumerate(files):
        os.utime(file, (1000 - i, 1000 - i))
    clips = [Clip(file) for file in files]
    named, source = in_time_order(files[:2], clips[:2])
    assert ([each.clip.path for each in named], source) == (files[1::-1], "the time stamps in the files' names")
    changed, source = in_time_order(files, clips)
    assert ([each.clip.path for each in changed], source) == (files[::-1], "the files' modification times")
    assert [each.time for each in changed] == [997, 998, 999]  # they are a second long
    manifest = tmp_path / "list.csv"
    rows = [
        f"{stamped(5)},,,50",
        f"{stamped(3)},0,0.5,1970-01-01T00:00:40+00:00",
        f"{stamped(3)},0.5,1,41",
        "plain.wav,,,60",
    ]
    manifest.write_text("\n".join(["path,start,end,time", *rows]))
    parts = [clips[0], Clip(files[1], 0, 0.5), Clip(files[1], 0.5, 0.25), Clip(files[1], 0.75, 0.25), clips[2]]
    listed, source = in_time_order([manifest], parts)
    assert ([each.time for each in listed], source) == ([40, 41, 41.25, 50, 60], "the manifest's column of times")
    manifest.write_text(f"path,time\n{stamped(5)},noon\n")
    with pytest.raises(
        DataError, match=rf"{manifest}: the time of .* is 'noon'; expected a date such as 2026-11-26T20:15"
    ):
        in_time_order([manifest], clips[:1])
    manifest.write_text(f"path,time\n{stamped(5)},40\n{stamped(5)},50\n")
    with pytest.raises(
        DataError, match=rf"^{manifest}: {stamped(5)} has two times, '40' and '50'; give each clip once$"
    ):
        in_time_order([manifest], clips[:1])
    manifest.write_text(f"path,time\n{stamped(5)},40\n")
    with pytest.raises(
        DataError, match=r"plain.wav: its time is not given, that of other clips is; fill the manifest's"
    ):
        in_time_order([manifest], clips[2:])


def test_the_fit_tells_whether_neighbours_in_time_resemble_each_other(tmp_path: Path) -> None:
    names = [stamped(60 * i) for i in range(40)]
    for i, name in enumerate(names):
        hum(tmp_path / "train" / name, seed=i)
    summary = json.loads(asd("fit", tmp_path / "train", "-o", tmp_path / "m.asd", *QUICK, "--json").stdout)
    found = summary["dependence"]
    assert found["order"] == "the time stamps in the files' names"
    assert (found["strong"], found["clips"] >= 1) == (False, True)
    done = asd("fit", tmp_path / "train", "-o", tmp_path / "m.asd", "--force", *QUICK)
    assert "resemble each other" not in done.stdout
    model = fit(tmp_path / "train", frontend="mel-stack", extractor="identity", detector="mahalanobis")
    slow = {name: np.sin(i / 4) for i, name in enumerate(names)}  # a load that comes and goes
    scores = np.array([slow[clip.path.name] for clip in model.calibration.clips])
    model.calibration = dataclasses.replace(model.calibration, scores=scores)
    dependence, order = _dependence(model, (str(tmp_path / "train"),))
    assert dependence is not None
    assert dependence.strong
    told = describe_dependence(dependence, order)
    start = r"Neighbouring recordings resemble each other, in the order of the time stamps in the files' names: their "
    assert re.match(rf"{start}scores correlate by 0\.[89]\d, and [\d.]+ clips tell as much as one\. ", told)
