"""PortAudio for several microphones: which inputs there are, and a new look at them after one was plugged in."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asd.errors import SourceError

_CARDS = Path("/proc/asound/cards")
_PATIENCE = 5.0
"""Seconds that streams have to end before a new look, which is left to a later attempt else."""


@dataclass(frozen=True)
class Input:
    """An input of a sound card: its number and name, channels, usual rate in Hz, and whether it is the system's."""

    number: int
    name: str
    channels: int
    sample_rate: int
    is_default: bool


def portaudio() -> Any:
    """Return the module ``sounddevice``.

    Raises
    ------
    SourceError
        If PortAudio is not installed.
    """
    try:
        import sounddevice  # type: ignore[import-untyped]  # it ships no type information
    except OSError as error:
        raise SourceError(
            f"microphone: {error}; install it, on Debian: apt install libportaudio2", permanent=True
        ) from error
    return sounddevice


def inputs() -> list[Input]:
    """Return the inputs that PortAudio knows; errors as for `portaudio`."""
    module = portaudio()
    usual = module.default.device[0]
    return [
        Input(n, str(each["name"]), int(each["max_input_channels"]), int(each["default_samplerate"]), n == usual)
        for n, each in enumerate(module.query_devices())
        if each["max_input_channels"] > 0
    ]


class _Cards:
    """PortAudio lists the devices once, and ends all streams when it is to look anew: one look for all microphones."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = 0
        self._looking = False
        self._seen = _cards()
        self.generation = 0

    @contextlib.contextmanager
    def using(self) -> Iterator[int]:
        """Keep others from looking anew inside the block; yields the number of the look."""
        with self._changed:
            self._changed.wait_for(lambda: not self._looking)
            self._open += 1
            generation = self.generation
        try:
            yield generation
        finally:
            with self._changed:
                self._open -= 1
                self._changed.notify_all()

    def look(self, module: Any) -> None:
        """Let PortAudio look anew; while others record, only if the computer's cards are others, and they pause."""
        with self._changed:
            self._changed.wait_for(lambda: not self._looking)
            cards = _cards()
            if self._open and cards == self._seen:
                return
            self._looking = True
            self.generation += 1  # whoever records sees it, and ends its stream
            try:
                if self._changed.wait_for(lambda: not self._open, _PATIENCE):
                    self._seen = cards
                    module._terminate()
                    module._initialize()
            finally:
                self._looking = False
                self._changed.notify_all()


def _cards() -> str | None:
    """Return the computer's list of sound cards; None: there is none to be read."""
    try:
        return _CARDS.read_text()
    except OSError:
        return None


CARDS = _Cards()
