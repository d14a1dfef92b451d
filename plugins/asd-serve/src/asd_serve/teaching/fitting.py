"""A model learns from a recording, in a job, and is served under a name of its own."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any

import asd
from asd.errors import AsdError
from asd_serve.errors import RequestError
from asd_serve.teaching.jobs import Job
from asd_serve.teaching.recording import Recording
from asd_serve.teaching.teaching import Teaching

_NAME = re.compile(r"[^\W_][\w .+-]{0,58}[\w+-]|[^\W_]")


def safe_name(text: str) -> str:
    """Return a name that a file may have on every system.

    Raises
    ------
    RequestError
        If it is none.
    """
    name = " ".join(text.split())
    if not _NAME.fullmatch(name) or ".." in name:
        raise RequestError(
            422,
            "name: expected up to 60 letters, digits, spaces and - + . _, the first a letter or digit, got "
            f"{text[:60]!r}",
        )
    return name


def fit(teaching: Teaching, job: Job, recording: Recording, name: str, quality: Any) -> dict[str, Any]:
    """Learn from a recording, save the model under a new name, and serve it.

    Raises
    ------
    AsdError
        If the recording does not allow a model, or it cannot be saved; nothing is left then.
    """
    path = teaching.models / f"{name}.asd"
    part = teaching.models / f".{name}.{job.id}.asd"
    try:
        with teaching.using(recording.id):
            job.say("learning")
            teaching.models.mkdir(parents=True, exist_ok=True)
            with asd.fit(recording.folder, quality=quality, cache=False) as model:
                job.check()
                model.save(part)
                sentences = _sentences(model)
                clips = model.clips
        publish(part, path)
        try:
            teaching.serve(name, path)
        except AsdError:
            path.unlink(missing_ok=True)
            raise
    except OSError as error:
        text = f"{path.name}: cannot be saved ({error.strerror}); free some space in the server's folder"
        raise AsdError(text) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return {
        "model": name,
        "clips": clips,
        "promise": sentences[0],
        "sentences": sentences,
        "text": f"{name} has learned from {clips} clips, and is served",
    }


def publish(part: Path, path: Path) -> None:
    """Give a file its name, if no other file has it.

    Raises
    ------
    AsdError
        If one has.
    """
    try:
        os.link(part, path)
    except FileExistsError as error:
        raise AsdError(f"{path.name}: a model of this name is there already; choose another name") from error
    part.unlink()


def _sentences(model: asd.Model) -> list[str]:
    decision, calibration = model.decision, model.calibration
    found = [f"About {decision.false_alarms_per_hour:.3g} false alarms an hour, clip by clip"]
    if decision.reason:
        found[0] += f"; a guess: {decision.reason}"
    found.append(f"{len(calibration.scores)} clips of {calibration.clip_seconds:.3g} s calibrate it")
    found += [note.text(model.clips) for note in model.notes]
    return found
