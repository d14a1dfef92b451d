"""A torch module as an extractor: what it may return, and what is said of one that does not fit."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from asd.errors import AsdError
from asd.plugin import Representation
from asd_torch import ModuleExtractor

WINDOWS = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
LINEAR = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))


class Own(nn.Module):
    """Gives what a function makes of the vectors."""

    def __init__(self, function: Any = lambda vectors: vectors) -> None:
        super().__init__()
        self.layers = LINEAR
        self.function = function

    def forward(self, windows: Any) -> Any:
        return self.function(self.layers(windows))


class Locked(nn.Module):
    """Cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


REFUSED = {
    "rank": (Own(lambda x: x[:, None]), "returned a tensor (3, 1, 4) for 3 windows of shape (8, 8), expected a ten"),
    "scalar": (Own(lambda x: x.sum()), "the module returned a tensor () for 3 windows of shape (8, 8)"),
    "fewer": (Own(lambda x: x[:1]), "the module returned a tensor (1, 4) for 3 windows"),
    "more": (Own(lambda x: torch.cat([x, x])), "the module returned a tensor (6, 4) for 3 windows"),
    "empty": (Own(lambda x: x[:, :0]), "the module returned a tensor (3, 0) for 3 windows"),
    "tuple": (Own(lambda x: (x, x)), "the module returned a tuple for 3 windows of shape (8, 8), expected a tens"),
    "nothing": (Own(lambda _: None), "the module returned a NoneType for 3 windows"),
    "array": (Own(lambda x: x.numpy()), "returned a ndarray for 3 windows of shape (8, 8), expected a tensor (n, dime"),
    "complex": (Own(lambda x: x.to(torch.complex64)), "the module returned complex numbers for 3 windows"),
    "NaN": (Own(lambda x: x * float("nan")), "the module returned NaN or infinite numbers"),
    "raising": (Own(lambda _: {}["left"]), "the module cannot take windows of shape (n, 8, 8): 'left' (" + __file__),
    "shape": (nn.Linear(5, 4), "the module cannot take windows of shape (n, 8, 8): mat1 and mat2 shapes"),
    "neighbours": (Own(lambda x: x - x.mean(0)), "what the module returns of a window depends on the windows beside"),
    "channels": (nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "the module cannot take wi"),
    "locked": (Locked(), "the module cannot be copied and moved to cpu: cannot pickle '_thread.lock' object"),
    "lazy": (nn.Sequential(nn.Flatten(), nn.LazyLinear(4)), "the module cannot be copied and moved to cpu: "),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
@pytest.mark.parametrize("kind", REFUSED)
def test_a_module_that_does_not_fit_is_told_in_one_line_that_names_it(kind: str) -> None:
    module, text = REFUSED[kind]
    with pytest.raises(AsdError) as refusal:
        ModuleExtractor(module).embed(WINDOWS)
    assert str(refusal.value).startswith(f"extractor {type(module).__name__}: ")
    assert text in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("module", [LINEAR, Own(), Own(lambda x: x.half()), Own(lambda x: x.double())])
def test_vectors_of_any_precision_are_embeddings(module: nn.Module) -> None:
    embeddings = ModuleExtractor(module).embed(WINDOWS)
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (3, 4)
    assert np.allclose(embeddings, LINEAR(torch.from_numpy(WINDOWS)).detach(), rtol=0.01, atol=0.01)


def test_the_users_module_stays_as_it_is() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).train()
    extractor = ModuleExtractor(module)
    assert np.array_equal(extractor.embed(WINDOWS), extractor.embed(WINDOWS))
    assert module.training
    assert module[2].num_batches_tracked == 0
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_what_is_said_of_a_module_must_be_true() -> None:
    with pytest.raises(AsdError, match=r"^ModuleExtractor: representation must be an asd.Representation, got 'patch'$"):
        ModuleExtractor(LINEAR, representation="patch")  # type: ignore[arg-type]
    said = ModuleExtractor(LINEAR, representation=Representation("patch", (8, 8)), dimension=9)
    with pytest.raises(AsdError, match=r"returned 4 values for each window, its dimension is said to be 9; say dimen"):
        said.embed(WINDOWS)
