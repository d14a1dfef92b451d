"""Windows come through in batches: whole, in order, and without needless copies."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch

import asd_torch
from asd.errors import AsdError, ConfigError
from asd.plugin import Float32, Runtime

NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")
PLAN = asd_torch.plan(Runtime("cpu", "fp32"))


class OnlyDlpack:
    """What another framework's array offers at least."""

    def __init__(self, values: Float32) -> None:
        self._values = values

    def __dlpack__(self, **options: Any) -> Any:
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._values.__dlpack_device__()


def _windows(count: int) -> Float32:
    return np.random.default_rng(count).normal(size=(count, 5)).astype(np.float32)


def _double(batch: torch.Tensor) -> torch.Tensor:
    return batch * 2


@pytest.mark.parametrize("batch_size", [None, 1, 3, 10, 100])
def test_all_windows_in_order_whatever_the_batch(batch_size: int | None) -> None:
    windows = _windows(10)
    result = asd_torch.run(_double, windows, PLAN, batch_size, 4)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, windows * 2)


def test_batches_are_of_equal_size() -> None:
    sizes: list[int] = []
    asd_torch.run(lambda batch: sizes.append(len(batch)) or batch, _windows(17), PLAN, 16, 4)  # type: ignore[func-returns-value]
    assert sizes == [9, 8]


@pytest.mark.parametrize("wrap", [OnlyDlpack, torch.from_numpy, np.ndarray.tolist])
def test_anything_with_dlpack_is_taken(wrap: Any) -> None:
    windows = _windows(7)
    np.testing.assert_array_equal(asd_torch.run(_double, wrap(windows), PLAN, None, 4), windows * 2)


def test_pictures_with_channels_last_are_not_copied() -> None:
    memory = np.zeros((6, 8, 8, 3), np.float32)
    addresses: list[int] = []

    def look(batch: torch.Tensor) -> torch.Tensor:
        assert batch.shape[1:] == (3, 8, 8)
        assert batch.is_contiguous(memory_format=torch.channels_last)
        addresses.append(batch.data_ptr())
        return batch[:, :, 0, 0]

    asd_torch.run(look, memory.transpose(0, 3, 1, 2), PLAN, 3, 3)
    assert addresses == [memory[:3].ctypes.data, memory[3:].ctypes.data]


def test_read_only_and_backward_views_are_taken() -> None:
    windows = _windows(6)
    windows.flags.writeable = False
    np.testing.assert_array_equal(asd_torch.run(_double, windows, PLAN, None, 4), windows * 2)
    np.testing.assert_array_equal(asd_torch.run(_double, _windows(6)[::-1], PLAN, None, 4), windows[::-1] * 2)


def test_no_windows_give_no_rows_of_the_right_length() -> None:
    assert asd_torch.run(lambda batch: batch.repeat(1, 3), _windows(0), PLAN, None, 4).shape == (0, 15)


def test_bfloat16_comes_back_as_float32() -> None:
    result = asd_torch.run(_double, np.ones((2, 3), np.float32), asd_torch.plan(Runtime("cpu", "bf16")), None, 4)
    assert result.dtype == np.float32
    assert (result == 2).all()


def _limited_to(limit: int) -> Any:
    """Stand in for a GPU whose memory holds `limit` windows."""

    def function(batch: torch.Tensor) -> torch.Tensor:
        if len(batch) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return batch * 2

    return function


def test_out_of_memory_makes_batches_smaller(caplog: pytest.LogCaptureFixture) -> None:
    windows = _windows(50)
    with caplog.at_level(logging.WARNING, "asd"):
        result = asd_torch.run(_limited_to(5), windows, PLAN, 16, 4)
    np.testing.assert_array_equal(result, windows * 2)
    assert caplog.messages == [
        "cpu ran out of memory with 16 windows at a time; going on with 8",
        "cpu ran out of memory with 8 windows at a time; going on with 4",
    ]


def test_a_window_too_large_for_the_memory_is_a_clear_error() -> None:
    with pytest.raises(AsdError) as caught:
        asd_torch.run(_limited_to(0), _windows(4), PLAN, 4, 4)
    assert str(caught.value) == (
        "cpu has too little memory for a single window; free some, use --device cpu or a smaller network"
    )


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="the batch size must be at least 1, got 0; leave it out for what suits"):
        asd_torch.run(_double, _windows(4), PLAN, 0, 4)


def test_other_errors_are_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        asd_torch.run(lambda batch: batch @ torch.ones(4, 4), _windows(3), PLAN, None, 4)


@NEEDS_CUDA
def test_a_full_gpu_makes_batches_smaller() -> None:
    plan = asd_torch.plan(Runtime("cuda", "fp32"))
    free, _ = torch.cuda.mem_get_info()
    share = free // 4 // 8  # the result of 8 windows would take twice what is free

    def hungry(batch: torch.Tensor) -> torch.Tensor:
        needed = torch.empty(len(batch) * share, dtype=torch.float32, device=batch.device)
        return batch + needed[:1] * 0

    windows = _windows(16)
    np.testing.assert_allclose(asd_torch.run(hungry, windows, plan, 16, 16), windows)
