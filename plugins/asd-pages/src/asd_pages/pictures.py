"""Spectrograms as pictures: with axes and outlined regions, or as small thumbnails."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from asd.plugin import hz_to_mel, mel_to_hz, power_spectrogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Scale = Literal["log", "mel", "linear"]
Format = Literal["png", "jpeg", "webp"]

_LOWEST = 40.0
"""Where a logarithmic axis begins, in Hz: it has no zero."""
_RANGE = 70.0
"""dB below the loudest that are shown."""
_OPTIONS: dict[Format, dict[str, Any]] = {
    "png": {"optimize": True},
    "jpeg": {"quality": 80},
    "webp": {"quality": 70, "method": 4},
}
_TICKS = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)


@dataclass(frozen=True)
class Box:
    """A region of a spectrogram to outline.

    Parameters
    ----------
    start, end : float or None
        In seconds; None: the begin, the end of the clip.
    low, high : float or None
        In Hz; None: the lowest, the highest frequency.
    label : str
        A short text at its upper edge.
    """

    start: float | None = None
    end: float | None = None
    low: float | None = None
    high: float | None = None
    label: str = ""


@dataclass(frozen=True)
class Spectrogram:
    """A spectrogram with the rows and columns of a picture.

    Parameters
    ----------
    levels : float32 array of shape (rows, columns)
        In dB; 0 is a sine of full scale. The first row is the lowest.
    edges : float64 array of shape (rows + 1,)
        The frequencies between the rows, in Hz.
    seconds : float
        Duration.
    """

    levels: npt.NDArray[np.float32]
    edges: npt.NDArray[np.float64]
    seconds: float

    def row(self, frequency: float | Sequence[float]) -> npt.NDArray[np.float64]:
        """Return where frequencies lie among the rows; 0 is the lower edge of the first."""
        return np.asarray(np.interp(frequency, self.edges, np.arange(len(self.edges))))


def analyse(
    samples: npt.NDArray[np.floating], sample_rate: int, *, rows: int = 192, columns: int = 600, scale: Scale = "log"
) -> Spectrogram:
    """Return the spectrogram of a clip in the rows and columns of a picture: each is the mean power of what it covers.

    Parameters
    ----------
    samples : float array of shape (n,) or (channels, n)
        Channels are mixed.
    sample_rate : int
        In Hz.
    rows, columns : int
        Rows of the picture, and its largest number of columns.
    scale : {"log", "mel", "linear"}
        The frequency axis.

    Raises
    ------
    ValueError
        If there are no samples.
    """
    mono = np.asarray(samples, np.float32)
    mono = np.nan_to_num(mono.mean(axis=0) if mono.ndim > 1 else mono)
    if not len(mono):
        raise ValueError("a spectrogram needs samples, got none")
    seconds = len(mono) / sample_rate
    n_fft = 1 << max(6, round(np.log2(0.064 * sample_rate)))
    padded = np.pad(mono, (n_fft // 2, n_fft // 2 + max(0, n_fft - len(mono))))
    power = power_spectrogram(padded, n_fft=n_fft, hop_length=n_fft // 4).astype(np.float64)
    power = _columns(power, columns) / (n_fft / 4) ** 2  # a Hann window makes of a sine of full scale n_fft / 4
    edges = _edges(scale, sample_rate, rows)
    with np.errstate(divide="ignore"):
        levels = 10 * np.log10(np.maximum(_rows(power, edges, sample_rate / n_fft), 1e-14))
    return Spectrogram(levels.astype(np.float32), edges, seconds)


def draw(
    axes: Axes,
    spectrogram: Spectrogram,
    *,
    boxes: Sequence[Box] = (),
    levels: tuple[float, float] | None = None,
    colour_bar: bool = True,
) -> None:
    """Draw a spectrogram into axes of a matplotlib figure.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where.
    spectrogram : Spectrogram
        What.
    boxes : sequence of Box
        Regions to outline.
    levels : tuple of float or None
        dB of the darkest and of the brightest colour; None: the loudest of this clip and 70 dB below it. Pictures that
        are to be compared need the same.
    colour_bar : bool
        Whether the colours are explained beside it.
    """
    low, high = levels or default_levels(spectrogram)
    extent = (0.0, spectrogram.seconds, 0.0, float(len(spectrogram.levels)))
    image = axes.imshow(
        spectrogram.levels, origin="lower", aspect="auto", extent=extent, vmin=low, vmax=high, cmap="magma",
        interpolation="nearest",
    )  # fmt: skip
    lowest, highest = float(spectrogram.edges[0]), float(spectrogram.edges[-1])
    ticks = [tick for tick in _TICKS if lowest <= tick <= highest]
    if lowest == 0:
        ticks = _spread([0, *ticks], spectrogram)
    axes.set_yticks(spectrogram.row(ticks), [f"{tick // 1000}k" if tick >= 1000 else str(tick) for tick in ticks])
    axes.set(xlabel="seconds", ylabel="Hz", xlim=(0, spectrogram.seconds))
    for box in boxes:
        _outline(axes, box, spectrogram)
    if colour_bar and axes.figure is not None:
        axes.figure.colorbar(image, ax=axes, pad=0.015, label="dB of full scale")


def spectrogram(
    samples: npt.NDArray[np.floating],
    sample_rate: int,
    *,
    boxes: Sequence[Box] = (),
    scale: Scale = "log",
    levels: tuple[float, float] | None = None,
    size: tuple[float, float] = (7.2, 2.6),
    file_format: Format = "webp",
) -> bytes:
    """Return the picture of a clip's spectrogram with axes in seconds and Hz.

    Parameters
    ----------
    samples : float array of shape (n,) or (channels, n)
        Channels are mixed.
    sample_rate : int
        In Hz.
    boxes : sequence of Box
        Regions to outline.
    scale : {"log", "mel", "linear"}
        The frequency axis.
    levels : tuple of float or None
        As for `draw`.
    size : tuple of float
        Width and height in inches, 100 pixels each.
    file_format : {"webp", "png", "jpeg"}
        WebP takes about a third of PNG.

    Raises
    ------
    ValueError
        If there are no samples.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    found = analyse(samples, sample_rate, scale=scale, columns=round(size[0] * 80), rows=round(size[1] * 75))
    draw(figure.subplots(), found, boxes=boxes, levels=levels)
    return encode_figure(figure, file_format)


def thumbnail(
    samples: npt.NDArray[np.floating],
    sample_rate: int,
    *,
    boxes: Sequence[Box] = (),
    scale: Scale = "log",
    levels: tuple[float, float] | None = None,
    size: tuple[int, int] = (160, 56),
    file_format: Format = "webp",
) -> bytes:
    """Return a small picture of a clip's spectrogram without axes, of about 2 kB: for tables of many clips.

    Parameters
    ----------
    samples, sample_rate, boxes, scale, levels, file_format
        As for `spectrogram`.
    size : tuple of int
        Width and height in pixels.

    Raises
    ------
    ValueError
        If there are no samples.
    """
    import matplotlib as mpl
    from PIL import Image, ImageDraw

    width, height = size
    found = analyse(samples, sample_rate, scale=scale, rows=height, columns=width)
    low, high = levels or default_levels(found)
    shares = (found.levels[::-1] - low) / max(high - low, 1e-9)
    image = Image.fromarray(mpl.colormaps["magma"](np.clip(shares, 0, 1), bytes=True)[..., :3])
    image = image.resize(size, Image.Resampling.NEAREST)
    drawing = ImageDraw.Draw(image)
    for box in boxes:
        left, right, bottom, top = _corners(box, found)
        horizontal, vertical = (width - 1) / found.seconds, (height - 1) / len(found.levels)
        outline = (left * horizontal, height - 1 - top * vertical, right * horizontal, height - 1 - bottom * vertical)
        drawing.rectangle(outline, outline=(77, 208, 225))
    buffer = io.BytesIO()
    image.save(buffer, file_format.upper(), **_OPTIONS[file_format])
    return buffer.getvalue()


def default_levels(spectrogram: Spectrogram) -> tuple[float, float]:
    """Return the dB of the darkest and of the brightest colour that suit a clip: 70 dB up to its loudest."""
    high = float(np.quantile(spectrogram.levels, 0.999))
    return max(high - _RANGE, float(np.quantile(spectrogram.levels, 0.01)) - 3), high


def encode_figure(figure: Any, file_format: Format = "webp", dpi: int = 100) -> bytes:
    """Return a matplotlib figure as the content of a picture file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=file_format, dpi=dpi, pil_kwargs=_OPTIONS[file_format])
    return buffer.getvalue()


def _edges(scale: Scale, sample_rate: int, rows: int) -> npt.NDArray[np.float64]:
    highest = sample_rate / 2
    if scale == "linear":
        return np.linspace(0.0, highest, rows + 1)
    if scale == "mel":
        mels = np.linspace(0.0, float(hz_to_mel(np.array([highest]))[0]), rows + 1)
        return np.asarray(mel_to_hz(mels), np.float64)
    return np.geomspace(min(_LOWEST, highest / 4), highest, rows + 1)


def _columns(power: npt.NDArray[np.float64], most: int) -> npt.NDArray[np.float64]:
    """Return the mean power of neighbouring frames, so that there are at most `most`."""
    count = power.shape[1]
    if count <= most:
        return power
    starts = np.arange(most) * count // most
    return np.asarray(np.add.reduceat(power, starts, axis=1) / np.diff(np.append(starts, count)))


def _rows(power: npt.NDArray[np.float64], edges: npt.NDArray[np.float64], bin_width: float) -> npt.NDArray[np.float64]:
    """Return the mean power between edges: rows wider than a bin take several, narrower ones a part of one."""
    total = np.concatenate([np.zeros((1, power.shape[1])), np.cumsum(power, axis=0)])
    places = np.clip(edges / bin_width + 0.5, 0, len(power))
    below = np.minimum(places.astype(int), len(power) - 1)
    share = (places - below)[:, np.newaxis]
    at = total[below] * (1 - share) + total[below + 1] * share
    return np.asarray(np.diff(at, axis=0) / np.diff(places)[:, np.newaxis])


def _spread(ticks: list[int], spectrogram: Spectrogram) -> list[int]:
    """Return the ticks that are not too near to the one above."""
    kept = [ticks[-1]]
    for tick in reversed(ticks[:-1]):
        if spectrogram.row(kept[-1]) - spectrogram.row(tick) > len(spectrogram.levels) / 12:
            kept.append(tick)
    return kept[::-1]


def _corners(box: Box, spectrogram: Spectrogram) -> tuple[float, float, float, float]:
    """Return left and right in seconds, bottom and top in rows."""
    left = 0.0 if box.start is None else max(0.0, box.start)
    right = spectrogram.seconds if box.end is None else min(spectrogram.seconds, box.end)
    bottom = 0.0 if box.low is None else float(spectrogram.row(box.low))
    top = float(len(spectrogram.levels)) if box.high is None else float(spectrogram.row(box.high))
    return min(left, right), right, min(bottom, top), top


def _outline(axes: Axes, box: Box, spectrogram: Spectrogram) -> None:
    from matplotlib.patches import Rectangle

    left, right, bottom, top = _corners(box, spectrogram)
    axes.add_patch(
        Rectangle((left, bottom), right - left, top - bottom, fill=False, edgecolor="#4dd0e1", linewidth=1.8)
    )
    if box.label:
        style = {"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 1.5}
        axes.text(left, top, f" {box.label}", color="white", fontsize=8, va="top", clip_on=True, bbox=style)
