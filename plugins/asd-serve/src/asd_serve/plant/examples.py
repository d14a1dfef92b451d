"""What the paths answer, as examples in the description of the interface."""

from __future__ import annotations

from typing import Any

_MOMENT = 1795752431.0
_EVENT = {
    "id": "fd5d0166e1274d44",
    "machine": "fan",
    "time": _MOMENT,
    "kind": "alarm",
    "severity": "alarm",
    "text": "fan: the sound has changed since 2026-11-27 05:07; evidence 7.6, alarm from 7.6",
    "data": {"evidence": 7.6, "threshold": 7.56, "since": _MOMENT, "phase": "alarm", "conditions": []},
    "acknowledged": None,
    "acknowledged_by": None,
    "judgement": None,
    "notes": 0,
}
_MACHINE = {
    "name": "fan",
    "phase": "alarm",
    "last_phase": "alarm",
    "evidence": 7.6,
    "threshold": 7.56,
    "since": _MOMENT,
    "seen": _MOMENT + 83,
    "last_alarm": {"id": _EVENT["id"], "time": _MOMENT, "text": _EVENT["text"], "acknowledged": None},
    "conditions": [{"name": "clipping", "began": _MOMENT - 60, "text": "the recording is clipped: turn the gain down"}],
    "model": "fan",
    "digest": "746e3163b07e",
    "level": -21.0,
    "listening": True,
}
_CLIP = {
    "machine": "fan",
    "time": _MOMENT,
    "clip": "fan",
    "score": 3.1,
    "p_value": 0.032,
    "anomalous": True,
    "state": None,
    "state_p_value": None,
    "watched_p_value": 0.01,
    "evidence": 7.6,
    "threshold": 7.56,
    "phase": "alarm",
}
_POINT = {
    "time": _MOMENT,
    "clips": 60,
    "anomalous": 2,
    "alarms": 0,
    "score": 1.2,
    "score_max": 3.1,
    "p_value_min": 0.032,
    "evidence": 1.4,
}


def _json(example: Any, what: str) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "object"}
    return {200: {"description": what, "content": {"application/json": {"schema": schema, "example": example}}}}


def _file(media_type: str, what: str) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "string", "format": "binary"}
    return {200: {"description": what, "content": {media_type: {"schema": schema}}}}


MACHINES = _json({"machines": [_MACHINE]}, "How each machine stands.")
MACHINE = _json(_MACHINE, "How it stands.")
SERIES = _json(
    {"points": [_POINT], "step": 600.0, "threshold": 7.56, "events": [_EVENT], "conditions": []},
    "Verdicts as points.",
)
LEVELS = _json(
    {
        **{"bands": [25.0, 31.5], "times": [_MOMENT], "step": 60.0, "levels": [[-41.2, -39.0]], "level": [-21.0]},
        "sampled": False,
    },
    "Levels in bands.",
)
CLIPS = _json({"clips": [_CLIP]}, "Verdicts, the newest first.")
EVENTS = _json({"events": [_EVENT], "next": "1795752431.0_4"}, "Events, the newest first.")
EVENT = _json(
    {
        **_EVENT,
        "notes": [{"id": 3, "time": _MOMENT + 600, "by": "Ann", "text": "bearing ordered"}],
        "judgements": [{"time": _MOMENT + 300, "by": "Ann", "judgement": "fault", "answer": "kept"}],
        "explanation": {
            "text": "12 dB louder at 3.5–3.9 kHz from 18.0 s to 19.0 s than any of 30 healthy clips",
            "sentences": ["1. 12 dB louder at 3.5–3.9 kHz from 18.0 s to 19.0 s than any of 30 healthy clips."],
            "findings": [{"start": 18.0, "end": 19.0, "low": 3476.6, "high": 3898.4, "direction": "louder"}],
        },
        "sound": {"seconds": 33.0, "before": 15.0, "began": _MOMENT - 15},
        "sound_missing": None,
        "picture": True,
        "nearest": {
            **{"time": _MOMENT - 3600, "seconds": 10.0, "distance": 0.4, "by": "levels"},
            "text": "of 12 healthy clips that were kept, the one most like it",
        },
    },
    "The event, and what belongs to it.",
)
AUDIO = {
    **_file("audio/flac", "The recording."),
    206: {"description": "The part for which Range asks."},
    410: {"description": "It was kept, and has been deleted."},
}
PICTURE = {**_file("image/png", "The spectrogram."), 410: {"description": "The sound was deleted."}}
