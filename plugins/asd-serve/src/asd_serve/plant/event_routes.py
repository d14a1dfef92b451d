"""Paths of events: what happened, the sound that was kept of it, why, and what to compare it with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from asd_listen import Kept, Reader, event_page, event_with_id, healthy_clips, kept_of, said_of
from asd_serve.access import Looking
from asd_serve.plant import examples
from asd_serve.plant.answers import answer, content, recording, refused
from asd_serve.plant.asking import Moment, Planted, asked, known
from asd_serve.plant.nearest import Nearest, nearest
from asd_serve.plant.plant import Plant

router = APIRouter(prefix="/api/events", tags=["events"])
_FAR = 1e12


@router.get("", responses=examples.EVENTS, response_class=Response)
async def events(
    request: Request,
    plant: Planted,
    _: Looking,
    machine: str | None = None,
    kind: Annotated[list[str] | None, Query(max_length=20, description="Such as alarm; may be repeated.")] = None,
    severity: Annotated[Literal["info", "warning", "alarm"], Query(description="The least severity.")] = "info",
    since: Moment = None,
    until: Moment = None,
    before: Annotated[str | None, Query(max_length=80, description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    """Return events, the newest first, and the cursor of the next page."""

    def question(reader: Reader) -> dict[str, Any]:
        if machine is not None:
            known(reader, machine)
        rows, following = event_page(
            reader,
            machine=machine,
            kinds=kind or (),
            severity=severity,
            since=since or 0.0,
            until=_FAR if until is None else until,
            before=before,
            limit=limit,
        )
        return {"events": rows, "next": following}

    return answer(request, await asked(plant, question))


@router.get("/{event}", responses=examples.EVENT, response_class=Response)
async def one_event(request: Request, plant: Planted, _: Looking, event: str) -> Response:
    """Return an event with its explanation, what was kept of it, and what people said."""

    def question(reader: Reader) -> tuple[dict[str, Any], Kept | None, list[Kept]]:
        row = _event(reader, event)
        said = said_of(reader, [event])[event]
        facts = {**row, "notes": said.notes, "judgements": said.judgements}
        return facts, kept_of(reader, event), _healthy(reader, row)

    facts, kept, healthy = await asked(plant, question)
    found = await plant.drawn(_nearest_of, facts, kept, healthy)
    path = kept.path() if kept is not None else None
    return answer(
        request,
        {
            **facts,
            "explanation": _explanation(kept),
            "sound": _sound(kept, facts["time"]) if path is not None else None,
            "sound_missing": None if path is not None else _why_no_sound(facts, kept),
            "picture": path is not None,
            "nearest": None if found is None else found.to_dict(),
        },
    )


@router.get("/{event}/audio", responses=examples.AUDIO, response_class=Response)
async def audio(request: Request, plant: Planted, _: Looking, event: str) -> Response:
    """Return the sound before and after an alarm (FLAC); takes ``Range``."""
    facts, _kept, path = await _recording(plant, event)
    return recording(request, path, f"{facts['kind']}-{facts['id']}.flac")


@router.get("/{event}/picture", responses=examples.PICTURE, response_class=Response)
async def picture(request: Request, plant: Planted, _: Looking, event: str) -> Response:
    """Return the spectrogram of that sound (PNG), with the places that the explanation names."""
    from asd_serve.plant.pictures import picture_of

    _facts, kept, path = await _recording(plant, event)
    return content(request, await plant.drawn(picture_of, kept, path), "image/png")


@router.get("/{event}/nearest/audio", responses=examples.AUDIO, response_class=Response)
async def nearest_audio(request: Request, plant: Planted, _: Looking, event: str) -> Response:
    """Return the healthy clip to compare with (FLAC); takes ``Range``."""
    found, path, _beside = await _compared(plant, event)
    return recording(request, path, f"healthy-{found.clip.began:.0f}.flac")


@router.get("/{event}/nearest/picture", responses=examples.PICTURE, response_class=Response)
async def nearest_picture(request: Request, plant: Planted, _: Looking, event: str) -> Response:
    """Return the spectrogram of that healthy clip (PNG), with the colours of the alarm's."""
    from asd_serve.plant.pictures import healthy_picture

    _found, path, beside = await _compared(plant, event)
    return content(request, await plant.drawn(healthy_picture, path, beside), "image/png")


def _event(reader: Reader, event: str) -> dict[str, Any]:
    row = event_with_id(reader, event)
    if row is None:
        raise refused(404, f"no event {event[:80]!r}; GET /api/events lists those that there are")
    return row


def _healthy(reader: Reader, row: dict[str, Any]) -> list[Kept]:
    """Return the healthy clips of an event's machine; of no machine there are none."""
    return healthy_clips(reader, row["machine"]) if row["machine"] and row["kind"] == "alarm" else []


def _nearest_of(facts: dict[str, Any], kept: Kept | None, healthy: list[Kept]) -> Nearest | None:
    return nearest(kept, facts["time"], healthy)


async def _recording(plant: Plant, event: str) -> tuple[dict[str, Any], Kept, Path]:
    facts, kept = await asked(plant, lambda reader: (_event(reader, event), kept_of(reader, event)))
    path = kept.path() if kept is not None else None
    if kept is None or path is None:
        raise refused(404 if kept is None else 410, _why_no_sound(facts, kept))
    return facts, kept, path


async def _compared(plant: Plant, event: str) -> tuple[Nearest, Path, Path | None]:
    """Return the nearest healthy clip, its file, and that of the alarm."""

    def question(reader: Reader) -> tuple[dict[str, Any], Kept | None, list[Kept]]:
        row = _event(reader, event)
        return row, kept_of(reader, event), _healthy(reader, row)

    facts, kept, healthy = await asked(plant, question)
    found = await plant.drawn(_nearest_of, facts, kept, healthy)
    path = found.clip.path() if found is not None else None
    if found is None or path is None:
        raise refused(
            404, "no healthy clip of this machine is kept; [evidence] healthy_per_day says how many are, and keep_days"
        )
    return found, path, kept.path() if kept is not None else None


def _explanation(kept: Kept | None) -> dict[str, Any] | None:
    known_of_it = kept.explanation if kept is not None else {}
    if kept is None or not known_of_it:
        return None
    if "failed" in known_of_it:
        return {"text": f"no explanation: {known_of_it['failed']}", "sentences": [], "findings": []}
    inside = f"{(kept.folder / kept.file).parent}/"  # where files lie is nobody's business
    sentences = [str(each).replace(inside, "") for each in known_of_it.get("sentences", ())]
    return {
        "text": known_of_it.get("text", ""),
        "sentences": sentences,
        "findings": known_of_it.get("findings", []),
    }


def _sound(kept: Kept | None, moment: float) -> dict[str, Any] | None:
    """Return how long the sound is, and after how many seconds of it the alarm was raised."""
    if kept is None:
        return None
    return {"seconds": kept.seconds, "before": min(max(0.0, moment - kept.began), kept.seconds), "began": kept.began}


def _why_no_sound(facts: dict[str, Any], kept: Kept | None) -> str:
    if kept is not None and kept.deleted is not None:
        when = datetime.fromtimestamp(kept.deleted, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"the sound of this event was deleted on {when}: {kept.reason or 'nobody knows why'}"
    if kept is not None:
        return "the sound of this event was kept, and its file is gone: deleted or moved by somebody, or a link"
    if facts["kind"] != "alarm":
        return f"sound is kept of alarms only, and this is an event of the kind {facts['kind']!r}"
    return "no sound was kept of this alarm: [evidence] before and after say how many seconds are, or the disk was full"
