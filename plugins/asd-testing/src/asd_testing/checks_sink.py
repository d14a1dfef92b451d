"""Checks of sinks."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from asd.errors import SinkError
from asd.plugin import Event
from asd_testing.checks_source import unreachable
from asd_testing.compare import require
from asd_testing.errors import CheckFailedError, SkippedError
from asd_testing.kit import check
from asd_testing.under_test import ComponentUnderTest

_HARD = (
    'Pump "7"; \\ in hall\nB',
    "<script>alert('fan')</script> & more",
    "Lüfter №3 – 送風機 🔔 \u202e",
    "a" * 2000,
)
"""What users call their machines, and what must not break a page, a header or a topic."""


@check("sink")
def events_are_delivered(tested: ComponentUnderTest) -> None:
    """What was sent has arrived when send returns: every event, once, in order."""
    sink = tested.make()
    sent = [_event(number) for number in range(3)]
    _send(sink, sent)
    arrived = _arrived(sink)
    expected = [event.id for event in sent]
    got = [each for each in arrived if each in expected]
    require(got == expected, f"of the events {', '.join(expected)} there arrived: {', '.join(got) or 'none'}")


@check("sink")
def hard_events_are_delivered(tested: ComponentUnderTest) -> None:
    """Quotes, line breaks, HTML, any script and long text are delivered like other text."""
    sink = tested.make()
    _send(sink, [_event(9)])  # an example that reaches nobody skips this check
    for number, text in enumerate(_HARD):
        event = _event(10 + number, machine=text, text=text, data={"note": text, "files": [text], "nothing": None})
        try:
            sink.send(event)
        except Exception as error:
            raise CheckFailedError(
                f"a machine called {text[:40]!r} is not delivered: {type(error).__name__}: {str(error)[:200]}"
            ) from error
        if hasattr(sink, "delivered"):
            require(event.id in _arrived(sink), f"an event of a machine called {text[:40]!r} does not arrive")


@check("sink")
def events_stay_unmodified(tested: ComponentUnderTest) -> None:
    """Sending leaves the event as it was: it goes to other sinks, too, and may be sent again."""
    event = _event(20, data={"evidence": 3.5, "files": ["a.flac"], "band": {"low": 2100}})
    before = copy.deepcopy(asdict(event))
    sink = tested.make()
    _send(sink, [event, event])
    require(asdict(event) == before, "changes the event that it sends: work on a copy")


@check("sink")
def sink_unreachable_is_told(tested: ComponentUnderTest) -> None:
    """An event that cannot be delivered raises a SinkError."""
    sink: Any = tested.cls(**unreachable(tested))
    try:
        sink.send(_event(30))
    except SinkError as error:
        require(bool(str(error).strip()), "its SinkError says nothing: name where it was to go, and what came instead")
        return
    except Exception as error:
        raise CheckFailedError(
            f"raises {type(error).__name__} for what cannot be delivered, expected SinkError"
        ) from error
    finally:
        sink.close()
    raise CheckFailedError("returns although nothing can be reached: the event is lost; raise asd.errors.SinkError")


def _event(number: int, **changed: Any) -> Event:
    usual = {"machine": "fan 7", "text": "The fan sounds unlike healthy sound.", "data": {"evidence": 4.2}}
    return Event(f"check-{number}", time.time(), kind="alarm", severity="alarm", **{**usual, **changed})


def _send(sink: Any, events: Sequence[Event]) -> None:
    for event in events:
        try:
            answer = sink.send(event)
        except SinkError as error:
            raise SkippedError(
                f"its example reaches nobody: {error}; offer parameters by the class method example_parameters"
            ) from error
        require(answer is None, f"send returns {answer!r}, expected None: what fails raises asd.errors.SinkError")


def _arrived(sink: Any) -> Sequence[str]:
    if not hasattr(sink, "delivered"):
        raise SkippedError("nobody knows what arrived: give it a method delivered() that returns the ids of events")
    found: Sequence[str] = sink.delivered()
    return found
