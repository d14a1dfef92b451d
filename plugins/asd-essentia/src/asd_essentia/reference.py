"""MusiCNN's activations as embeddings, computed by Essentia itself: the reference for `asd_essentia.musicnn`."""

from __future__ import annotations

from typing import Any

import numpy as np

from asd.errors import AsdError
from asd.plugin import Float32, Representation
from asd_essentia import layers
from asd_essentia.engine import Framing
from asd_essentia.frontend import FRAME, HOP, SAMPLE_RATE
from asd_essentia.plugin import GRAPHS

_ALGORITHM = "TensorflowPredictMusiCNN"
_NODES = {
    "mean-pool": "model/moments/Squeeze",
    "max-pool": "model/Max",
    "penultimate": "model/dense/BiasAdd",
    "taggram": "model/Sigmoid",
}
# Essentia's buffers pass on 32768 values at most: 43 patches of the pooling layers.
_DEFAULT_BATCH_SIZE = 16
_LARGEST_BATCH_SIZE = 40


class MusicnnEssentia(layers.LayeredMusicnn):
    """Activations of the music tagger MusiCNN by Essentia's TensorflowPredictMusiCNN, in a worker process.

    Parameters
    ----------
    model : {"mtt", "msd"}
        What it was trained on: MagnaTagATune or the Million Song Dataset.
    layer : str
        mean-pool, max-pool, penultimate, taggram, or the mean over time of timbral, temporal, cnn1, cnn2 or cnn3;
        several, separated by commas, are concatenated.

    References
    ----------
    Alonso-Jiménez et al. 2020, Tensorflow audio models in Essentia, arXiv:2003.07393.
    """

    # Importing TensorFlow before Essentia, which brings its own, aborts the interpreter.
    isolation = "process"

    _files = GRAPHS

    @property
    def consumes(self) -> Representation:
        """A waveform at 16 kHz of any number of samples from 512 on."""
        return Representation("waveform", (None,), SAMPLE_RATE)

    def embed(self, values: Any) -> Float32:
        """Return embeddings, float32[n_windows, dimension].

        Parameters
        ----------
        values : float32 array of shape (n_windows, samples)
            What is left after the last whole frame is not looked at.

        Raises
        ------
        AsdError
            If Essentia is not installed, or the windows are too short.
        """
        windows: Float32 = np.asarray(values, np.float32)
        if windows.ndim != 2 or windows.shape[1] < FRAME:
            raise AsdError(
                f"musicnn-{self.model}-essentia takes windows of at least {FRAME} samples ({FRAME / SAMPLE_RATE:g} s), "
                f"got shape {windows.shape[1:]}; lengthen them by --frontend.window"
            )
        framing = Framing(FRAME, HOP, (windows.shape[1] - FRAME) // HOP + 1)
        windows = windows[:, : framing.samples]
        names = layers.parse(self.layer)
        computed = {base: self._computed(base, framing, windows) for base in layers.needed(names)}
        return np.concatenate(layers.picked(names, computed), axis=1)

    def _computed(self, base: str, framing: Framing, windows: Float32) -> Float32:
        return framing.predict(
            windows,
            _ALGORITHM,
            size=layers.BASE_SIZES[base],
            graphFilename=str(self._file()),
            output=_NODES[base],
            patchSize=framing.patch,
            batchSize=min(self.runtime.batch_size or _DEFAULT_BATCH_SIZE, _LARGEST_BATCH_SIZE),
        )
