"""What goes to a server and what comes back: clips as bodies of requests, rows of JSON as verdicts."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from asd.detection.features import Failure
from asd.detection.verdict import BranchVerdict, Verdict
from asd.errors import AudioError, ServerError
from asd.records import Clip
from asd.sound.memory import held
from asd.sound.reading import ClipReader

WAV, ANY = "audio/wav", "application/octet-stream"


def body_of(clip: Clip) -> tuple[str, bytes | None]:
    """Return the type of what is sent of a clip, and its bytes; None: its file, as it is.

    Raises
    ------
    AudioError
        If it is a part of a file that cannot be read.
    """
    if held(clip.path) is None and not clip.start and clip.duration is None:
        return ANY, None
    import soundfile

    reader = ClipReader(clip)
    frames = np.concatenate(list(reader.frames()))
    content = io.BytesIO()
    soundfile.write(content, frames, reader.file_rate, format="WAV", subtype="FLOAT")
    return WAV, content.getvalue()


def opened(clip: Clip) -> BinaryIO:
    """Return the file of a clip, open.

    Raises
    ------
    AudioError
        If it cannot be read.
    """
    try:
        return clip.path.open("rb")
    except OSError as error:
        raise AudioError(f"{clip}: cannot be read ({error.strerror or error})") from error


def verdict_of(row: Any, sent: Clip) -> Verdict | Failure:
    """Return a row of a server's answer as what the model would have said here.

    Parameters
    ----------
    row : mapping
        ``Verdict.to_dict()`` or ``Failure.to_dict()``, with ``start`` and ``duration`` of the clip within what was sent
        and, if they were asked for, ``window_start`` and ``window_scores``.
    sent : Clip
        What was sent.

    Raises
    ------
    ServerError
        If it is no such row.
    """
    try:
        clip = _placed(row, sent)
        if row["error"] is not None:
            return Failure(clip, AudioError(f"{clip}: {str(row['error']).removeprefix(str(row['clip']) + ': ')}"))
        scores, starts = _windows(row, sent.start)
        return Verdict(
            clip=clip,
            score=float(row["score"]),
            p_value=float(row["p_value"]),
            anomalous=bool(row["anomalous"]),
            window_scores=scores,
            window_start=starts,
            notes=tuple(map(str, row["notes"])),
            branches=tuple(map(_branch, row["branches"])),
            unusual=tuple(map(str, row["unusual_in"])),
            state=row.get("state"),
            state_p_value=row.get("state_p_value"),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ServerError(
            f"the server's answer about {sent} is no verdict ({type(error).__name__}: {error}); is it an 'asd serve' "
            "of this version?"
        ) from error


def _placed(row: Mapping[str, Any], sent: Clip) -> Clip:
    """Return the clip that a row is about; the server knows where it lies within what was sent."""
    start, duration = float(row.get("start") or 0.0), row.get("duration")
    if duration is None and not start:
        return sent
    return Clip(sent.path, sent.start + start, None if duration is None else float(duration), sent.group)


def _windows(row: Mapping[str, Any], begun: float) -> tuple[Any, Any]:
    """Return scores and starts of the windows; of a server that does not give them, of the most unusual one alone.

    Starts are counted from where the recording begins; what was sent began there after `begun` seconds.
    """
    scores, starts = row.get("window_scores"), row.get("window_start")
    if scores is None or starts is None or len(scores) != len(starts) or not len(scores):
        scores, starts = [row["score"]], [row["peak_seconds"]]
    return np.asarray(scores, np.float64), np.asarray(starts, np.float64) + begun


def _branch(row: Mapping[str, Any]) -> BranchVerdict:
    reasons = tuple((str(each["text"]), float(each["contribution"])) for each in row["reasons"])
    return BranchVerdict(str(row["name"]), float(row["score"]), float(row["z"]), float(row["p_value"]), reasons)
