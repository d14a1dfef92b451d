"""Faults of the recording, told apart from those of the machine: while one stands, no sound is judged.

Each has a name, begins and is over. ``gap`` and ``clock`` are moments; the others last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from asd.plugin import Block, Float32, Float64
from asd_listen.floor import LONGEST, SHORTER, Floor, FloorLearner, ends_of, share_lost
from asd_listen.levels import SILENCE, Second, bands_at, decibels
from asd_listen.times import span

GAP = 0.5
"""Seconds by which a block may be later than the end of the one before: times of blocks jitter."""
_PLAUSIBLE = 16.0
"""Times full scale beyond which a sample is no sound."""
_FULL_SCALE = 0.999
_FLAT = 3
"""Samples in a row at full scale that make a clipped peak."""
_CLIPPED = (3, 10)
"""So many of the last so many seconds must clip; a single knock may."""
_SILENT = 2
"""Seconds without any sound, and of sound after it, that make and end silence."""
_SUSPECT = 0.5
"""Seconds of zeros that no clip should hold."""
_QUIET = 20.0
"""dB below the quietest healthy clip from which no machine is heard: it is off, or the microphone is dead."""
_PIECE = 0.1
"""Seconds to which it is known since when the level is so low."""
_OFF = "is the machine off, or the microphone dead, or another one?"
_QUIET_SECONDS = 10
_QUIET_AT_END = 3.0
"""Seconds of it that are enough where the sound ends: no more will come that decides."""
LEARNING = 600
"""Seconds of sound without a condition from which the usual noise floor is known."""
_LEARN_EVERY = 5
"""Seconds from one window to the next that it is learned from."""
_GAIN = 6.0
"""dB by which all bands of the noise floor move together if a gain was changed, …"""
_TOGETHER = {LONGEST: 3.0, 20: 2.0, 10: 2.0}
"""… with at most so many dB between the quarters of the bands, …"""
_NEARLY_ALL = 0.9
_BESIDE = 1.5
"""… and such a share of all within so many dB of the middle, beyond what each band did before: a fault, noise from
elsewhere, or a pause adds or takes away sound with a spectrum of its own."""
_OTHER = 10.0
"""dB by which most bands of the noise floor differ from before if the microphone is another one."""
_MOST = 0.8
_LOST = 0.5
"""Share of what stood out of the noise floor (`share_lost`) from which sound was added or is gone, not multiplied."""
_NEWEST = 0.8
"""Share of a window, its newest seconds, that must show, as the whole must, what stands out: at the edge of a
change a few seconds of before, or of after, stand out of the others."""
_HALF = 0.5
"""Share of the bands that is enough if what stood out still does, …"""
_ANY = 3.0
"""… and most bands have moved the same way by so many dB."""


@dataclass(frozen=True)
class Change:
    """A condition that begins or is over.

    Parameters
    ----------
    name : str
        ``"gap"``, ``"clock"``, ``"format"``, ``"garbage"``, ``"silence"``, ``"clipping"``, ``"quiet"``, ``"gain"``,
        ``"microphone"``, ``"stalled"``, ``"disconnected"``, ``"unjudged"`` or ``"behind"``.
    time : float
        When, in seconds since 1970.
    text : str
        One line for people.
    over : bool
        Whether it is over.
    """

    name: str
    time: float
    text: str
    over: bool = False


@dataclass
class Conditions:
    """Watches the recording of one source.

    Parameters
    ----------
    levels : sequence of float, or None
        Lowest and highest level in dB of the clips that calibrate the model; None: not known.
    floor : Floor or None
        Usual noise floor; None: it is learned from the first ten minutes without a condition.

    Attributes
    ----------
    standing : dict of str to str
        Conditions that stand, with their texts.
    clips_now : bool
        Whether the last block reached full scale.
    """

    levels: Sequence[float] | None = None
    floor: Floor | None = None
    standing: dict[str, str] = field(default_factory=dict)
    _form: tuple[int, int] | None = None
    _next: float | None = None
    _arrived: float = 0.0
    _silent: int = 0
    _sounding: int = 0
    _quiet: deque[bool] = field(default_factory=lambda: deque(maxlen=_QUIET_SECONDS))
    _clipped: deque[bool] = field(default_factory=lambda: deque(maxlen=_CLIPPED[1]))
    _seconds: deque[Float64] = field(default_factory=lambda: deque(maxlen=LONGEST))
    _learner: FloorLearner = field(default_factory=FloorLearner)
    _learned: int = 0
    _begun_by: dict[str, int] = field(default_factory=dict)
    clips_now: bool = False
    _clipped_second: bool = False
    _zeros: float = 0.0
    _low: float = 0.0
    _low_run: float = 0.0

    @property
    def spoiled(self) -> bool:
        """Whether a condition stands in which nothing is judged."""
        # A wrong clock, and that nothing was judged, spoil nothing: a clip that is judged ends both.
        return bool(self.standing.keys() - {"behind", "clock", "unjudged"})

    @property
    def suspect(self) -> bool:
        """Whether a condition may begin: nothing is judged until that is settled."""
        return self._zeros >= _SUSPECT

    def doubt(self, waiting: float) -> float:
        """Return how many of the last seconds of sound may turn out to be at fault; 0: none.

        Silence, quietness and clipping are told by several seconds; what was heard since the first of them must not be
        judged before it is settled whether one of them begins.

        Parameters
        ----------
        waiting : float
            Seconds of sound since the last one that `second` has seen.
        """
        clipped = waiting if self._clipped_second else 0.0
        if True in self._clipped:
            clipped = len(self._clipped) - self._clipped.index(True) + waiting
        return max(self._zeros, self._low, clipped)

    def settle(self, time: float) -> list[Change]:
        """Decide what is in doubt because no more sound comes for now; return what changes."""
        changes: list[Change] = []
        if self._low >= _QUIET_AT_END and self.levels is not None:
            text = f"the level is {_QUIET:.0f} dB or more below the quietest healthy clip: {_OFF}"
            changes = self.begin("quiet", time, text)
        self._zeros = self._low = self._low_run = 0.0
        self._clipped_second = False
        self._clipped.clear()
        return changes

    def begin(self, name: str, time: float, text: str) -> list[Change]:
        """Begin a condition, if it does not stand."""
        if name in self.standing:
            return []
        self.standing[name] = text
        return [Change(name, time, text)]

    def end(self, name: str, time: float, text: str = "") -> list[Change]:
        """End a condition, if it stands."""
        was = self.standing.pop(name, None)
        return [] if was is None else [Change(name, time, text or f"over: {was}", over=True)]

    def block(self, block: Block, arrived: float, *, paced: bool) -> tuple[list[Change], bool]:
        """Look at a block before it is judged; return what changes, and whether the sound before it is cut off.

        Parameters
        ----------
        block : Block
            What came.
        arrived : float
            When it came by a clock that nobody sets.
        paced : bool
            Whether it comes at its own pace.
        """
        changes: list[Change] = []
        broken = False
        length = len(block.samples) / block.sample_rate
        if block.name is None and self._next is not None:
            changes += self._times(block, arrived, paced)
            broken = bool(changes)
        self._next = block.time + length if block.name is None else None
        self._arrived = arrived
        form = (block.sample_rate, block.samples.shape[1])
        self._form = self._form or form
        if form != self._form:
            changes += self.begin(
                "format",
                block.time,
                f"{_form(form)} instead of {_form(self._form)}: is another device connected? Start again if that is "
                "meant",
            )
            broken = True
        else:
            changes += self.end("format", block.time)
        with np.errstate(invalid="ignore"):
            sound = bool((np.abs(block.samples) <= _PLAUSIBLE).all())
        if not sound:
            changes += self.begin("garbage", block.time, "holds NaN, or values that no sound has: is the format right?")
            broken = True
        else:
            changes += self.end("garbage", block.time)
        self.clips_now = _is_clipped(block.samples)
        self._clipped_second = self._clipped_second or self.clips_now
        self._zeros = 0.0 if block.samples.any() else self._zeros + length
        return changes, broken

    def _times(self, block: Block, arrived: float, paced: bool) -> Iterator[Change]:
        assert self._next is not None
        late = block.time - self._next
        if abs(late) <= GAP:
            return
        waited = arrived - self._arrived
        lost = late > 0 and (not paced or waited >= 0.5 * late)
        if lost:
            name, text = "gap", f"{late:.3g} s of sound are missing"
        else:
            direction = "back" if late < 0 else "forward"
            name, text = "clock", f"the clock was set {direction} by {span(abs(late))}"
        yield Change(name, block.time, text)
        yield Change(name, block.time, text, over=True)

    def heard(self, samples: Float32, sample_rate: int) -> None:
        """Look at the samples (n,) that are judged, before their seconds are complete."""
        if self.levels is None:
            return
        size = max(1, round(_PIECE * sample_rate))
        for first in range(0, len(samples), size):
            piece = samples[first : first + size]
            length = len(piece) / sample_rate
            low = float(decibels(float(np.dot(piece, piece)) / len(piece))) < self.levels[0] - _QUIET
            self._low_run = self._low_run + length if low else 0.0
            self._low = self._low + length if low or self._low else 0.0

    def second(self, second: Second) -> list[Change]:
        """Look at the levels of a second; return what changes."""
        clipped, self._clipped_second = self._clipped_second, False
        changes = [*self._silence(second), *self._clipping(second, clipped), *self._quietness(second)]
        low = self.standing.keys() & {"quiet"} - self._begun_by.keys()  # by its level, which tells no bands
        if not (low or self.standing.keys() & {"silence", "clipping", "garbage", "format"}):
            changes += self._noise_floor(second)
        return changes

    def _silence(self, second: Second) -> list[Change]:
        silent = second.peak == 0.0
        self._silent = self._silent + 1 if silent else 0
        self._sounding = 0 if silent else self._sounding + 1
        if self._silent >= _SILENT:
            return self.begin("silence", second.time, "digital silence: is the microphone connected?")
        return self.end("silence", second.time) if self._sounding >= _SILENT else []

    def _clipping(self, second: Second, clipped: bool) -> list[Change]:
        self._clipped.append(clipped)
        count = sum(self._clipped)
        if count >= _CLIPPED[0]:
            text = "clipped: the level reaches full scale; turn the gain down, or move the microphone away"
            return self.begin("clipping", second.time, text)
        return [] if count else self.end("clipping", second.time)

    def _quietness(self, second: Second) -> list[Change]:
        if self.levels is None or "quiet" in self._begun_by:
            return []
        quiet = second.level < self.levels[0] - _QUIET
        self._quiet.append(quiet)
        self._low = max(self._low, 1.0) if quiet else self._low_run
        if len(self._quiet) == _QUIET_SECONDS and all(self._quiet):
            beyond = self.levels[0] - second.level
            return self.begin(
                "quiet", second.time,
                f"the level, {second.level:.0f} dB, is {beyond:.0f} dB below the quietest healthy clip: {_OFF}",
            )  # fmt: skip
        return self.end("quiet", second.time) if not any(list(self._quiet)[-3:]) else []

    def _noise_floor(self, second: Second) -> list[Change]:
        if self.floor is not None and self.floor.sample_rate != second.sample_rate:
            return []
        self._seconds.append(decibels(second.bands))
        seconds = np.array(self._seconds)
        windows = {size: ends_of(seconds[-size:]) for size in (*SHORTER, LONGEST) if len(seconds) >= size}
        if self.floor is None:
            self._learn_floor(windows, second.sample_rate)
            return []
        usable = (seconds[-1] > SILENCE + 1) & (self.floor.bands > SILENCE + 1)
        hertz = np.array(bands_at(second.sample_rate))[usable]
        changes: list[Change] = []
        for size, ends in windows.items() if usable.any() else ():
            usual = self.floor.windows.get(size)
            if usual is not None:
                moved, apart, together = usual.shift(*ends)[usable], usual.apart[usable], usual.together
                before, now = (
                    (usual.low[usable], usual.high[usable]),
                    [ends, ends_of(seconds[-round(_NEWEST * size) :])],
                )
            elif size == LONGEST:  # of an earlier version: what a minute is like is not known
                before, now = (self.floor.bands[usable],) * 2, [(ends[0], ends[0])]
                moved, apart, together = ends[0][usable] - before[0], np.full(len(hertz), np.inf), 0.0
            else:
                continue
            lost: float | None = None
            if float(np.median(np.abs(moved))) >= _GAIN:
                shares = [
                    share_lost(before, (low[usable], high[usable]), hertz, moments=size == LONGEST) for low, high in now
                ]
                lost = max((each for each in shares if each is not None), default=None)
            changes += self._gain(moved, apart, together, lost, size, second.time)
            changes += self._other(moved, apart if size != LONGEST else np.zeros(len(hertz)), lost, size, second.time)
            if any(change.over for change in changes):  # longer windows still have it
                break
        return changes

    def _learn_floor(self, windows: dict[int, tuple[Float64, Float64]], sample_rate: int) -> None:
        self._learned += LONGEST in windows
        if self._learned % _LEARN_EVERY == 0:
            for size, ends in windows.items():
                self._learner.add(size, *ends)
        if self._learned >= LEARNING - LONGEST:
            self.floor, self._learner = self._learner.floor(sample_rate), FloorLearner()

    def _gain(
        self, moved: Float64, apart: Float64, usual: float, lost: float | None, size: int, time: float
    ) -> list[Change]:
        middle = float(np.median(moved))
        together = float(np.subtract(*np.quantile(moved, [0.75, 0.25]))) <= _TOGETHER[size]
        alike = float(np.mean(np.abs(moved - middle) <= _BESIDE + apart)) >= _NEARLY_ALL
        if abs(middle) >= _GAIN + usual and together and alike and (lost is None or lost < _LOST):
            text = (
                f"all bands of the noise floor are {abs(middle):.0f} dB {'louder' if middle > 0 else 'quieter'}: was "
                "the gain changed, or the microphone moved?"
            )
            return self._begin_by(size, "gain", time, text)
        return self._end_by(size, "gain", time) if abs(middle) < _GAIN - 2 else []

    def _other(self, moved: Float64, usual: Float64, lost: float | None, size: int, time: float) -> list[Change]:
        """Tell sound that is another one in most bands, if it is neither more nor less of what there is."""
        far = np.abs(moved) >= _OTHER + usual
        share, fallen, risen = (float(np.mean(each)) for each in (far, far & (moved < 0), far & (moved > 0)))
        kept = lost is not None and lost < _LOST
        if fallen >= _MOST and not kept and not self.standing.keys() & {"gain", "microphone"}:
            text = f"{fallen:.0%} of the bands are quieter by {_OTHER:.0f} dB or more than ever: {_OFF}"
            return self._begin_by(size, "quiet", time, text)
        one_way = max(float(np.mean(moved >= _ANY)), float(np.mean(moved <= -_ANY)))
        if kept:
            other = share >= _MOST or (max(fallen, risen) >= _HALF and one_way >= _MOST)
        else:  # what is added only lifts, what is gone only lowers
            other = lost is None and share >= _MOST and min(fallen, risen) >= 1 - _MOST
        if other and not self.standing.keys() & {"gain", "quiet"}:
            text = (
                f"the noise floor differs by {_OTHER:.0f} dB or more in {share:.0%} of the bands: is it another "
                "microphone, or a dead one?"
            )
            return self._begin_by(size, "microphone", time, text)
        changes = self._end_by(size, "quiet", time) if fallen < _MOST - 0.2 else []
        back = float(np.median(np.abs(moved))) < _OTHER - 2
        return [*changes, *(self._end_by(size, "microphone", time) if back else [])]

    def _begin_by(self, size: int, name: str, time: float, text: str) -> list[Change]:
        if name not in self.standing:
            self._begun_by[name] = size
        return self.begin(name, time, text)

    def _end_by(self, size: int, name: str, time: float) -> list[Change]:
        """End a condition by a window of the size that began it: a longer one still holds, or does not hold yet, it."""
        if name not in self.standing or self._begun_by.get(name) != size:
            return []
        for _ in range(len(self._seconds) - size):  # what a longer window has of the condition would begin it again
            self._seconds.popleft()
        del self._begun_by[name]
        return self.end(name, time)


def _is_clipped(samples: Float32) -> bool:
    """Return whether samples (n, channels) stay at full scale."""
    level = np.abs(samples)
    if len(level) < _FLAT or float(level.max(initial=0.0)) < _FULL_SCALE:
        return False
    at_top = level >= _FULL_SCALE
    flat = at_top[: 1 - _FLAT].copy()
    for i in range(1, _FLAT):
        flat &= at_top[i : len(at_top) - _FLAT + 1 + i]
    return bool(flat.any())


def _form(form: tuple[int, int]) -> str:
    return f"{form[0]} Hz, {form[1]} channel{'s' * (form[1] != 1)}"
