"""What happens, told to all who look: read from the history once, computed once, written as text once.

While anybody looks, the history is asked some times a second whether anything was written. A viewer has a place in it,
up to which it knows everything, so that one who comes back goes on where it was. Viewers at the same place share an
answer. What is new to a viewer goes out as one message of lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from asd.errors import AsdError
from asd.plugin import Block
from asd_listen import Reader, events_after, machine_states
from asd_serve.plant.readers import Readers
from asd_serve.plant.spectrum import LastMinute, LiveSpectrum

if TYPE_CHECKING:
    from asd_serve.plant.plant import Plant

_log = logging.getLogger("asd")
_POLL = 0.5
_SLOWEST = 2.0
"""Seconds from one look at the history to the next: with few viewers, and with more than there should be."""
_MESSAGES = 64.0
"""Messages a second to all viewers together, of which each may let the listener wait; looks are apart by them."""
_LOOK = 2.0
"""Seconds after which it is looked whether a listener is running, although nothing was written."""
_WAITING = 60
"""Messages, each of all that is new at a time, that wait for a viewer; with more, it is too slow, and is sent away."""
_SPARE = 20
"""Messages that wait, from which a viewer is spared spectra."""
_AT_ONCE = 4
"""Verdicts on a machine that are told at a time; of more, the last one and their number: nobody can read them."""
_STEADY = ("evidence", "threshold", "seen", "level")
"""What changes with each clip, which a viewer of one machine knows from the verdicts."""
_MISSED = 500
"""Verdicts that a viewer who comes back is told at most, the last ones."""
_EARLIER = 60.0
"""Seconds by which the time of an event may lie before that of its writing."""
_STATED = 1.0
"""Seconds from one telling of how a machine stands to the next."""
_STATES = 300.0
"""States of machines that are told in a second, to all viewers together; with more, each is told less often."""
MOST_VIEWERS = 256
_NO_SOUND = "the listener runs in another process: live sound is shown by 'asd serve --listen'"


@dataclass(eq=False)
class Viewer:
    """Somebody who looks.

    Parameters
    ----------
    machine : str or None
        The machine that is looked at; None: all of them at a glance.
    seen : float or None
        Time of the last verdict that is known to the viewer; None: those from now on.
    number : int or None
        Number of the last event that is known to the viewer; None: it follows from `seen`.
    """

    machine: str | None
    seen: float | None = None
    waiting: asyncio.Queue[str | None] = field(default_factory=lambda: asyncio.Queue(_WAITING))
    number: int | None = None
    is_new: bool = True
    too_slow: bool = False

    def tell(self, lines: Sequence[str], spare: Sequence[str] = ()) -> None:
        """Let lines wait, `spare` may be left out; as one message: each costs the listener a change of threads."""
        if self.waiting.qsize() < _SPARE:
            lines = [*lines, *spare]
        if self.too_slow or not lines:
            return
        if self.waiting.full():
            self.too_slow = True
            while not self.waiting.empty():
                self.waiting.get_nowait()
            self.waiting.put_nowait(None)  # the end
            return
        self.waiting.put_nowait("\n".join(lines))


class Hub:
    """Tells viewers what happens; all methods but `listener_changed` are for the event loop.

    Parameters
    ----------
    plant : Plant
        What is looked at.
    """

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._viewers: set[Viewer] = set()
        self._task: asyncio.Task[None] | None = None
        self._spectra: dict[str, LiveSpectrum] = {}
        self._unwatch: Callable[[], None] | None = None
        self._last = LastMinute()
        self._news = _News()
        self._readers = Readers(lambda: plant.history, 1)  # of one connection, SQLite says whether others have written

    def close(self) -> None:
        """Release the history."""
        self._readers.close()

    @property
    def viewers(self) -> int:
        """How many look."""
        return len(self._viewers)

    @contextlib.contextmanager
    def told(self, viewer: Viewer) -> Iterator[None]:
        """Tell a viewer, whose place was found by `place`, what happened since then, until the end of the block."""
        self._viewers.add(viewer)
        self._attend()
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._task = loop.create_task(self._run())
        try:
            yield
        finally:
            self._viewers.discard(viewer)
            self._attend()

    def listener_changed(self) -> None:
        """Hear the sound of the listener that runs now; any thread may call this."""
        self._unwatch = self._plant.watch(self._hear)

    # ---------------------------------------------------------------------------------------------------------- sound

    def _attend(self) -> None:
        """Make spectra of the machines at which somebody looks, and of no others."""
        wanted = {viewer.machine for viewer in self._viewers if viewer.machine is not None}
        self._spectra = {name: self._spectra.get(name) or LiveSpectrum() for name in wanted}

    def _hear(self, machine: str, block: Block) -> None:
        self._last.hear(machine, block)
        spectrum = self._spectra.get(machine)
        if spectrum is not None:
            spectrum.hear(block)

    def _columns(self, new: set[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
        """Return what is to be sent of each machine's sound, and to who is new what was heard before; in a thread."""
        spectra = dict(self._spectra)
        found = {name: spectrum.message() for name, spectrum in spectra.items()}
        texts = {name: _text(message) for name, message in found.items() if message is not None}
        past = {}
        for name in new & spectra.keys():
            message = found[name]
            until = spectra[name].position if message is None else message["time"]
            past[name] = [_text(each) for each in self._last.messages(name, until)]
        return texts, past

    # ---------------------------------------------------------------------------------------------------------- telling

    async def _run(self) -> None:
        while self._viewers:
            began = time.monotonic()
            try:
                await self._tell()
            except AsdError as error:  # the history is locked, or was taken away: tried again
                _log.warning("what happens cannot be shown: %s", error)
                await asyncio.sleep(1.0)
            pause = min(_SLOWEST, max(_POLL, len(self._viewers) / _MESSAGES))
            await asyncio.sleep(max(0.01, began + pause - time.monotonic()))

    async def _tell(self) -> None:
        viewers = list(self._viewers)
        loop = asyncio.get_running_loop()
        new = {viewer.machine for viewer in viewers if viewer.is_new and viewer.machine is not None}
        columns = loop.run_in_executor(None, self._columns, new) if self._unwatch is not None else None
        lines: dict[Viewer, list[str]] = {viewer: [] for viewer in viewers}
        for recipients, messages in await self._readers.ask(self._news.of, viewers, self._plant.is_listening):
            for viewer in recipients:
                lines[viewer] += messages
        texts, past = ({}, {}) if columns is None else await columns
        silence = _text({"type": "no_sound", "text": _NO_SOUND}) if self._plant.settings is None else None
        for viewer in viewers:
            name = viewer.machine or ""
            spare = past.get(name, []) if viewer.is_new else []
            if name in texts:
                spare = [*spare, texts[name]]
            elif viewer.is_new and name and silence is not None:
                lines[viewer].append(silence)
            viewer.tell(lines[viewer], spare)
            viewer.is_new = False


Batch = tuple[Sequence[Viewer], list[str]]
"""Messages, and who is to get them."""


class _News:
    """Asks the history what has happened; in threads, one at a time."""

    def __init__(self) -> None:
        self._reader: Reader | None = None
        self._forget()

    def _forget(self) -> None:
        self._version = -1
        self._looked = self._stated = -_LOOK
        self._listening = False
        self._states: dict[str, str] = {}
        self._told: dict[str, float] = {}
        self._others: dict[str, dict[str, Any]] = {}
        self._standing: dict[int, dict[str, Any]] | None = None

    def of(self, reader: Reader, viewers: Sequence[Viewer], is_listening: Callable[[], bool]) -> list[Batch]:
        """Return what each of the viewers is to be told."""
        if reader is not self._reader:
            self._forget()
            for viewer in viewers if self._reader is not None else ():  # of another history, they know nothing
                viewer.seen = viewer.number = None
            self._reader = reader
        now = time.monotonic()
        version = reader.ask("PRAGMA data_version")[0][0]
        late = now - self._looked >= _LOOK
        if version == self._version and not late and not any(viewer.is_new for viewer in viewers):
            return []
        self._version = version
        if late:
            self._looked, self._listening = now, is_listening()
        found = [*self._events(reader, viewers), *self._conditions(reader, viewers), *self._verdicts(reader, viewers)]
        return [*found, *self._machines(reader, viewers, now)]

    def _verdicts(self, reader: Reader, viewers: Sequence[Viewer]) -> Iterable[Batch]:
        groups: dict[tuple[str, float | None], list[Viewer]] = {}
        for viewer in viewers:
            if viewer.machine is not None:
                groups.setdefault((viewer.machine, viewer.seen), []).append(viewer)
        for (machine, seen), group in groups.items():
            limit = _MISSED if any(viewer.is_new for viewer in group) else _AT_ONCE
            rows, count = _verdicts_after(reader, machine, seen, limit)
            if limit == _AT_ONCE < count:
                rows = rows[-1:]
            if rows or seen is None:
                for viewer in group:
                    viewer.seen = rows[-1]["time"] if rows else 0.0
            if seen is None:
                continue
            messages = [_text({"type": "skipped", "n": count - len(rows)})] if count > len(rows) else []
            yield group, messages + [_text({"type": "verdict", **row}) for row in rows]

    def _events(self, reader: Reader, viewers: Sequence[Viewer]) -> Iterable[Batch]:
        for viewer in viewers:
            if viewer.number is None:  # the history is another one
                viewer.number = _place_among_events(reader, viewer.seen)
        for number in {viewer.number for viewer in viewers if viewer.number is not None}:
            rows, last = events_after(reader, number)
            texts = [(row["machine"], _text({"type": "event", **row})) for row in rows]
            for viewer in viewers:
                if viewer.number == number and texts:
                    viewer.number = last
                    own = [text for machine, text in texts if viewer.machine in (None, machine)]
                    yield [viewer], own

    def _conditions(self, reader: Reader, viewers: Sequence[Viewer]) -> Iterable[Batch]:
        former = self._standing
        rows = reader.ask(
            "SELECT c.id, coalesce(m.name, ''), c.name, c.began, c.over, c.text FROM conditions c "
            "LEFT JOIN machines m ON m.id = c.machine WHERE c.over IS NULL"
        )
        names = ("machine", "name", "began", "over", "text")
        now = {row[0]: dict(zip(names, row[1:], strict=True)) for row in rows}
        self._standing = now
        changed = [each for number, each in now.items() if former is not None and former.get(number) != each]
        for number in (former or {}).keys() - now.keys():
            ended = reader.ask("SELECT over, text FROM conditions WHERE id = ?", (number,))
            if ended:
                changed.append({**(former or {})[number], "over": ended[0][0], "text": ended[0][1]})
        for each in changed:
            known = [viewer for viewer in viewers if not viewer.is_new and viewer.machine in (None, each["machine"])]
            yield known, [_text({"type": "condition", **each})]
        for viewer in viewers:
            if viewer.is_new:
                own = [each for each in now.values() if viewer.machine in (None, each["machine"])]
                yield [viewer], [_text({"type": "condition", **each}) for each in own]

    def _machines(self, reader: Reader, viewers: Sequence[Viewer], now: float) -> Iterable[Batch]:
        """Tell how machines stand: all of them to who is new, those that have changed to the others."""
        wanted = {viewer.machine for viewer in viewers}
        if not any(viewer.is_new for viewer in viewers) and now - self._stated < _STATED:
            return
        self._stated = now
        names = [None] if None in wanted else sorted(name for name in wanted if name is not None)
        states = [each for name in names for each in machine_states(reader, listening=self._listening, name=name)]
        texts = {state.name: _text({"type": "machine", **state.to_dict()}) for state in states}
        pause = max(_STATED, len(texts) * len(viewers) / _STATES)
        due, turned = [], []
        for state in states:
            name, text = state.name, texts[state.name]
            if text != self._states.get(name) and now - self._told.get(name, -pause) >= pause:
                self._states[name], self._told[name] = text, now
                due.append(name)
            others = {key: value for key, value in state.to_dict().items() if key not in _STEADY}
            if others != self._others.get(name):
                self._others[name] = others
                turned.append(name)
        for viewer in viewers:
            chosen = texts if viewer.is_new else due if viewer.machine is None else turned
            own = [texts[name] for name in chosen if viewer.machine in (None, name)]
            if own:
                yield [viewer], own


def place(reader: Reader, viewer: Viewer) -> None:
    """Find up to where a viewer knows everything.

    Done before it is let in: what is written between that and the first look at the history is new to it.
    """
    viewer.number = _place_among_events(reader, viewer.seen)
    if viewer.machine is not None and viewer.seen is None:
        rows, _ = _verdicts_after(reader, viewer.machine, None, 1)
        viewer.seen = rows[-1]["time"] if rows else 0.0


def _verdicts_after(reader: Reader, machine: str, seen: float | None, limit: int) -> tuple[list[dict[str, Any]], int]:
    """Return the last verdicts after a time (None: the last of all), the oldest first, and how many there are."""
    names = ("time", "clip", "score", "p_value", "anomalous", "state", "evidence", "threshold", "phase")
    here = "FROM verdicts WHERE machine = (SELECT id FROM machines WHERE name = ?) AND time > ?"
    after = -1.0 if seen is None else seen
    limit = 1 if seen is None else limit
    found = reader.ask(
        f"SELECT {', '.join(names)} {here} ORDER BY time DESC, clip DESC LIMIT ?", (machine, after, limit)
    )
    rows = [dict(zip(names, values, strict=True)) for values in reversed(found)]
    for row in rows:
        row["anomalous"] = bool(row["anomalous"])
    count = len(rows)
    if seen is not None and count == limit:
        count = reader.ask(f"SELECT count(*) {here}", (machine, after))[0][0]
    return rows, count


def _place_among_events(reader: Reader, since: float | None) -> int:
    """Return the number of the last event that a viewer knows; of those from before `since`, a minute is told again."""
    if since is None:
        return int(reader.ask("SELECT coalesce(max(number), 0) FROM events")[0][0])
    query = (
        "SELECT coalesce(min(number) - 1, (SELECT coalesce(max(number), 0) FROM events)) FROM events WHERE time >= ?"
    )
    return int(reader.ask(query, (since - _EARLIER,))[0][0])


def _text(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
