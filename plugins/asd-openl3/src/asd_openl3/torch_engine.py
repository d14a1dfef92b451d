"""OpenL3's network computed by PyTorch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

import asd_torch
from asd.plugin import Float32, Runtime
from asd_openl3.hdf5 import read_weights
from asd_openl3.network import build, random_weights

_log = logging.getLogger("asd")
_BATCH_SIZE = 32
_WINDOWS_PER_CORE = 2  # feature maps are large: so few keep a core busy, and more do not fit its cache


class TorchEngine:
    """The network with its weights, ready to compute.

    Parameters
    ----------
    weights : Path or int
        A weight file, or the seed of random weights.
    pooling : (int, int)
        Bands and frames of the last feature map that are pooled into one.
    runtime : Runtime
        Device, precision and batch size.
    """

    def __init__(self, weights: Path | int, pooling: tuple[int, int], runtime: Runtime) -> None:
        if isinstance(weights, int):
            _log.warning("OpenL3 has random weights (seed %d): good for tests, not for results", weights)
            tensors, source = random_weights(weights), "random weights"
        else:
            tensors, source = read_weights(weights), str(weights)
        self._plan = asd_torch.plan(runtime)
        self._batch_size = runtime.batch_size
        self._normalisation, network = build(pooling, tensors, source)
        prepared = asd_torch.prepare(network, self._plan)
        self._network = asd_torch.share_windows(prepared, self._plan, _WINDOWS_PER_CORE)

    def __call__(self, values: Any) -> Float32:
        """Return embeddings of spectrograms (n, bands, frames)."""
        if not hasattr(values, "__array__"):
            values = torch.utils.dlpack.from_dlpack(values)
        pictures = (values * self._normalisation.scale + self._normalisation.shift)[:, None]
        # After each batch the cores wait for one another: a batch is much more than each takes at a time.
        cores = torch.get_num_threads() if self._plan.device.type == "cpu" else 0
        default = max(_BATCH_SIZE, _WINDOWS_PER_CORE * cores)
        return asd_torch.run(self._network, pictures, self._plan, self._batch_size, default)
