"""The classes of AudioSet."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources


@cache
def class_names() -> tuple[str, ...]:
    """Return the display names of AudioSet's 527 classes in the order of the networks' outputs.

    References
    ----------
    class_labels_indices.csv of AudioSet, Google LLC, CC BY 4.0.
    """
    text = (resources.files("asd_audioset") / "data" / "class_labels_indices.csv").read_text(encoding="utf-8")
    return tuple(row["display_name"] for row in csv.DictReader(text.splitlines()))
