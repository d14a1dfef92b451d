"""A prepared network computes the same."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import asd_torch
from asd.plugin import Runtime
from asd_torch.network import fold_batch_norm

NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")


class Branches(nn.Module):
    """Two of its batch norms can be folded, two can't: a shared convolution's and one before a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.shared = nn.Conv2d(8, 8, 1)
        self.shared_norm = nn.BatchNorm2d(8)
        self.norm_first = nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 5, 3, stride=2)
        self.last_norm = nn.BatchNorm2d(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.shared(self.stem(x))
        return self.last_norm(self.last(self.norm_first(self.shared_norm(x) + x)))  # type: ignore[no-any-return]


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.convolution(x)) * (1 if x.sum() > 0 else 2)  # type: ignore[no-any-return]


def _trained(network: nn.Module) -> nn.Module:
    """Give the batch norms statistics as if they had been trained."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


def _norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in network.modules())


@torch.inference_mode()
def test_folding_changes_no_result() -> None:
    network, images = _trained(Branches()), torch.randn(4, 3, 20, 20)
    expected = network(images)
    prepared = asd_torch.prepare(copy.deepcopy(network), asd_torch.plan(Runtime("cpu", "fp32")))
    assert (_norms(network), _norms(prepared)) == (4, 2)
    torch.testing.assert_close(prepared(images), expected, atol=1e-5, rtol=1e-5)


def test_a_prepared_network_is_channels_last_in_its_precision_without_gradients() -> None:
    prepared = asd_torch.prepare(Branches(), asd_torch.plan(Runtime("cpu", "bf16")))
    parameters = list(prepared.parameters())
    assert {p.dtype for p in parameters} == {torch.bfloat16}
    assert not any(p.requires_grad for p in parameters)
    assert not prepared.training
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in parameters if p.dim() == 4)


def test_what_cannot_be_traced_stays_as_it_is() -> None:
    network = _trained(Untraceable())
    assert fold_batch_norm(network) is network


@NEEDS_CUDA
@torch.inference_mode()
def test_the_gpu_computes_the_same() -> None:
    network, images = _trained(Branches()), torch.randn(4, 3, 20, 20)
    expected = network(images).numpy()
    plan = asd_torch.plan(Runtime("cuda", "fp32"))
    found = asd_torch.run(asd_torch.prepare(network, plan), images, plan, 3, 8)
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-2)  # TF32 rounds
