"""A server that speaks what gcsfs, adlfs and huggingface_hub ask for, as far as reading and writing recordings needs.

One set of files is seen by all three: as a bucket of Google Cloud Storage, as a container of Azure, as a dataset of the
hub. Lists come in pages, as those of the clouds do.
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from elsewhere import OLD, serving

NAME = "plant"
"""The bucket, and the container."""
REPOSITORY = "me/plant"
ACCOUNT, KEY, TOKEN = "asdtests", "c2VjcmV0LW9mLXRlc3Rz", "hf_tests"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
_PAGE = 5
_WHEN = email.utils.formatdate(OLD, usegmt=True)
_STAMP = "2026-09-21T00:00:00.000Z"


@dataclass
class Cloud:
    """The server.

    `files` holds content by name; `is_private`: whether the bucket and the dataset ask who it is (the container always
    does); `status`: what paths, by a text in them, are answered with instead; `requests`: what came.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    is_private: bool = False
    status: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def got(self, method: str, part: str = "") -> int:
        """Return how many requests of a method came, whose path has a text."""
        return sum(line.startswith(f"{method} ") and part in line for line in self.requests)

    @property
    def connection(self) -> str:
        """What AZURE_STORAGE_CONNECTION_STRING says of it."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={self.url}/{ACCOUNT};"
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud: Cloud

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        cloud, parts = self.cloud, urlsplit(self.path)
        self.path_asked, self.query = unquote(parts.path), dict(parse_qsl(parts.query, keep_blank_values=True))
        cloud.requests.append(f"{self.command} {self.path}")
        self.body = self._received()
        for part, status in cloud.status.items():
            if part in self.path_asked:
                return self._send(status, b'{"error": {"message": "no"}}')
        place = self.path_asked
        if place == "/token":  # of Google: what a service account signed, for a token
            claims = dict(parse_qsl(self.body.decode()))["assertion"].split(".")[1]
            name = json.loads(base64.urlsafe_b64decode(claims + "=="))["iss"]
            token = TOKEN if name == "tests@asd" else "other"
            return self._json({"access_token": token, "expires_in": 3600, "token_type": "Bearer"})
        if "/storage/v1/" in place:
            return self._google(place)
        if place.startswith(f"/{ACCOUNT}/"):
            return self._azure(place.removeprefix(f"/{ACCOUNT}/"))
        return self._hub(place)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815  # names that http.server asks for

    def _received(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    # Google Cloud Storage: the JSON API

    def _google(self, place: str) -> None:
        cloud = self.cloud
        _, _, rest = place.partition("/storage/v1/b/")
        bucket, _, name = rest.partition("/o/")
        bucket = bucket.removesuffix("/o")
        if bucket != NAME:
            return self._json({"error": {"code": 404, "message": "The specified bucket does not exist."}}, 404)
        given = self.headers.get("Authorization")
        if cloud.is_private and given != f"Bearer {TOKEN}":
            text = "Anonymous caller does not have storage.objects.list access" if given is None else "not allowed"
            return self._json({"error": {"code": 401, "message": text}}, 401 if given is None else 403)
        if self.command == "POST":
            name = json.loads(re.search(rb"\{.*?\}", self.body, re.DOTALL)[0])["name"]  # type: ignore[index]
            boundary = self.body.split(maxsplit=1)[0]
            second = self.body.split(boundary)[2]
            cloud.files[name] = re.split(rb"\r?\n\r?\n", second, maxsplit=1)[1].removesuffix(b"\n").removesuffix(b"\r")
            return self._json(_google_object(name, cloud.files[name]))
        if rest.endswith("/o"):
            names, folders, following = self._listed(self.query.get("pageToken", ""))
            found: dict[str, Any] = {
                "kind": "storage#objects",
                "items": [_google_object(each, cloud.files[each]) for each in names],
            }
            if folders:
                found["prefixes"] = folders
            if following:
                found["nextPageToken"] = following
            return self._json(found)
        if not name:
            return self._json({"kind": "storage#bucket", "name": NAME, "id": NAME})
        if name not in cloud.files:
            return self._json({"error": {"code": 404, "message": f"No such object: {NAME}/{name}"}}, 404)
        if self.command == "DELETE":
            del cloud.files[name]
            return self._send(204)
        if self.query.get("alt") == "media":
            return self._content(cloud.files[name])
        return self._json(_google_object(name, cloud.files[name]))

    # Azure: Blob Storage, XML

    def _azure(self, place: str) -> None:
        cloud = self.cloud
        if not (self.headers.get("Authorization") or "").startswith(f"SharedKey {ACCOUNT}:"):
            return self._azure_error(403, "AuthenticationFailed")
        container, _, name = place.partition("/")
        if container != NAME:
            return self._azure_error(404, "ContainerNotFound")
        if self.query.get("comp") == "list":
            names, folders, following = self._listed(self.query.get("marker", ""))
            blobs = "".join(_azure_blob(each, cloud.files[each]) for each in names)
            blobs += "".join(f"<BlobPrefix><Name>{escape(each)}</Name></BlobPrefix>" for each in folders)
            text = (
                f'<?xml version="1.0" encoding="utf-8"?><EnumerationResults ContainerName="{NAME}">'
                f"<Prefix>{escape(self.query.get('prefix', ''))}</Prefix><Blobs>{blobs}</Blobs>"
                f"<NextMarker>{escape(following)}</NextMarker></EnumerationResults>"
            )
            return self._send(200, text.encode(), {"Content-Type": "application/xml"})
        if self.query.get("restype") == "container":
            return self._send(200, b"", {"ETag": '"0x1"', "Last-Modified": _WHEN})
        if self.command == "PUT":
            cloud.files[name] = self.body
            return self._send(201, b"", {"ETag": _tag(self.body), "Last-Modified": _WHEN})
        if name not in cloud.files:
            return self._azure_error(404, "BlobNotFound")
        if self.command == "DELETE":
            del cloud.files[name]
            return self._send(202)
        return self._content(cloud.files[name], self.headers.get("x-ms-range"))

    def _azure_error(self, status: int, code: str) -> None:
        text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>no</Message></Error>'
        self._send(status, text.encode(), {"x-ms-error-code": code, "Content-Type": "application/xml"})

    # The hub

    def _hub(self, place: str) -> None:
        cloud = self.cloud
        place = place.removeprefix("/api").removeprefix("/datasets/")
        given = self.headers.get("Authorization")
        if given not in (None, f"Bearer {TOKEN}"):
            return self._send(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
        if not f"{place}/".startswith(f"{REPOSITORY}/") or (cloud.is_private and given is None):
            return self._send(401, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        what, _, rest = place.removeprefix(REPOSITORY).lstrip("/").partition("/")
        revision, _, name = rest.partition("/")
        if what == "auth-check":
            return self._json({}, 403 if given is None else 200)
        if revision not in ("", "main", COMMIT):
            return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if what == "tree":
            return self._hub_tree(f"{name}/" if name else "")
        if what == "paths-info":
            asked = [each for key, each in parse_qsl(self.body.decode()) if key == "paths"] or json.loads(self.body)[
                "paths"
            ]
            below = [each for each in asked if any(file.startswith(f"{each}/") for file in cloud.files)]
            found = [_hub_file(each, cloud.files[each]) for each in asked if each in cloud.files]
            return self._json([*found, *map(_hub_folder, below)])
        if what == "preupload":
            asked = [each["path"] for each in json.loads(self.body)["files"]]
            return self._json(
                {
                    "files": [
                        {"path": each, "uploadMode": "regular", "shouldIgnore": False, "oid": None} for each in asked
                    ]
                }
            )
        if what == "commit":
            for line in self.body.splitlines():
                each = json.loads(line)
                if each["key"] == "file":
                    cloud.files[each["value"]["path"]] = base64.b64decode(each["value"]["content"])
                elif each["key"] == "deletedFile":
                    del cloud.files[each["value"]["path"]]
            return self._json({"commitUrl": f"{cloud.url}/datasets/{REPOSITORY}/commit/{COMMIT}", "commitOid": COMMIT})
        if what == "resolve":
            if name not in cloud.files:
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return self._content(cloud.files[name], more={"X-Repo-Commit": COMMIT})
        return self._json({"id": REPOSITORY, "sha": COMMIT, "siblings": []})

    def _hub_tree(self, prefix: str) -> None:
        is_deep = self.query.get("recursive", "").lower() == "true"
        files = [each for each in sorted(self.cloud.files) if each.startswith(prefix)]
        if not files and prefix:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        folders = {
            "/".join(each.split("/")[:depth])
            for each in files
            for depth in range(prefix.count("/") + 1, each.count("/") + 1)
        }
        entries = [*map(_hub_folder, sorted(folders)), *(_hub_file(each, self.cloud.files[each]) for each in files)]
        if not is_deep:
            entries = [each for each in entries if "/" not in each["path"][len(prefix) :]]
        begin = int(self.query.get("cursor", 0))
        more = {}
        if begin + _PAGE < len(entries):
            own, _, query = self.path.partition("?")
            query = "&".join(each for each in query.split("&") if each and not each.startswith("cursor="))
            more["Link"] = f'<{self.cloud.url}{own}?{query}&cursor={begin + _PAGE}>; rel="next"'
        return self._json(entries[begin : begin + _PAGE], more=more)

    # All

    def _listed(self, after: str) -> tuple[list[str], list[str], str]:
        """Return a page of names and of folders below the asked one, and what to ask for the next."""
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        entries = set()
        for name in self.cloud.files:
            if name.startswith(prefix):
                head, mark, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name[len(prefix) :], "", "")
                entries.add(f"{prefix}{head}{mark}")
        page = [each for each in sorted(entries) if each > after][:_PAGE]
        following = page[-1] if page and page[-1] != max(entries) else ""
        folders = [each for each in page if delimiter and each.endswith(delimiter) and each not in self.cloud.files]
        return [each for each in page if each in self.cloud.files], folders, following

    def _content(self, body: bytes, wanted: str | None = None, more: dict[str, str] | None = None) -> None:
        wanted = wanted or self.headers.get("Range")
        headers = {"ETag": _tag(body), "Last-Modified": _WHEN, "x-ms-blob-type": "BlockBlob", **(more or {})}
        if not wanted:
            return self._send(200, body, headers)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last or len(body) - 1), len(body) - 1)
        if begin >= len(body):
            return self._send(416, b"", headers)
        headers["Content-Range"] = f"bytes {begin}-{end}/{len(body)}"
        return self._send(206, body[begin : end + 1], headers)

    def _json(self, value: Any, status: int = 200, more: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(more or {})})

    def _send(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _tag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def _google_object(name: str, body: bytes) -> dict[str, Any]:
    return {
        "kind": "storage#object",
        "name": name,
        "bucket": NAME,
        "size": str(len(body)),
        "etag": _tag(body),
        "generation": str(int(hashlib.md5(body).hexdigest()[:8], 16)),
        "updated": _STAMP,
        "timeCreated": _STAMP,
    }


def _azure_blob(name: str, body: bytes) -> str:
    return (
        f"<Blob><Name>{escape(name)}</Name><Properties><Last-Modified>{_WHEN}</Last-Modified><Etag>{_tag(body)}</Etag>"
        f"<Content-Length>{len(body)}</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>"
    )


def _hub_file(name: str, body: bytes) -> dict[str, Any]:
    digest = hashlib.sha1(body).hexdigest()
    commit = {"id": digest, "title": "add", "date": _STAMP}
    return {"type": "file", "path": name, "size": len(body), "oid": digest, "lastCommit": commit}


def _hub_folder(name: str) -> dict[str, Any]:
    return {"type": "directory", "path": name, "oid": COMMIT}


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Keep quiet where a client asked two things at once, and the first answer was enough."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*_)


@contextmanager
def cloud_server(**how: Any) -> Iterator[Cloud]:
    """Run the server."""
    cloud = Cloud(**how)
    with serving(type("Handler", (_Handler,), {"cloud": cloud}), _Server) as cloud.url:
        yield cloud
