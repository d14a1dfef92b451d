"""Front end ``mel-image``: pieces of a mel spectrogram as colour pictures, for networks trained on photographs."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from asd.plugin import Audio, Float32, OnnxGraph, Representation, Windows, one_of, whole_number
from asd_frontends import onnx
from asd_frontends.colours import ColourMap, colour_index, colour_table
from asd_frontends.patch import MelPatch, Reference, Scaling
from asd_frontends.upscale import upscale

Normalise = Literal["imagenet", "none"]

# The mean and standard deviation of ImageNet's RGB values, as every torchvision classifier expects them.
_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)


class MelImage(MelPatch):
    """Cut a mel spectrogram into overlapping patches and map each to a colour picture.

    A picture looks as in a usual plot: time from left to right, the lowest band at the bottom. Patch, colours,
    upscaling and normalisation follow one another in this order.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_mels : int
        Mel bands of a patch.
    n_fft : int
        Samples per Hann-windowed frame.
    hop_length : int
        Samples from one frame to the next.
    frames : int
        Frames of a patch.
    frame_hop : int
        Frames from one patch to the next.
    f_min : float
        Lowest frequency in Hz.
    f_max : float or None
        Highest frequency in Hz; none: half the sample rate.
    scaling : {"log", "pcen"}
        Decibels, or per-channel energy normalisation, which follows the level and keeps what changes.
    reference : {"fixed", "clip", "patch"}
        What 0 dB is: a power of one, the maximum of the recording, or that of the patch; "clip" needs the whole
        recording in memory.
    db_min : float or None
        Level in dB that gets the first colour; none: -60, or -80 relative to a maximum.
    db_max : float or None
        Level in dB that gets the last colour; none: 20, or 0 relative to a maximum.
    colour_map : {"viridis", "magma", "inferno", "plasma", "gray"}
        From low to high level.
    size : int
        Height and width of the picture in pixels.
    normalise : {"imagenet", "none"}
        Subtract ImageNet's mean and divide by its standard deviation, or leave RGB values from 0 to 1.

    References
    ----------
    Müller et al. 2020, arXiv:2006.03429.
    """

    name = "mel-image"

    def __init__(
        self,
        *,
        sample_rate: int = 16000,
        n_mels: int = 64,
        n_fft: int = 1024,
        hop_length: int = 256,
        frames: int = 64,
        frame_hop: int = 32,
        f_min: float = 0.0,
        f_max: float | None = None,
        scaling: Scaling = "log",
        reference: Reference = "fixed",
        db_min: float | None = None,
        db_max: float | None = None,
        colour_map: ColourMap = "viridis",
        size: int = 224,
        normalise: Normalise = "imagenet",
    ) -> None:
        self.colour_map = colour_map
        self.size = size
        self.normalise = normalise
        super().__init__(
            sample_rate=sample_rate,
            n_mels=n_mels,
            n_fft=n_fft,
            hop_length=hop_length,
            frames=frames,
            frame_hop=frame_hop,
            f_min=f_min,
            f_max=f_max,
            scaling=scaling,
            reference=reference,
            db_min=db_min,
            db_max=db_max,
        )

    def _check(self) -> None:
        super()._check()
        one_of(self, "colour_map", self.colour_map, get_args(ColourMap))
        one_of(self, "normalise", self.normalise, get_args(Normalise))
        whole_number(self, "size", self.size, 1)

    @property
    def produces(self) -> Representation:
        """A picture (3, size, size)."""
        return Representation("image", (3, self.size, self.size), self.sample_rate)

    def __call__(self, audio: Audio) -> Windows:
        """Return float32 pictures of shape (n_windows, 3, size, size), channels last in memory."""
        patches = self._patches(audio)[:, ::-1]
        # Interpolation weights sum to one: colours that are normalised before upscaling are so after it.
        colours = np.take(_palette(self.colour_map, self.normalise), colour_index(patches), axis=0, mode="clip")
        images = upscale(colours, self.size).transpose(0, 3, 1, 2)
        return Windows(images, self._starts(len(images)), self._length / self.sample_rate)

    def to_onnx(self, graph: OnnxGraph, samples: str) -> str:
        """Add the windows to `graph`; see `asd.plugin.OnnxGraph`."""
        patches = super().to_onnx(graph, samples)
        upside_down = graph.constant(np.arange(self.n_mels)[::-1].copy())
        levels = onnx.scaled(graph, graph.op("Gather", patches, upside_down, axis=1), 256.0)
        limits = graph.constant(np.float32(0.0)), graph.constant(np.float32(255.0))
        index = graph.op("Cast", graph.op("Clip", levels, *limits), to=np.int64)
        colours = graph.op("Gather", graph.constant(_palette(self.colour_map, self.normalise)), index, axis=0)
        images = graph.op("Transpose", colours, perm=[0, 3, 1, 2])
        scales = np.array([1, 1, self.size / self.n_mels, self.size / self.frames], np.float32)
        return graph.op("Resize", images, "", graph.constant(scales), mode="linear")


@lru_cache(maxsize=16)
def _palette(colour_map: ColourMap, normalise: Normalise) -> Float32:
    table = colour_table(colour_map)
    return (table - _IMAGENET_MEAN) / _IMAGENET_STD if normalise == "imagenet" else table
