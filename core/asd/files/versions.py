"""Which version of a file elsewhere it is, by what its server says of it."""

from __future__ import annotations

import datetime
import email.utils
import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

_TELLING = (
    *("ETag", "etag", "e_tag", "generation", "md5Hash", "content_md5", "Content-MD5", "Digest", "checksum", "blob_id"),
    *("VersionId", "CRC", "date_time", "created", "last_commit", "xet_hash", "sha256", "uid", "ino"),
)
_TIMES = ("LastModified", "Last-Modified", "last_modified", "mtime", "updated", "modified")
_EXACT = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hf", "memory", "oss"})
"""Schemes whose tags differ whenever the content does; elsewhere they may be made of a time in whole seconds."""
_SETTLED = 3600.0
"""Seconds after which a change shows in a time in whole seconds, by a clock that may be wrong."""
_SETTLED_HERE = 2.0
"""The same of a file here."""


class Facts(NamedTuple):
    """What a server says of a file.

    Parameters
    ----------
    key : str
        Names this version at this address, as a digest.
    size : int or None
        In bytes; None: not said.
    version : str
        Changes whenever the file does; empty: nothing tells.
    modified : float or None
        When it was changed, in seconds since 1970.
    is_sure : bool
        Whether another content would surely have another `version`.
    in_parts : bool
        Whether the server may send a part of it.
    """

    key: str
    size: int | None
    version: str
    modified: float | None
    is_sure: bool
    in_parts: bool


def facts_from(url: str, scheme: str, info: Mapping[str, Any], archive: Facts | None) -> Facts:
    """Return the facts that fsspec's `info` gives; `archive`: those of the archive that it lies in, if any."""
    size = info.get("size")
    size = size if isinstance(size, int) else None
    telling = {name: str(info[name]) for name in (*_TELLING, *_TIMES) if info.get(name) not in (None, "", "null")}
    modified = next((found for name in _TIMES if (found := _seconds(info.get(name))) is not None), None)
    version = ""
    if archive.version if archive else telling:
        outer = archive.version if archive else ""
        version = hashlib.sha256(json.dumps([telling, size, outer]).encode()).hexdigest()
    is_old = modified is not None and time.time() - modified > _SETTLED
    return Facts(
        hashlib.sha256(f"{url}\0{version}".encode()).hexdigest(),
        size,
        version,
        modified,
        bool(version) and (archive.is_sure if archive else scheme in _EXACT or is_old),
        size is not None and info.get("partial", True) is not False,
    )


def local_facts(path: Path) -> Facts:
    """Return the facts of a file here; an OSError if it is not there."""
    status = path.stat()
    times = (status.st_mtime_ns, status.st_ctime_ns)
    version = json.dumps([status.st_dev, status.st_ino, status.st_size, *times])
    is_sure = abs(time.time() - max(times) / 1e9) > _SETTLED_HERE
    return Facts("", status.st_size, version, status.st_mtime, is_sure, True)


def _seconds(value: Any) -> float | None:
    try:
        if isinstance(value, datetime.datetime):
            return value.timestamp()
        if isinstance(value, str):
            try:
                return datetime.datetime.fromisoformat(value).timestamp()
            except ValueError:
                return email.utils.parsedate_to_datetime(value).timestamp()
        return float(value) if isinstance(value, int | float) else None
    except (ValueError, OverflowError, OSError, TypeError):
        return None
