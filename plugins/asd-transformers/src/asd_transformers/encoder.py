"""Compute embeddings of windows of samples by an audio encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

import asd_torch
from asd.errors import ConfigError
from asd.plugin import Float32, Runtime
from asd_transformers.checkpoint import Checkpoint
from asd_transformers.network import load, quiet
from asd_transformers.pooling import longest_window, pool_state, valid_positions

_SHORTEST_SECONDS = 0.1
"""No encoder of sound makes less than one position of this."""

_BATCH_SIZE = 8
"""Windows at a time: the hidden states of all layers are in memory at once."""

_ROUND = 8 * _BATCH_SIZE
"""Windows whose spectrograms are in memory at once."""


class Encoder:
    """A loaded model with the choice of layers and pooling.

    Parameters
    ----------
    checkpoint : Checkpoint
        The model.
    layers : tuple of int
        Indices of hidden states, whose embeddings are concatenated.
    pool : {"mean", "max", "first"}
        How a hidden state becomes a vector.
    runtime : Runtime
        Device, precision and batch size.

    Raises
    ------
    ConfigError, WeightError
        As `asd_transformers.network.load`.
    """

    def __init__(self, checkpoint: Checkpoint, layers: tuple[int, ...], pool: str, runtime: Runtime) -> None:
        self.checkpoint = checkpoint
        self.layers = layers
        self.pool = pool
        self.runtime = runtime
        network, self.feature_extractor = load(checkpoint)
        self.config = network.config
        self.plan = asd_torch.plan(self._suited(runtime))
        self.network: Any = network.to(self.plan.device, self.plan.dtype)

    def embed(self, windows: Float32) -> Float32:
        """Return float32[n_windows, dimension] of float32[n_windows, samples].

        Raises
        ------
        ConfigError
            If the windows are too long or too short for the model, or it lacks a layer asked for.
        """
        self._check_length(windows.shape[1])
        if not len(windows):  # only the network knows how long an embedding is
            return self.embed(np.zeros((1, windows.shape[1]), np.float32))[:0]
        starts = range(0, len(windows), _ROUND)
        with quiet():
            return np.concatenate([self._embed_round(windows[start : start + _ROUND]) for start in starts])

    def silence(self, seconds: float) -> Float32:
        """Return one window of silence."""
        return np.zeros((1, round(seconds * self.checkpoint.sample_rate)), np.float32)

    def _embed_round(self, windows: Float32) -> Float32:
        features = self._features(windows)
        name = self.feature_extractor.model_input_names[0]
        # Windows are of one length, so what else the network gets (which frames count …) is the same for all.
        others = {key: torch.as_tensor(np.asarray(value)[:1]) for key, value in features.items() if key != name}

        def function(batch: torch.Tensor) -> torch.Tensor:
            repeated = {key: row.to(batch.device).expand(len(batch), *row.shape[1:]) for key, row in others.items()}
            outputs = self.network(**{name: batch}, **repeated, output_hidden_states=True)
            return self._pooled(outputs, windows.shape[1], others.get("attention_mask"))

        return asd_torch.run(function, features[name], self.plan, self.runtime.batch_size, _BATCH_SIZE)

    def _features(self, windows: Float32) -> dict[str, Any]:
        rate = self.checkpoint.sample_rate
        features = dict(self.feature_extractor(list(windows), sampling_rate=rate, return_tensors="np"))
        name = self.feature_extractor.model_input_names[0]
        features[name] = np.asarray(features[name], dtype=np.float32)
        if "is_longer" in features:
            # No window is longer than CLAP takes; its feature extractor would declare a random one to be so.
            features["is_longer"] = np.zeros_like(features["is_longer"])
        return features

    def _pooled(self, outputs: Any, samples: int, mask: torch.Tensor | None) -> torch.Tensor:
        states = getattr(outputs, "hidden_states", None)
        if not states:
            raise ConfigError(
                f"{self.checkpoint.name}: a model of type {self.checkpoint.model_type!r} gives no hidden states; "
                "choose an encoder such as AST, CLAP, WavLM or Whisper"
            )
        for layer in self.layers:
            if not -len(states) <= layer < len(states):
                raise ConfigError(
                    f"{self.checkpoint.name} has no layer {layer}; it has {', '.join(map(str, range(len(states))))} "
                    "(0 is what enters the first block, -1 the last)"
                )
        chosen = [states[layer] for layer in self.layers]
        return torch.cat([pool_state(state, self.pool, self._valid(state, samples, mask)) for state in chosen], dim=1)

    def _valid(self, state: torch.Tensor, samples: int, mask: torch.Tensor | None) -> torch.Tensor | None:
        if state.dim() != 3:
            return None
        if mask is not None and mask.shape[1] == state.shape[1]:
            return mask[0].nonzero().flatten()
        return valid_positions(self.feature_extractor, self.config, samples, state.shape[1])

    def _check_length(self, samples: int) -> None:
        rate, longest = self.checkpoint.sample_rate, longest_window(self.feature_extractor)
        if longest is not None and samples > longest:
            raise ConfigError(
                f"{self.checkpoint.name} takes at most {longest / rate:.4g} s, the windows last "
                f"{samples / rate:.4g} s; shorten them with --frontend.window {np.floor(100 * longest / rate) / 100:g}"
            )
        if samples < _SHORTEST_SECONDS * rate:
            raise ConfigError(
                f"{self.checkpoint.name} has no positions in windows of {samples / rate:.3g} s; lengthen them to "
                f"{_SHORTEST_SECONDS} s or more with --frontend.window"
            )

    def _suited(self, runtime: Runtime) -> Runtime:
        """Return `runtime` with the precision that suits the model's input."""
        waveform = self._features(self.silence(1.0))[self.feature_extractor.model_input_names[0]].ndim == 2
        # Rounding samples to bfloat16 adds noise 56 dB below the sound: a faint whine beside a loud motor would drown.
        return replace(runtime, precision="fp32") if waveform and runtime.precision == "auto" else runtime
