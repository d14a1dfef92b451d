"""Networks of torchvision's own making to compare with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision import models

from asd.plugin import Float32, Runtime
from asd_imagenet.extractor import ImageNetExtractor

Reference = Callable[..., tuple[nn.Module, Path]]


@pytest.fixture
def images() -> Float32:
    """Five pictures (5, 3, 224, 224), channels last in memory as front ends make them."""
    memory = np.random.default_rng(7).normal(size=(5, 224, 224, 3)).astype(np.float32)
    return memory.transpose(0, 3, 1, 2)


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    """Return a function that builds torchvision's network with seeded random weights and saves them as a file.

    The official files cannot be had where tests run.
    """

    def build(name: str, **options: Any) -> tuple[nn.Module, Path]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            network = models.get_model(name, weights=None, **options).eval()
        path = tmp_path / f"{name}.pth"
        torch.save(network.state_dict(), path)
        return network, path

    return build


@pytest.fixture
def exact() -> Callable[..., ImageNetExtractor]:
    """Return a function that makes an extractor that computes in float32 on the processor."""

    def build(**parameters: Any) -> ImageNetExtractor:
        extractor = ImageNetExtractor(**parameters)
        extractor.runtime = Runtime("cpu", "fp32")
        return extractor

    return build
