"""Feed windows through a network in batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from asd.errors import AsdError, ConfigError
from asd.plugin import Float32
from asd_torch.device import Plan

_log = logging.getLogger("asd")


def run(
    function: Callable[[torch.Tensor], torch.Tensor],
    values: Any,
    plan: Plan,
    batch_size: int | None,
    default_batch_size: int,
    *,
    keep_overlap: bool = False,
) -> Float32:
    """Return what `function` gives for all windows of `values`.

    Parameters
    ----------
    function : callable
        Takes a tensor (batch, *shape) on the plan's device in its number format; returns (batch, *result shape).
    values : array of shape (n_windows, *shape)
        NumPy array or anything with ``__dlpack__``; a channels-last layout in memory is kept.
    plan : Plan
        Device and number format.
    batch_size : int or None
        Most windows at a time; None: `default_batch_size`. It is halved when memory runs out.
    default_batch_size : int
        What suits the network.
    keep_overlap : bool
        Whether windows that share memory still do so in the tensor that `function` gets, which must then not change
        it: what they share is moved and converted once, and can be computed on once.

    Returns
    -------
    float32 array of shape (n_windows, *result shape)

    Raises
    ------
    AsdError
        If not even one window fits into memory, or the batch size is less than 1.
    """
    size = default_batch_size if batch_size is None else batch_size
    if size < 1:
        raise ConfigError(f"the batch size must be at least 1, got {size}; leave it out for what suits the network")
    values = as_array(values)
    with torch.inference_mode():
        if len(values) == 0:  # only the function knows the shape of a result
            window = np.zeros((1, *values.shape[1:]), np.float32)
            return next(_batches(function, window, plan, 1, False))[:0]
        return np.concatenate(list(_batches(function, values, plan, size, keep_overlap)))


def as_array(values: Any) -> Any:
    """Return `values` as a NumPy array or a tensor, without a copy."""
    if isinstance(values, np.ndarray | torch.Tensor):
        return values
    return torch.utils.dlpack.from_dlpack(values) if hasattr(values, "__dlpack__") else np.asarray(values)


def _batches(
    function: Callable[[torch.Tensor], torch.Tensor], values: Any, plan: Plan, size: int, keep_overlap: bool
) -> Iterator[Float32]:
    start = 0
    while start < len(values):
        # Equal parts: a last batch of one window would waste the hardware.
        parts = -(-(len(values) - start) // size)
        stop = start + -(-(len(values) - start) // parts)
        try:
            batch = _to_device(values[start:stop], plan, keep_overlap)
            yield function(batch).to("cpu", torch.float32).numpy()
        except RuntimeError as error:
            size = _smaller(size, plan, error)
            continue
        start = stop


def _to_device(windows: Any, plan: Plan, keep_overlap: bool) -> torch.Tensor:
    if isinstance(windows, np.ndarray):
        if keep_overlap and windows[0].flags.c_contiguous and 0 < windows.strides[0] < windows[0].nbytes:
            return _overlapping(windows, plan)
        # torch takes neither read-only memory nor negative strides.
        if not windows.flags.writeable or min(windows.strides) < 0:
            windows = windows.copy(order="K")
        windows = torch.from_numpy(windows)
    layout = torch.channels_last if windows.dim() == 4 else torch.preserve_format
    return torch.as_tensor(windows).to(device=plan.device, dtype=plan.dtype, memory_format=layout)


def _overlapping(windows: np.ndarray[Any, np.dtype[Any]], plan: Plan) -> torch.Tensor:
    item = windows.itemsize
    length = (len(windows) - 1) * windows.strides[0] // item + windows[0].size
    shared = np.lib.stride_tricks.as_strided(windows, (length,), (item,), writeable=False)
    strides = [stride // item for stride in windows.strides]
    return _to_device(shared, plan, False).as_strided(windows.shape, strides)


def _smaller(size: int, plan: Plan, error: RuntimeError) -> int:
    """Return half the batch size if `error` says that memory ran out; raise it otherwise."""
    text = str(error).lower()
    if not isinstance(error, torch.OutOfMemoryError) and not any(
        sign in text for sign in ("out of memory", "can't allocate memory", "not enough memory")
    ):
        raise error
    if size == 1:
        raise AsdError(
            f"{plan.device} has too little memory for a single window; free some, use --device cpu or a smaller network"
        ) from error
    if plan.device.type == "cuda":
        torch.cuda.empty_cache()
    _log.warning("%s ran out of memory with %d windows at a time; going on with %d", plan.device, size, size // 2)
    return size // 2
