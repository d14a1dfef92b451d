"""MusiCNN's activations as embeddings, computed in torch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

import asd_torch
from asd.errors import AsdError
from asd.plugin import Float32, Representation, Runtime
from asd_essentia import layers
from asd_essentia.frontend import SAMPLE_RATE
from asd_essentia.network import Network
from asd_essentia.plugin import TENSORS

_BANDS = 96
_DEFAULT_BATCH_SIZE = 64
_WINDOWS_EACH = 32
"""Windows of a recording that a core takes at a time: those that overlap share work only among themselves."""


class Musicnn(layers.LayeredMusicnn):
    """Activations of the music tagger MusiCNN, as in arXiv:2012.06282.

    Parameters
    ----------
    model : {"mtt", "msd"}
        What it was trained on: MagnaTagATune or the Million Song Dataset.
    layer : str
        mean-pool (753 values), max-pool (753), penultimate (200, before its rectifier), taggram (50 tags), or the
        mean over time of timbral (408), temporal (153), cnn1, cnn2 or cnn3 (64 each); several, separated by commas,
        are concatenated.

    References
    ----------
    Pons and Serra 2019, arXiv:1909.06654; equal to Essentia's TensorflowPredictMusiCNN on the same windows.
    """

    _files = TENSORS

    @property
    def consumes(self) -> Representation:
        """Log mel magnitudes (frames, 96) of any number of frames."""
        return Representation("musicnn-mel", (None, _BANDS), SAMPLE_RATE)

    def embed(self, values: Any) -> Float32:
        """Return embeddings, float32[n_windows, dimension].

        Parameters
        ----------
        values : float32 array of shape (n_windows, frames, 96)
            From front end ``musicnn-mel``; fastest if windows that overlap share memory.

        Raises
        ------
        AsdError
            If the windows have another shape.
        """
        shape = tuple(values.shape[1:])
        if len(shape) != 2 or shape[0] < 1 or shape[1] != _BANDS:
            raise AsdError(f"musicnn-{self.model} takes windows of shape {self.consumes}, got {shape}")
        plan, network = self._prepared
        return asd_torch.run(network, values, plan, self.runtime.batch_size, _DEFAULT_BATCH_SIZE, keep_overlap=True)

    def computes_with(self) -> Runtime:
        """Return the runtime with the device and the precision of the network."""
        return asd_torch.resolved(self.runtime, asd_torch.plan(self.runtime))

    @functools.cached_property
    def _prepared(self) -> tuple[asd_torch.Plan, Callable[[torch.Tensor], torch.Tensor]]:
        plan = asd_torch.plan(self.runtime)
        tensors = asd_torch.read_tensors(self._file())
        network = Network(tensors, layers.parse(self.layer), plan.device, plan.dtype)
        return plan, asd_torch.share_windows(network, plan, _WINDOWS_EACH)
