"""Healthy sound that is recorded from a browser's microphone, or from a machine that is listened to, as clips."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import queue
import secrets
import shutil
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from asd.errors import AsdError
from asd.plugin import Block
from asd_listen import ClipWriter
from asd_serve.errors import RequestError

_log = logging.getLogger("asd")
RATES = (8_000, 192_000)
FORMATS: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
LONGEST = 4 * 3600.0
"""Seconds of a recording at most."""
_AT_ONCE = 8
_KEPT = 100
_MOST_BYTES = 8 * 2**30
"""Of all recordings together."""
_SPARE = 500 * 2**20
"""Bytes of the disk that recordings leave free."""
_WAITING = 400
"""Blocks that may wait to be written; beyond, the disk is too slow."""
_IDLE = 30.0
"""Seconds without sound after which a recording ends: its page was closed."""
_JUMP = 12.0
"""dB by which a clip differs from those before it, so that it is told."""
_QUIET = -60.0
_FEW = 20
_TOLD = 20
_FULL_SCALE = 32768.0


class Recording:
    """A recording, under way or done.

    Parameters
    ----------
    folder : Path
        Its own folder, in which the clips lie.
    facts : dict
        ``name``, ``machine`` (None: a browser's microphone), ``wanted`` and ``clip_seconds``, ``by``, ``began``.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder, self.facts = folder, facts
        self.id = folder.name
        self.done = False
        self.why = ""
        self._problems: dict[str, None] = {}
        self._heard = 0.0
        self._last = time.monotonic()
        self._blocks: queue.Queue[Block | None] = queue.Queue(_WAITING)
        self._closing: Callable[[], None] | None = None
        self._writer = ClipWriter(facts["name"], folder, facts["clip_seconds"], self._tell)
        self._ending = threading.Lock()
        self._thread = threading.Thread(target=self._write, name="asd-serve-recording", daemon=True)

    @property
    def clips(self) -> int:
        """Clips that are written."""
        return self._writer.written if not self.done else int(self.facts.get("clips", self._writer.written))

    def begin(self, closing: Callable[[], None] | None = None) -> None:
        """Take sound from now on; `closing` is called at the end."""
        self._closing = closing
        self._thread.start()

    def take(self, block: Block) -> None:
        """Take in sound; what comes after the end is dropped."""
        if self.done:
            return
        self._last = time.monotonic()
        try:
            self._blocks.put_nowait(block)
        except queue.Full:
            self._tell("the disk is too slow: sound is missing", "warning")

    def stop(self, why: str = "") -> None:
        """End it; what has come is written."""
        with self._ending:
            if self.done:
                return
            if self._closing is not None:
                self._closing()
            with contextlib.suppress(queue.Full):
                self._blocks.put(None, timeout=5)
            if threading.current_thread() is not self._thread:
                self._thread.join(10)
            self._finish(why)

    def to_dict(self) -> dict[str, Any]:
        """Return what ``GET /api/recordings/{id}`` says."""
        second = self._writer.second
        return {
            "id": self.id,
            **self.facts,
            "clips": self.clips,
            "seconds": round(self.clips * self.facts["clip_seconds"], 3),
            "left_out": self.facts.get("left_out", self._writer.left_out),
            "heard": round(self._heard, 3),
            "level": None if second is None else round(max(second.level, -120.0), 1),
            "peak": None if second is None else round(20 * math.log10(max(second.peak, 1e-6)), 1),
            "problems": self._found(),
            "done": self.done,
            "why": self.why,
        }

    def _found(self) -> list[str]:
        if self.done and "problems" in self.facts:
            return list(self.facts["problems"])
        found = list(self._problems)
        levels = self._writer.levels
        if len(levels) >= 3 and statistics.median(levels) < _QUIET:
            found.append("the recording is quiet: move the microphone closer, or turn the gain up, and record again")
        if self.done and self.clips < _FEW:
            found.append(f"{self.clips} clips are few: a model that promises a rate of false alarms needs {_FEW}")
        return found[-_TOLD:]

    def _tell(self, text: str, severity: str) -> None:
        self._problems[text] = None
        while len(self._problems) > _TOLD:
            del self._problems[next(iter(self._problems))]

    def _write(self) -> None:
        why = ""
        try:
            while not why:
                try:
                    block = self._blocks.get(timeout=1.0)
                except queue.Empty:
                    if time.monotonic() - self._last > _IDLE:
                        why = f"no sound has come for {_IDLE:.0f} s"
                    continue
                if block is None:
                    return
                why = self._one(block)
        except AsdError as error:
            why = str(error)
        except Exception as error:  # of the checks: told, and nothing that was written is lost
            why = f"an unexpected error, {type(error).__name__}: {error}"
            _log.exception("a recording ended")
        threading.Thread(target=self.stop, args=(why,), daemon=True).start()

    def _one(self, block: Block) -> str:
        """Write a block, and return why the recording ends with it, if it does."""
        before = self._writer.written
        self._writer.take(block, time.monotonic(), paced=False)
        self._heard += len(block.samples) / block.sample_rate
        if self._writer.written > before:
            self._compare()
            if _free(self.folder) < _SPARE:
                return "the disk is nearly full: free some space"
        if self._writer.written * self.facts["clip_seconds"] >= self.facts["wanted"]:
            return "as long as was wanted"
        return "as long as a recording may be" if self._heard > 2 * LONGEST else ""

    def _compare(self) -> None:
        """Tell a clip that is much louder or softer than those before it."""
        *former, last = self._writer.levels
        if len(former) >= 5 and abs(last - statistics.median(former[-50:])) > _JUMP:
            difference = last - statistics.median(former[-50:])
            text = f"the level jumped by {difference:+.0f} dB in clip {len(former) + 1}: did the machine change?"
            self._tell(text, "warning")

    def _finish(self, why: str) -> None:
        self.done, self.why = True, why
        levels = [round(level, 1) for level in self._writer.levels]
        self.facts |= {
            "clips": self._writer.written,
            "left_out": self._writer.left_out,
            "ended": time.time(),
            "levels": [min(levels), max(levels)] if levels else None,
            "problems": self._found(),
            "why": why,
        }
        with contextlib.suppress(OSError):  # the clips are there
            (self.folder / "recording.json").write_text(json.dumps(self.facts))


class Recordings:
    """All recordings of a server, in a folder of its own.

    Parameters
    ----------
    folder : Path
        Made with the first recording.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._all: dict[str, Recording] = {}
        for each in sorted(folder.glob("*/recording.json")) if folder.is_dir() else ():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # a stranger's file
                facts = json.loads(each.read_text())
                kept = Recording(each.parent, facts)
                kept.done, kept.why = True, str(facts.get("why", ""))
                self._all[kept.id] = kept

    def make(self, facts: dict[str, Any]) -> Recording:
        """Return a new recording, which has not begun.

        Raises
        ------
        RequestError
            409 if too many are under way or kept, 507 if the disk, or the recordings' share of it, is full.
        """
        with self._lock:
            under_way = sum(not each.done for each in self._all.values())
            if under_way >= _AT_ONCE:
                raise RequestError(409, f"{under_way} recordings are under way, which is the most; stop one first")
            if len(self._all) >= _KEPT:
                raise RequestError(409, f"{len(self._all)} recordings are kept, which is the most; delete one first")
            folder = self.folder / secrets.token_hex(8)
            try:
                used = sum(each.stat().st_size for each in self.folder.glob("*/*.flac"))
                folder.mkdir(parents=True, mode=0o700)
                free = _free(folder)
            except OSError as error:
                text = f"recordings cannot be kept in the server's folder ({error.strerror}); see its disk and rights"
                raise RequestError(507, text) from error
            if used > _MOST_BYTES or free < _SPARE:
                folder.rmdir()
                raise RequestError(
                    507, f"recordings take {used / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: delete some first"
                )
            made = Recording(folder, {**facts, "began": time.time()})
            self._all[made.id] = made
            return made

    def find(self, number: str) -> Recording:
        """Return a recording.

        Raises
        ------
        RequestError
            If there is none of this id.
        """
        with self._lock:
            found = self._all.get(number)
        if found is None:
            raise RequestError(404, f"no recording {number[:40]!r}; GET /api/recordings lists those that there are")
        return found

    @property
    def all(self) -> list[Recording]:
        """All of them, the latest first."""
        with self._lock:
            return sorted(self._all.values(), key=lambda each: -float(each.facts["began"]))

    def delete(self, number: str) -> None:
        """Stop a recording and delete its clips; errors as for `find`."""
        found = self.find(number)
        found.stop("deleted")
        with self._lock:
            self._all.pop(number, None)
        shutil.rmtree(found.folder, ignore_errors=True)

    def close(self) -> None:
        """End all that are under way; what has come is kept."""
        for each in self.all:
            each.stop("the server was stopped")


def block_of(data: bytes, rate: int, form: str, at: float) -> Block:
    """Return sound that came as bytes, of one channel.

    Raises
    ------
    RequestError
        If the bytes are no whole samples.
    """
    dtype = FORMATS[form]
    if not data or len(data) % dtype.itemsize:
        raise RequestError(
            422, f"a message of {len(data)} bytes holds no whole samples of {form}, {dtype.itemsize} bytes each"
        )
    samples = np.frombuffer(data, dtype).astype(np.float32)
    if dtype.kind == "i":
        samples /= _FULL_SCALE
    return Block(samples[:, np.newaxis], rate, at)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free
