"""Source ``stream``: whatever FFmpeg opens: RTSP, HTTP, HLS, RTP, a sound device; through PyAV."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from asd.errors import ConfigError, SourceError
from asd.plugin import Block, Source, number
from asd_listen.sources.example import example

_LATE = 10.0
"""Seconds by which sound may come later or earlier than its time stamps say: live streams come in segments."""
_LONGEST = 1.0
_NEVER = LookupError
"""What FFmpeg raises for protocols, formats, decoders and options that it does not know."""
_NO_FILE = (FileNotFoundError, IsADirectoryError, PermissionError)


class Stream(Source):
    """Listen to a network stream, a file or a device that FFmpeg can open.

    Parameters
    ----------
    url : str
        Such as ``rtsp://camera/audio``, ``http://host:8000/pump.mp3``, or a device's name with `format`.
    format : str
        FFmpeg's name of the format, such as ``alsa``, ``pulse`` or ``dshow``; empty: it finds out.
    options : str
        FFmpeg's options, such as ``rtsp_transport=udp,user_agent=asd``.
    timeout : float
        Seconds without data after which the connection is given up and made anew.
    endless : bool
        Whether the stream's end is a fault, after which it is connected again; no: its end is the end.
    """

    def __init__(
        self,
        *,
        url: str,
        format: str = "",  # noqa: A002 - FFmpeg's word
        options: str = "",
        timeout: float = 10.0,
        endless: bool = True,
    ) -> None:
        self.url = url
        self.format = format
        self.options = options
        self.timeout = number(self, "timeout", timeout, above=0)
        self.endless = endless
        self._options = dict(_option(each) for each in options.split(",") if each.strip())

    def blocks(self) -> Iterator[Block]:
        """Connect, and yield what is decoded; see `asd.plugin.Source.blocks`."""
        import av

        shown = without_password(self.url)
        options = {"rtsp_transport": "tcp", **self._options} if self.url.startswith("rtsp") else self._options
        try:
            with av.open(
                self.url, format=self.format or None, options=options, timeout=(self.timeout, self.timeout)
            ) as container:
                if not container.streams.audio:
                    raise SourceError(f"stream {shown}: has no sound; name another stream")
                yield from _decoded(container, av.AudioResampler, live=self.endless)
        except (av.FFmpegError, OSError, ValueError) as error:
            permanent = self._is_permanent(error)
            raise SourceError(f"stream {shown}: {_reason(error, self.timeout)}", permanent=permanent) from error
        if self.endless:
            raise SourceError(f"stream {shown}: has ended (set endless to false where that is no fault)")

    def _is_permanent(self, error: Exception) -> bool:
        """Return whether no other side could help: an unknown protocol or format, a file that is not there."""
        is_local = "://" not in self.url and not self.format
        return type(error) is ValueError or isinstance(error, _NEVER) or (is_local and isinstance(error, _NO_FILE))

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, object]:
        """Return parameters for a trial, with a second of a tone in `folder`."""
        return {"url": str(example(folder)), "endless": False}

    @classmethod
    def unreachable_parameters(cls, folder: Path) -> dict[str, object]:
        """Return parameters of what cannot be reached."""
        return {"url": str(folder / "none.wav"), "timeout": 1.0}


def _decoded(container: Any, resampler_class: Any, *, live: bool) -> Iterator[Block]:
    form: tuple[int, int] | None = None
    resampler: Any = None
    clock = _Clock(live=live)
    for frame in container.decode(container.streams.audio[0]):
        now = (frame.sample_rate, frame.layout.nb_channels)
        if now != form or resampler is None:
            form = now
            resampler = resampler_class(format="fltp", layout=frame.layout.name, rate=frame.sample_rate)
        stamp = None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)
        began = clock.time_of(stamp, frame.samples / frame.sample_rate)
        for converted in resampler.resample(frame):
            samples = np.ascontiguousarray(converted.to_ndarray().T, dtype=np.float32)
            step = round(_LONGEST * frame.sample_rate)
            for first in range(0, len(samples), step):
                yield Block(samples[first : first + step], frame.sample_rate, began + first / frame.sample_rate)


class _Clock:
    """Turns time stamps of a stream into time of day; sound that comes in bursts keeps its regular times."""

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._zero: float | None = None
        self._next = 0.0

    def time_of(self, stamp: float | None, seconds: float) -> float:
        """Return when a frame with this stamp, of so many seconds, began."""
        now = time.time() - seconds
        stamp = self._next if stamp is None else stamp
        self._next = stamp + seconds
        if self._zero is None or (self._live and abs(now - self._zero - stamp) > _LATE):  # it stood still, or jumped
            self._zero = now - stamp
        return self._zero + stamp


def _option(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise ConfigError(f"stream: options takes NAME=VALUE, separated by commas, got {text.strip()!r}")
    return name.strip(), value.strip()


def _reason(error: Exception, timeout: float) -> str:
    if type(error).__name__ == "ExitError" or isinstance(error, TimeoutError):
        return f"no data for {timeout:g} s; is the other side running?"
    text = getattr(error, "strerror", None) or str(error)
    return f"cannot be listened to ({text}); check address and network"


def without_password(url: str) -> str:
    """Return an address as it may be shown."""
    return re.sub(r"(?<=://)[^/@\s]*@", "…@", url)
