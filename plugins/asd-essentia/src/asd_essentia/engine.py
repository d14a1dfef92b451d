"""Call Essentia's networks on windows, so that each window counts for itself."""

from __future__ import annotations

import importlib
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from asd.errors import AsdError
from asd.plugin import Float32
from asd_essentia.published import REQUIREMENT


@dataclass(frozen=True)
class Framing:
    """How an algorithm of Essentia cuts sound: frames of samples, and patches of frames.

    Parameters
    ----------
    frame, hop : int
        Samples of a frame, and from one frame to the next.
    patch : int
        Frames that the network takes.
    """

    frame: int
    hop: int
    patch: int

    @property
    def samples(self) -> int:
        """Samples that a patch looks at."""
        return (self.patch - 1) * self.hop + self.frame

    def predict(self, windows: Float32, algorithm: str, *, size: int | None = None, **parameters: Any) -> Float32:
        """Return what `algorithm` gives for each window by itself.

        Parameters
        ----------
        windows : float32 array of shape (n, samples)
            Of `samples` samples; those that share memory, as a recording's do, share the work on frames.
        algorithm : str
            Name of the algorithm.
        size : int or None
            Values of a patch, where the algorithm gives them as one column.
        **parameters
            The algorithm's own.

        Returns
        -------
        float32 array of shape (n, size)
        """
        signal, hop, picked = self._laid_out(windows)
        run = create(algorithm, patchHopSize=hop % self.patch, **parameters)  # 0 stands for no overlap
        predictions = called(run, algorithm, signal)
        found = predictions.reshape(-1, size or predictions.shape[-1])[picked][: len(windows)]
        if len(found) < len(windows):
            raise AsdError(
                f"Essentia's {algorithm} gave {predictions.shape} values for {len(windows)} windows; "
                "name a node whose output is one vector for each patch"
            )
        return found

    def _laid_out(self, windows: Float32) -> tuple[Float32, int, slice]:
        """Return a signal, frames from one patch of it to the next, and which of the patches are the windows.

        Essentia's first frame lies half before the signal, so that its first patch is never a window.
        """
        step = windows.strides[0] // windows.itemsize
        hop = step // self.hop
        if step % self.hop == 0 and 0 < hop <= self.patch:
            length = (len(windows) - 1) * step + self.samples
            sound = np.lib.stride_tricks.as_strided(windows, (length,), (windows.itemsize,), writeable=False)
            picked = slice(1, None)
        else:  # patches may not lie further apart than they are long: every second one is given away
            hop = math.ceil((self.patch - 1 + math.ceil(self.frame / self.hop)) / 2)
            slots = np.zeros((len(windows), 2 * hop * self.hop), np.float32)
            slots[:, : self.samples] = windows
            sound = slots.ravel()
            picked = slice(1, None, 2)
        return np.concatenate([np.zeros(hop * self.hop - self.frame // 2, np.float32), sound]), hop, picked


FRAMINGS = {
    "TensorflowPredictMusiCNN": Framing(512, 256, 187),
    "TensorflowPredictEffnetDiscogs": Framing(512, 256, 128),
    "TensorflowPredictVGGish": Framing(400, 160, 96),
}
"""Of the algorithms whose patches can be laid out; the others take whole windows."""


def create(algorithm: str, **parameters: Any) -> Any:
    """Return a configured algorithm of Essentia.

    Raises
    ------
    AsdError
        If Essentia is not installed, has no such algorithm, or cannot load the graph.
    """
    standard = _essentia()
    make = getattr(standard, algorithm, None)
    if make is None or not algorithm.startswith("TensorflowPredict"):
        known = ", ".join(name for name in dir(standard) if name.startswith("TensorflowPredict"))
        raise AsdError(f"Essentia has no network algorithm {algorithm!r}; it has {known}")
    try:
        return make(**parameters)
    except (RuntimeError, ValueError, TypeError) as error:
        raise AsdError(f"Essentia's {algorithm} cannot be set up: {_first_line(error)}") from error


def called(run: Any, algorithm: str, signal: Float32) -> Float32:
    """Return the predictions, float32 (rows, columns), for a signal; errors as for `create`."""
    try:
        predictions = run(signal)
    except RuntimeError as error:
        text = _first_line(error)
        if "phantom size" in text:
            text = "the output node gives more for a batch than Essentia can pass on; use a smaller --batch-size"
        raise AsdError(f"Essentia's {algorithm} failed: {text}") from error
    return np.asarray(predictions, np.float32)


def _essentia() -> Any:
    # TensorFlow would tell on every start which graphics libraries it did not find.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        essentia = importlib.import_module("essentia")
        essentia.log.infoActive = False
        return importlib.import_module("essentia.standard")
    except ImportError as error:
        raise AsdError(
            f"essentia is not installed: pip install '{REQUIREMENT}' (AGPL-3.0, Linux and macOS); "
            "musicnn-mtt and musicnn-msd give the same numbers without it"
        ) from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
