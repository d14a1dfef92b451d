"""torchvision's classifiers by name: which there are, with which weight sets, and how to build one."""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torchvision import models

from asd.errors import ConfigError
from asd_registry import did_you_mean
from asd_registry.entries import entry_points

ENTRY_POINT_GROUP = "asd_imagenet.models"
"""Where a distribution names functions that take no arguments and return a network (torch.nn.Module)."""

_AUXILIARY = frozenset({"googlenet", "inception_v3"})
"""Their weight files hold training's side classifiers, and expect inputs of their own scale."""


@functools.cache
def _torchvisions() -> frozenset[str]:
    return frozenset(models.list_models(module=models))


def _given_by_users() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(ENTRY_POINT_GROUP)}


def known_models() -> list[str]:
    """Return the names of torchvision's classifiers and of the networks that installed distributions add."""
    return sorted(_torchvisions().union(_given_by_users()))


def check_model(name: str) -> None:
    """Raise a ConfigError with close matches if there is no classifier `name`."""
    if name not in _torchvisions() and name not in _given_by_users():
        raise ConfigError(f"unknown model {name!r}; {did_you_mean(name, known_models())}")


@functools.cache
def weight_sets(name: str) -> dict[str, Any]:
    """Return torchvision's weight sets of a model by name, its default first; none for a user's own model."""
    if name not in _torchvisions():
        return {}
    sets = models.get_model_weights(name)
    return {weights.name: weights for weights in (sets.DEFAULT, *sets)}


def image_size(name: str, weight_set: str) -> int:
    """Return the height and width in pixels that a weight set was trained for (any other weights: the default's)."""
    sets = weight_sets(name)
    if not sets:
        return 224
    chosen = sets.get(weight_set, next(iter(sets.values())))
    return int(chosen.transforms.keywords["crop_size"])


def build(name: str, size: int, *, pretrained: bool) -> nn.Module:
    """Return the network without its weights, on the ``meta`` device: nothing is computed or stored.

    Parameters
    ----------
    name : str
        A classifier of `known_models`.
    size : int
        Height and width of the pictures in pixels; only vision transformers are built for one.
    pretrained : bool
        Whether weights trained on ImageNet will be loaded.
    """
    with _Unallocated():
        return _build(name, size, pretrained)


class _Unallocated(TorchFunctionMode):
    """Creates parameters on the ``meta`` device, but lets a constructor compute (RegNet's layer widths) as usual."""

    _factories = frozenset({torch.empty, torch.zeros, torch.ones})

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        return func(*args, **{**kwargs, "device": "meta"} if func in self._factories else kwargs)


def build_random(name: str, size: int, seed: int) -> nn.Module:
    """Return the network with random weights that `seed` determines; other random numbers stay untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _build(name, size, pretrained=False)


def _build(name: str, size: int, pretrained: bool) -> nn.Module:
    options: dict[str, Any] = {}
    builder = models.get_model_builder(name) if name in _torchvisions() else _given_by_users()[name].load()
    if name in _AUXILIARY:
        options = {"aux_logits": True, "init_weights": False, "transform_input": pretrained}
    elif name in _torchvisions() and name.startswith("vit_"):
        options = {"image_size": size}
    network: nn.Module = builder(**options)
    return network.eval()
