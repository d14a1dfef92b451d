"""How the axes of a front end's windows become those of a network's input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asd.errors import ConfigError
from asd.plugin import OnnxGraph

_LETTERS = {1: "t", 2: "ft", 3: "chw", 4: "dchw"}
"""The axes of a window by their number: time; frequency and time; channel, height and width; depth before them."""

_ONE = "1"

Shape = tuple[int | str | None, ...]


@dataclass(frozen=True)
class Layout:
    """The axes of a network's input, after the first, which counts the windows.

    Parameters
    ----------
    axes : str
        A letter for each axis of a window, in the order of the network, and ``1`` for an axis of size one that windows
        have not: ``t`` for waveforms and vectors, ``ft`` for patches (frequency or bands, time or frames), ``chw`` for
        images (channel, height, width). ``"1tf"`` makes (1, frames, bands) of a patch.

    Raises
    ------
    ConfigError
        If it is no such text.
    """

    axes: str

    def __post_init__(self) -> None:
        letters = self.axes.replace(_ONE, "")
        if sorted(letters) not in [sorted(known) for known in _LETTERS.values()]:
            raise ConfigError(
                f"layout is {self.axes!r}, expected the axes of a window in the network's order: t, ft or chw, each "
                "letter once, and 1 for an axis of size one (--extractor.layout 1ft)"
            )

    @property
    def order(self) -> tuple[int, ...]:
        """Axes of a window, counted from 0, in the order of the network."""
        letters = self.axes.replace(_ONE, "")
        return tuple(_LETTERS[len(letters)].index(letter) for letter in letters)

    def apply(self, windows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return windows (n, *window shape) as (n, *input shape), without a copy.

        Raises
        ------
        ConfigError
            If windows have another number of axes.
        """
        if windows.ndim - 1 != len(self.order):
            raise ConfigError(
                f"layout {self.axes!r} is for windows with {len(self.order)} axes, the front end gives "
                f"{windows.ndim - 1}: {windows.shape[1:]}"
            )
        turned = windows.transpose(0, *(axis + 1 for axis in self.order))
        return np.expand_dims(turned, tuple(i + 1 for i, letter in enumerate(self.axes) if letter == _ONE))

    def to_onnx(self, graph: OnnxGraph, windows: str) -> str:
        """Return windows in the network's order; as `apply`."""
        turned = graph.op("Transpose", windows, perm=[0, *(axis + 1 for axis in self.order)])
        added = [position + 1 for position, letter in enumerate(self.axes) if letter == _ONE]
        return graph.op("Unsqueeze", turned, graph.constant(added)) if added else turned

    def window_shape(self, sizes: Sequence[int | str | None]) -> tuple[int | None, ...]:
        """Return the shape of a window that makes an input of `sizes`, its first axis left out.

        Raises
        ------
        ConfigError
            If the input has another number of axes.
        """
        if len(sizes) != len(self.axes):
            raise ConfigError(
                f"layout {self.axes!r} names {len(self.axes)} axes, but the network's input has {len(sizes)} after the "
                "first"
            )
        kept = [size if isinstance(size, int) else None for size, letter in zip(sizes, self.axes, strict=True)
                if letter != _ONE]  # fmt: skip
        return tuple(size for _, size in sorted(zip(self.order, kept, strict=True), key=lambda pair: pair[0]))


def usual_layout(sizes: Sequence[int | str | None]) -> Layout | None:
    """Return the layout of an input of `sizes` if the user gives none; None: windows as they are.

    A network of spectrograms mostly takes them as pictures with one channel.
    """
    if len(sizes) == 3 and sizes[0] == 1:
        return Layout("1ft")
    return None
