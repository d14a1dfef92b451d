"""The index of the models of many machines, ``machines.json``: what each learned from, and which file it is in."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from asd.detection.fleet_data import LONGEST_NAME
from asd.errors import ModelFileError

INDEX = "machines.json"
FORMAT = 1
SUFFIX = ".asd"
_LARGEST = 500_000_000
"""Bytes of an index: 100,000 machines take a fifth of it."""

_LONGEST_STEM = 60
_DIGEST = 8
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)
"""Names that Windows keeps for devices, with any suffix."""

Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
FileName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,150}\.asd\Z")]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Count = Annotated[int, Meta(ge=0, le=10**9)]
State = Literal["pending", "fitted", "failed"]


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What a model learned from.

    Parameters
    ----------
    when : str
        When it was fitted.
    configuration : str
        SHA-256 of the configuration.
    contents, stamps : str
        SHA-256 of the recordings' contents, and of what tells that their files have not changed, with the parts of them
        that are clips.
    clips, held_out, left_out : int
        Clips that it learned from, that calibrate it, and that could not be used.
    seconds : float
        Mean length of a clip.
    promise : {"calibrated", "guess"}
        As `asd.detection.calibration.Decision`, the next two also.
    false_alarms_per_hour, level : float
        Alarms that an hour of healthy sound may cause, and the p-value of an alarm.
    branches : int
        How many the pipeline has.
    states : bool
        Whether it knows operating states.
    remarks : list of str
        What the fit warned of.
    """

    when: str
    configuration: Sha256
    contents: Sha256
    stamps: Sha256
    clips: Count
    held_out: Count
    left_out: Count
    seconds: float
    promise: Literal["calibrated", "guess"]
    false_alarms_per_hour: float
    level: float
    branches: Count = 1
    states: bool = False
    remarks: list[str] = []


class Machine(msgspec.Struct, kw_only=True):
    """A machine in the index.

    Parameters
    ----------
    file : str
        The model's file in the folder.
    state : {"pending", "fitted", "failed"}
        How the last fit went; pending: it has not been, or was interrupted.
    error : str or None
        Why it failed.
    model : Learned or None
        Of the model that is there: after a fit that failed, the one before; None: there is none.
    """

    file: FileName
    state: State = "pending"
    error: str | None = None
    model: Learned | None = None


class Index(msgspec.Struct, kw_only=True):
    """What a folder of models holds.

    Parameters
    ----------
    format : int
        Version of the index.
    asd_framework : str
        Who wrote it.
    by : str
        What told the machines, as the user asked: the column of a manifest, or ``"folder"``.
    machines : dict of str to Machine
        By the machine's name.
    run : str
        Which run wrote it, by a number drawn at random; empty: into a folder of this computer, which has a lock.
    """

    format: int = FORMAT
    asd_framework: str = ""
    by: Name
    machines: dict[Name, Machine]
    run: str = ""


class _Format(msgspec.Struct):
    """What every version of the index says."""

    format: Annotated[int, Meta(ge=1)]


def is_folder_of_models(path: Path) -> bool:
    """Return whether there is an index."""
    return (path / INDEX).is_file()


def read_index(folder: Path) -> Index:
    """Return the index of a folder.

    Raises
    ------
    ModelFileError
        If there is none, it is damaged, or of a newer format.
    """
    path = folder / INDEX
    try:
        if path.stat().st_size > _LARGEST:
            raise ModelFileError(f"{path}: has {path.stat().st_size:,} bytes, an index has {_LARGEST:,} at most")
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelFileError(
            f"{folder}: this folder has no index of models ({INDEX}); name a model file before any recordings, or "
            f"make a folder of models with 'asd fit DATA --by COLUMN|folder -o {folder}'"
        ) from error
    except OSError as error:
        raise ModelFileError(f"{path}: this index cannot be read ({error.strerror})") from error
    try:
        if (written := msgspec.json.decode(text, type=_Format).format) != FORMAT:
            raise ModelFileError(
                f"{path}: written in format {written}, this asd reads {FORMAT}: pip install --upgrade asd-framework"
            )
        index = msgspec.json.decode(text, type=Index)
        _check_files(index)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        reason = str(error).replace("`", "")
        raise ModelFileError(
            f"{path}: is no index of models ({reason}); put back the one that belongs here, or fit into a new folder"
        ) from error
    return index


def _check_files(index: Index) -> None:
    files: dict[str, str] = {}
    for name, machine in index.machines.items():
        if (other := files.setdefault(machine.file.casefold(), name)) != name:
            raise ValueError(f"the machines {other!r} and {name!r} have one file")


def file_name(machine: str, taken: Collection[str] = ()) -> str:
    """Return a file's name for a machine that is safe everywhere, and none of `taken`, which are in small letters.

    A name that is safe stays as it is; others lose what is not, and get the first digits of their SHA-256.
    """
    plain = unicodedata.normalize("NFKD", machine).encode("ascii", "ignore").decode()
    stem = _UNSAFE.sub("_", plain).strip("_-")[:_LONGEST_STEM] or "machine"
    if stem == machine and not _RESERVED.fullmatch(stem) and f"{stem}{SUFFIX}".casefold() not in taken:
        return f"{stem}{SUFFIX}"
    digest = hashlib.sha256(machine.encode("utf-8", "surrogatepass")).hexdigest()
    return next(
        file
        for digits in range(_DIGEST, len(digest) + 1)
        if (file := f"{stem}-{digest[:digits]}{SUFFIX}").casefold() not in taken
    )
