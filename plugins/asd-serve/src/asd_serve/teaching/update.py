"""A machine's model learns what people said was normal: shown before it is done, done in a job, and taken back."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

import asd
from asd.errors import AsdError, DataError
from asd_listen import Kept, Reader, kept_of, read_settings, said_of
from asd_serve.errors import RequestError
from asd_serve.state import State
from asd_serve.teaching import options
from asd_serve.teaching.fitting import publish, safe_name
from asd_serve.teaching.jobs import Job
from asd_serve.teaching.teaching import Teaching

_log = logging.getLogger("asd")
_FEW_UNUSUAL = 0.1
"""Share of an alarm's clips that may be unusual, so that it counts as one that would not have been."""


@dataclass(frozen=True)
class Marked:
    """An alarm that was judged normal, whose sound was kept."""

    event: str
    time: float
    text: str
    sound: Path


@dataclass
class Taught:
    """A model that has learned, before anybody uses it."""

    old: asd.Model
    new: asd.Model
    how: str
    preview: dict[str, Any]

    def close(self) -> None:
        """Release both."""
        self.old.close()
        self.new.close()


def marked_of(reader: Reader, machine: str) -> list[Marked]:
    """Return the alarms of a machine that were judged normal, and whose sound is there, the oldest first."""
    rows = [row for row in reader.rows("events", machine) if row["kind"] in ("alarm", "unlike", "drift")]
    found = []
    for start in range(0, len(rows), 500):
        part = rows[start : start + 500]
        said = said_of(reader, [row["id"] for row in part])
        for row in part:
            kept: Kept | None = kept_of(reader, row["id"]) if said[row["id"]].judgement == "normal" else None
            path = kept.path() if kept is not None else None
            if path is not None:
                found.append(Marked(row["id"], row["time"], row["text"], path))
    return found


def model_file(state: State, machine: str) -> Path:
    """Return the file of the model by which a machine is listened to here.

    Raises
    ------
    RequestError
        If it is not listened to in this server.
    """
    if state.listen is None or state.plant is None or state.plant.settings is None:
        raise RequestError(
            409, "no listener runs in this server: 'asd update' and 'asd recalibrate' teach models elsewhere"
        )
    settings = state.plant.settings
    for source in settings.source:
        if source.name == machine:
            return Path(source.model or settings.model)
    raise RequestError(409, f"{machine!r} is not listened to at present: the settings have no such source")


def taught(model: Path, marked: Sequence[Marked], state: State, folder: Path) -> Taught:
    """Return a model that has learned from alarms that were normal, with what changes.

    It is fitted again on all clips if those from which it learned are at hand; otherwise its detectors stay, and the
    marked clips calibrate it along with the former ones.

    Raises
    ------
    AsdError
        If there is too little, or the model cannot learn from it.
    """
    old = asd.load(model)
    try:
        clips = _cut(marked, old.calibration.clip_seconds, folder)
        if not clips:
            raise DataError(f"the marked sound is shorter than a clip of {old.calibration.clip_seconds:.3g} s")
        files = [path for paths in clips.values() for path in paths]
        try:
            new, how = asd.update(old, files), "It learned from them"
        except DataError as error:
            _log.info("not fitted again: %s", error)
            new, how = asd.recalibrate(old, files, keep=True), "They calibrate it along with those from before"
        return Taught(old, new, how, _preview(old, new, marked, clips, how))
    except BaseException:
        old.close()
        raise


def _cut(marked: Sequence[Marked], seconds: float, folder: Path) -> dict[str, list[Path]]:
    """Write the marked sound as clips of a length, and return the files by event."""
    found: dict[str, list[Path]] = {}
    for each in marked:
        samples, rate = soundfile.read(each.sound, dtype="float32", always_2d=True)
        length = round(seconds * rate)
        for start in range(0, len(samples) - length + 1, length):
            path = folder / f"{each.event}-{start // length:03d}.wav"
            soundfile.write(path, samples[start : start + length], rate, subtype="FLOAT")
            found.setdefault(each.event, []).append(path)
    return found


def _preview(
    old: asd.Model, new: asd.Model, marked: Sequence[Marked], clips: Mapping[str, list[Path]], how: str
) -> dict[str, Any]:
    comparison = asd.diff(old, new)
    unusual = {event: [_unusual(model, paths) for model in (old, new)] for event, paths in clips.items()}
    count = sum(len(paths) for paths in clips.values())
    before, after = (sum(each[side] for each in unusual.values()) for side in (0, 1))
    spared = [
        {"id": each.event, "time": each.time, "text": each.text}
        for each in marked
        if each.event in unusual
        and unusual[each.event][0] > _FEW_UNUSUAL * len(clips[each.event])
        and unusual[each.event][1] <= _FEW_UNUSUAL * len(clips[each.event])
    ]
    text = (
        f"{count} clip{'s' * (count != 1)} of {len(clips)} alarm{'s' * (len(clips) != 1)} that were normal. {how}: of "
        f"these it finds {after} unusual, {before} before. The machine's monitor begins anew with the new model"
    )
    return {
        "clips": count,
        "before": _side(comparison.old, old, before),
        "after": _side(comparison.new, new, after),
        "alarms_not_raised": spared,
        "text": f"{text}; all of it can be undone.",
    }


def _unusual(model: asd.Model, paths: Sequence[Path]) -> int:
    return sum(isinstance(each, asd.Verdict) and each.anomalous for each in asd.score(model, list(paths), cache=False))


def _side(side: Any, model: asd.Model, unusual: int) -> dict[str, Any]:
    return {
        "training_clips": side.clips,
        "calibration_clips": side.calibrating,
        "level": round(side.level, 4),
        "median_score": round(float(np.median(model.calibration.scores)), 4),
        "promise": f"about {side.false_alarms_per_hour:.3g} false alarms an hour"
        + ("" if side.promise == "calibrated" else "; a guess"),
        "anomalous_clips": unusual,
    }


@contextlib.contextmanager
def workplace(state: State) -> Iterator[Path]:
    """Give a folder that is deleted after the block."""
    state.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".teaching-", dir=state.folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def teach(teaching: Teaching, job: Job, machine: str, marked: Sequence[Marked]) -> dict[str, Any]:
    """Teach the model of a machine, let the listener use it, and note how that is taken back.

    Raises
    ------
    AsdError
        If it cannot be done; the machine then goes on with its model.
    """
    state = teaching.state
    old_path = model_file(state, machine)
    with workplace(state) as folder:
        job.say("learning")
        found = taught(old_path, marked, state, folder)
        try:
            teaching.models.mkdir(parents=True, exist_ok=True)
            name, path = _free_name(teaching, old_path)
            part = folder / "model.asd"
            found.new.save(part)
            job.check()
            publish(part, path)
        finally:
            found.close()
    try:
        job.say("the listener begins with it")
        teaching.serve(name, path)
        _use(state, machine, path)
    except AsdError:
        teaching.forget(name)
        path.unlink(missing_ok=True)
        raise
    entry = {"machine": machine, "old": str(old_path), "new": str(path), "name": name, "by": job.by, "at": time.time()}
    teaching.updates.add({**entry, "events": [each.event for each in marked]})
    text = f"{machine} is judged by {name} from now on; it learned from {found.preview['clips']} clips"
    return {"model": name, "preview": found.preview, "text": text}


def take_back(teaching: Teaching, machine: str) -> str:
    """Let a machine be judged by the model from before the last teaching; the one that learned stays as a file.

    Raises
    ------
    RequestError
        409 if nothing was taught, or the model from before is gone.
    """
    entries = teaching.updates.of(machine)
    if not entries:
        raise RequestError(409, f"nothing was taught to the model of {machine!r} from here; nothing to take back")
    entry = entries[-1]
    old, present = Path(entry["old"]), model_file(teaching.state, machine)
    if not old.is_file():
        raise RequestError(409, f"{old}: the model from before is gone; name another one in the settings")
    if str(present) != entry["new"]:
        raise RequestError(
            409,
            f"{machine!r} is judged by {present.name} by now, not by {Path(entry['new']).name}: change the settings",
        )
    _use(teaching.state, machine, old)
    teaching.updates.drop(entry)
    return f"{machine} is judged by {old.stem} again, with its monitor from then."


def _use(state: State, machine: str, path: Path) -> None:
    """Let the settings name another model for a machine, and the listener go on with it."""
    assert state.listen is not None
    before = state.listen.read_text(encoding="utf-8-sig")
    options.write(state.listen, options.with_model(before, machine, str(path)))
    try:
        state.plant.restart(read_settings(state.listen))
    except AsdError:
        options.write(state.listen, before)
        raise


def _free_name(teaching: Teaching, old: Path) -> tuple[str, Path]:
    """Return the name and the file of the next model after one: of ``pump.asd`` that is ``pump 2``."""
    stem, _, number = old.stem.rpartition(" ")
    base, count = (stem, int(number)) if stem and number.isdigit() else (old.stem, 1)
    while True:
        count += 1
        name = f"{base} {count}"
        with contextlib.suppress(RequestError):
            teaching.reserve(safe_name(name))
            teaching.release(name)
            return name, teaching.models / f"{name}.asd"
