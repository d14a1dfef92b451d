"""A machine's sound, scripted sources of it, and a listener to them: what tests of the listener share."""

from __future__ import annotations

import functools
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soundfile

import asd
from asd.plugin import Block, Float32, Source
from asd_listen import listener as listener_module
from asd_listen.alerts import AlertSettings
from asd_listen.listener import Listener
from asd_listen.settings import Settings, settings_from
from waiting import PATIENCE

RATE = 16000
CLIP = 1.0
START = "2026-11-01T00:00:00"
NOW = time.time() - 3600


@functools.cache
def _day() -> Float32:
    """Return ten minutes of one machine, hum in noise; after six a fault sets in, a whine."""
    rng = np.random.default_rng(1)
    moment = np.arange(600 * RATE) / RATE
    hum = sum(0.1 / order * np.sin(2 * np.pi * 97 * order * moment) for order in (1, 2, 3, 5))
    hum *= 1 + 0.05 * np.sin(2 * np.pi * 0.31 * moment)
    whine = 0.03 * np.sin(2 * np.pi * 3500 * moment) * (moment >= 360)
    sound: Float32 = (hum + whine + rng.normal(0, 0.02, len(moment))).astype(np.float32)
    return sound


def healthy(seconds: float, start: float = 60.0) -> Float32:
    """Return healthy sound, float32 (n,); the first minute is what the model learned from."""
    assert start + seconds <= 360.0
    return _day()[round(start * RATE) : round((start + seconds) * RATE)]


def faulty(seconds: float, start: float = 0.0) -> Float32:
    """Return the sound of the machine with a fault, of which there are four minutes."""
    assert start + seconds <= 240.0
    return _day()[round((360.0 + start) * RATE) : round((360.0 + start + seconds) * RATE)]


def write(path: Path, *parts: Float32, rate: int = RATE) -> Path:
    """Write parts one after the other as a recording."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate(parts), rate, subtype="FLOAT")
    return path


def fitted(folder: Path) -> Path:
    """Fit a model on clips of a second of the healthy machine, and return its file."""
    sound = healthy(60.0, start=0.0)
    for i in range(30):
        write(folder / "train" / f"{i:02d}.wav", sound[2 * i * RATE : (2 * i + 1) * RATE])
    model = asd.fit(
        folder / "train", extractor="band-levels", detector="deviation", embedding_pooling="mean", cache=False
    )
    model.save(folder / "machine.asd")
    return folder / "machine.asd"


def command(*arguments: object, code: int = 0, cwd: Path, stdin: Any = None) -> subprocess.CompletedProcess[str]:
    """Run ``asd`` as a user does."""
    words = [os.environ["ASD_COMMAND"], *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd, stdin=stdin, timeout=PATIENCE)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def block(samples: Float32, at: float, rate: int = RATE, name: str | None = None) -> Block:
    return Block(samples[:, np.newaxis] if samples.ndim == 1 else samples, rate, at, name)


def blocks_of(samples: Float32, at: float, seconds: float = 0.5) -> Iterator[Block]:
    size = round(seconds * RATE)
    for first in range(0, len(samples), size):
        yield block(samples[first : first + size], at + first / RATE)


def refuse(error: Exception) -> Callable[..., None]:
    """Return what raises an error, in place of writing."""

    def write(*_: object, **__: object) -> None:
        raise error

    return write


class Script(Source):
    """A virtual source: yields what a function gives, at the pace at which it is judged."""

    paced = False

    def __init__(self, give: Callable[[], Iterator[Block]]) -> None:
        self.give = give

    def blocks(self) -> Iterator[Block]:
        return self.give()


class Heard:
    """A listener to scripted sources, and what it said."""

    def __init__(self, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, **sources: Any) -> None:
        self.said: list[tuple[str, str]] = []
        settings = settings_from(
            {
                "model": str(model),
                "folder": str(folder),
                "source": [{"kind": "file", "path": "-", "name": name} for name in sources],
            }
        )
        self.folder = folder
        monkeypatch.setattr(listener_module, "source_of", lambda own: sources[own.name])
        self.listener = Listener(settings, lambda path: asd.Model.load(path, cache=False), self._say)

    def with_alerts(self, **alerts: float) -> Settings:
        """Return the settings with others of the table ``[alerts]``."""
        return msgspec.structs.replace(self.listener.settings, alerts=AlertSettings(**alerts))

    def _say(self, text: str, severity: str) -> None:
        self.said.append((severity, text))

    def told(self, part: str) -> bool:
        """Return whether something was said that has a text."""
        return any(part in text for _, text in list(self.said))

    def run(self) -> list[str]:
        with self.listener as listener:
            listener.run()
            self.verdicts = {machine.name: machine.status for machine in listener.machines}
            self.watched = {machine.name: machine.monitor.state.watched for machine in listener.machines}
        return [text for _, text in self.said]
