"""What is wrong with the listening itself is told to the sinks, and that it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from listening import NOW, Heard, blocks_of, healthy, refuse

from asd.errors import MonitorError
from asd.plugin import Block
from asd_listen import listener as listener_module
from asd_listen.history import History
from asd_listen.own import OwnConditions
from asd_listen.schema import HistoryFullError
from waiting import until


def deliveries(history: History) -> list[tuple[str, str]]:
    history.commit()
    return [tuple(each) for each in history.ask("SELECT kind, text FROM events JOIN deliveries ON number = event")]  # type: ignore[misc]


def test_a_condition_of_the_listening_is_told_once_it_lasts_and_when_it_is_over(tmp_path: Path, said: Any) -> None:
    with History.open(tmp_path) as history:
        history.sinks_for = lambda _: ["heap"]
        own = OwnConditions(history, 10.0)
        assert own.take("evidence", None, said.noon) == []
        assert own.take("evidence", "no space", said.noon) == []
        assert own.take("evidence", None, said.noon + 5) == []
        assert own.take("evidence", "no space", said.noon + 20) == []
        (event,) = own.take("evidence", "no space", said.noon + 31)
        assert (event.machine, event.kind, event.severity, event.data["condition"]) == (
            "", "condition", "warning", "evidence",
        )  # fmt: skip
        assert own.take("evidence", "no space at all", said.noon + 40) == []
        (over,) = own.take("evidence", None, said.noon + 50)
        assert (over.kind, over.data["event"]) == ("condition-over", event.id)
        assert [kind for kind, _ in deliveries(history)] == ["condition", "condition-over"]
        rows = [(row["machine"], row["name"], row["began"], row["over"]) for row in history.rows("conditions")]
    assert rows == [("", "evidence", said.noon, said.noon + 5), ("", "evidence", said.noon + 20, said.noon + 50)]


def test_a_restart_tells_nothing_twice_and_what_is_cured_is_over(tmp_path: Path, said: Any) -> None:
    with History.open(tmp_path) as history:
        history.sinks_for = lambda _: ["heap"]
        (event,) = OwnConditions(history, 0.0).take("disk", "nearly full", said.noon)
    with History.open(tmp_path) as history:
        history.sinks_for = lambda _: ["heap"]
        own = OwnConditions(history, 0.0)
        assert own.take("disk", "nearly full", said.noon + 10) == []
        (over,) = own.take("disk", None, said.noon + 20)
        assert over.data["event"] == event.id
        assert [kind for kind, _ in deliveries(history)] == ["condition", "condition-over"]


@pytest.mark.parametrize("name", ["evidence", "disk", "history", "monitors"])
def test_trouble_of_a_running_listener_reaches_the_sinks(
    name: str, hear: Callable[..., Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "_TICK", 0.0)
    monkeypatch.setattr(listener_module, "_SAVED", 0.0)
    heard = hear(pump=lambda: give(heard))
    heard.listener.settings = heard.with_alerts(condition=0.0)

    def give(heard: Heard) -> Iterator[Block]:
        listener = heard.listener
        yield from blocks_of(healthy(5), NOW)
        until(lambda: any(each.verdict is not None for each in listener.machines))
        with monkeypatch.context() as patch:
            if name == "evidence":
                patch.setattr(listener.evidence, "trouble", "no space")
            elif name == "disk":
                patch.setattr(type(listener.evidence), "lack", "no space")
            elif name == "history":
                patch.setattr(listener.history, "_write_once", refuse(HistoryFullError("no space")))
            else:
                patch.setattr(listener.machines[0].monitor, "keep", refuse(MonitorError("no space")))
            yield from blocks_of(healthy(5, start=70), NOW + 5)
            until(lambda: name in listener._own._standing)
        yield from blocks_of(healthy(5, start=80), NOW + 10)
        until(lambda: name not in listener._own._standing)

    heard.run()
    with History.open(heard.folder) as history:
        events = [(row["kind"], row["machine"], row["text"][:8]) for row in history.rows("events")]
        rows = [row["name"] for row in history.rows("conditions") if row["over"] is not None]
    assert ("condition", "", "no space") in events
    assert [kind for kind, machine, _ in events if not machine] == ["condition", "condition-over"]
    assert rows == [name]
