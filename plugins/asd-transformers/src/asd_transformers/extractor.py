"""Extractor ``huggingface``: any audio encoder in the Hugging Face format."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from asd.errors import ConfigError
from asd.plugin import Extractor, Float32, Representation, Runtime, one_of
from asd_transformers.checkpoint import Checkpoint, open_checkpoint
from asd_transformers.switches import follow_offline

if TYPE_CHECKING:
    from asd_transformers.encoder import Encoder

Pool = Literal["mean", "max", "first"]


class HuggingFace(Extractor):
    """Embed windows by a hidden layer of an audio network from the Hugging Face hub or a local folder.

    Parameters
    ----------
    model : str
        Folder of a model, or its name on the hub (``owner/name``).
    revision : str or None
        Branch, tag or commit on the hub; none: its main branch.
    layer : int or tuple of int
        Hidden state: 0 is what enters the first block, -1 the last; several, such as ``3,6,9``, are concatenated.
    pool : {"mean", "max", "first"}
        Mean or maximum over the window's time, or the first token (AST's class token).
    trust_remote_code : bool
        Allow a model that brings its own Python code to run it.
    """

    name = "huggingface"

    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        layer: int | tuple[int, ...] = -1,
        pool: Pool = "mean",
        trust_remote_code: bool = False,
    ) -> None:
        self.model = model
        self.revision = revision
        self.layer = layer
        self.pool = one_of(self, "pool", pool, get_args(Pool))
        self.trust_remote_code = trust_remote_code
        if not model.strip():
            raise ConfigError("huggingface: model is empty, expected a folder or a name on the hub (owner/name)")
        if len(set(self._layers)) != len(self._layers) or not self._layers:
            raise ConfigError(f"huggingface: layer is {layer!r}, expected one index or several different ones (3,6,9)")

    @classmethod
    def example_parameters(cls, folder: Path) -> dict[str, Any]:
        """Return a tiny network with random weights, written to `folder`; see `asd.plugin.Component`."""
        from asd_transformers.example import write

        return {"model": str(write(folder))}

    @property
    def _layers(self) -> tuple[int, ...]:
        return (self.layer,) if isinstance(self.layer, int) else tuple(self.layer)

    @property
    def consumes(self) -> Representation:
        """A waveform of any length at the model's sample rate, which its files state; they come first from the hub."""
        return Representation("waveform", (None,), self._checkpoint.sample_rate)

    @cached_property
    def dimension(self) -> int:
        """Length of an embedding: the sizes of the chosen layers together. Loads the network."""
        return int(self.embed(self._encoder.silence(1.0)).shape[1])

    def embed(self, values: Any) -> Float32:
        """Return the embeddings, float32[n_windows, dimension], of float32[n_windows, samples].

        Raises
        ------
        ConfigError
            If the windows are too long or too short for the model, or it lacks a layer asked for.
        WeightError
            If the model cannot be loaded.
        """
        follow_offline()
        windows = np.asarray(values if isinstance(values, np.ndarray) else np.from_dlpack(values), dtype=np.float32)
        return self._encoder.embed(windows)

    def computes_with(self) -> Runtime:
        """Return the runtime with the device and the precision of the network."""
        import asd_torch

        return asd_torch.resolved(self.runtime, self._encoder.plan)

    def weight_hashes(self) -> dict[str, str]:
        """Return the SHA-256 of the weight files, the settings and any permitted code, by file name."""
        return self._checkpoint.digests()

    @cached_property
    def _checkpoint(self) -> Checkpoint:
        return open_checkpoint(self.model, self.revision, trust_remote_code=self.trust_remote_code)

    @cached_property
    def _encoder(self) -> Encoder:
        follow_offline()
        from asd_transformers.encoder import Encoder

        return Encoder(self._checkpoint, self._layers, self.pool, self.runtime)
