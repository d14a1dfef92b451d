"""Where weight files lie. Light: listing what is ready must not wait for NumPy or the downloader."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from asd.files.folders import cache_folder
from asd_registry import Component, WeightFile


def store_folder() -> Path:
    """Return the folder of the weight store; it may not exist yet."""
    return cache_folder() / "weights"


def place_of(weight: WeightFile, *, published: bool = True) -> Path:
    """Return where a downloaded weight file belongs, whether it is there or not.

    Parameters
    ----------
    weight : WeightFile
        The file.
    published : bool
        Whether a component names it. A file that only a user names lies in a folder of its hash.
    """
    return store_folder() / ("" if published else weight.sha256) / weight.name


def embedded_place(weight: WeightFile, component: Component) -> Path:
    """Return where a weight file lies that ships inside a component's distribution, whether it is there or not."""
    package = component.spec.target.partition(":")[0].partition(".")[0]
    found = importlib.util.find_spec(package)  # of a top-level package this imports nothing
    folders = [Path(folder) for folder in (found and found.submodule_search_locations) or ()]
    files = (file for folder in folders for file in folder.rglob(weight.name))
    return next(files, Path(package, weight.name))


def record_of(name: str) -> Path:
    """Return where the hash of the first download of a file is kept whose publisher states none."""
    return store_folder() / f"{name}.sha256"
