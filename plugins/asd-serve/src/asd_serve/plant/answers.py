"""Answers as JSON and as files, which a browser that has them already need not load again."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec
from fastapi import HTTPException, Request, Response
from fastapi.responses import FileResponse

_KEPT = {"Cache-Control": "private, no-cache"}
"""A browser keeps the answer, and asks each time whether it still holds."""
_PART = re.compile(r"bytes=(\d{1,18})-(\d{0,18})|bytes=-\d{1,18}")


def answer(request: Request, data: Any) -> Response:
    """Return data as JSON, or 304 for a caller that has just that."""
    return content(request, msgspec.json.encode(data), "application/json")


def content(request: Request, body: bytes, media_type: str) -> Response:
    """Return bytes, or 304 for a caller that has just those."""
    tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    if _has(request, tag):
        return Response(status_code=304, headers={**_KEPT, "ETag": tag})
    return Response(body, media_type=media_type, headers={**_KEPT, "ETag": tag})


def recording(request: Request, path: Path, name: str) -> Response:
    """Return a file of sound, or the part of it for which ``Range`` asks."""
    status = path.stat()
    tag = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    if _has(request, tag):
        return Response(status_code=304, headers={**_KEPT, "ETag": tag})
    if not _is_one_part(
        request.headers.get("range", "")
    ):  # one may leave such a header out of account (RFC 9110, 14.2)
        request.scope["headers"] = [each for each in request.scope["headers"] if each[0] != b"range"]
    headers = {**_KEPT, "ETag": tag, "Content-Disposition": f'inline; filename="{name}"'}
    return FileResponse(path, media_type="audio/flac", headers=headers, stat_result=status)


def _is_one_part(asked: str) -> bool:
    part = _PART.fullmatch(asked)
    return part is not None and not (part[1] and part[2] and int(part[1]) > int(part[2]))


def refused(status: int, text: str) -> HTTPException:
    """Return an error with one line for people."""
    return HTTPException(status, text)


def _has(request: Request, tag: str) -> bool:
    given = request.headers.get("if-none-match", "")
    return given == "*" or tag in [each.strip().removeprefix("W/") for each in given.split(",")]
