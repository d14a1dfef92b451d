"""Verdicts as a table of pandas or polars."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from asd.detection.features import Failure
from asd.detection.verdict import Verdict
from asd.errors import ConfigError

_COLUMNS = ("clip", "ok", "anomalous", "p_value", "score", "peak_seconds", "unusual_in", "notes", "error")


def to_frame(verdicts: Iterable[Verdict | Failure]) -> Any:
    """Return verdicts as a table, a row for each clip, in order.

    Parameters
    ----------
    verdicts : iterable of Verdict or Failure
        What `asd.score` yields.

    Returns
    -------
    pandas.DataFrame or polars.DataFrame
        That of polars where pandas is not installed. The columns: ``clip``, ``ok`` (False: it could not be judged),
        ``anomalous`` (missing, as are the numbers, where it is not ok), ``p_value``, ``score``, ``peak_seconds``,
        ``unusual_in`` and ``notes`` (joined by ``; ``), ``error``; ``machine``, if each has its own model; ``state``
        and ``state_p_value``, if the model knows states; of several branches ``NAME_z`` and ``NAME_p_value`` of each.

    Raises
    ------
    ConfigError
        If neither pandas nor polars is installed.
    """
    rows = [_row(verdict) for verdict in verdicts]
    machine = ["machine"] if any("machine" in row for row in rows) else []
    names = list(dict.fromkeys([*machine, *_COLUMNS, *(name for row in rows for name in row)]))
    columns = {name: [row.get(name) for row in rows] for name in names}
    if pandas := _imported("pandas"):
        frame = pandas.DataFrame(columns)
        numbers = {name: "float64" for name in names if _is_number(name)}
        return frame.astype({"ok": "bool", "anomalous": "boolean", **numbers})
    if polars := _imported("polars"):
        schema = {name: polars.Float64 if _is_number(name) else polars.String for name in names}
        return polars.DataFrame(columns, schema={**schema, "ok": polars.Boolean, "anomalous": polars.Boolean})
    raise ConfigError("a table needs pandas or polars, and neither is installed: pip install pandas")


def _row(verdict: Verdict | Failure) -> dict[str, Any]:
    said = verdict.to_dict()
    branches = said.pop("branches")
    joined = {name: "; ".join(said[name]) for name in ("unusual_in", "notes")}
    several = branches if len(branches) > 1 else []
    numbers = {f"{each['name']}_{name}": each[name] for each in several for name in ("z", "p_value")}
    return {**said, "ok": verdict.ok, **joined, **numbers}


def _is_number(name: str) -> bool:
    return name in ("score", "peak_seconds") or name.endswith(("p_value", "_z"))


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
