"""OpenL3's three spectrograms of a one-second window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from asd.plugin import Representation

SAMPLE_RATE = 48000
"""Hz; a window has as many samples."""

HOP_LENGTH = 242
"""Samples from one frame to the next."""

Name = Literal["mel256", "mel128", "linear"]
Size = Literal[512, 6144]
Content = Literal["env", "music"]


@dataclass(frozen=True)
class Spectrogram:
    """How a window becomes a spectrogram, and how the network pools its feature maps.

    Parameters
    ----------
    n_fft : int
        Samples per frame.
    n_mels : int or None
        Mel bands; None: every bin of the spectrum.
    frames : int
        Frames of a window; those that reach beyond its end see zeros there.
    pooling : mapping of int to (int, int)
        Bands and frames of the last feature map that are pooled into one, by embedding size.
    """

    n_fft: int
    n_mels: int | None
    frames: int
    pooling: dict[int, tuple[int, int]]

    @property
    def shape(self) -> tuple[int, int]:
        """Bands and frames."""
        return (self.n_mels or self.n_fft // 2 + 1), self.frames


SPECTROGRAMS: dict[str, Spectrogram] = {
    "mel256": Spectrogram(2048, 256, 199, {512: (32, 24), 6144: (8, 8)}),
    "mel128": Spectrogram(2048, 128, 199, {512: (16, 24), 6144: (4, 8)}),
    "linear": Spectrogram(512, None, 197, {512: (32, 24), 6144: (8, 8)}),
}
"""As openl3/models.py of openl3 0.4.2 builds them."""


def record(name: Name) -> Representation:
    """Return the representation of front end and extractor; its kind names the spectrogram, so that messages do."""
    return Representation(f"openl3-{name}", SPECTROGRAMS[name].shape, SAMPLE_RATE)
