"""Front end ``mel-patch``: pieces of a mel spectrogram, scaled to about 0 to 1."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from asd.errors import ConfigError
from asd.plugin import (
    Audio,
    Float32,
    Float64,
    Frontend,
    OnnxGraph,
    Representation,
    Windows,
    filtered_spectrogram,
    mel_filter_bank,
    one_of,
    pcen,
    power_to_db,
    whole_number,
)
from asd_frontends import onnx
from asd_frontends.checks import check_mel

Reference = Literal["fixed", "clip", "patch"]
Scaling = Literal["log", "pcen"]

# Measured on machine recordings (frames of 1024 samples at 16 kHz, 64 bands): MIMII fan, a quiet one, lies between
# −58 dB and −2 dB, DCASE 2023 ToyCar between −50 dB and 13 dB (1st percentile to maximum). This range shows both
# in full with room for a louder machine, and is as wide as the 80 dB that spectrograms usually show.
_FIXED_RANGE = (-60.0, 20.0)
_RELATIVE_RANGE = (-80.0, 0.0)


class MelPatch(Frontend):
    """Cut a mel spectrogram into overlapping patches.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_mels : int
        Mel bands: the height of a patch.
    n_fft : int
        Samples per Hann-windowed frame.
    hop_length : int
        Samples from one frame to the next.
    frames : int
        Frames per patch: its width.
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
        Level in dB that becomes 0; none: -60, or -80 relative to a maximum.
    db_max : float or None
        Level in dB that becomes 1; none: 20, or 0 relative to a maximum.

    References
    ----------
    Müller et al. 2020, arXiv:2006.03429: 64 bands, Hann window 1024, hop 256, patches of 64 frames every 32 frames.
    """

    name = "mel-patch"

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
    ) -> None:
        self.sample_rate = sample_rate
        self.n_mels = n_mels
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.frames = frames
        self.frame_hop = frame_hop
        self.f_min = f_min
        self.f_max = f_max
        self.scaling = scaling
        self.reference = reference
        self.db_min = db_min
        self.db_max = db_max
        self._check()

    def _check(self) -> None:
        for parameter in ("sample_rate", "n_mels", "n_fft", "hop_length", "frames", "frame_hop"):
            whole_number(self, parameter, getattr(self, parameter), 1)
        check_mel(
            self.name,
            sample_rate=self.sample_rate,
            n_fft=self.n_fft,
            n_mels=self.n_mels,
            f_min=self.f_min,
            f_max=self.f_max,
        )
        one_of(self, "scaling", self.scaling, get_args(Scaling))
        one_of(self, "reference", self.reference, get_args(Reference))
        self._check_scaling()

    def _check_scaling(self) -> None:
        if self.scaling == "pcen" and (self.reference, self.db_min, self.db_max) != ("fixed", None, None):
            raise ConfigError(
                f"{self.name}: scaling pcen has no decibels, got reference {self.reference}, db_min {self.db_min} "
                f"and db_max {self.db_max}; leave these out or use scaling log"
            )
        low, high = self._range
        if not low < high:
            raise ConfigError(f"{self.name}: db_min is {low:g} dB, expected less than db_max ({high:g} dB)")

    @property
    def _range(self) -> tuple[float, float]:
        low, high = _FIXED_RANGE if self.reference == "fixed" else _RELATIVE_RANGE
        return low if self.db_min is None else self.db_min, high if self.db_max is None else self.db_max

    @property
    def produces(self) -> Representation:
        """A patch (n_mels, frames)."""
        return Representation("patch", (self.n_mels, self.frames), self.sample_rate)

    @property
    def window_length(self) -> int | None:
        """Samples that a patch covers; None if its levels are relative to the whole recording."""
        return None if self.reference == "clip" else self._length

    @property
    def window_hop(self) -> int:
        """Samples from the start of one patch to the start of the next."""
        return self.frame_hop * self.hop_length

    @property
    def _length(self) -> int:
        return (self.frames - 1) * self.hop_length + self.n_fft

    def __call__(self, audio: Audio) -> Windows:
        """Return float32 patches of shape (n_windows, n_mels, frames), lowest band first."""
        patches = self._patches(audio)
        return Windows(patches, self._starts(len(patches)), self._length / self.sample_rate)

    def _starts(self, count: int) -> Float64:
        return np.arange(count, dtype=np.float64) * (self.window_hop / self.sample_rate)

    def _patches(self, audio: Audio) -> Float32:
        samples = audio.samples[0]
        if len(samples) < self._length:  # only a whole recording (reference "clip") can come in this short
            samples = np.resize(samples, self._length)
        power: Literal[1, 2] = 1 if self.scaling == "pcen" else 2
        mel = filtered_spectrogram(samples, self._bank, n_fft=self.n_fft, hop_length=self.hop_length, power=power)
        return self._pcen(mel) if self.scaling == "pcen" else self._log(mel)

    def to_onnx(self, graph: OnnxGraph, samples: str) -> str:
        """Add the windows to `graph`; see `asd.plugin.OnnxGraph`."""
        if self.scaling == "pcen" or self.reference == "clip":
            raise NotImplementedError(
                f"scaling is {self.scaling!r} and reference {self.reference!r}; fit with --frontend.scaling log and "
                "--frontend.reference fixed or patch"
            )
        low, high = self._range
        frames = onnx.cut_frames(graph, samples, onnx.regular(self.frames, self.n_fft, self.hop_length))
        level = onnx.decibels(graph, onnx.filtered(graph, frames, self.n_fft, self._bank))
        if self.reference == "patch":
            level = graph.op("Sub", level, graph.op("ReduceMax", level, axes=[1, 2], keepdims=1))
        return graph.op("Transpose", onnx.scaled(graph, level, 1 / (high - low), offset=-low), perm=[0, 2, 1])

    @property
    def _bank(self) -> Float32:
        return mel_filter_bank(
            sample_rate=self.sample_rate, n_fft=self.n_fft, n_mels=self.n_mels, f_min=self.f_min, f_max=self.f_max
        )

    def _cut(self, spectrogram: Float32) -> Float32:
        view = np.lib.stride_tricks.sliding_window_view(spectrogram, self.frames, axis=1)[:, :: self.frame_hop]
        return view.transpose(1, 0, 2).copy()

    def _log(self, mel: Float32) -> Float32:
        low, high = self._range
        level = power_to_db(mel)
        if self.reference == "clip":
            level -= level.max()
        level -= np.float32(low)
        level *= np.float32(1.0 / (high - low))
        patches = self._cut(level)
        if self.reference == "patch":
            patches -= patches.max(axis=(1, 2), keepdims=True) + np.float32(low / (high - low))
        return patches

    def _pcen(self, mel: Float32) -> Float32:
        return pcen(self._cut(mel), frame_rate=self.sample_rate / self.hop_length)
