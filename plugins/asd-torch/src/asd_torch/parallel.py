"""Let each processor core compute its share of the windows.

PyTorch splits every operation among the cores, which wait for one another after each. Where a few windows keep a core
busy, it is faster that each core takes some through the whole network: it finds more of them in its cache, and waits
for no other core, which on a busy machine may be away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from asd_torch.device import Plan

Network = Callable[[torch.Tensor], torch.Tensor]


def share_windows(network: Network, plan: Plan, windows_each: int) -> Network:
    """Return `network` as a function that shares a batch's windows among the processor's cores.

    The results are those of `network`. On another device, on a single core, and where PyTorch was built without
    OpenMP, whose threads count for themselves how many help them, `network` comes back as it is.

    Parameters
    ----------
    network : callable
        Takes a tensor (batch, *shape), returns a tensor (batch, *result shape); several threads call it at once.
    plan : Plan
        Where it computes.
    windows_each : int
        Most windows that a core takes at a time.
    """
    cores = torch.get_num_threads()
    if plan.device.type != "cpu" or cores == 1 or "ATen parallel backend: OpenMP" not in _parallel_info():
        return network
    pool = _threads(cores)

    def part(windows: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():  # holds for one thread
            return network(windows)

    def shared(windows: torch.Tensor) -> torch.Tensor:
        if len(windows) < cores:
            return network(windows)
        size = min(windows_each, -(-len(windows) // cores))
        return torch.cat(list(pool.map(part, torch.split(windows, size))))

    return shared


def _parallel_info() -> str:
    return str(torch.__config__.parallel_info())


def _threads(count: int) -> ThreadPoolExecutor:
    """Return threads in each of which PyTorch computes alone."""
    all_there = threading.Barrier(count)

    def begin() -> None:
        torch.get_num_threads()  # asking makes a new thread take the common number, which it would else do later
        torch.set_num_threads(1)
        all_there.wait()

    pool = ThreadPoolExecutor(count, thread_name_prefix="asd-torch")
    for started in [pool.submit(begin) for _ in range(count)]:
        started.result()
    torch.set_num_threads(count)  # it is also what threads begin with that do not exist yet
    return pool
