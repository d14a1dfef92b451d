"""Cores that share a batch's windows: the same results, and no setting of PyTorch's changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from asd.plugin import Runtime
from asd_torch import plan, share_windows

pytestmark = pytest.mark.skipif(
    "ATen parallel backend: OpenMP" not in torch.__config__.parallel_info(), reason="this PyTorch has no OpenMP"
)


@pytest.fixture
def three_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_cores")
def test_each_thread_computes_alone_on_a_part() -> None:
    asked = []

    def network(windows: torch.Tensor) -> torch.Tensor:
        asked.append((threading.current_thread().name.partition("_")[0], len(windows), torch.get_num_threads()))
        return windows * 2

    shared = share_windows(network, plan(Runtime(device="cpu")), windows_each=4)
    for count in (1, 3, 13):
        windows = torch.arange(count, dtype=torch.float32)
        assert torch.equal(shared(windows), windows * 2)
    assert asked[0] == (threading.current_thread().name, 1, 3)
    assert asked[1:4] == [("asd-torch", 1, 1)] * 3
    assert sorted(asked[4:]) == [("asd-torch", 1, 1), *[("asd-torch", 4, 1)] * 3]


@pytest.mark.usefixtures("three_cores")
def test_everything_else_keeps_all_cores() -> None:
    share_windows(torch.relu, plan(Runtime(device="cpu")), windows_each=4)(torch.ones(9, 2))
    assert torch.get_num_threads() == 3
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == 3


@pytest.mark.usefixtures("three_cores")
def test_an_error_in_a_thread_comes_through() -> None:
    def network(windows: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        share_windows(network, plan(Runtime(device="cpu")), windows_each=1)(torch.ones(5, 2))


def test_one_core_shares_nothing() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert share_windows(torch.relu, plan(Runtime(device="cpu")), windows_each=4) is torch.relu
    finally:
        torch.set_num_threads(before)
