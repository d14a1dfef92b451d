"""Embeddings as a file: ``*.npz`` of NumPy, without pickle, or ``*.parquet``.

Both hold the same. An ``npz`` has ``vectors``, ``window_start`` and ``clip_number`` by row, and the columns of
`_columns` by clip; a Parquet file has all of them by row. What is no array stands in a JSON text, ``about``.
"""

from __future__ import annotations

import importlib.util
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from asd.detection.features import ClipFeatures, Failure
from asd.detection.output import OutputFile
from asd.errors import AudioError, ConfigError, DataError, RemoteError
from asd.files.remote import sealed_path
from asd.records import Clip

if TYPE_CHECKING:
    from asd.detection.vectors import Embeddings

SUFFIXES = (".npz", ".parquet")
_FORMAT = 1
_ABOUT = "about"
_ROWS = ("vectors", "window_start", "clip_number")
_TEXTS = ("path", "sha256", "group")
_NUMBERS = ("clip_start", "clip_duration", "clip_seconds", "sample_rate", "channels", "level")

_DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, MemoryError, zipfile.BadZipFile)
"""What reading raises where a file is not what `write` wrote."""

Arrays = dict[str, npt.NDArray[Any]]


def check_suffix(path: Path) -> None:
    """Refuse a name that does not say the format, and a format that cannot be written here.

    Raises
    ------
    ConfigError
        If so.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"{path}: embeddings are kept in {' or '.join(f'*{suffix}' for suffix in SUFFIXES)}; got "
            f"{path.suffix or 'no suffix'!r}"
        )
    if path.suffix.lower() == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ConfigError(f"{path}: Parquet needs pyarrow: pip install pyarrow, or name a file *.npz")


def write(embeddings: Embeddings, file: OutputFile) -> None:
    """Write embeddings in the format that the file's name says.

    Raises
    ------
    DataError
        If that fails; an old file stays as it was.
    """
    arrays = {name: getattr(embeddings, name) for name in _ROWS} | _columns(embeddings)
    about = json.dumps(
        {
            "format": _FORMAT,
            "windows": embeddings.windows,
            "provenance": embeddings.provenance,
            "failures": [each.as_dict() for each in embeddings.failures],
            "notes": {str(i): each.notes for i, each in enumerate(embeddings.features) if each.notes},
        }
    )
    if file.path.suffix.lower() == ".parquet":
        _write_parquet(arrays, about, file)
        return

    def fill(stream: BinaryIO) -> None:
        np.savez(stream, **arrays, **{_ABOUT: np.array(about)})  # type: ignore[arg-type]  # numpy's stub takes names

    file.write_by(fill, sum(array.nbytes for array in arrays.values()) + len(about))


def read(path: Path) -> dict[str, Any]:
    """Return what `asd.Embeddings` is made of.

    Raises
    ------
    ConfigError
        If the name does not say the format, or it cannot be read here.
    DataError
        If the file is missing, damaged, or holds something else.
    """
    check_suffix(path)
    try:
        arrays, about = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_npz(path)
        described = json.loads(about)
        if described["format"] > _FORMAT:
            raise DataError(
                f"{path}: written in format {described['format']}, this asd reads up to {_FORMAT}: pip install "
                "--upgrade asd-framework"
            )
        return _restored(arrays, described)
    except RemoteError as error:
        raise DataError(str(error)) from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file of embeddings; make one with 'asd embed DATA -o {path}'") from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{path}: holds no embeddings that 'asd embed' wrote, or is damaged ({reason}); make it anew"
        ) from error


def _columns(embeddings: Embeddings) -> Arrays:
    """Return what is known of each clip, by column."""
    features = embeddings.features
    durations = [math.nan if each.clip.duration is None else each.clip.duration for each in features]
    return {
        "path": np.array([str(each.clip.path) for each in features]),
        "sha256": np.array([embeddings.contents[each.clip.path] for each in features]),
        "group": np.array([each.clip.group or "" for each in features]),
        "clip_start": np.array([each.clip.start for each in features]),
        "clip_duration": np.array(durations),
        "clip_seconds": np.array([each.seconds for each in features]),
        "sample_rate": np.array([each.file_rate for each in features], np.int64),
        "channels": np.array([each.channels for each in features], np.int64),
        "level": np.array([each.level for each in features]),
    }


def _read_npz(path: Path) -> tuple[Arrays, str]:
    with path.open("rb") as stream:  # numpy would leave a damaged file open
        file = np.load(stream, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        return {name: file[name] for name in (*_ROWS, *_TEXTS, *_NUMBERS)}, str(file[_ABOUT][()])


def _write_parquet(arrays: Arrays, about: str, file: OutputFile) -> None:
    import pyarrow
    import pyarrow.parquet

    vectors, number = arrays["vectors"], arrays["clip_number"]
    flat = pyarrow.array(vectors.reshape(-1))
    columns: dict[str, Any] = {}
    for name in _TEXTS:
        texts = [_encodable(str(text)) for text in arrays[name]]
        columns[name] = pyarrow.DictionaryArray.from_arrays(pyarrow.array(number.astype(np.int32)), texts)
        columns[name] = columns[name].cast(pyarrow.string())
    columns |= {name: arrays[name][number] for name in _NUMBERS}
    columns |= {"clip_number": number, "window_start": arrays["window_start"]}
    columns["vectors"] = pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    table = pyarrow.table(columns).replace_schema_metadata({f"asd.{_ABOUT}": about})
    file.write_by(lambda stream: pyarrow.parquet.write_table(table, stream), table.nbytes)


def _encodable(text: str) -> str:
    """Return a text as UTF-8 can hold it: a file's name may be no text at all."""
    return text.encode("utf-8", "backslashreplace").decode()


def _read_parquet(path: Path) -> tuple[Arrays, str]:
    import pyarrow
    import pyarrow.parquet

    try:
        with path.open("rb") as stream:
            table = pyarrow.parquet.read_table(stream, use_threads=False)
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from error
    about = (table.schema.metadata or {})[f"asd.{_ABOUT}".encode()].decode()
    arrays = {name: table[name].to_numpy() for name in ("clip_number", "window_start", *_TEXTS, *_NUMBERS)}
    vectors = table["vectors"].combine_chunks()
    arrays["vectors"] = vectors.flatten().to_numpy().reshape(len(vectors), -1)
    _, first = np.unique(arrays["clip_number"], return_index=True)
    return arrays | {name: arrays[name][first] for name in (*_TEXTS, *_NUMBERS)}, about


def _restored(arrays: Arrays, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `asd.Embeddings` is made of; a ValueError says what does not fit."""
    vectors, start, number = (arrays[name] for name in _ROWS)
    if not (vectors.ndim == 2 and vectors.dtype == np.float32 and vectors.size and np.isfinite(vectors).all()):
        raise ValueError("vectors must be finite numbers, float32[n, dimension]")
    counts = np.bincount(number)
    ordered = number.dtype == np.int64 and number.shape == start.shape == (len(vectors),)
    if not (ordered and counts.all() and (np.diff(number) >= 0).all()):
        raise ValueError("window_start and clip_number must be one number for each vector, in the order of the clips")
    if any(arrays[name].shape != counts.shape for name in (*_TEXTS, *_NUMBERS)):
        raise ValueError("it does not describe each clip")
    features = [
        _features(arrays, about, i, values, starts)
        for i, (values, starts) in enumerate(
            zip(np.split(vectors, np.cumsum(counts)[:-1]), np.split(start, np.cumsum(counts)[:-1]), strict=True)
        )
    ]
    contents = {each.clip.path: str(arrays["sha256"][i]) for i, each in enumerate(features)}
    failures = [Failure(Clip(sealed_path(each["clip"])), AudioError(each["error"])) for each in about["failures"]]
    how = {"windows": about["windows"], "provenance": about["provenance"], "failures": failures}
    return {"features": features, "contents": contents, **how}


def _features(arrays: Arrays, about: Mapping[str, Any], i: int, values: Any, starts: Any) -> ClipFeatures:
    duration, level = float(arrays["clip_duration"][i]), float(arrays["level"][i])
    part = None if math.isnan(duration) else duration
    clip = Clip(
        sealed_path(str(arrays["path"][i])), float(arrays["clip_start"][i]), part, str(arrays["group"][i]) or None
    )
    how = about["provenance"]
    return ClipFeatures(
        clip=clip,
        values=values,
        start=starts - clip.start,
        seconds=float(arrays["clip_seconds"][i]),
        file_rate=int(arrays["sample_rate"][i]),
        silent=math.isinf(level),
        notes=list(about["notes"].get(str(i), [])),
        channels=int(arrays["channels"][i]),
        level=level,
        device=str(how["device"]),
        precision=str(how["precision"]),
        engine=str(how["engine"]),
        pooled=not about["windows"],
    )
