"""MusiCNN's activations as embeddings, computed in torch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

import asd_torch
from asd import weights
from asd.audio import digest_of
from asd.errors import AsdError
from asd.interfaces import Extractor
from asd.records import Float32, Representation
from asd_essentia import layers
from asd_essentia.melbank import BANDS, SAMPLE_RATE
from asd_essentia.network import Network
from asd_essentia.plugin import TENSORS, Model

_DEFAULT_BATCH_SIZE = 64
_WINDOWS_EACH = 32
"""Windows of a recording that a core takes at a time: those that overlap share work only among themselves."""


class Musicnn(Extractor):
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

    def __init__(self, *, model: Model = "mtt", layer: str = "mean-pool") -> None:
        self.model = model
        self.layer = layer
        layers.check_model(model)
        layers.parse(layer)

    @property
    def consumes(self) -> Representation:
        """Log mel magnitudes (frames, 96) of any number of frames."""
        return Representation("musicnn-mel", (None, BANDS), SAMPLE_RATE)

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return layers.dimension(layers.parse(self.layer))

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
        if len(shape) != 2 or shape[0] < 1 or shape[1] != BANDS:
            raise AsdError(f"musicnn-{self.model} takes windows of shape {self.consumes}, got {shape}")
        plan, network = self._prepared
        return asd_torch.run(network, values, plan, self.runtime.batch_size, _DEFAULT_BATCH_SIZE, keep_overlap=True)

    def weight_hashes(self) -> dict[str, str]:
        """Return the SHA-256 of the weight file by its name."""
        return dict(self._hashes)

    @functools.cached_property
    def _hashes(self) -> dict[str, str]:
        path = weights.locate(TENSORS[self.model])
        return {path.name: digest_of(path)}

    @functools.cached_property
    def _prepared(self) -> tuple[asd_torch.Plan, Callable[[torch.Tensor], torch.Tensor]]:
        plan = asd_torch.plan(self.runtime)
        tensors = asd_torch.read_tensors(weights.locate(TENSORS[self.model]))
        network = Network(tensors, layers.parse(self.layer), plan.device, plan.dtype)
        return plan, asd_torch.share_windows(network, plan, _WINDOWS_EACH)
