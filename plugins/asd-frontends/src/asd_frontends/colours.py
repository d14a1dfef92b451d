"""Colour maps as tables of 256 RGB values.

Viridis, magma, inferno and plasma are by Nathaniel J. Smith, Stéfan van der Walt and Eric Firing (CC0).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from asd.plugin import Float32

ColourMap = Literal["viridis", "magma", "inferno", "plasma", "gray"]

_TABLES = Path(__file__).parent / "colour_maps.npz"


@lru_cache(maxsize=8)
def colour_table(name: ColourMap) -> Float32:
    """Return a colour map as a read-only float32[256, 3] table of RGB values from 0 to 1, as in matplotlib."""
    if name == "gray":
        table = np.repeat(np.linspace(0.0, 1.0, 256, dtype=np.float32)[:, np.newaxis], 3, axis=1)
    else:
        with np.load(_TABLES, allow_pickle=False) as tables:
            table = tables[name]
    table.flags.writeable = False
    return table


def colour_index(values: Float32) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    """Return the row of a colour table for values from 0 to 1 (what lies outside is clipped), as matplotlib does."""
    scaled = values * np.float32(256.0)
    np.clip(scaled, 0.0, 255.0, out=scaled)
    return scaled.astype(np.intp)
