"""What the OpenAPI description says of the paths that judge: bodies and answers, with examples."""

from __future__ import annotations

from typing import Any

_MODEL = {
    "name": "pump",
    "status": "ready",
    "digest": "3f0c…",
    "pipeline": "Pipeline: efficientat-mel → efficientat-mn04 → mean → knn.",
    "branches": ["timbre", "level"],
    "clip_seconds": 10.0,
    "states": [],
    "training_clips": 120,
    "promise": "about 1 false alarms an hour",
    "decision": {"level": 0.0027, "false_alarms_per_hour": 1.0, "reason": None},
}
_CLIP = {
    "clip": "today.wav",
    "score": 3.21,
    "p_value": 0.008,
    "anomalous": True,
    "peak_seconds": 4.0,
    "notes": [],
    "unusual_in": ["timbre"],
    "branches": [{"name": "timbre", "score": 3.21, "z": 4.4, "p_value": 0.008, "reasons": []}],
    "error": None,
    "start": 0.0,
    "duration": None,
}
_NUMBER: dict[str, Any] = {"type": ["number", "null"]}
_ROW: dict[str, Any] = {
    "type": "object",
    "properties": {
        "clip": {"type": "string", "description": "The recording's name, and the clip's place in it."},
        "score": {**_NUMBER, "description": "Higher is more anomalous; comparable within one model only."},
        "p_value": {**_NUMBER, "description": "About the chance that a healthy clip looks at least as unusual."},
        "anomalous": {"type": ["boolean", "null"]},
        "peak_seconds": {**_NUMBER, "description": "Where it sounds most unusual, in the recording."},
        "notes": {"type": "array", "items": {"type": "string"}},
        "unusual_in": {"type": "array", "items": {"type": "string"}},
        "branches": {"type": "array", "items": {"type": "object"}},
        "error": {"type": ["string", "null"], "description": "Why the clip was not judged."},
        "start": {"type": "number", "description": "Seconds from the recording's begin to the clip's."},
        "duration": {**_NUMBER, "description": "Seconds; null: to the end of the recording."},
    },
    "required": ["clip", "score", "p_value", "anomalous", "error"],
}


def _answer(schema: dict[str, Any], example: Any) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {"application/json": {"schema": schema, "example": example}}}}


MODELS = _answer(
    {"type": "object", "properties": {"models": {"type": "array", "items": {"type": "object"}}}}, {"models": [_MODEL]}
)
MODEL = _answer({"type": "object"}, _MODEL)
SCORE = _answer(
    {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "seconds": {"type": "number", "description": "Length of the recording."},
            "decision": {"type": "object"},
            "clips": {"type": "array", "items": _ROW},
            "explanation": {"type": "object"},
        },
        "required": ["model", "seconds", "clips"],
    },
    {"model": "pump", "seconds": 10.0, "decision": _MODEL["decision"], "clips": [_CLIP]},
)
METRICS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A recording of any format that asd reads; or PCM, with audio/pcm;rate=48000;channels=1;"
        "format=s16le (u8, s16le, s24le, s32le, f32le); or a form with the recording in file.",
        "content": {
            "audio/*": _BYTES,
            "application/octet-stream": _BYTES,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}},
                    "required": ["file"],
                }
            },
        },
    }
}
