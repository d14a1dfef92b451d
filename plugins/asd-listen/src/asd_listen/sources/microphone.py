"""Source ``microphone``: a sound card, through PortAudio."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from asd.errors import SourceError
from asd.plugin import Block, Float32, Source, whole_number

_BLOCK = 0.1
"""Seconds of a block: what a decision waits for at most."""
_WAITING = 300
"""Blocks that wait for the listener, half a minute; then sound is lost, which the times of the next blocks tell."""


class Microphone(Source):
    """Record from a microphone or another input of a sound card.

    Parameters
    ----------
    device : str
        Number of the device or a part of its name; empty: the system's input. ``python -m sounddevice`` lists them.
    sample_rate : int
        In Hz; 0: the device's own.
    channels : int
        How many to record; 0: all that the device has, at most two.
    """

    def __init__(self, *, device: str = "", sample_rate: int = 0, channels: int = 0) -> None:
        self.device = device
        self.sample_rate = whole_number(self, "sample_rate", sample_rate, 0)
        self.channels = whole_number(self, "channels", channels, 0)

    def blocks(self) -> Iterator[Block]:
        """Yield what is recorded; see `asd.plugin.Source.blocks`."""
        try:
            import sounddevice  # type: ignore[import-untyped]  # it ships no type information
        except OSError as error:
            raise SourceError(f"microphone: {error}; install it, on Debian: apt install libportaudio2") from error
        wanted = int(self.device) if self.device.isdigit() else self.device or None
        try:
            found = sounddevice.query_devices(wanted, "input")
            rate = self.sample_rate or int(found["default_samplerate"])
            channels = self.channels or min(2, int(found["max_input_channels"]))
            waiting: queue.Queue[Block] = queue.Queue(_WAITING)
            stream = sounddevice.InputStream(
                device=wanted,
                samplerate=rate,
                channels=channels,
                blocksize=round(_BLOCK * rate),
                dtype="float32",
                callback=_into(waiting, rate),
            )
            with stream:
                yield from _taken(waiting, stream, rate, channels)
        except (sounddevice.PortAudioError, ValueError) as error:
            names = ", ".join(repr(each["name"]) for each in _inputs(sounddevice)) or "none"
            raise SourceError(
                f"microphone {self.device or '(the default)'}: {error}; inputs here: {names}; is it plugged in?"
            ) from error


def _into(waiting: queue.Queue[Block], rate: int) -> Any:
    def callback(samples: Float32, count: int, times: Any, _: Any) -> None:
        began = time.time() - (
            times.currentTime - times.inputBufferAdcTime if times.inputBufferAdcTime else count / rate
        )
        if not waiting.full():
            waiting.put_nowait(Block(samples.copy(), rate, began))

    return callback


def _taken(waiting: queue.Queue[Block], stream: Any, rate: int, channels: int) -> Iterator[Block]:
    while True:
        try:
            yield waiting.get(timeout=1.0)
        except queue.Empty:
            if not stream.active:
                raise SourceError("microphone: the device has stopped; is it plugged in?") from None
            yield Block(np.zeros((0, channels), np.float32), rate, time.time())


def _inputs(sounddevice: Any) -> list[Any]:
    return [each for each in sounddevice.query_devices() if each["max_input_channels"] > 0]
