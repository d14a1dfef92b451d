"""Serve the page: one document that is asked for again each time, and files that never change under their address.

The address of every file but the document holds a digest of all of them, so that a browser may keep them for good, and
never mixes files of two versions. All addresses in the page are relative: it works under any path of a proxy.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

router = APIRouter(include_in_schema=False)

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""What is served, by suffix; other files of this folder are not."""
_DOCUMENT = "index.html"
_PLACE = b"{files}"
"""What stands in the document for the folder of the other files."""
_FOR_GOOD = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"


@dataclass(frozen=True)
class File:
    """A file as it is sent.

    Parameters
    ----------
    type : str
        Its media type.
    body : bytes
        What it holds.
    packed : bytes
        The same, compressed by gzip.
    tag : str
        Its entity tag.
    """

    type: str
    body: bytes
    packed: bytes
    tag: str


@cache
def version() -> str:
    """Return the digest of all files, which their addresses hold."""
    digest = hashlib.sha256()
    for name, path in _paths():
        digest.update(f"{name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def files() -> dict[str, File]:
    """Return all files by their name, such as ``"views/overview.js"``; each is read and compressed once."""
    return {name: _read(path) for name, path in _paths()}


@router.api_route("/", methods=["GET", "HEAD"])
def document(request: Request) -> Response:
    """Send the document."""
    return _send(files()[_DOCUMENT], request, _ASK_AGAIN)


@router.api_route("/page/{digest}/{name:path}", methods=["GET", "HEAD"])
def file(digest: str, name: str, request: Request) -> Response:
    """Send a file; the name is looked up among those known, and opens nothing."""
    found = files().get(name)
    if found is None or name == _DOCUMENT or digest != version():
        raise HTTPException(404, f"no file {name!r} in this version of the page; load the page again")
    return _send(found, request, _FOR_GOOD)


def _paths() -> Iterator[tuple[str, Path]]:
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*")):
        if path.suffix in _TYPES and path.is_file():
            yield path.relative_to(folder).as_posix(), path


def _read(path: Path) -> File:
    body = path.read_bytes()
    if path.name == _DOCUMENT:
        body = body.replace(_PLACE, f"page/{version()}".encode())
    packed = gzip.compress(body, compresslevel=9, mtime=0)
    return File(_TYPES[path.suffix], body, packed, f'"{hashlib.sha256(body).hexdigest()[:16]}"')


def _send(found: File, request: Request, keep: str) -> Response:
    headers = {"Cache-Control": keep, "ETag": found.tag, "Vary": "Accept-Encoding"}
    if found.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(found.packed, media_type=found.type, headers=headers)
    return Response(found.body, media_type=found.type, headers=headers)
