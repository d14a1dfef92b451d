"""One machine that is listened to: from its blocks to clips that may be judged, levels and conditions."""

from __future__ import annotations

import contextlib
import json
import math
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from asd.errors import AudioError
from asd.plugin import Block, Float32
from asd_listen.conditions import Change, Conditions
from asd_listen.cutter import Cutter, TimedClip
from asd_listen.feed import Feed
from asd_listen.floor import Floor
from asd_listen.levels import LevelMeter, Minute, Second
from asd_listen.times import span

_STALLED = 10.0
"""Seconds without sound of a source that sends at its own pace."""
_UNJUDGED = 60.0
"""Seconds, beside three clips, in which no clip of such a source was judged, for no reason that stood and was told."""
_REASON = 10.0
"""Seconds from which a condition that stands is such a reason."""
_SETTLED = 10.0
"""Seconds without sound after which clips in doubt are decided upon: a recorder may drop one recording an hour."""
_BEHIND = (5.0, 1.0)
"""Seconds of sound that wait, from which the listener is behind, and until which it has caught up."""


class Machine:
    """What is known of a machine while it is listened to.

    Parameters
    ----------
    name : str
        Its name.
    scorer : asd.LiveScorer
        What judges its clips.
    monitor : asd.Monitor
        What adds up the evidence.
    feed : Feed
        Its sound.
    floor_file : Path
        Where the usual noise floor of its microphone is kept.
    delay : float
        Seconds from the first sound to the first clip.

    Attributes
    ----------
    stream : asd.LiveStream
        What cuts its clips.
    verdict, status
        The latest; None: none yet.
    second : Second or None
        The latest levels.
    """

    def __init__(self, name: str, scorer: Any, monitor: Any, feed: Feed, floor_file: Path, delay: float = 0.0) -> None:
        self.name, self.scorer, self.monitor, self.feed = name, scorer, monitor, feed
        self.verdict: Any = None
        self.status: Any = None
        self.second: Second | None = None
        self.minutes: list[Minute] = []
        self._floor_file = floor_file
        self.stream = scorer.stream(name, delay=delay)
        self._cutter = Cutter(self.stream, name)
        self._meter = LevelMeter()
        self._channel = scorer.model.config.channel
        self.conditions = Conditions(scorer.model.conditions.levels, _kept_floor(floor_file))
        self._knew_floor = self.conditions.floor is not None
        self._judged: float | None = None
        self._stood: dict[str, float] = {}
        self._heard = 0.0
        self._held: deque[tuple[float, TimedClip]] = deque()

    def take(self, block: Block, arrived: float, hear: Callable[[Block], None]) -> tuple[list[TimedClip], list[Change]]:
        """Take in a block; return the clips that may be judged now, and the conditions that have changed.

        Clips that overlap sound in which a condition may have begun are held back until that is settled.

        Parameters
        ----------
        block : Block
            What came.
        arrived : float
            When, by a clock that nobody sets.
        hear : callable
            Called with sound that may be kept.
        """
        clips, changes = self._complete(block, arrived, hear)
        self._held.extend((self._heard - clip.ago, clip) for clip in clips)
        if self.conditions.spoiled or self.conditions.suspect:
            self._held.clear()
        return self._settled(), changes

    def _complete(
        self, block: Block, arrived: float, hear: Callable[[Block], None]
    ) -> tuple[list[TimedClip], list[Change]]:
        if not len(block.samples):
            return (self._cutter.finish() if block.name is None and self._cutter.in_file else []), []
        changes = self.conditions.end("disconnected", block.time) + self.conditions.end("stalled", block.time)
        found, broken = self.conditions.block(block, arrived, paced=self.feed.paced)
        changes += found
        if "garbage" in self.conditions.standing:
            self._cutter.restart()
            return [], changes
        hear(block)
        mixed = self._mixed(block)
        self._heard += len(mixed) / block.sample_rate
        self.conditions.heard(mixed, block.sample_rate)
        for second in self._meter.add(mixed, block.sample_rate, block.time):
            self.second = second
            changes += self.conditions.second(second)
            if minute := self._meter.minute(second):
                self.minutes.append(minute)
        self._keep_floor()
        ended = self._cutter.finish() if block.name != self._cutter.file and self._cutter.in_file else []
        if broken or self.conditions.spoiled or self.conditions.suspect:
            self._cutter.restart()
        if self.conditions.spoiled or self.conditions.suspect:
            return ended, changes
        try:
            return [*ended, *self._cutter.add(block)], changes
        except AudioError as error:
            return ended, [*changes, *self.conditions.begin("format", block.time, str(error))]

    def _settled(self) -> list[TimedClip]:
        """Return the clips that are held, up to the first that may yet turn out to be at fault."""
        doubt = self.conditions.doubt(self._meter.waiting)
        found: list[TimedClip] = []
        while self._held and (not doubt or self._held[0][0] <= self._heard - doubt):
            found.append(self._held.popleft()[1])
        return found

    def settle(self, now: float, time: float) -> tuple[list[TimedClip], list[Change]]:
        """Decide upon clips in doubt once no sound comes that would: return those that may be judged, and changes."""
        if not self._held or self.feed.held or not (self.feed.ended or now - self.feed.last >= _SETTLED):
            return [], []
        return self._decided(time)

    def _decided(self, time: float) -> tuple[list[TimedClip], list[Change]]:
        changes = self.conditions.settle(time)
        if self.conditions.spoiled:
            self._held.clear()
        return self._settled(), changes

    def lost(self, text: str, time: float) -> list[Change]:
        """Take that the source failed."""
        self._cutter.restart()
        self._held.clear()
        return self.conditions.begin("disconnected", time, text)

    def watch(self, now: float, time: float, *, others_go_on: bool) -> Iterator[Change]:
        """Yield what has changed because nothing came, or too much; `now` is by a clock that nobody sets."""
        feed = self.feed
        if feed.paced and feed.done and others_go_on:
            yield from self.conditions.begin("disconnected", time, "the source has ended: start the listener again")
        elif feed.paced and not feed.ended:
            yield from self._miss(now, time)
        if not feed.ended and "disconnected" not in self.conditions.standing:
            yield from self._waits(now, time)
            if feed.paced and feed.held >= _BEHIND[0]:
                text = "sound comes faster than it can be judged: listen to fewer machines, or fit with --quality fast"
                yield from self.conditions.begin("behind", time, text)
        if feed.held <= _BEHIND[1]:
            yield from self.conditions.end("behind", time)

    def _waits(self, now: float, time: float) -> list[Change]:
        feed = self.feed
        patience = feed.source.patience or (_STALLED if feed.paced else math.inf)
        waited = now - feed.last
        if feed.held or waited < patience:
            return []
        self._cutter.restart()
        self._held.clear()
        usual = "" if feed.paced else f"; {span(patience)} is the longest it may take: is the recorder running?"
        return self.conditions.begin("stalled", time, f"no sound has come for {span(waited)}{usual}")

    def judged(self, now: float, time: float) -> list[Change]:
        """Take that a clip was judged."""
        self._judged = now
        return self.conditions.end("unjudged", time)

    def _miss(self, now: float, time: float) -> list[Change]:
        """Look whether clips are judged: what begins and is over again and again is told by no other condition."""
        spoiling = self.conditions.standing.keys() - {"behind", "unjudged"}
        self._stood = {name: self._stood.get(name, now) for name in spoiling}
        if self._judged is None or any(now - since >= _REASON for since in self._stood.values()):
            self._judged = now
        if now - self._judged < _UNJUDGED + 3 * self.scorer.seconds:
            return []
        text = (
            f"no clip could be judged for {now - self._judged:.0f} s; what the listener says, and the table "
            "'conditions' of 'asd history', tell why"
        )
        return self.conditions.begin("unjudged", time, text)

    def finish(self, time: float) -> tuple[list[TimedClip], list[Change]]:
        """Return what is left at the end, and the conditions that have changed."""
        if minute := self._meter.flush():
            self.minutes.append(minute)
        if not self.conditions.spoiled:
            self._held.extend((self._heard, clip) for clip in self._cutter.finish())
        return self._decided(time)

    def _mixed(self, block: Block) -> Float32:
        samples = block.samples
        if self._channel == "mix" or self._channel > samples.shape[1]:
            return samples.mean(axis=1) if samples.shape[1] > 1 else samples[:, 0]
        return np.ascontiguousarray(samples[:, self._channel - 1])

    def _keep_floor(self) -> None:
        floor = self.conditions.floor
        if floor is not None and not self._knew_floor:
            self._knew_floor = True
            with contextlib.suppress(OSError):  # it is learned anew after a restart
                part = self._floor_file.with_suffix(".part")
                part.write_text(json.dumps(floor.as_dict()))
                part.replace(self._floor_file)


def _kept_floor(path: Path) -> Floor | None:
    try:
        return Floor.from_dict(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # it is learned anew
        return None
