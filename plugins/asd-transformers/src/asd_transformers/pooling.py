"""From a network's hidden state to one vector a window: without the positions of padding."""

from __future__ import annotations

from typing import Any

import torch

from asd.errors import ConfigError


def longest_window(feature_extractor: Any) -> int | None:
    """Return the most samples that the model takes; None: any number.

    These feature extractors fill shorter windows up (with zeros; CLAP's by repetition) and cut longer ones off.
    """
    kind = type(feature_extractor).__name__
    if kind == "ASTFeatureExtractor":
        frame, hop = _kaldi_frames(feature_extractor)
        return int(feature_extractor.max_length * hop + frame - 1)
    if kind == "WhisperFeatureExtractor":
        return int(feature_extractor.n_samples)
    if kind == "ClapFeatureExtractor":
        return int(feature_extractor.nb_max_samples)
    return None


def valid_positions(feature_extractor: Any, config: Any, samples: int, positions: int) -> torch.Tensor:
    """Return the indices of a hidden state's positions that belong to the window and not to its padding.

    Parameters
    ----------
    feature_extractor : transformers.FeatureExtractionMixin
        The model's.
    config : transformers.PretrainedConfig
        The encoder's.
    samples : int
        Length of a window.
    positions : int
        Length of the hidden state.

    Returns
    -------
    int64 tensor of shape (positions that count,)
        AST's two class tokens are not among them: they belong to no time.
    """
    kind = type(feature_extractor).__name__
    if kind == "ASTFeatureExtractor":
        frame, hop = _kaldi_frames(feature_extractor)
        frames = 1 + (samples - frame) // hop
        columns = (config.max_length - config.patch_size) // config.time_stride + 1
        grid = torch.arange(positions)[2:].reshape(-1, columns)  # one row a band of frequencies
        return grid[:, : _ceil(frames, config.time_stride)].flatten()
    if kind == "WhisperFeatureExtractor":
        return torch.arange(positions)[: _ceil(positions * samples, feature_extractor.n_samples)]
    return torch.arange(positions)


def pool_state(state: torch.Tensor, pool: str, valid: torch.Tensor | None) -> torch.Tensor:
    """Return float32[batch, dimension] of a hidden state.

    Parameters
    ----------
    state : tensor of shape (batch, positions, dimension) or (batch, dimension, frequency, time)
        The second is CLAP's: maps.
    pool : {"mean", "max", "first"}
        Over the positions that `valid` names (None: all), or the first of all, whichever it is.
    valid : int64 tensor or None
        See `valid_positions`.

    Raises
    ------
    ConfigError
        If the first position is asked for where there is no order of positions.
    """
    if state.dim() == 4:
        if pool == "first":
            raise ConfigError(
                "--extractor.pool first: this model's hidden states are maps without a first token; use mean or max"
            )
        state = state.flatten(2).transpose(1, 2)
    if pool == "first":
        return state[:, 0].float()
    if valid is not None:
        state = state[:, valid.to(state.device)]
    return state.float().mean(dim=1) if pool == "mean" else state.amax(dim=1).float()


def _kaldi_frames(feature_extractor: Any) -> tuple[int, int]:
    """Return length and hop in samples of Kaldi's frames, 25 and 10 ms."""
    rate = feature_extractor.sampling_rate
    return round(0.025 * rate), round(0.010 * rate)


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
