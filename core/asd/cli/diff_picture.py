"""The picture of ``asd diff``: the scores of the healthy clips that calibrate each model."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from types import ModuleType
from typing import Any

from asd.cli.pictures import write_picture
from asd.errors import ConfigError, DataError

_FORMATS = (".png", ".svg")
_COLOURS = {"old": "#78909c", "new": "#00897b"}
_WIDTH, _HEAD, _ROW = 7.0, 1.1, 0.9
"""Inches: the figure's width, its head and foot, and each branch."""
_DPI = 150


def drawing(path: Path) -> ModuleType:
    """Return what draws, before anything is computed.

    Raises
    ------
    ConfigError
        If the file's name ends in no format that can be drawn, or matplotlib is not installed.
    """
    if path.suffix.lower() not in _FORMATS:
        raise ConfigError(f"--picture {path}: draws {' or '.join(_FORMATS)} files; give a name that ends so")
    try:
        return importlib.import_module("matplotlib.figure")
    except ImportError:
        raise ConfigError(f"--picture {path}: drawing needs matplotlib: pip install matplotlib") from None


def draw(comparison: Any, path: Path, matplotlib: ModuleType) -> None:
    """Write the picture: for each branch the median, the middle half and 90 % of the scores, of both models.

    Parameters
    ----------
    comparison : Comparison
        What differs.
    path : Path
        The file to write.
    matplotlib : module
        What `drawing` returned.

    Raises
    ------
    DataError
        If nothing can be compared, or the file cannot be written.
    """
    branches = comparison.branches
    if not branches:
        raise DataError(f"{path}: nothing to draw: the two models have no branch in common; leave --picture out")
    figure = matplotlib.Figure(figsize=(_WIDTH, _HEAD + _ROW * len(branches)), layout="constrained")
    figure.suptitle("Healthy scores that calibrate the model: median, middle half, 90 %", fontsize=11)
    for axes, branch in zip(figure.subplots(len(branches), squeeze=False)[:, 0], branches, strict=True):
        for height, side in enumerate(("new", "old")):
            low, first, median, third, high = getattr(branch, side).values()
            axes.plot([low, high], [height] * 2, color=_COLOURS[side], linewidth=1.5)
            axes.plot([first, third], [height] * 2, color=_COLOURS[side], linewidth=7, solid_capstyle="butt")
            axes.plot([median], [height], "o", color="white", markeredgecolor=_COLOURS[side], markersize=8)
        axes.set(yticks=[0, 1], yticklabels=["new", "old"], ylim=(-0.6, 1.6))
        axes.set_title(_title(branch), loc="left", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    axes.set_xlabel("score", fontsize=9)
    content = io.BytesIO()
    figure.savefig(content, dpi=_DPI, format=path.suffix.lower().removeprefix("."))
    write_picture(path, content.getvalue())


def _title(branch: Any) -> str:
    if branch.shift is None:
        return f"{branch.name} (other detectors: the scales differ)"
    side = "higher" if branch.shift > 0 else "lower"
    return f"{branch.name}: {abs(branch.shift):.1f} ± {branch.shift_error:.1f} deviations {side}"
