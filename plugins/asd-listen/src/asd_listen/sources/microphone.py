"""Source ``microphone``: a sound card, through PortAudio."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

from asd.errors import SourceError
from asd.plugin import Block, Float32, Source, whole_number
from asd_listen.sources.portaudio import CARDS, inputs, portaudio

_BLOCK = 0.1
"""Seconds of a block: what a decision waits for at most."""
_LOOK = 0.5
"""Seconds without sound after which it is looked why."""
_DEAD = 3.0
"""Seconds without sound from a device that says that it records: it was unplugged."""
_NEVER = ((-9997,), (-9998,))
"""PortAudio's errors for a sample rate and a number of channels that the device does not have."""
_WAITING = 300
"""Blocks that wait for the listener, half a minute; then sound is lost, which the times of the next blocks tell."""


class Microphone(Source):
    """Record from a microphone or another input of a sound card.

    Parameters
    ----------
    device : str
        Number of the device or a part of its name; empty: the system's input. ``asd listen --devices`` lists them.
        Numbers change with what is plugged in; names stay.
    sample_rate : int
        In Hz; 0: the device's own.
    channels : int
        How many to record; 0: all that the device has, at most two.
    """

    def __init__(self, *, device: str = "", sample_rate: int = 0, channels: int = 0) -> None:
        self.device = device
        self.sample_rate = whole_number(self, "sample_rate", sample_rate, 0)
        self.channels = whole_number(self, "channels", channels, 0)
        self._has_failed = False

    def blocks(self) -> Iterator[Block]:
        """Yield what is recorded; see `asd.plugin.Source.blocks`."""
        module = portaudio()
        if self._has_failed:  # what is plugged in again is found by a new look only
            CARDS.look(module)
        self._has_failed = True
        while True:
            with CARDS.using() as generation:
                yield from self._recorded(module, generation)

    def _recorded(self, module: Any, generation: int) -> Iterator[Block]:
        wanted = int(self.device) if self.device.isdigit() else self.device or None
        try:
            found = module.query_devices(wanted, "input")
            rate = self.sample_rate or int(found["default_samplerate"])
            channels = self.channels or min(2, int(found["max_input_channels"]))
            waiting: queue.Queue[Block] = queue.Queue(_WAITING)
            stream = module.InputStream(
                device=wanted,
                samplerate=rate,
                channels=channels,
                blocksize=round(_BLOCK * rate),
                dtype="float32",
                callback=_into(waiting, rate),
            )
            with stream:
                yield from _taken(waiting, stream, lambda: CARDS.generation == generation)
        except (module.PortAudioError, ValueError) as error:
            names = ", ".join(repr(each.name) for each in inputs()) or "none"
            reason = " ".join(str(error.args[0] if error.args else error).split())
            raise SourceError(
                f"microphone {self.device or '(the default)'}: {reason}; inputs here: {names}; is it plugged in?",
                permanent=error.args[1:2] in _NEVER or reason.startswith("Multiple"),
            ) from error


def _into(waiting: queue.Queue[Block], rate: int) -> Any:
    def callback(samples: Float32, count: int, times: Any, _: Any) -> None:
        began = time.time() - (
            times.currentTime - times.inputBufferAdcTime if times.inputBufferAdcTime else count / rate
        )
        if not waiting.full():
            waiting.put_nowait(Block(samples.copy(), rate, began))

    return callback


def _taken(waiting: queue.Queue[Block], stream: Any, go_on: Callable[[], bool]) -> Iterator[Block]:
    last = time.monotonic()
    while go_on():
        try:
            block = waiting.get(timeout=_LOOK)
        except queue.Empty:
            if not stream.active or time.monotonic() - last >= _DEAD:
                raise SourceError("microphone: the device has stopped; is it plugged in?") from None
            continue
        last = time.monotonic()
        yield block
