"""What a monitor knows, and the one small file that keeps it between runs.

The file is a line with the format, a SHA-256 of the rest, and the state as MessagePack. It is replaced whole or not at
all, so that a kill or a full disk costs the last clip at most. A lock beside it keeps a second process out.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import math
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from asd.detection.bag import BINS
from asd.detection.evidence import BETS
from asd.detection.rate import Rate
from asd.detection.recent import Bin, Count, Recent, made, plain
from asd.detection.states import MOST
from asd.errors import ConfigError, MonitorError
from asd.records import Clip

if TYPE_CHECKING:
    from asd.detection.model import Model

FORMAT = 2
"""Format 1 had no accepted sounds; it is read as it is."""
_HISTORY = 10_000
_UNDOABLE = 10
_MAGIC = b"asd-monitor "
_DIGEST_SIZE = 32
_FORMAT_DIGITS = 6

Phase = Literal["learning", "watching", "unlike", "alarm", "cleared"]
RisingPerBet = Annotated[list[Count], Meta(min_length=BETS, max_length=BETS)]
PerBet = Annotated[list[float], Meta(min_length=BETS, max_length=BETS)]


class Sound(msgspec.Struct):
    """Sound that somebody took for healthy: its number, operating state, and the counts of its clips by bin.

    `fit` says by how much it fitted the last clips better than the bag of no accepted sound did, as a logarithm;
    `waiting` holds the bins of clips that are not in the bag yet.
    """

    number: Annotated[int, Meta(ge=1)]
    state: Annotated[int, Meta(ge=0, le=MOST)]
    bag: dict[Annotated[int, Meta(ge=0, lt=BINS)], Count] = {}
    fit: float = 0.0
    waiting: list[Annotated[int, Meta(ge=0, lt=BINS)]] = []


class Event(msgspec.Struct):
    """Something that happened, and when: seconds since 1970, by the time of the clip or of who gave feedback."""

    time: float
    kind: str
    text: str


class Evidence(msgspec.Struct):
    """Where the evidence stands; what feedback restarts and undo restores.

    Parameters
    ----------
    phase : {"learning", "watching", "unlike", "alarm", "cleared"}
        What the monitor says.
    since : float or None
        Time of the clip that began the phase.
    bets : list of float
        Natural logarithms of the Shiryaev–Roberts statistic of each bet.
    left : float
        In alarm: natural logarithm of what is left of the evidence.
    rise : list of float
        Natural logarithm of the evidence of each bet since it last began to rise.
    rising : list of int
        Clips since then.
    step_bets : list of float
        Natural logarithms of the sums of the e-values by each bet in a step that is not complete.
    step_log : float
        Sum of the logarithms of the mean e-values of that step.
    step_clips : int
        Clips of that step.
    last_time : float or None
        Time of the last clip.
    set_aside : dict of int to int
        Counts by bin of the last alarm's clips, which are not in the bag.
    aside_since : float or None
        Time of the first of them.
    drifting : bool
        Whether a slow change was told that nobody has taken for healthy.
    """

    phase: Phase = "learning"
    since: float | None = None
    bets: PerBet = msgspec.field(default_factory=lambda: [-math.inf] * BETS)
    left: float = 0.0
    rise: PerBet = msgspec.field(default_factory=lambda: [0.0] * BETS)
    rising: RisingPerBet = msgspec.field(default_factory=lambda: [0] * BETS)
    step_bets: PerBet = msgspec.field(default_factory=lambda: [-math.inf] * BETS)
    step_log: float = 0.0
    step_clips: Count = 0
    last_time: float | None = None
    set_aside: dict[Bin, Count] = {}
    aside_since: float | None = None
    drifting: bool = False


class Feedback(msgspec.Struct):
    """What undo needs: what was done, its change of the bag and of clips, and the evidence before it.

    `sounds` holds the changes of accepted sounds by their numbers, `opened` the numbers of those that were new; `mark`
    names it.
    """

    kind: str
    text: str
    change: dict[Bin, int]
    moved: list[float]
    evidence: Evidence
    accepted: bool
    sounds: dict[int, dict[Bin, int]] = {}
    opened: list[int] = []
    mark: str = ""


class State(msgspec.Struct, kw_only=True):
    """All that a monitor knows.

    Parameters
    ----------
    model : str
        Digest of the model's calibration.
    rate : str
        Rate of false alarms that is promised.
    clip_seconds : float
        Length of a clip.
    calibration : int
        Calibration clips behind the model's p-values, of several states the fewest; 0: they promise nothing.
    centre, width : float
        As for `asd.detection.bag.Bag`.
    step : int
        Clips to a bet.
    accepted : bool
        Whether somebody took sound for healthy that is unlike that of the fit, or that raised an alarm.
    watched : int
        Clips watched; also the counter of the random numbers that split ties.
    bag : dict of int to int
        Counts of healthy scores by bin, state after state; a last one takes clips whose state is not known.
    sounds : list of Sound
        What was taken for healthy.
    accepted_sounds : int
        How many there ever were.
    states : list of str
        Operating states that the model knows; none: all clips are of one.
    evidence : Evidence
        Where the evidence stands.
    recent : Recent
        The last clips.
    history : list of Event
        What happened.
    undoable : list of Feedback
        What can be undone, the last at the end.
    """

    model: str
    rate: str
    clip_seconds: Annotated[float, Meta(gt=0)]
    calibration: Count
    centre: float
    width: Annotated[float, Meta(gt=0)]
    step: Annotated[int, Meta(ge=1)] = 1
    accepted: bool = False
    watched: Count = 0
    bag: dict[Bin, Count] = {}
    sounds: list[Sound] = []
    accepted_sounds: Count = 0
    states: Annotated[list[str], Meta(max_length=MOST)] = []
    evidence: Evidence = msgspec.field(default_factory=Evidence)
    recent: Recent = msgspec.field(default_factory=Recent)
    history: list[Event] = []
    undoable: list[Feedback] = []

    @property
    def bags(self) -> int:
        """How many states have bins."""
        return len(self.states) + 1 if self.states else 1

    def trim(self) -> None:
        """Drop the oldest of what is kept one by one, so that the state stays small."""
        for kept, limit in ((self.history, _HISTORY), (self.undoable, _UNDOABLE)):
            del kept[:-limit]


class StateFile:
    """The file of a state; made by `hold`, or for reading alone from its path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._target = Path(os.path.realpath(path))

    def read(self) -> State:
        """Return the state.

        Raises
        ------
        MonitorError
            If the file is missing, no state, cut off, altered or of a newer format.
        """
        try:
            content = self._target.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MonitorError(
                f"{self.path}: no such monitor; start one with 'asd score MODEL DATA --monitor {self.path}'"
            ) from error
        except OSError as error:
            raise MonitorError(f"{self.path}: the monitor's state cannot be read ({error.strerror})") from error
        head, _, rest = content[: len(_MAGIC) + _FORMAT_DIGITS + 1].partition(b"\n")
        if not (head.startswith(_MAGIC) and head[len(_MAGIC) :].isdigit()):
            raise MonitorError(f"{self.path}: not the state of a monitor; name a file that '--monitor' has written")
        if not 1 <= int(head[len(_MAGIC) :]) <= FORMAT:
            raise MonitorError(
                f"{self.path}: written in format {int(head[len(_MAGIC) :])}, this asd reads 1 to {FORMAT}: "
                "pip install --upgrade asd-framework"
            )
        rest = content[len(head) + 1 :]
        if hashlib.sha256(rest[_DIGEST_SIZE:]).digest() != rest[:_DIGEST_SIZE]:
            raise MonitorError(
                f"{self.path}: cut off or altered since it was saved; bring it back from a copy, or delete it to start "
                "a new monitor"
            )
        return self._decoded(rest[_DIGEST_SIZE:])

    def _decoded(self, packed: bytes) -> State:
        try:
            state = msgspec.msgpack.decode(packed, type=State, dec_hook=made)
            Rate.of(state.rate)
            numbers = (state.clip_seconds, state.centre, state.width)
            if not all(map(math.isfinite, numbers)):
                raise ValueError("a number is not finite")
            _check_bins(state)
        except (msgspec.MsgspecError, ValueError, ConfigError) as error:
            raise MonitorError(
                f"{self.path}: does not hold a monitor ({error}); delete it to start a new one"
            ) from error
        return state

    def write(self, state: State) -> None:
        """Replace the file.

        Raises
        ------
        MonitorError
            If that fails; the old file stays as it was.
        """
        packed = msgspec.msgpack.encode(state, enc_hook=plain)
        part = self._target.with_name(f".{self._target.name}.part")
        try:
            with part.open("wb") as file:
                file.write(_MAGIC + b"%d\n" % FORMAT + hashlib.sha256(packed).digest() + packed)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileNotFoundError):  # who may read it stays as it was
                part.chmod(stat.S_IMODE(self._target.stat().st_mode))
            part.replace(self._target)
            _sync_folder(self._target.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise MonitorError(
                f"{self.path}: the monitor's state cannot be saved here ({error.strerror}); the last clip, or what was "
                f"said last, is not in it; free {max(len(packed) / 1e6, 0.1):.1f} MB or choose another folder, and do "
                "that again"
            ) from error


def _check_bins(state: State) -> None:
    numbers = {*state.bag, *state.evidence.set_aside, *state.recent.rows["number"].tolist()}
    for each in state.undoable:
        numbers |= {*each.change, *each.evidence.set_aside, *(n for own in each.sounds.values() for n in own)}
    if numbers and max(numbers) >= state.bags * BINS:
        raise ValueError(f"bins must be below {state.bags * BINS}, got {max(numbers)}")
    if any(sound.state >= state.bags or not math.isfinite(sound.fit) for sound in state.sounds):
        raise ValueError("an accepted sound is of no operating state that the model knows, or fits by no number")


def _sync_folder(folder: Path) -> None:
    """Make a renaming survive a power cut, where the system can."""
    with contextlib.suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def hold(path: Path) -> Iterator[StateFile]:
    """Keep other processes from the file inside the block.

    Raises
    ------
    MonitorError
        If another process has it, it must not be written to, or it cannot be locked there.
    """
    import filelock

    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise MonitorError(f"{path}: is a folder; name a file, such as {path / 'machine.monitor'}")
    if not target.parent.is_dir():
        raise MonitorError(f"{target.parent}: no such folder to keep the monitor in; make it first")
    if target.exists() and not os.access(target, os.W_OK):
        raise MonitorError(f"{path}: must not be written to; let it be (chmod u+w), or name another file")
    lock = filelock.FileLock(
        target.with_name(f".{target.name}.lock"), timeout=0, thread_local=False
    )  # any thread may release it
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise MonitorError(
            f"{path}: another process is using this monitor; wait for it, or give each machine a monitor of its own"
        ) from error
    except OSError as error:
        raise MonitorError(
            f"{path}: the monitor's state cannot be saved here ({error.strerror}); let its folder be written to, or "
            "name a file in another one"
        ) from error
    try:
        yield StateFile(path)
    finally:
        lock.release()


def clip_name(clip: Clip) -> str:
    """Return the name of a clip without its folders: a monitor may be moved to another machine with its files."""
    if not clip.start and clip.duration is None:  # as most are, and as is fast
        return clip.path.name
    return str(replace(clip, path=Path(clip.path.name)))


def date(moment: float) -> str:
    """Return a time as a local date, such as ``2026-11-26 20:15:00``."""
    return datetime.datetime.fromtimestamp(moment).isoformat(" ", "seconds")


def digest_of(model: Model) -> str:
    """Return what tells the model from others: a digest of its calibration."""
    calibration = model.calibration
    digest = hashlib.sha256(f"{calibration.clip_seconds!r}".encode())
    digest.update(calibration.recorded.tobytes())  # what they fuse to may differ in the last bit
    digest.update(calibration.member.tobytes())
    if calibration.states is not None:
        digest.update(repr((calibration.states.names, calibration.states.of_clips.tolist())).encode())
    return digest.hexdigest()
