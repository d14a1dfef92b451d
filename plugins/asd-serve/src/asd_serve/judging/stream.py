"""A WebSocket that judges sound while it comes; the clips of many streams go into one pass with those of requests.

In come binary messages of PCM, of any length, and at the end the text ``{"type": "end"}``. Out come texts: first
``{"type": "ready", …}``, then ``{"type": "verdict", …}`` for each clip, ``{"type": "error", "error": …}`` for one that
cannot be judged or when all is over, and ``{"type": "end", …}`` for the end.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from fastapi.websockets import WebSocket

import asd
from asd.errors import AsdError, AudioError
from asd.plugin import Float32
from asd_serve.errors import RequestError
from asd_serve.judging.judging import Judging
from asd_serve.judging.sound import Pcm, pcm_from

_UNREAD = 20.0
"""Seconds that a client may leave a verdict unread."""
_SILENT = 60.0
"""Seconds without a message after which a stream ends."""
_GOING_AWAY, _UNSUPPORTED, _TOO_LARGE, _TRY_LATER = 1001, 1003, 1009, 1013
_LONGEST_MESSAGE = 30.0
"""Seconds of sound in a message."""

_AS_NUMPY = {
    "u8": ("u1", 2.0**7, 128.0),
    "s16le": ("<i2", 2.0**15, 0.0),
    "s32le": ("<i4", 2.0**31, 0.0),
    "f32le": ("<f4", 1.0, 0.0),
}
"""Raw PCM: NumPy's type, full scale, and the value that stands for silence."""


async def stream(socket: WebSocket, judging: Judging, name: str) -> None:
    """Judge what comes by a WebSocket.

    Parameters
    ----------
    socket : WebSocket
        Not accepted yet; its query says rate, channels, format and hop.
    judging : Judging
        Who judges.
    name : str
        The model's.

    Raises
    ------
    AsdError
        If the model or the query does not fit; before the socket is accepted.
    """
    query = socket.query_params
    served, model = judging.models.ready(name)
    pcm = pcm_from(query.get("rate"), query.get("channels"), query.get("format"))
    scorer = served.scorer(_hop(query.get("hop"), model))
    own = _Stream(socket, judging, served.name, pcm, scorer.stream(served.name), model)
    await socket.accept()
    judging.metrics.streams.inc()
    try:
        await own.say({"type": "ready", "model": name, "clip_seconds": scorer.seconds, "hop": scorer.hop})
        await own.run()
    finally:
        judging.metrics.streams.dec()


def _hop(text: str | None, model: asd.Model) -> float:
    if text is None:
        return min(1.0, model.calibration.clip_seconds)
    try:
        return float(text)
    except ValueError:
        raise RequestError(422, f"hop={text[:40]}: expected seconds from one clip to the next") from None


@dataclass
class _Stream:
    socket: WebSocket
    judging: Judging
    model_name: str
    pcm: Pcm
    sound: asd.LiveStream
    model: asd.Model
    clips: int = 0

    async def say(self, message: dict[str, Any]) -> None:
        await asyncio.wait_for(self.socket.send_text(msgspec.json.encode(message).decode()), _UNREAD)

    async def run(self) -> None:
        """Judge until the client ends it, goes away, or sends what is no sound."""
        code = 1000
        try:
            while await self._message():
                pass
            await self._judge(await asyncio.to_thread(self.sound.finish))
            await self.say({"type": "end", "clips": self.clips})
        except _Gone:
            return
        except RequestError as error:
            code = _TRY_LATER if error.status == 503 else _UNSUPPORTED
            await self._last(str(error))
        except AudioError as error:
            code = _UNSUPPORTED
            await self._last(str(error))
        except AsdError as error:
            code = 1011
            await self._last(str(error))
        except TimeoutError:
            code = _TRY_LATER  # it does not read: nothing can be said
        await self._close(code)

    async def _last(self, text: str) -> None:
        try:
            await self.say({"type": "error", "error": text})
        except (TimeoutError, RuntimeError):
            return

    async def _close(self, code: int) -> None:
        try:
            await asyncio.wait_for(self.socket.close(code), _UNREAD)
        except (TimeoutError, RuntimeError):
            return

    async def _message(self) -> bool:
        """Take in a message; return whether the stream goes on."""
        try:
            message = await asyncio.wait_for(self.socket.receive(), _SILENT)
        except TimeoutError:
            raise RequestError(408, f"no sound came for {_SILENT:g} s; connect again when there is some") from None
        if message["type"] == "websocket.disconnect":
            raise _Gone
        data = message.get("bytes")
        if data is None:
            return self._told(message.get("text") or "")
        if data:
            began = time.perf_counter()
            block = self._block(data)
            clips = await asyncio.to_thread(self.sound.push, block, self.pcm.rate)
            self.judging.metrics.sound.inc(len(block) / self.pcm.rate)
            await self._judge(clips, began)
        return True

    def _told(self, text: str) -> bool:
        try:
            if json.loads(text)["type"] == "end":
                return False
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise RequestError(422, f'received the text {text[:40]!r}; expected binary PCM, or {{"type": "end"}}')

    def _block(self, data: bytes) -> Float32:
        frame, pcm = self.pcm.frame, self.pcm
        if len(data) % frame:
            raise RequestError(
                422, f"a message of {len(data):,} bytes; expected a multiple of {frame}, a sample of {pcm.channels} "
                f"channel(s) in {pcm.format}"
            )  # fmt: skip
        if len(data) > _LONGEST_MESSAGE * frame * pcm.rate:
            raise RequestError(413, f"a message of more than {_LONGEST_MESSAGE:g} s of sound; send shorter ones")
        return samples_of(data, pcm)

    async def _judge(self, clips: list[asd.LiveClip], began: float | None = None) -> None:
        if not clips:
            return
        for live, result in zip(clips, await self.judging.batcher.judge_cut(self.model, clips), strict=True):
            self.judging.metrics.judged(self.model_name, result)
            self.clips += 1
            place = {"start": live.offset, "duration": live.seconds, "level": live.level}
            kind = "verdict" if isinstance(result, asd.Verdict) else "error"
            await self.say({"type": kind, **result.to_dict(), **place})


class _Gone(Exception):  # noqa: N818 - no error: the client has ended it
    """The client has gone away."""


def samples_of(data: bytes, pcm: Pcm) -> Float32:
    """Return raw PCM as float32 samples of shape (n, channels), full scale ±1."""
    if pcm.format == "s24le":
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        whole, scale, middle = wide.view("<i4")[:, 0], 2.0**31, 0.0
    else:
        kind, scale, middle = _AS_NUMPY[pcm.format]
        whole = np.frombuffer(data, kind)
    return np.asarray((whole - middle) / scale, np.float32).reshape(-1, pcm.channels)
